"""rsl_rl on a vector environment: what it is told is what a step gave."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from rsl_rl.runners import OnPolicyRunner
from trajectories import actions_for

from motrix_gym.interop import to_rsl_rl

NUM_ENVS = 4
SHORT = {"max_episode_steps": 7}


def make(name: str, **kwargs: object):
    return gymnasium.make_vec(f"Motrix/{name}-v0", num_envs=NUM_ENVS, num_threads=1, **kwargs)


@pytest.mark.parametrize("name", ["CartPole", "Go1", "HopperHop", "FrankaLiftCube"])
def test_it_is_the_bare_step(name):
    bare = make(name, **SHORT)
    env = to_rsl_rl(make(name, **SHORT), seed=3)
    observations, _ = bare.reset(seed=3)
    np.testing.assert_array_equal(env.get_observations()["policy"], observations)
    steps = np.zeros(NUM_ENVS)
    for action in actions_for(f"Motrix/{name}-v0", NUM_ENVS, 16).astype(np.float32):
        observations, rewards, terminated, truncated, _info = bare.step(action)
        seen, paid, dones, extras = env.step(torch.from_numpy(action))
        np.testing.assert_array_equal(seen["policy"], observations)
        np.testing.assert_array_equal(paid, rewards.astype(np.float32))
        np.testing.assert_array_equal(dones, terminated | truncated)
        np.testing.assert_array_equal(extras["time_outs"], truncated)
        steps = np.where(terminated | truncated, 0, steps + 1)
        np.testing.assert_array_equal(env.episode_length_buf, steps)
        assert ("critic" in seen) == (bare.unwrapped.state_space is not None)
        if bare.unwrapped.state_space is not None:
            np.testing.assert_array_equal(seen["critic"], bare.unwrapped.state())
        terms = {key: value for key, value in extras["log"].items() if key.startswith("/reward_terms/")}
        assert sum(terms.values()) == pytest.approx(rewards.mean(), abs=1e-9)
        reasons = [value for key, value in extras["log"].items() if key.startswith("/termination/")]
        assert (sum(reasons) > 0) == terminated.any()


def test_episode_lengths_that_it_draws_bring_the_time_limit_closer():
    env = to_rsl_rl(make("Go1", max_episode_steps=9), seed=0)
    env.episode_length_buf = torch.tensor([0, 3, 6, 8])
    ends = []
    for _ in range(9):
        _, _, dones, extras = env.step(torch.zeros(NUM_ENVS, 12))
        np.testing.assert_array_equal(dones, extras["time_outs"])
        ends.append(dones.bool().tolist())
    first = np.array(ends).argmax(axis=0) + 1
    assert first.tolist() == [9, 6, 3, 1]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="needs a time limit"):
        to_rsl_rl(make("CartPole", max_episode_steps=-1))
    with pytest.raises(ValueError, match="'SameStep'"):
        to_rsl_rl(make("CartPole", autoreset_mode=AutoresetMode.DISABLED))


def config(steps: int) -> dict:
    model = {"class_name": "MLPModel", "hidden_dims": [32, 32], "activation": "elu", "obs_normalization": True}
    return {
        "num_steps_per_env": steps,
        "save_interval": 1000,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": {**model, "distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0}},
        "critic": dict(model),
        "algorithm": {"class_name": "PPO", "learning_rate": 1e-3, "schedule": "fixed", "gamma": 0.98},
    }


def test_it_learns(tmp_path, capsys):
    torch.manual_seed(0)
    envs = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=64, num_threads=1)
    runner = OnPolicyRunner(to_rsl_rl(envs, seed=0), config(32), log_dir=str(tmp_path))
    runner.learn(30, init_at_random_ep_len=True)
    assert list(tmp_path.glob("model_*.pt"))
    assert "/reward_terms/" in capsys.readouterr().out
    assert np.mean(runner.logger.lenbuffer) > 100
