"""The value network sees the state and the policy the observation, in training and nowhere else, on both backends."""

import dataclasses
import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from comparison import everything
from test_resume import TINY, Stopper, job

from motrix_gym import MotrixVectorEnv, TaskState, register
from motrix_gym.tasks.basic.pendulum import Pendulum
from motrix_train import environment
from motrix_train.cli import run as command
from motrix_train.config import PPOCfg, from_json
from motrix_train.errors import UsageError
from motrix_train.learning import backend
from motrix_train.learning.agent import Agent, successors
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.learning.transfer import InitFrom, Transfer
from motrix_train.settings import changed
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.agents import fresh_agent
from motrix_train.training.run import train_run

WINDFALL, LIMIT = "Test/Windfall-v0", 8
GAMMA = 0.8
SEEING = replace(
    TINY,
    num_envs=32,
    max_env_steps=32 * 16 * 80,
    check_point_interval=16 * 40,
    evaluation_interval=40,
    value_hidden_layer_sizes=(16,),
    learning_rate=3e-3,
    learning_rate_scheduler_kl_threshold=0.0,
    clip_predicted_values=False,
    discount_factor=GAMMA,
    critic="state",
)
NETWORK = PPOCfg(
    num_envs=3,
    rollouts=2,
    mini_batches=1,
    learning_epochs=1,
    policy_hidden_layer_sizes=(4,),
    value_hidden_layer_sizes=(4,),
    discount_factor=GAMMA,
    critic="state",
)
NOBODY = np.zeros(NETWORK.num_envs, dtype=bool)


@dataclass(frozen=True)
class Coin(TaskState):
    """What an episode pays in every step."""

    side: np.ndarray  # (N,) -1 or 1
    age: np.ndarray  # (N,) steps


@dataclass(frozen=True, kw_only=True)
class Windfall(Pendulum):
    """Every step pays what a coin said when the episode began; the observation says nothing of it, the state all."""

    WEIGHTS: ClassVar = {"coin": 1.0}

    def reset(self, rng):
        angle, rate, _ = super().reset(rng)
        side = np.where(rng.uniform()[:, 0] < 0.5, -1.0, 1.0)
        return angle, rate, Coin(side, np.zeros(len(rng)))

    def privileged(self, physics, task_state):
        return {"side": task_state.side[:, None], "age": task_state.age[:, None]}

    def reward(self, t):
        return {"coin": t.state.side}

    def next_state(self, t, rng):
        return dataclasses.replace(t.state, age=t.state.age + 1)


register(WINDFALL, Windfall, max_episode_steps=LIMIT)


