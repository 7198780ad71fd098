"""RLlib on a vector environment: its episodes are true in next-step mode, and wrong in same-step mode, silently."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorWrapper

pytest.importorskip("ray")

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

NUM_ENVS, EPISODES, GAMMA, LAMBDA = 3, 9, 0.9, 0.8
SHORT = {"max_episode_steps": 16, "max_angle": 0.1, "num_threads": 1}


@pytest.fixture(scope="module", autouse=True)
def processes():
    """RLlib's own, as few as it takes."""
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def config(**env_config: object) -> PPOConfig:
    return (
        PPOConfig()
        .environment("motrix_gym:Motrix/CartPole-v0", env_config=SHORT | env_config, normalize_actions=False)
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=NUM_ENVS,
            gym_env_vectorize_mode="vector_entry_point",
            rollout_fragment_length=80,
        )
        .training(train_batch_size=NUM_ENVS * 80, gamma=GAMMA, lambda_=LAMBDA)
        .debugging(seed=0, log_level="ERROR")
    )


class TrueEpisodes(VectorWrapper):
    """Keeps the episodes of the environments as they are: observations (T + 1, k), rewards (T,), terminated."""

    def __init__(self, envs):
        super().__init__(envs)
        self.ended = []

    def reset(self, **kwargs):
        observations, info = self.env.reset(**kwargs)
        self.now = [([observation], []) for observation in observations]
        self.is_reset = np.zeros(self.num_envs, dtype=bool)
        return observations, info

    def step(self, actions):
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        done = terminated | truncated
        same_step = self.env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        for row in range(self.num_envs):
            if self.is_reset[row]:
                self.now[row] = ([observations[row]], [])
                continue
            last = info["final_obs"][row] if same_step and done[row] else observations[row]
            self.now[row][0].append(last)
            self.now[row][1].append(rewards[row])
            if done[row]:
                self.ended.append((np.array(self.now[row][0]), np.array(self.now[row][1]), terminated[row]))
                self.now[row] = ([observations[row]], [])
        self.is_reset = done & (not same_step)
        return observations, rewards, terminated, truncated, info


def sampled(**env_config: object) -> tuple[SingleAgentEnvRunner, list, list]:
    """RLlib's sampler, the episodes that it has sampled, and the true ones."""
    runner = SingleAgentEnvRunner(config=config(**env_config))
    runner.env.env = truth = TrueEpisodes(runner.env.env)
    runner.env.action_space.seed(0)
    episodes = runner.sample(num_episodes=EPISODES, random_actions=True)
    return runner, episodes, truth.ended[:EPISODES]


def test_in_next_step_mode_its_episodes_and_its_statistics_are_true():
    runner, episodes, truth = sampled(autoreset_mode="NextStep")
    assert len(episodes) == len(truth) == EPISODES
    for episode, (observations, rewards, terminated) in zip(episodes, truth, strict=True):
        np.testing.assert_array_equal(episode.get_observations(), observations)
        np.testing.assert_array_equal(episode.get_rewards(), rewards)
        assert episode.is_terminated == terminated
        assert episode.is_truncated != terminated
    assert {episode.is_terminated for episode in episodes} == {True, False}
    said = runner.get_metrics()
    assert said["episode_return_mean"].peek() == pytest.approx(np.mean([rewards.sum() for _, rewards, _ in truth]))
    assert said["episode_len_max"].peek() == max(len(rewards) for _, rewards, _ in truth)


def test_in_same_step_mode_the_last_observation_is_of_the_next_episode_and_a_step_is_lost():
    """The reason why the page asks for next-step mode; RLlib does not look which mode there is."""
    _, episodes, truth = sampled()
    assert len(episodes) == EPISODES
    assert all(
        np.abs(episode.get_observations(-1) - observations[-1]).max() > 1e-3
        for episode, (observations, _, _) in zip(episodes, truth, strict=True)
    )
    lost = [len(rewards) - len(episode) for episode, (_, rewards, _) in zip(episodes, truth, strict=True)]
    assert sorted(lost) == [0] * NUM_ENVS + [1] * (EPISODES - NUM_ENVS)  # none is lost of the first episode of each


def known(observations: torch.Tensor) -> torch.Tensor:
    """A value function, (N, k) to (N,)."""
    return observations.sum(dim=-1) * 3 + 1


def test_a_truncation_is_bootstrapped_from_the_last_observation_and_a_termination_is_not():
    algorithm = config(autoreset_mode="NextStep").build_algo()
    learner = algorithm.learner_group._learner
    learner.module["default_policy"].compute_values = lambda batch, embeddings=None: known(batch["obs"])
    episodes = algorithm.env_runner.sample()
    expected = []
    for episode in episodes:
        values = known(torch.from_numpy(episode.get_observations())).numpy()
        values[-1] *= not episode.is_terminated
        errors = episode.get_rewards() + GAMMA * values[1:] - values[:-1]
        advantages = [0.0]
        for error in errors[::-1]:
            advantages.insert(0, error + GAMMA * LAMBDA * advantages[0])
        expected += list(np.array(advantages[:-1]) + values[:-1])
    assert {episode.is_terminated for episode in episodes if episode.is_done} == {True, False}
    batch = learner._learner_connector(
        rl_module=learner.module, batch={}, episodes=episodes, shared_data={}, metrics=learner.metrics
    )["default_policy"]
    np.testing.assert_allclose(batch["value_targets"][batch["loss_mask"]], expected, rtol=1e-5)
    algorithm.stop()
