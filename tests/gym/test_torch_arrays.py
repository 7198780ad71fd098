"""Environments on Torch tensors, on Warp's CPU device: the numbers of NumPy's environments, and no copy to the host."""

import dataclasses
import importlib.util
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from motrix_gym.hierarchy import HierarchicalVectorEnv
from motrix_gym.physics.engine import Engine
from motrix_gym.task_check import TaskError
from motrix_gym.tasks.basic.pendulum import Pendulum
from motrix_gym.testing import check_vector_env
from motrix_gym.vector_env import MotrixVectorEnv

torch = pytest.importorskip("torch")
warp = pytest.importorskip("warp")
pytest.importorskip("mujoco_warp")
pytest.importorskip("array_api_compat")

CARTPOLE, PENDULUM, GO1 = "Motrix/CartPole-v0", "Motrix/Pendulum-v0", "Motrix/Go1-v0"
WARP: dict[str, Any] = {"physics": "warp", "device": "cpu"}
TORCH: dict[str, Any] = {**WARP, "arrays": "torch"}
RANDOMIZED: dict[str, Any] = {
    "friction": (0.5, 1.25),
    "added_mass": (-1.0, 2.0),
    "motor_strength": (0.8, 1.0),
    "action_delay": (0, 1),
    "push_speed": 0.5,
    "push_interval": (0.1, 0.3),
    "observation_noise": {"gravity": 0.05},
    "observed": ("gravity", "joint_position", "last_action"),
    "history": 3,
}
EPISODES: list[tuple[str, dict[str, Any]]] = [(CARTPOLE, {}), (PENDULUM, {}), (GO1, {}), (GO1, RANDOMIZED)]
TO_THE_HOST = ("numpy", "cpu", "tolist", "item", "__array__")


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """Warp says which kernels it loads."""
    before, warp.config.log_level = warp.config.log_level, warp.LOG_WARNING
    yield
    warp.config.log_level = before


def made(env_id: str, num_envs: int = 4, **kwargs: Any) -> Any:
    return gymnasium.make_vec(env_id, num_envs=num_envs, **kwargs).unwrapped


def on_the_host(x: Any) -> Any:
    """The same in NumPy's arrays, of the same memory."""
    if isinstance(x, Mapping):
        return {name: on_the_host(value) for name, value in x.items()}
    return x.numpy() if isinstance(x, torch.Tensor) else x


def leaves(x: Any, name: str = "") -> list[tuple[str, np.ndarray]]:
    if isinstance(x, Mapping):
        return [leaf for key in sorted(x) for leaf in leaves(x[key], f"{name}/{key}")]
    return [(name, x)]


def actions_for(envs: Any, steps: int) -> np.ndarray:
    low, high = envs.action_space.low, envs.action_space.high
    return np.random.default_rng(0).uniform(low, high, (steps, *low.shape)).astype(np.float32)


@pytest.mark.parametrize(("env_id", "fields"), EPISODES)
def test_tensors_have_the_numbers_of_numpys_arrays(env_id, fields):
    numpys, torchs = (made(env_id, max_episode_steps=9, **fields, **kwargs) for kwargs in (WARP, TORCH))
    begin, own_begin = (envs.reset(seed=5)[0] for envs in (numpys, torchs))
    assert own_begin.dtype == torch.float32
    np.testing.assert_allclose(own_begin.numpy(), begin, atol=1e-5)
    endings = 0
    for action in actions_for(numpys, 24):
        expected, found = numpys.step(action), torchs.step(torch.tensor(action))
        assert all(isinstance(x, torch.Tensor) for _, x in leaves({"all": dict(enumerate(found[:4])), **found[4]}))
        assert [x.dtype for x in found[:4]] == [torch.float32, torch.float32, torch.bool, torch.bool]
        for (name, x), (own_name, own) in zip(
            *(leaves({"all": {str(i): x for i, x in enumerate(part[:4])}, **part[4]}) for part in (expected, found)),
            strict=True,
        ):
            assert name == own_name
            np.testing.assert_allclose(own.numpy(), x, rtol=1e-5, atol=1e-5, err_msg=name)
        endings += expected[3].sum() + expected[2].sum()
    assert endings >= 8
    state, own_state = numpys.get_state(), torchs.get_state()
    for name, x in state.items():
        assert (own_state[name].dtype, own_state[name].shape) == (x.dtype, x.shape), name
        if name in ("key", "counter", "elapsed", "ended"):
            np.testing.assert_array_equal(own_state[name], x, err_msg=name)