@pytest.fixture(scope="module", params=["torch", "jax"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run whose critic saw the state, to be read only."""
    return trained(request.param, SEEING, tmp_path_factory.mktemp("whole") / "run")


def trained(name: str, cfg: PPOCfg, path: Path, **more: Any) -> RunDirectory:
    run = job(name, cfg, WINDFALL, **more).create_run("", path)
    assert not train_run(run, Stopper()).interrupted
    return run


def last(run: RunDirectory) -> checkpoint.Checkpoint:
    path = run.checkpoint("last")
    assert path is not None
    return checkpoint.read(path)


def values(run: RunDirectory) -> tuple[np.ndarray, np.ndarray]:  # (N,), (N,)
    """What the coins of episodes say in their middle, and what the critic of a run makes of these moments."""
    saved = last(run)
    chosen, cfg = backend.select(saved.backend), replace(from_json(saved.config), num_envs=256)
    env: Any = environment.make_env(WINDFALL, cfg.num_envs, {})
    agent = fresh_agent(env, WINDFALL, cfg, chosen, "cpu")
    chosen.load_network_state(agent, saved.state)
    observations, _ = env.reset(seed=1)
    for _ in range(LIMIT // 2):
        observations, *_ = env.step(np.zeros(env.action_space.shape))
    states = env.state()
    agent.act(observations, states if cfg.critic == "state" else None)
    env.close()
    return states[:, -2], np.asarray(agent.skrl._current_values)[:, 0]


def network(name: str, seed: int = 0) -> tuple[backend.Backend, Agent]:
    """A backend and its agent for observations of 2 and states of 3 elements."""
    pytest.importorskip(name)
    chosen = backend.select(name)
    chosen.seed_everything(seed)
    seen, done, known = (gymnasium.spaces.Box(-9, 9, (width,)) for width in (2, 1, 3))
    return chosen, chosen.make_agent(seen, done, NETWORK.num_envs, NETWORK, None, "cpu", state_space=known)


def rows(rng: np.random.Generator, width: int) -> np.ndarray:  # (N, width)
    return rng.normal(2.0, 3.0, (NETWORK.num_envs, width)).astype(np.float32)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_the_value_sees_the_state_and_the_policy_the_observation(name: str):
    chosen, agent = network(name)
    rng = np.random.default_rng(0)
    known = []
    for _ in range(2 * NETWORK.rollouts):
        known.append(rows(rng, 3))
        agent.act(rows(rng, 2), known[-1])
        agent.record(rng.standard_normal(3), rows(rng, 2), NOBODY, NOBODY, {}, rows(rng, 3))
        agent.learn()
    scaler = chosen.network_state(agent)["state_normalizer"]
    count = len(np.concatenate(known))
    assert scaler["count"].item() == 1 + count
    assert np.asarray(scaler["mean"]) * (1 + count) / count == pytest.approx(np.concatenate(known).mean(0), rel=1e-5)

    noise = chosen.random_state(agent)

    def seen(observations: np.ndarray, states: np.ndarray) -> tuple[list, list]:
        chosen.set_random_state(agent, noise)
        actions = agent.act(observations, states)
        return actions.tolist(), np.asarray(agent.skrl._current_values).tolist()

    observations, others, states, other_states = (rows(rng, width) for width in (2, 2, 3, 3))
    actions, values = seen(observations, states)
    assert seen(observations, states) == (actions, values)
    actions_in_other_states, values_of_other_states = seen(observations, other_states)
    assert actions_in_other_states == actions
    assert not np.isclose(values_of_other_states, values).any()
    other_actions, values_at_other_observations = seen(others, states)
    assert not np.isclose(other_actions, actions).any()
    assert values_at_other_observations == values


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_truncated_rows_are_continued_by_the_value_of_their_last_state(name: str):
    _, agent = network(name)
    agent.skrl.value.act = lambda inputs, role, params=None: (inputs["states"][:, :1], {})
    rng = np.random.default_rng(1)
    after, final = rows(rng, 3), rows(rng, 3)
    agent.act(rows(rng, 2), rows(rng, 3))
    agent.record(
        np.ones(3),
        rows(rng, 2),
        np.array([False, True, False]),
        np.array([True, False, False]),
        {
            "final_obs": rows(rng, 2),
            "_final_obs": np.array([True, True, False]),
            "final_state": final,
            "_final_state": np.array([True, True, False]),
        },
        after,
    )
    rewards = np.asarray(agent.skrl.memory.get_tensor_by_name("rewards"))[0, :, 0]
    assert rewards == pytest.approx([1.0 + GAMMA * np.clip(final[0, 0], -5, 5), 1.0, 1.0], rel=1e-5)
    assert np.asarray(agent.skrl._current_next_states).tolist() == [*final[:2].tolist(), after[2].tolist()]


@pytest.mark.parametrize("staggered", [True, False])
def test_the_loop_gives_the_states_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, staggered: bool):
    """States tell how old an episode is: what follows on a state is one step older, also where the episode ends."""
    steps, record, act = [], Agent.record, Agent.act

    def acting(self, observations, states):
        steps.append((observations, states))
        return act(self, observations, states)

    def recording(self, rewards, observations, terminated, truncated, infos, states):
        steps[-1] += states, successors(states, infos, "final_state"), successors(observations, infos), truncated
        record(self, rewards, observations, terminated, truncated, infos, states)

    monkeypatch.setattr(Agent, "act", acting)
    monkeypatch.setattr(Agent, "record", recording)
    short = replace(SEEING, num_envs=LIMIT, max_env_steps=1, staggered_starts=staggered, evaluation_interval=0)
    trained("torch", replace(short, check_point_interval=32), tmp_path / "run")

    ends = np.array([truncated for *_, truncated in steps])  # (steps, N)
    assert ends.sum(axis=0).min() >= 3
    assert (ends[: LIMIT - 1].any(axis=0).sum() == LIMIT - 1) == staggered
    for observations, states, after, successor, successor_observations, truncated in steps:
        assert np.array_equal(states[:, :3], observations)
        assert np.array_equal(successor[:, :3], successor_observations)
        assert np.array_equal(successor[:, -1], states[:, -1] + 1)
        assert np.array_equal(successor[:, -2], states[:, -2])
        assert np.array_equal(after[:, -1], np.where(truncated, 0, successor[:, -1]))
    for (_, _, after, *_), (_, states, *_) in itertools.pairwise(steps):
        assert np.array_equal(after, states)


def test_a_critic_that_knows_the_coin_explains_the_return(whole: RunDirectory):
    side, value = values(whole)
    assert {-1.0, 1.0} == set(side)
    assert value == pytest.approx(side / (1 - GAMMA), abs=1.5)


def test_a_critic_that_does_not_know_the_coin_cannot(whole: RunDirectory, tmp_path: Path):
    blind = trained(last(whole).backend, replace(SEEING, critic="observation"), tmp_path / "run")
    assert ["state_normalizer" in last(run).state for run in (whole, blind)] == [True, False]
    side, value = values(blind)
    assert {-1.0, 1.0} == set(side)
    assert np.abs(value).max() < 2.0


def test_stopped_and_resumed(whole: RunDirectory, tmp_path: Path):
    run = job(last(whole).backend, SEEING, WINDFALL).create_run("", tmp_path / "run")
    assert train_run(run, Stopper(13)).interrupted
    assert not train_run(RunDirectory.open(run.path), Stopper()).interrupted
    assert everything(run) == everything(whole)


def test_nobody_needs_the_state_to_act(whole: RunDirectory, monkeypatch: pytest.MonkeyPatch, work: Path):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(Windfall, "privileged", Pendulum.privileged)
    assert environment.make_env(WINDFALL, 1, {}).unwrapped.state_space is None
    assert command(["evaluate", str(whole.path), "--episodes=4", "--json"]) == 0
    assert command(["export", str(whole.path), "--onnx", "--output=policy.onnx"]) == 0


def test_policies_from_before_the_field_are_read(whole: RunDirectory):
    saved = last(whole)
    config = {name: value for name, value in saved.config.items() if name != "critic"}
    before = replace(saved, config=config)
    assert from_json(config).critic == "observation"
    observations = np.random.default_rng(2).standard_normal((5, 3)).astype(np.float32)
    mean, same = (NumpyPolicy(policy)(observations) for policy in (saved, before))
    assert mean.tolist() == same.tolist()


def started(origin: InitFrom, path: Path) -> tuple[Transfer, checkpoint.Checkpoint]:
    """What came along from another policy, and the policy after a short training that hardly learns."""
    cfg = replace(SEEING, learning_rate=1e-12, max_env_steps=1, check_point_interval=16, evaluation_interval=0)
    run = job(origin.checkpoint.backend, cfg, WINDFALL, origin=origin).create_run("", path)
    callback = Stopper()
    train_run(run, callback)
    assert callback.plan is not None
    assert callback.plan.transfer is not None
    return callback.plan.transfer, last(run)


def test_the_critic_and_its_standardiser_come_along(whole: RunDirectory, tmp_path: Path):
    before = last(whole)
    transfer, after = started(InitFrom(before), tmp_path / "run")
    assert transfer.skipped == ()
    steps = SEEING.num_envs * SEEING.rollouts
    count, counted = (part.state["state_normalizer"]["count"].item() for part in (before, after))
    assert counted == count + steps
    for name, array in checkpoint.leaves(before.state["value"]):
        assert dict(checkpoint.leaves(after.state["value"]))[name] == pytest.approx(array, abs=1e-6), name
    transfer, after = started(InitFrom(before, normalizer=False), tmp_path / "fresh")
    assert not [name for name in (*transfer.loaded, *transfer.skipped) if name.startswith("state_normalizer")]
    assert after.state["state_normalizer"]["count"].item() == 1 + steps


def test_a_critic_that_saw_the_observation_is_left_with_its_first_layer(whole: RunDirectory, tmp_path: Path):
    name, cfg = last(whole).backend, replace(SEEING, max_env_steps=1, check_point_interval=16, evaluation_interval=0)
    blind = last(trained(name, replace(cfg, critic="observation"), tmp_path / "blind"))
    with pytest.raises(UsageError, match=r"value/.* here: give the layer sizes, the critic and .* or --partial"):
        started(InitFrom(blind), tmp_path / "refused")
    transfer, _ = started(InitFrom(blind, partial=True), tmp_path / "run")
    parts = {part.partition("/")[0] for part in transfer.skipped}
    assert parts == {"value", "state_normalizer"}
    assert len([part for part in transfer.skipped if part.startswith("value")]) == 1
    assert {"policy", "value", "observation_normalizer"} <= {part.partition("/")[0] for part in transfer.loaded}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"critic": "history"}, r"critic is 'history'; it takes one of 'observation', 'state'"),
        ({"critic": "state", "mirror": "policy_and_value"}, r"critic 'state' .* give mirror=policy or critic="),
        (
            {"critic": "state", "share_policy_value_features": "true"},
            r"critic 'state' .* give share_policy_value_features=false or critic=observation",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, str], said: str):
    with pytest.raises(UsageError, match=said):
        changed(PPOCfg(), settings)


def test_an_environment_without_a_state_is_refused_by_name(tmp_path: Path):
    run = job("torch", replace(TINY, critic="state")).create_run("", tmp_path / "run")
    with pytest.raises(UsageError, match="Motrix/CartPole-v0 has no state beside its observations; give critic="):
        train_run(run, Stopper())
    assert not run.path.exists()


def test_an_environment_that_loses_the_last_state_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    step = MotrixVectorEnv.step

    def forgetful(self, actions):
        *results, info = step(self, actions)
        return *results, {name: value for name, value in info.items() if name != "final_state"}

    monkeypatch.setattr(MotrixVectorEnv, "step", forgetful)
    with pytest.raises(UsageError, match=r"info\['final_state'\]; give critic=observation"):
        trained("torch", SEEING, tmp_path / "run")


def test_a_mirrored_policy_may_have_such_a_critic(tmp_path: Path):
    cfg = replace(SEEING, num_envs=4, max_env_steps=1, check_point_interval=32, mirror="policy", evaluation_interval=0)
    run = job("torch", cfg, "Motrix/Go1-v0").create_run("", tmp_path / "run")
    train_run(run, Stopper())
    saved = last(run)
    mirror = saved.state["mirror"]
    means = {part: saved.state[f"{part}_normalizer"]["mean"] for part in ("observation", "state")}
    image = means["observation"][mirror["observation_index"]] * mirror["observation_sign"]
    assert image == pytest.approx(means["observation"], abs=1e-6)
    width = len(image)
    assert len(means["state"]) > width
    assert means["state"][:width] != pytest.approx(image, abs=1e-3)
