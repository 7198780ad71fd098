"""Each behaviour that `learning.skrl_oddities` lists, by its name there: a failure means that SKRL changed."""

import importlib
import itertools
import logging
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from motrix_train.config import PPOCfg, SACCfg
from motrix_train.learning import skrl_oddities
from motrix_train.learning.agent import Agent, Update
from motrix_train.learning.backend import select
from motrix_train.storage.checkpoint import leaves

ROWS, STEPS, EPOCHS, BATCHES = 4, 3, 2, 2
SPACES = gymnasium.spaces.Box(-9, 9, (3,)), gymnasium.spaces.Box(-1, 1, (2,))
CFG = PPOCfg(
    num_envs=ROWS,
    rollouts=STEPS,
    learning_epochs=EPOCHS,
    mini_batches=BATCHES,
    policy_hidden_layer_sizes=(4,),
    value_hidden_layer_sizes=(4,),
)


@pytest.fixture(params=["torch", "jax"])
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return request.param


def made(name: str, **changes: Any) -> Agent:
    chosen = select(name)
    chosen.seed_everything(0)
    return chosen.make_agent(*SPACES, ROWS, replace(CFG, **changes), None, "cpu")


def updated(agent: Agent) -> Update:
    """The report of an update from random transitions."""
    rng = np.random.default_rng(0)
    nothing = np.zeros(ROWS, bool)
    observations = rng.standard_normal((STEPS + 1, ROWS, 3)).astype(np.float32)
    for before, after in itertools.pairwise(observations):
        agent.act(before)
        agent.record(rng.standard_normal(ROWS), after, nothing, nothing, {})
    update = agent.learn()
    assert update is not None
    return update


def arrays(name: str, agent: Agent) -> dict[str, np.ndarray]:
    return dict(leaves(select(name).agent_state(agent)))


def test_every_name_of_the_list_has_a_test():
    listed = set(re.findall(r"^\| (\w+) \|", skrl_oddities.__doc__ or "", re.MULTILINE)) - {"name"}
    tested = {test.removeprefix("test_") for test in globals() if test.startswith("test_")}
    assert listed == tested - {"every_name_of_the_list_has_a_test"}


def test_timesteps(name: str, monkeypatch: pytest.MonkeyPatch):
    first, second = made(name), made(name)
    select(name).seed_everything(1)
    updated(first)
    monkeypatch.setitem(skrl_oddities.NO_TIMESTEPS, "timestep", 7)
    monkeypatch.setitem(skrl_oddities.NO_TIMESTEPS, "timesteps", 9)
    select(name).seed_everything(1)
    updated(second)
    for path, array in arrays(name, first).items():
        np.testing.assert_array_equal(array, arrays(name, second)[path], err_msg=path)


