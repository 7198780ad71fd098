"""TorchRL on the environments: by id, and on a vector environment that it resets itself."""

import gymnasium
import numpy as np
import pytest
from torchrl.envs import GymEnv, GymWrapper
from torchrl.envs.utils import check_env_specs

NUM_ENVS = 3
SHORT = {"max_episode_steps": 7}


def test_an_id_is_enough():
    assert GymEnv("Motrix/CartPole-v0").rollout(5)["observation"].shape == (5, 4)


@pytest.mark.parametrize("name", ["CartPole", "Go1", "HopperHop"])
def test_its_transitions_are_those_of_the_environments(name):
    env_id = f"Motrix/{name}-v0"
    make = lambda: gymnasium.make_vec(env_id, num_envs=NUM_ENVS, num_threads=1, autoreset_mode="Disabled", **SHORT)  # noqa: E731
    env, truth = GymWrapper(make()), make()
    check_env_specs(env)
    env.set_seed(3)
    rollout = env.rollout(30, break_when_any_done=False)
    truth.reset(seed=3)  # as its set_seed does, before the reset of the rollout
    observation, _ = truth.reset()
    ends = 0
    for step in range(30):
        here, after = rollout[:, step], rollout[:, step]["next"]
        np.testing.assert_array_equal(here["observation"], observation)
        observation, rewards, terminated, truncated, _ = truth.step(here["action"].numpy())
        np.testing.assert_array_equal(after["observation"], observation)
        np.testing.assert_array_equal(after["reward"].squeeze(-1), rewards.astype(np.float32))
        np.testing.assert_array_equal(after["terminated"].squeeze(-1), terminated)
        np.testing.assert_array_equal(after["truncated"].squeeze(-1), truncated)
        ended = terminated | truncated
        if ended.any():
            ends += ended.sum()
            observation, _ = truth.reset(options={"reset_mask": ended})
    assert ends >= NUM_ENVS
