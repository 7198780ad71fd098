"""With a known value function the stored rewards and the advantages are exact numbers, on both backends."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from motrix_train.config import PPOCfg
from motrix_train.learning import backend
from motrix_train.learning.agent import Agent, successors

GAMMA, LAMBDA = 0.9, 0.8
ROWS = 3
VALUE_MEAN, VALUE_STD = 100.0, 2.0


def value_of(observations: np.ndarray) -> np.ndarray:  # (N, 2) -> (N,)
    """The value function that the agents below are given."""
    return VALUE_MEAN + VALUE_STD * observations[:, 0]


def known_agent(name: str, steps: int, **changes: Any) -> Agent:
    """An agent whose value network returns the first observation, standardised by mean 100 and deviation 2."""
    pytest.importorskip(name)
    chosen = backend.select(name)
    cfg = PPOCfg(
        num_envs=ROWS,
        rollouts=steps,
        mini_batches=1,
        learning_epochs=1,
        policy_hidden_layer_sizes=(4,),
        value_hidden_layer_sizes=(4,),
        discount_factor=GAMMA,
        gae_lambda=LAMBDA,
        **changes,
    )
    chosen.seed_everything(0)
    spaces = gymnasium.spaces.Box(-10, 10, (2,)), gymnasium.spaces.Box(-1, 1, (1,))
    agent = chosen.make_agent(*spaces, ROWS, cfg, None, "cpu")
    agent.skrl.value.act = lambda inputs, role, params=None: (inputs["observations"][:, :1], {})
    scaler = agent.skrl._value_preprocessor
    scaler.running_mean = scaler.running_mean + VALUE_MEAN
    scaler.running_variance = scaler.running_variance * VALUE_STD**2
    return agent


def stored(agent: Agent, name: str) -> np.ndarray:  # (steps, N)
    return np.asarray(agent.skrl.memory.get_tensor_by_name(name))[..., 0]


def episodes(steps: int, seed: int) -> SimpleNamespace:
    """Random transitions of a SAME_STEP environment: (steps, N, ...) each."""
    rng = np.random.default_rng(seed)
    begin = rng.uniform(-2, 2, (steps + 1, ROWS, 2)).astype(np.float32)
    final = rng.uniform(-2, 2, (steps, ROWS, 2)).astype(np.float32)
    kind = rng.choice(["on", "terminated", "truncated"], (steps, ROWS), p=[0.5, 0.25, 0.25])
    kind[0], kind[-1] = ["terminated", "truncated", "on"], ["truncated", "on", "terminated"]
    return SimpleNamespace(
        observations=begin,
        final=final,
        terminated=kind == "terminated",
        truncated=kind == "truncated",
        rewards=rng.uniform(-1, 1, (steps, ROWS)),
    )


def feed(agent: Agent, data: SimpleNamespace) -> None:
    for step, rewards in enumerate(data.rewards):
        agent.act(data.observations[step])
        ended = data.terminated[step] | data.truncated[step]
        infos = {"final_obs": data.final[step], "_final_obs": ended} if ended.any() else {}
        agent.record(rewards, data.observations[step + 1], data.terminated[step], data.truncated[step], infos)
        agent.learn()


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_only_truncated_rows_are_continued_by_the_value_of_their_last_observation(name: str):
    agent = known_agent(name, steps=2)
    rewards = np.array([1.0, 1.0, 1.0])
    next_episode = np.array([[0.5, 0.0], [0.5, 0.0], [0.5, 0.0]], np.float32)
    last = np.array([[2.0, 0.0], [3.0, 0.0], [9.0, 9.0]], np.float32)
    agent.act(np.zeros((ROWS, 2), np.float32))
    agent.record(
        rewards,
        next_episode,
        np.array([False, True, False]),
        np.array([True, False, False]),
        {"final_obs": last, "_final_obs": np.array([True, True, False])},
    )
    continued = 1.0 + GAMMA * (VALUE_MEAN + VALUE_STD * 2.0)
    assert stored(agent, "rewards")[0] == pytest.approx([continued, 1.0, 1.0], rel=1e-6)
    assert rewards.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["torch", "jax"])
@pytest.mark.parametrize("seed", [0, 1])
def test_advantages_end_where_episodes_end(name: str, seed: int):
    steps = 6
    data = episodes(steps, seed)
    agent = known_agent(name, steps)
    feed(agent, data)
    expected = np.zeros((steps, ROWS))
    for row in range(ROWS):
        for step in range(steps):
            for ahead in range(step, steps):
                ended = data.terminated[ahead, row] | data.truncated[ahead, row]
                after = (data.final[ahead] if ended else data.observations[ahead + 1])[[row]]
                goes_on = not data.terminated[ahead, row]
                error = data.rewards[ahead, row] + GAMMA * goes_on * value_of(after)[0]
                error -= value_of(data.observations[ahead][[row]])[0]
                expected[step, row] += (GAMMA * LAMBDA) ** (ahead - step) * error
                if ended:
                    break
    advantages = stored(agent, "advantages")
    assert standardised(advantages) == pytest.approx(standardised(expected), abs=1e-5)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_without_the_bootstrap_the_time_limit_is_a_termination(name: str):
    data = episodes(3, seed=2)
    agent = known_agent(name, 4, time_limit_bootstrap=False)
    feed(agent, data)
    assert stored(agent, "rewards")[:3] == pytest.approx(data.rewards, abs=1e-6)
    assert (stored(agent, "terminated")[:3].astype(bool) == (data.terminated | data.truncated)).all()
    assert not stored(agent, "truncated")[:3].any()


def test_successors_are_the_observations_where_nothing_ended():
    observations = np.zeros((2, 2), np.float32)
    assert successors(observations, {}) is observations
    infos = {"final_obs": np.ones((2, 2), np.float32), "_final_obs": np.array([False, True])}
    assert successors(observations, infos).tolist() == [[0, 0], [1, 1]]
    assert not observations.any()


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()
