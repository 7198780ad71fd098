"""A training on tensors, on Warp's CPU device: that of NumPy's arrays, resumed bit for bit, with no copy in a step."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison import everything
from test_resume import TINY, Stopper, job

from motrix_gym.batch_vector_env import BatchVectorEnv
from motrix_train.config import BaseRLCfg, SACCfg
from motrix_train.distributed import SINGLE_PROCESS
from motrix_train.errors import RunError, UsageError
from motrix_train.learning.agent import Agent
from motrix_train.learning.backend import NAMES, select
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.collector import RolloutCollector
from motrix_train.training.device_collector import DeviceCollector
from motrix_train.training.request import TrainRequest
from motrix_train.training.run import train_run

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
warp = pytest.importorskip("warp")
pytest.importorskip("mujoco_warp")

CARTPOLE, GO1 = "Motrix/CartPole-v0", "Motrix/Go1-v0"
ON_WARP = {"physics": "warp", "device": "cpu", "max_episode_steps": 20}
CLOCKS = ("seconds", "env_steps_per_second")
TO_THE_HOST = ("numpy", "cpu", "tolist", "item", "__array__")


def training(
    path: Path, cfg: BaseRLCfg = TINY, env_id: str = CARTPOLE, backend: str = "torch", **fields: Any
) -> RunDirectory:
    request = replace(job(backend, env_id=env_id), cfg=cfg, num_threads=0, env_kwargs={**ON_WARP, **fields})
    return request.create_run("", path)


@pytest.fixture(scope="module", params=NAMES)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(backend: str, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that was never stopped, to be read only."""
    run = training(tmp_path_factory.mktemp("whole") / "run", backend=backend)
    assert not train_run(run, Stopper()).interrupted
    return run


@pytest.mark.parametrize("backend_name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool])
def test_a_backend_copies_tensors_as_it_copies_numpys_arrays(backend_name: str, dtype: Any):
    backend: Any = select(backend_name)
    conversions = backend._conversions(backend._device("cpu", SINGLE_PROCESS))
    tensor = torch.arange(12).reshape(3, 4).T.to(dtype)
    given = tensor.numpy().copy()
    expected, found = (conversions["to_host"](conversions["to_device"](x)) for x in (given, tensor))
    on_device = conversions["to_device"](tensor)
    back = conversions["to_torch"](on_device, torch.zeros(1))
    tensor.zero_()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, given)
    np.testing.assert_array_equal(conversions["to_host"](on_device), given)
    assert isinstance(back, torch.Tensor)
    np.testing.assert_array_equal(back.numpy(), given)


@pytest.mark.parametrize("updates", [1, 4])
def test_stopped_and_resumed(whole: RunDirectory, backend: str, updates: int, tmp_path: Path):
    run = training(tmp_path / "run", backend=backend)
    assert train_run(run, Stopper(updates)).interrupted
    assert not train_run(run, Stopper()).interrupted
    assert everything(run) == everything(whole)


def test_it_is_the_training_on_numpys_arrays(whole: RunDirectory, backend: str, tmp_path: Path):
    on_numpys = training(tmp_path / "run", backend=backend, arrays="numpy")
    train_run(on_numpys, Stopper())
    expected, found = on_numpys.progress(), whole.progress()
    assert list(found) == list(expected)
    assert found["episodes"][-1] >= 40
    for name in found.keys() - {x for x in found if x.startswith(CLOCKS)}:
        np.testing.assert_allclose(found[name][:2], expected[name][:2], rtol=1e-3, atol=1e-4, err_msg=name)
    for name in ("episodes", *(name for name in found if name.startswith("endings/"))):
        np.testing.assert_array_equal(found[name][:2], expected[name][:2], err_msg=name)


def test_a_critic_with_a_state_and_a_symmetric_robot_resume(backend: str, tmp_path: Path):
    cfg = replace(TINY, num_envs=4, max_env_steps=4 * 16 * 4, mirror="policy", evaluation_interval=0, critic="state")
    fields = {"observed": ("gravity", "joint_position", "joint_velocity", "last_action", "command", "gait_clock")}
    runs = [training(tmp_path / name, cfg, GO1, backend, friction=(0.5, 1.2), **fields) for name in "ab"]
    for run, updates in zip(runs, (10**9, 2), strict=True):
        train_run(run, Stopper(updates))
    train_run(runs[1], Stopper())
    assert everything(runs[0]) == everything(runs[1])