@pytest.mark.parametrize(("env_id", "fields"), EPISODES)
def test_a_saved_state_goes_on_bit_for_bit(env_id, fields):
    envs, other = (made(env_id, max_episode_steps=9, **fields, **TORCH) for _ in range(2))
    actions = torch.tensor(actions_for(envs, 16))
    last, _ = envs.reset(seed=3)
    for action in actions[:5]:
        last = envs.step(action)[0]
    assert torch.equal(other.set_state(envs.get_state()), last)
    copy = pickle.loads(pickle.dumps(envs))
    assert copy.arrays == "torch"
    for action in actions[5:]:
        expected = envs.step(action)
        for found in (other.step(action), copy.step(action)):
            assert all(torch.equal(x, y) for x, y in zip(expected[:4], found[:4], strict=True))
    for name, x in envs.get_state().items():
        np.testing.assert_array_equal(other.get_state()[name], x, err_msg=name)


def test_a_state_of_numpys_goes_on_in_tensors_and_back():
    numpys, torchs = made(GO1, **WARP), made(GO1, **TORCH)
    numpys.reset(seed=0)
    torchs.set_state(numpys.get_state())
    action = actions_for(numpys, 1)[0]
    expected, found = numpys.step(action)[0], torchs.step(torch.tensor(action))[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    back = made(GO1, **WARP)
    np.testing.assert_allclose(back.set_state(torchs.get_state()), found.numpy(), atol=1e-6)


class Steps:
    """Counts how often a step looks at the numbers of a tensor, and refuses to copy one to the host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.looks = 0
        for name in TO_THE_HOST:
            monkeypatch.setattr(torch.Tensor, name, self._refused(name))
        for name in ("__bool__", "__int__", "__float__"):
            monkeypatch.setattr(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))
        for name in ("numpy", "assign", "list"):
            monkeypatch.setattr(warp.array, name, self._refused(name))

    def _refused(self, name: str) -> Callable[..., Any]:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError(f"{name} brings numbers to the host")

        return refuse

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.looks += 1
            return function(*args, **kwargs)

        return counted


@pytest.mark.parametrize(("env_id", "fields"), EPISODES)
def test_a_step_copies_nothing_to_the_host(env_id, fields, monkeypatch):
    envs = made(env_id, max_episode_steps=6, **fields, **TORCH)
    envs.reset(seed=0)
    actions = torch.tensor(actions_for(envs, 8))
    envs.step(actions[0])  # in which what the task returns is looked at
    steps = Steps(monkeypatch)
    looks = []
    for action in actions[1:]:
        before = steps.looks
        _, _, terminated, truncated, infos = envs.step(action)
        looks.append((steps.looks - before, "final_obs" in infos))
        assert ("final_obs" in infos) == bool((terminated | truncated).any())
    assert {count for count, ended in looks if not ended} <= {1}
    assert any(ended for _, ended in looks)


class OnTheHost(VectorWrapper):
    """An environment on tensors, as the laws take it: with arrays of NumPy, of the same memory."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        observations, infos = self.env.reset(seed=seed, options=options)
        return on_the_host(observations), infos

    def step(self, actions: Any) -> Any:
        given = torch.tensor(np.asarray(actions, dtype=np.float32))
        return tuple(on_the_host(x) for x in self.env.step(given))

    def get_state(self) -> Any:
        return self.env.unwrapped.get_state()  # pyright: ignore[reportAttributeAccessIssue]

    def set_state(self, state: Any) -> Any:
        return on_the_host(self.env.unwrapped.set_state(state))  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(("env_id", "fields"), [(PENDULUM, {}), (GO1, RANDOMIZED)])
def test_the_laws_hold_on_tensors(env_id, fields):
    def make(num_envs: int) -> VectorEnv:
        return OnTheHost(gymnasium.make_vec(env_id, num_envs=num_envs, max_episode_steps=7, **fields, **TORCH))

    report = check_vector_env(make, steps=12, skip=("bad_actions",))
    assert set(report.skipped) == {"termination", "single", "bad_actions"}


def test_gymnasiums_conversion_gives_the_same_numbers_as_arrays_of_jax():
    jax = pytest.importorskip("jax")
    own, plain = (gymnasium.make_vec(CARTPOLE, num_envs=3, max_episode_steps=4, **TORCH) for _ in range(2))
    envs = gymnasium.wrappers.vector.ArrayConversion(own, env_xp=torch, target_xp=jax.numpy)
    found, expected = envs.reset(seed=0)[0], plain.reset(seed=0)[0]
    for action in np.random.default_rng(0).uniform(-1, 1, (9, 3, 1)).astype(np.float32):
        assert isinstance(found, jax.Array)
        np.testing.assert_array_equal(np.asarray(found), expected.numpy())
        found, *outcome, infos = envs.step(jax.numpy.asarray(action))
        expected, *plain_outcome, plain_infos = plain.step(torch.tensor(action))
        for x, y in zip(outcome, plain_outcome, strict=True):
            np.testing.assert_array_equal(np.asarray(x), y.numpy())
        assert infos.keys() == plain_infos.keys()


def test_a_step_of_the_engine_leaves_what_it_gave_before():
    envs = made(PENDULUM, **TORCH)
    envs.reset(seed=0)
    physics, ctrl = envs.batch.physics, torch.ones(envs.action_space.shape)
    before, _ = physics.step(ctrl)
    kept = {"qpos": before.qpos.clone(), "qvel": before.qvel.clone()} | {n: x.clone() for n, x in before.sensor.items()}
    after, _ = physics.step(ctrl)
    assert not torch.equal(after.qpos, before.qpos)
    for name, x in {"qpos": before.qpos, "qvel": before.qvel, **before.sensor}.items():
        assert torch.equal(x, kept[name]), name


def test_a_critic_sees_tensors_too():
    numpys, torchs = (made(GO1, max_episode_steps=3, **RANDOMIZED, **kwargs) for kwargs in (WARP, TORCH))
    for envs in (numpys, torchs):
        envs.reset(seed=1)
    np.testing.assert_allclose(torchs.state().numpy(), numpys.state(), atol=1e-5)
    *before, last = actions_for(numpys, 3)
    for action in before:
        numpys.step(action)
        torchs.step(torch.tensor(action))
    expected, found = numpys.step(last)[4], torchs.step(torch.tensor(last))[4]
    np.testing.assert_allclose(found["final_state"].numpy(), expected["final_state"], rtol=1e-4, atol=1e-4)


def test_some_environments_are_reset_by_a_mask_of_either_kind():
    for mask in (np.array([True, False, True]), torch.tensor([True, False, True])):
        envs = made(PENDULUM, 3, **TORCH)
        before, _ = envs.reset(seed=0)
        after, _ = envs.reset(options={"reset_mask": mask})
        assert [bool(x) for x in (before == after).all(axis=1)] == [False, True, False]


def test_an_environment_that_diverges_begins_anew_alone():
    envs, others = made(PENDULUM, 3, **TORCH), made(PENDULUM, 3, **TORCH)
    for each in (envs, others):
        each.reset(seed=0)
    state = envs.get_state()
    state["simulation"][1, 2] = 1e12  # a speed that MuJoCo takes for a divergence
    envs.set_state(state)
    action = torch.zeros(envs.action_space.shape)
    observations, _, terminated, _, infos = envs.step(action)
    assert terminated.tolist() == infos["termination"]["diverged"].tolist() == [False, True, False]
    assert bool(torch.isfinite(observations).all())
    expected, *_ = others.step(action)
    assert torch.equal(observations[::2], expected[::2])
    assert not bool(envs.step(action)[2].any())


def test_an_action_that_is_nan_is_refused():
    envs = made(PENDULUM, 3, **TORCH)
    envs.reset(seed=0)
    action = torch.zeros(envs.action_space.shape)
    action[1] = torch.nan
    with pytest.raises(ValueError, match="actions of environments 1 are NaN; look at the policy"):
        envs.step(action)
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(torch.zeros(envs.action_space.shape))
    envs.reset()
    envs.step(torch.zeros(envs.action_space.shape))


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"arrays": "torch"}, "arrays is 'torch'; physics='mujoco' has its states in NumPy's, use physics='warp'"),
        ({**WARP, "arrays": "tensor"}, "arrays 'tensor' is not known"),
        ({**WARP, "arrays": "jax"}, "arrays 'jax' is not known .known: numpy, torch"),
        ({**TORCH, "autoreset_mode": AutoresetMode.NEXT_STEP}, "not possible with autoreset_mode 'NextStep'; use 'Sam"),
        ({**TORCH, "autoreset_mode": "Disabled"}, "not possible with autoreset_mode 'Disabled'; use 'SameStep'"),
    ],
)
def test_what_does_not_go_with_tensors_is_refused_at_once(kwargs, reason):
    with pytest.raises(ValueError, match=reason):
        made(PENDULUM, **kwargs)