def test_seed(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("skrl")
    from skrl import logger
    from skrl.utils import set_seed

    said: list[str] = []
    monkeypatch.setattr(logger, "handle", lambda record: said.append(record.getMessage()))
    monkeypatch.setattr(logger, "level", logging.INFO)
    skrl_oddities.seed_generators(3)
    quiet, numbers = list(said), np.random.random(3)  # noqa: NPY002
    set_seed(3)
    assert (quiet, said) == ([], ["Seed: 3"])
    np.testing.assert_array_equal(np.random.random(3), numbers)  # noqa: NPY002


def test_numpy_generator():
    pytest.importorskip("jax")
    agent = made("jax")
    before = skrl_oddities.numpy_random_state()
    updated(agent)
    after = skrl_oddities.numpy_random_state()
    assert (before["position"], before["keys"].tolist()) != (after["position"], after["keys"].tolist())


def test_memory_tensors(name: str):
    agent = made(name)
    updated(agent)
    widths = {"observations": 3, "actions": 2, "log_prob": 1, "values": 1, "returns": 1}
    for tensor, width in widths.items():
        assert skrl_oddities.rollout_tensor(agent.skrl, tensor).shape == (STEPS, ROWS, width)


def test_normalizers(name: str):
    ppo = made(name).skrl
    modules = skrl_oddities.saved_modules(ppo)
    assert ppo._observation_preprocessor is modules["observation_normalizer"]
    assert ppo._value_preprocessor is modules["value_normalizer"]
    assert ppo._state_preprocessor(None) is None


def test_pooled_moments(name: str, monkeypatch: pytest.MonkeyPatch):
    agent = made(name)
    normalizer = skrl_oddities.observation_normalizer(agent.skrl)
    monkeypatch.setattr(type(normalizer._pooling), "is_needed", True)
    monkeypatch.setattr(type(normalizer._pooling), "__call__", lambda self, mean, var, count, **how: (mean, var, count))
    rows = np.random.default_rng(1).normal(5, 2, (1000, 3))
    normalizer(agent._to_device(rows), train=True)
    assert np.asarray(normalizer.running_mean) == pytest.approx(rows.mean(0), rel=0.01)
    assert np.asarray(normalizer.running_variance) == pytest.approx(rows.var(0), rel=0.05)


def test_checkpoint_modules(name: str):
    everything = made(name).skrl.checkpoint_modules
    optimizers = {"optimizer"} if name == "torch" else {"policy_optimizer", "value_optimizer"}
    assert set(everything) == {"policy", "value", "observation_preprocessor", "value_preprocessor"} | optimizers


def test_tracking_data(name: str):
    agent = made(name, entropy_loss_scale=0.1)
    update = updated(agent)
    assert set(update.losses) == {"policy", "value", "entropy"}
    assert update.policy_std == pytest.approx(1.0, abs=0.1)
    assert [tag in agent.skrl.tracking_data for tag in skrl_oddities.LEARNING_RATES] == [name == "torch", name == "jax"]


def test_truncation(name: str):
    agent = made(name, discount_factor=0.5)
    agent.skrl.value.act = lambda inputs, role, params=None: (inputs["observations"][:, :1], {})
    agent.act(np.zeros((ROWS, 3), np.float32))
    truncated = np.array([True, False, False, False])
    agent.record(np.ones(ROWS), np.full((ROWS, 3), 2, np.float32), ~truncated, truncated, {})
    rewards = np.asarray(skrl_oddities.rollout_tensor(agent.skrl, "rewards"))[0, :, 0]
    assert rewards == pytest.approx([2.0, 1.0, 1.0, 1.0])


def test_policy_then_value():
    pytest.importorskip("torch")
    agent = made("torch", share_policy_value_features=True)
    batches: list[int] = []
    agent.skrl.policy.hidden.register_forward_hook(lambda module, inputs, output: batches.append(len(output)))
    updated(agent)
    every_step, values_after_the_rollout, comparison = [ROWS] * STEPS, [ROWS], [ROWS * STEPS]
    mini_batches = [ROWS * STEPS // BATCHES] * (EPOCHS * BATCHES)
    assert batches == every_step + values_after_the_rollout + mini_batches + comparison


def test_worker_globals():
    pytest.importorskip("torch")
    select("torch")
    config = importlib.import_module("skrl").config.torch
    averaging_over = importlib.import_module("motrix_train.learning.torch.skrl_oddities").averaging_over
    assert (config.world_size, config.is_distributed) == (1, False)
    with averaging_over(SimpleNamespace(size=2)):
        assert (config.world_size, config.is_distributed) == (2, True)
    assert (config.world_size, config.is_distributed) == (1, False)


def test_gradient_norm(name: str):
    agent = made(name)
    measured = agent._gradient_norm
    norms = measured._norms if name == "torch" else measured.value
    counted: list[int] = []
    agent._gradient_norm = lambda: counted.append(len(measured._norms if name == "torch" else norms)) or 0.0
    updated(agent)
    assert counted == [EPOCHS * BATCHES]


def test_optimizers():
    pytest.importorskip("jax")
    agent = made("jax")
    ours = type(agent.skrl.policy_optimizer)
    before = agent.skrl.policy_optimizer.state
    updated(agent)
    assert ours.__module__ == "motrix_train.learning.jax.skrl_oddities"
    assert (type(agent.skrl.policy_optimizer), type(agent.skrl.value_optimizer)) == (ours, ours)
    assert agent.skrl.policy_optimizer.state is not before


@pytest.mark.parametrize(("scheduler", "gets_kl"), [("kl_adaptive_recorder", True), ("recorder", False)])
def test_kl_adaptive(scheduler: str, gets_kl: bool, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("jax")
    seen: list[bool] = []

    def schedule(count: int, lr: float = 1.0, kl: Any = None) -> float:
        seen.append(kl is not None)
        return lr

    def recorder(**kwargs: Any) -> Any:
        return schedule

    recorder.__qualname__ = scheduler
    chosen = select("jax")
    classes = chosen._skrl_classes(SimpleNamespace(size=1))
    monkeypatch.setattr(type(chosen), "_skrl_classes", lambda self, workers: replace(classes, kl_adaptive=recorder))
    updated(made("jax"))
    assert set(seen) == {gets_kl}


def test_noise():
    pytest.importorskip("jax")
    agent = made("jax")
    oddities = importlib.import_module("motrix_train.learning.jax.skrl_oddities")
    before, observations = oddities.noise_state(agent.skrl.policy), np.zeros((ROWS, 3), np.float32)
    first, second = agent.act(observations), agent.act(observations)
    assert oddities.noise_state(agent.skrl.policy)["draws"] == before["draws"] + 2
    oddities.set_noise_state(agent.skrl.policy, before)
    np.testing.assert_array_equal(agent.act(observations), first)
    assert (first != second).any()


def test_noise_counter():
    pytest.importorskip("jax")
    policy = made("jax").skrl.policy
    observations, actions = np.zeros((ROWS, 3), np.float32), np.zeros((ROWS, 2), np.float32)
    mixin = importlib.import_module("skrl.models.jax").GaussianMixin
    draws = policy._g_i
    mixin.act(policy, {"observations": observations, "taken_actions": actions}, role="policy")
    assert policy._g_i == draws + 1
    policy.act({"observations": observations, "taken_actions": actions}, role="policy")
    assert policy._g_i == draws + 1


def test_default_device():
    jax = pytest.importorskip("jax")
    made("jax")
    assert importlib.import_module("skrl").config.jax.device == jax.devices("cpu")[0]


def test_warp():
    """In a process of its own: what is initialised once stays so."""
    pytest.importorskip("warp")
    pytest.importorskip("skrl")
    oddity = "import warp, skrl"
    selected = "[select(name) for name in NAMES if installed(name)]"
    ours = f"import warp; from motrix_train.learning.backend import NAMES, installed, select; {selected}"
    assert b"initialized" in printed(oddity)
    assert printed(ours) == b""


def printed(code: str) -> bytes:
    """What Python prints where it runs this."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout


def soft() -> Agent:
    """An agent of SAC."""
    pytest.importorskip("torch")
    changes = {"learning_starts": 0, "random_timesteps": 0, "batch_size": 4, "memory_size": 100}
    chosen = select("torch")
    return chosen.make_agent(*SPACES, ROWS, SACCfg(num_envs=ROWS, rollouts=STEPS, **changes), None, "cpu")


def test_sac_step():
    agent = soft()
    updated(agent)  # there are transitions to learn from
    skrl = agent.skrl
    stepped_with = []
    skrl.critic_optimizer.step = lambda *_: stepped_with.append(skrl.critic_1.head.weight.grad.clone())
    importlib.import_module("skrl.agents.torch.sac").SAC.update(skrl, timestep=0, timesteps=0)
    assert (skrl.critic_1.head.weight.grad != stepped_with[-1]).any()


def test_sac_noise():
    jnp = pytest.importorskip("jax").numpy
    policy = made("jax").skrl.policy
    loss = importlib.import_module("skrl.agents.jax.sac.sac")._update_policy

    def critic(inputs: Any, role: str, params: Any) -> Any:
        return inputs["taken_actions"].sum(axis=-1, keepdims=True), {}

    of_critics = policy.state_dict  # not looked at
    inputs = {"observations": jnp.zeros((ROWS, 3))}
    acts = policy.act, critic, critic
    first, second = (loss(*acts, policy.state_dict, of_critics, of_critics, 0.0, inputs)[1] for _ in range(2))
    assert first == second
    assert (policy.act(dict(inputs), role="policy")[0] != policy.act(dict(inputs), role="policy")[0]).any()
