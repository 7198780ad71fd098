"""An evaluation counts each row's first whole episode once, on rows that no training has seen."""

import gymnasium
import numpy as np
import pytest

import motrix_gym  # noqa: F401  (registers the ids)
from motrix_train.errors import RunError, UsageError
from motrix_train.training import evaluation
from motrix_train.training.seeds import Seeds

CARTPOLE = "Motrix/CartPole-v0"
GO1 = "Motrix/Go1-v0"
MULTI = "Motrix/MultiTask-v0"


def passive(observations: np.ndarray) -> np.ndarray:
    """Lets the pole fall."""
    return np.zeros((len(observations), 1), dtype=np.float32)


def balance(observations: np.ndarray) -> np.ndarray:
    """Keeps the pole up: a linear feedback on position, angle and their rates."""
    gains = np.array([1.0, 20.0, 2.0, 3.0], dtype=np.float32)
    return (observations * gains).sum(axis=1, keepdims=True)


def test_it_is_what_single_environments_give():
    measured = evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=3, seed=5, num_threads=1)
    returns, lengths = [], []
    for row in range(3):
        env = gymnasium.make(CARTPOLE)
        env.reset(seed=evaluation.first_env_seed(5) + row)
        rewards, ended = [], False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(np.zeros(1))
            rewards.append(reward)
            ended = terminated or truncated
        returns.append(sum(rewards))
        lengths.append(len(rewards))
        env.close()
    assert measured.mean_return == pytest.approx(np.mean(returns))
    assert measured.std_return == pytest.approx(np.std(returns))
    assert measured.mean_length == pytest.approx(np.mean(lengths))


def test_every_episode_ends_once_and_for_one_reason():
    measured = evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=16, num_threads=1)
    assert sum(measured.termination.values()) + measured.truncation == pytest.approx(1.0)
    assert measured.termination["pole_fell"] == 1.0


def test_success_is_that_of_the_last_step_of_each_episode():
    def still(observations: np.ndarray) -> np.ndarray:
        return np.zeros((len(observations), 6), dtype=np.float32)

    ball, needed, episodes = "Motrix/BounceBall-v0", {"successful_bounces": 2}, 12
    measured = evaluation.evaluate_policy(still, ball, needed, episodes=episodes, seed=3, num_threads=1)
    successes = []
    for row in range(episodes):
        env = gymnasium.make(ball, **needed)
        observation, _ = env.reset(seed=evaluation.first_env_seed(3) + row)
        ended = False
        while not ended:
            observation, _, terminated, truncated, info = env.step(still(observation[None])[0])
            ended = terminated or truncated
        successes.append(info["success"])
    assert 0 < sum(successes) < episodes
    assert measured.success == sum(successes) / episodes
    assert measured.success_ci95[0] < measured.success < measured.success_ci95[1]


def test_a_task_that_is_never_solved_has_no_success():
    measured = evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=1, num_threads=1)
    assert (measured.success, measured.success_ci95) == (None, None)


def test_an_episode_that_lasts_is_truncated():
    measured = evaluation.evaluate_policy(balance, CARTPOLE, {}, episodes=2, num_threads=1)
    assert measured.truncation == 1.0
    assert measured.mean_length == 1000
    assert measured.mean_return == pytest.approx(1000.0)
    assert measured.std_return == 0.0


def test_how_many_rows_step_together_does_not_matter(monkeypatch):
    whole = evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=7, num_threads=1)
    monkeypatch.setattr(evaluation, "MAX_ENVS", 3)
    assert evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=7, num_threads=1) == whole


def test_the_seed_chooses_the_episodes():
    def measure(seed: int) -> evaluation.Evaluation:
        return evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=4, seed=seed, num_threads=1)

    assert measure(0) == measure(0)
    assert measure(0).mean_return != measure(1).mean_return


def test_no_row_is_one_of_a_training_of_the_same_seed():
    for seed in range(10):
        assert abs(evaluation.first_env_seed(seed) - Seeds.from_run_seed(seed).env) > 10**9
    assert abs(evaluation.first_env_seed(0) - evaluation.first_env_seed(1)) > 10**9


def test_metrics_are_means_over_the_steps_of_the_episodes():
    def still(observations: np.ndarray) -> np.ndarray:
        return np.ones((len(observations), 12), dtype=np.float32)

    measured = evaluation.evaluate_policy(still, GO1, {}, episodes=2, num_threads=1)
    env = gymnasium.make_vec(GO1, num_envs=2, num_threads=1)
    env.reset(seed=evaluation.first_env_seed(0))
    running, errors = np.ones(2, dtype=bool), []
    while running.any():
        _, _, terminated, truncated, info = env.step(np.ones((2, 12)))
        errors.extend(info["metrics"]["velocity_error"][running])
        running &= ~(terminated | truncated)
    env.close()
    assert measured.metrics["velocity_error"] == pytest.approx(np.mean(errors))
    assert measured.metrics["yaw_rate_error"] > 0.0