def test_joined_tasks_and_policies_over_policies_have_none():
    with pytest.raises(ValueError, match="arrays='torch' is not possible with joined tasks; leave it out"):
        made("Motrix/MultiTask-v0", tasks=[{"id": PENDULUM}], **TORCH)
    envs = made(PENDULUM, **TORCH)
    with pytest.raises(ValueError, match="the environment has arrays='torch'; a policy over it takes 'numpy'"):
        HierarchicalVectorEnv(envs, lambda x: x, hold=2, command_space=envs.single_action_space)


@pytest.mark.parametrize("missing", ["torch", "array_api_compat"])
def test_without_a_package_it_says_what_to_install(missing, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))
    with pytest.raises(ValueError, match=f"arrays='torch' needs a package: pip install {missing.replace('_', '-')}"):
        Engine("warp", "cpu", arrays="torch")


def test_actions_are_tensors_of_the_device():
    envs = made(PENDULUM, 3, **TORCH)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions are a numpy.ndarray.*torch.as_tensor\(actions, device='cpu'\)"):
        envs.step(np.zeros(envs.action_space.shape))
    with pytest.raises(ValueError, match=r"actions are a torch.Tensor on meta; .* a torch.Tensor on cpu"):
        envs.step(torch.zeros(envs.action_space.shape, device="meta"))
    with pytest.raises(ValueError, match=r"actions have shape \(2, 1\); 3 environments take \(3, 1\)"):
        envs.step(torch.zeros(2, 1))
    wanting_a_gradient = torch.full(envs.action_space.shape, 1e9, dtype=torch.float64, requires_grad=True)
    assert not envs.step(wanting_a_gradient)[0].requires_grad


