"""Stable-Baselines3 and SBX on a vector environment: the transitions of single environments, and the right targets."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize
from trajectories import actions_for

from motrix_gym.interop import to_sb3

NUM_ENVS = 4
SHORT = {"max_episode_steps": 7}
IDS = ("CartPole", "Go1", "FrankaLiftCube", "HopperHop", "MultiTask")


def make(name: str, **kwargs: object):
    return to_sb3(gymnasium.make_vec(f"Motrix/{name}-v0", num_envs=NUM_ENVS, num_threads=1, **kwargs))


@pytest.mark.parametrize("name", IDS)
def test_it_is_what_single_environments_are(name):
    env_id = f"Motrix/{name}-v0"
    ours = make(name, **SHORT)
    theirs = DummyVecEnv([lambda: gymnasium.make(env_id, **SHORT)] * NUM_ENVS)
    for env in (ours, theirs):
        env.seed(3)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    actions = np.clip(actions_for(env_id, NUM_ENVS, 20), ours.action_space.low, ours.action_space.high)
    ended = 0
    for action in actions.astype(np.float32):
        a, b = ours.step(action), theirs.step(action)
        for mine, other in zip(a[:3], b[:3], strict=True):
            np.testing.assert_array_equal(mine, other)
            assert mine.dtype == other.dtype
        for env in np.flatnonzero(a[2]):
            ended += 1
            np.testing.assert_array_equal(a[3][env]["terminal_observation"], b[3][env]["terminal_observation"])
            assert a[3][env]["TimeLimit.truncated"] == b[3][env]["TimeLimit.truncated"]
            assert a[3][env].get("is_success") == b[3][env].get("success")
            assert bool(a[3][env]["termination"]) == (not a[3][env]["TimeLimit.truncated"])
        assert all(info == {} for info, done in zip(a[3], a[2], strict=True) if not done)
    assert ended


class Keep(BaseCallback):
    """Keeps what the environments said in a rollout."""

    def __init__(self):
        super().__init__()
        self.rewards, self.infos = [], []

    def _on_step(self) -> bool:
        self.rewards.append(self.locals["rewards"].copy())
        self.infos.append(self.locals["infos"])
        return True


def known(observations: object) -> torch.Tensor:
    """A value function, (N, k) to (N, 1)."""
    return torch.as_tensor(np.asarray(observations)).sum(dim=1, keepdim=True) * 3 + 1


@pytest.mark.parametrize("library", ["stable_baselines3", "sbx"])
def test_a_truncation_is_bootstrapped_from_the_last_observation_and_a_termination_is_not(library):
    algorithm = pytest.importorskip(library).PPO
    env = make("CartPole", max_episode_steps=40, max_angle=0.1)
    model = algorithm("MlpPolicy", env, n_steps=120, batch_size=NUM_ENVS * 120, n_epochs=1, gamma=0.9, seed=0)
    if library == "sbx":
        model.vf.apply = lambda _parameters, observations: known(observations).numpy()
    else:
        model.policy.predict_values = known
    seen = Keep()
    model.learn(480, callback=seen)
    kept = model.rollout_buffer.rewards
    truncated = terminated = 0
    for step, (rewards, infos) in enumerate(zip(seen.rewards, seen.infos, strict=True)):
        for row, info in enumerate(infos):
            expected = rewards[row]
            if info.get("TimeLimit.truncated"):
                expected += 0.9 * known(info["terminal_observation"][None]).item()
                truncated += 1
            terminated += bool(info.get("termination"))
            assert kept[step, row] == pytest.approx(expected, rel=1e-6)
    assert truncated
    assert terminated


def test_what_stands_around_it():
    env = VecNormalize(VecMonitor(make("CartPole", **SHORT)))
    env.seed(0)
    env.reset()
    infos = [env.step(np.zeros((NUM_ENVS, 1), dtype=np.float32))[3] for _ in range(7)][-1]
    assert [info["episode"]["l"] for info in infos] == [7] * NUM_ENVS
    assert env.get_attr("max_episode_steps") == [7] * NUM_ENVS
    assert env.get_attr("np_random_seed", indices=[2]) == [2]
    assert env.env_is_wrapped(Monitor) == [False] * NUM_ENVS
    assert not env.has_attr("nonsense")
    mean, _ = evaluate_policy(PPO("MlpPolicy", env, n_steps=8, batch_size=32), env, n_eval_episodes=4, warn=False)
    assert np.isfinite(mean)


def test_attributes_are_those_of_all():
    env = make("CartPole")
    env.set_attr("note", 1)
    assert env.get_attr("note") == [1] * NUM_ENVS
    with pytest.raises(ValueError, match="note can be set for all of them only"):
        env.set_attr("note", 2, indices=[0])
    env.set_options({"nonsense": 1})
    with pytest.raises(ValueError, match="these environments take none"):
        env.reset()


def test_it_is_drawn(opengl):
    env = make("CartPole", render_mode="rgb_array", render_size=(64, 48))
    env.reset()
    assert env.get_images()[1].shape == (48, 64, 3)
    assert env.render().shape == (96, 128, 3)
    assert env.metadata["render_fps"] == 100


def test_another_autoreset_mode_is_refused():
    envs = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=2, autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match="'SameStep'"):
        to_sb3(envs)


def test_gymnasiums_own_are_taken_as_well():
    env = to_sb3(
        gymnasium.make_vec(
            "CartPole-v1",
            num_envs=2,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        )
    )
    env.seed(0)
    env.reset()
    done = [env.step(np.ones(2, dtype=np.int64)) for _ in range(12)]
    last = next(infos[0] for _, _, dones, infos in done if dones[0])
    assert last["TimeLimit.truncated"] is False
    assert abs(last["terminal_observation"][2]) > 0.2


def test_it_learns():
    env = VecMonitor(to_sb3(gymnasium.make_vec("Motrix/CartPole-v0", num_envs=32, num_threads=1)))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=256, n_epochs=5, learning_rate=1e-3, gamma=0.98, seed=0)
    model.learn(60_000)
    assert np.mean([episode["r"] for episode in model.ep_info_buffer]) > 150