def test_a_step_of_a_training_copies_nothing_to_the_host(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    step, taken = DeviceCollector._step, []

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a number is brought to the host")

    def watched(self: Any, *arguments: Any) -> None:
        taken.append(self)
        if len(taken) == 1:  # in which what the task returns is looked at
            return step(self, *arguments)
        with pytest.MonkeyPatch.context() as patch:
            for name in TO_THE_HOST:
                patch.setattr(torch.Tensor, name, refuse)
            for name in ("numpy", "assign", "list"):
                patch.setattr(warp.array, name, refuse)
            for name in ("__float__", "tolist", "item"):  # of one bool, "was one truncated?", SKRL asks JAX
                patch.setattr(type(jax.numpy.zeros(1)), name, refuse)
            patch.setattr(self._agent, "_to_host", refuse)
            return step(self, *arguments)

    monkeypatch.setattr(DeviceCollector, "_step", watched)
    cfg = replace(TINY, evaluation_interval=0, staggered_starts=False)
    run = training(tmp_path / "run", cfg, backend=backend)
    train_run(run, Stopper())
    assert len(taken) == 128
    assert run.progress()["episodes"][-1] >= 40


def collectors(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The kinds of the collectors that take a step from now on."""
    found: list[type] = []
    collect = RolloutCollector.collect

    def watched(self: Any, *arguments: Any) -> bool:
        found.append(type(self))
        return collect(self, *arguments)

    monkeypatch.setattr(RolloutCollector, "collect", watched)
    return found


@pytest.mark.parametrize(
    ("fields", "kind"),
    [({}, DeviceCollector), ({"arrays": "torch"}, DeviceCollector), ({"arrays": "numpy"}, RolloutCollector)],
)
def test_it_is_on_tensors_where_it_can_be(fields: Mapping[str, Any], kind: type, tmp_path: Path, monkeypatch):
    found = collectors(monkeypatch)
    train_run(training(tmp_path / "run", replace(TINY, max_env_steps=128, evaluation_interval=0), **fields), Stopper())
    assert set(found) == {kind}


def test_recordings_of_what_diverges_are_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = collectors(monkeypatch)
    cfg = replace(TINY, max_env_steps=128, evaluation_interval=0)
    train_run(training(tmp_path / "run", cfg), Stopper(), dump_diverged=True)
    assert set(found) == {RolloutCollector}


@pytest.mark.parametrize(
    ("changes", "arrays"),
    [
        ({"backend": "jax"}, "torch"),
        ({"cfg": SACCfg(seed=0)}, "numpy"),
        ({"env_kwargs": {}}, "numpy"),
        ({"env_id": "Motrix/MultiTask-v0"}, "numpy"),
        ({"env_id": "CartPole-v1"}, "numpy"),
        ({}, "torch"),
    ],
)
def test_what_arrays_a_training_has(changes: dict[str, Any], arrays: str):
    request = TrainRequest(env_id=CARTPOLE, env_kwargs={"physics": "warp"}, backend="torch", cfg=TINY)
    assert replace(request, **changes).arrays == arrays


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cfg": SACCfg(seed=0)}, "arrays 'torch' is for PPO, and needs Torch: leave it out"),
        ({"env_kwargs": {"arrays": "torch"}}, "arrays is 'torch'; physics='mujoco' has its states in NumPy's"),
        ({"env_kwargs": {"physics": "warp", "arrays": "tensor"}}, "arrays 'tensor' is not known"),
    ],
)
def test_arrays_that_cannot_be_are_refused_before_there_is_a_run(changes: dict[str, Any], reason: str, tmp_path: Path):
    asked = {"physics": "warp", "device": "cpu", "arrays": "torch"}
    request = TrainRequest(env_id=CARTPOLE, env_kwargs=asked, backend="torch", cfg=TINY)
    with pytest.raises(UsageError, match=reason):
        replace(request, **changes).create_run("", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("observation", r"an observation that is not finite .*: nan in environment 3"),
        ("reward", r"a reward that is not finite in env step 160: inf in environment 3"),
        ("last", r"a last observation of an episode that is not finite .*: nan in environment 3"),
    ],
)
def test_what_is_not_finite_is_not_learned_from(fault: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    step, taken = BatchVectorEnv.step, []

    def faulty(self: Any, actions: Any) -> Any:
        observations, rewards, terminated, truncated, infos = step(self, actions)
        if self.num_envs == 8:
            taken.append(None)
        if len(taken) == 20 and fault == "last":
            assert "_final_obs" in infos
            infos["_final_obs"][3] = True
            infos["final_obs"][3, 1] = math.nan
        if len(taken) == 20 and fault == "observation":
            observations[3, 1] = math.nan
        if len(taken) == 20 and fault == "reward":
            rewards[3] = math.inf
        return observations, rewards, terminated, truncated, infos

    monkeypatch.setattr(BatchVectorEnv, "step", faulty)
    learned = []
    monkeypatch.setattr(Agent, "learn", lambda self, learn=Agent.learn: learned.append(learn(self)) or learned[-1])
    cfg = replace(TINY, evaluation_interval=0, staggered_starts=False)
    with pytest.raises(RunError, match=told):
        train_run(training(tmp_path / "run", cfg), Stopper())
    assert len(learned) == 1