def test_a_state_whose_episodes_have_ended_is_refused():
    envs, left = made(PENDULUM, 2, **TORCH), made(PENDULUM, 2, max_episode_steps=1, autoreset_mode="Disabled", **WARP)
    left.reset(seed=0)
    left.step(np.zeros(left.action_space.shape))
    with pytest.raises(ValueError, match="state 'ended' has environments 0, 1, whose episodes have ended"):
        envs.set_state(left.get_state())


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfNumpy(Pendulum):
    """Returns an array of NumPy where it was given tensors."""

    def control(self, physics: Any, state: Any, action: Any) -> Any:
        return np.asarray(action)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithNumpy(Pendulum):
    """Computes with what only arrays of NumPy have."""

    def control(self, physics: Any, state: Any, action: Any) -> Any:
        return action.astype(float)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Writing(Pendulum):
    """Writes to what it was given."""

    def control(self, physics: Any, state: Any, action: Any) -> Any:
        physics.qvel[:] = 1.0
        return action


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (OfNumpy(), r"(?s)OfNumpy.control gives .*; it takes a torch.Tensor of shape \(2, 1\): compute wi"),
        (
            WithNumpy(),
            r"WithNumpy.control fails on tensors \(.*astype.*\); compute with motrix_gym.arrays, or give arr",
        ),
        (Writing(), "Writing.control writes to qvel in place; it takes a new array"),
    ],
)
def test_a_task_that_leaves_the_device_is_told_so(task, reason):
    envs = MotrixVectorEnv(task, 2, **TORCH)
    envs.reset(seed=0)
    with pytest.raises(TaskError, match=reason):
        envs.step(torch.zeros(envs.action_space.shape))
