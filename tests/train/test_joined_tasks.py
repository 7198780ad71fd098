"""What a training on several joined tasks logs of each of them."""

from dataclasses import replace

import numpy as np
import pytest
from test_resume import TINY, Stopper, job

from motrix_train.training.run import train_run
from motrix_train.training.statistics import EpisodeStatistics, RolloutStatistics

WALK_AND_RUN = "Motrix/MultiTask-v0"


def test_the_log_tells_the_tasks_apart(tmp_path):
    cfg = replace(TINY, num_envs=4, max_env_steps=4 * 16 * 8, evaluation_interval=8, evaluation_episodes=4)
    joined = replace(job("torch", cfg), env_id=WALK_AND_RUN, env_kwargs={"max_episode_steps": 20})
    run = joined.create_run("", tmp_path / "run")
    train_run(run, Stopper())
    progress = run.progress()
    for name in ("walk", "run"):
        returns = progress[f"return_by_task/{name}"]
        assert np.isfinite(returns[-1])
        assert np.isfinite(progress[f"metrics/{name}/velocity_error"]).all()
        assert np.isfinite(progress[f"evaluation/{name}/mean_return"][-1])
    low, high = sorted(progress[f"return_by_task/{name}"][-1] for name in ("walk", "run"))
    assert low <= progress["mean_return"][-1] <= high


def test_returns_belong_to_the_task_of_their_row():
    episodes = EpisodeStatistics(4, ("a", "b", "never"))
    tasks = np.array([0, 1, 0, 1])
    for rewards in ([1, 10, 2, 20], [1, 10, 2, 20]):
        episodes.add(np.array(rewards, float), np.zeros(4, bool), tasks)
    episodes.add(np.zeros(4), np.array([True, True, True, False]), tasks)
    assert episodes.return_by_task == {"a": 3.0, "b": 20.0}
    again = EpisodeStatistics(4, ("a", "b", "never"))
    again.restore(episodes.state())
    assert again.return_by_task == episodes.return_by_task


def test_a_metric_is_the_mean_of_the_rows_that_have_it():
    rollout = RolloutStatistics()
    for values in ([1.0, 0.0, 3.0], [2.0, 0.0, 4.0]):
        mask = np.array([True, False, True])
        infos = {"metrics": {"a/error": np.array(values), "_a/error": mask, "plain": np.array(values)}}
        rollout.add(infos, *np.zeros((2, 3), dtype=bool))
    assert rollout.mean("metrics") == pytest.approx({"a/error": 2.5, "plain": 10 / 6})
