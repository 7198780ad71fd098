"""Episodes that are shorter in training than in the environment."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from test_resume import TINY, Stopper, job

from motrix_train.errors import UsageError
from motrix_train.job import carry_out

LIMIT, TRAINING_LIMIT = 20, 5
ENV = {"env_id": "Motrix/Pendulum-v0"}  # no episode of which terminates


def columns(tmp_path, env_kwargs: dict, max_episode_steps: int | None) -> dict[str, np.ndarray]:
    """The curves of a short training."""
    cfg = replace(TINY, staggered_starts=False, max_episode_steps=max_episode_steps)
    run = replace(job("torch", cfg), **ENV, env_kwargs=env_kwargs).create_run("", tmp_path / "run")
    carry_out(run, Stopper())
    return run.progress()


def seen(column: np.ndarray) -> set[float]:
    return set(column[np.isfinite(column)])


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the environment's own limit short enough for a test."""
    monkeypatch.setattr(gymnasium.spec(ENV["env_id"]), "max_episode_steps", LIMIT)


def test_training_has_short_episodes_and_evaluation_whole_ones(tmp_path, limit):
    found = columns(tmp_path, {}, TRAINING_LIMIT)
    assert seen(found["mean_episode_length"]) == {TRAINING_LIMIT}
    assert seen(found["evaluation/mean_length"]) == {LIMIT}


def test_without_it_the_limit_is_that_of_the_environment(tmp_path, limit):
    assert seen(columns(tmp_path, {}, None)["mean_episode_length"]) == {LIMIT}


def test_a_limit_given_as_a_field_of_the_environment_holds_everywhere(tmp_path):
    found = columns(tmp_path, {"max_episode_steps": 8}, TRAINING_LIMIT)
    assert seen(found["mean_episode_length"]) == seen(found["evaluation/mean_length"]) == {8}


def test_a_limit_below_one_step_is_refused():
    with pytest.raises(UsageError, match="max_episode_steps 0"):
        replace(TINY, max_episode_steps=0)