def test_joined_tasks_are_told_apart(monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_ENVS", 4)
    angles = {"narrow": 0.05, "wide": 0.2, "absent": 0.1}
    tasks = [
        {"id": CARTPOLE, "name": name, "weight": weight, "kwargs": {"max_angle": angle}}
        for (name, angle), weight in zip(angles.items(), (2, 1, 0), strict=True)
    ]
    measured = evaluation.evaluate_policy(passive, MULTI, {"tasks": tasks}, episodes=6, num_threads=1)
    assert {name: task.episodes for name, task in measured.by_task.items()} == {"narrow": 4, "wide": 2}
    returns = {name: [] for name in measured.by_task}
    for row in range(6):
        env = gymnasium.make(MULTI, tasks=tasks)
        env.reset(seed=evaluation.first_env_seed(0) + row)
        total, ended = 0.0, False
        while not ended:
            _, reward, ended, _, info = env.step(np.zeros(1))
            total += reward
        returns[list(angles)[info["task"]]].append(total)
        env.close()
    for name, task in measured.by_task.items():
        assert task.mean_return == pytest.approx(np.mean(returns[name]))
        assert task.std_return == pytest.approx(np.std(returns[name]))
        assert (task.termination["pole_fell"], task.truncation) == (1.0, 0.0)
    assert measured.mean_return == pytest.approx(np.mean(returns["narrow"] + returns["wide"]))
    assert evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=1, num_threads=1).by_task == {}


def test_metrics_of_joined_tasks_are_means_over_the_rows_that_have_them():
    def still(observations: np.ndarray) -> np.ndarray:
        return np.ones((len(observations), 12), dtype=np.float32)

    measured = evaluation.evaluate_policy(still, MULTI, {}, episodes=3, num_threads=1)
    env = gymnasium.make_vec(MULTI, num_envs=3, num_threads=1)
    env.reset(seed=evaluation.first_env_seed(0))
    running, errors = np.ones(3, dtype=bool), {0: [], 1: []}
    while running.any():
        _, _, terminated, truncated, info = env.step(np.ones((3, 12)))
        for row in np.flatnonzero(running):
            name = ("walk", "run")[info["task"][row]]
            errors[info["task"][row]].append(info["metrics"][f"{name}/velocity_error"][row])
        running &= ~(terminated | truncated)
    env.close()
    assert measured.metrics["walk/velocity_error"] == pytest.approx(np.mean(errors[0]))
    assert measured.metrics["run/velocity_error"] == pytest.approx(np.mean(errors[1]))
    assert not [name for name in measured.metrics if name.startswith("_")]
    alone = evaluation.evaluate_policy(still, MULTI, {}, episodes=1, num_threads=1)
    assert len({name.partition("/")[0] for name in alone.metrics}) == len(alone.by_task) == 1


def test_progress_ends_at_one_and_never_goes_back():
    shares: list[float] = []
    evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=3, num_threads=1, on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_policy_that_diverged_is_one_line():
    def broken(observations: np.ndarray) -> np.ndarray:
        return np.full((len(observations), 1), np.nan)

    with pytest.raises(RunError, match="not finite"):
        evaluation.evaluate_policy(broken, CARTPOLE, {}, episodes=2, num_threads=1)


def test_bad_values_are_refused():
    with pytest.raises(UsageError, match="episodes is 0"):
        evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=0)
    with pytest.raises(UsageError, match="max_angel"):
        evaluation.evaluate_policy(passive, CARTPOLE, {"max_angel": 0.1}, episodes=1)


def test_confidence_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    means = [evaluation.mean_interval(rng.normal(3.0, 2.0, 12)) for _ in range(2000)]
    assert np.mean([low <= 3.0 <= high for low, high in means]) == pytest.approx(0.95, abs=0.015)
    shares = [evaluation.share_interval(rng.binomial(256, 0.02), 256) for _ in range(500)]
    assert np.mean([low <= 0.02 <= high for low, high in shares]) == pytest.approx(0.95, abs=0.03)
    assert all(0 <= low < high <= 1 for low, high in shares)


def test_the_interval_of_an_evaluation_is_that_of_its_returns():
    measured = evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=20, num_threads=1)
    low, high = measured.return_ci95
    assert (low + high) / 2 == pytest.approx(measured.mean_return)
    assert high - low == pytest.approx(2 * 2.093 * measured.standard_error, rel=1e-3)  # t of 19 degrees of freedom
    assert measured.termination_ci95["pole_fell"][1] == pytest.approx(1.0)
    assert evaluation.evaluate_policy(passive, CARTPOLE, {}, episodes=1, num_threads=1).return_ci95 is None
