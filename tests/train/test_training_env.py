"""Fields of the environment that differ while training: here the time limit and weights."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from test_resume import TINY, Stopper, job

from motrix_train import environment
from motrix_train.errors import UsageError
from motrix_train.settings import changed
from motrix_train.training.run import train_run

LIMIT, TRAINING_LIMIT = 20, 5
SHORTER = {"max_episode_steps": TRAINING_LIMIT}
PENDULUM = "Motrix/Pendulum-v0"  # no episode of which terminates


def columns(tmp_path, env_kwargs: dict, training_env: dict, env_id: str = PENDULUM) -> dict[str, np.ndarray]:
    """The curves of a short training."""
    cfg = replace(TINY, staggered_starts=False, training_env=training_env)
    run = replace(job("torch", cfg), env_id=env_id, env_kwargs=env_kwargs).create_run("", tmp_path / "run")
    train_run(run, Stopper())
    return run.progress()


def seen(column: np.ndarray) -> set[float]:
    return set(column[np.isfinite(column)])


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the environment's own limit short enough for a test."""
    monkeypatch.setattr(gymnasium.spec(PENDULUM), "max_episode_steps", LIMIT)


def test_training_has_short_episodes_and_evaluation_whole_ones(tmp_path, limit):
    found = columns(tmp_path, {}, SHORTER)
    assert seen(found["mean_episode_length"]) == {TRAINING_LIMIT}
    assert seen(found["evaluation/mean_length"]) == {LIMIT}


def test_without_it_the_limit_is_that_of_the_environment(tmp_path, limit):
    assert seen(columns(tmp_path, {}, {})["mean_episode_length"]) == {LIMIT}


def test_a_limit_given_as_a_field_of_the_environment_holds_everywhere(tmp_path):
    found = columns(tmp_path, {"max_episode_steps": 8}, SHORTER)
    assert seen(found["mean_episode_length"]) == seen(found["evaluation/mean_length"]) == {8}


def test_a_weight_given_for_the_environment_leaves_the_other_weights_of_the_training(tmp_path):
    given = {"reward_weights": {"torques": -1.0}, "max_episode_steps": 20}
    training = {"reward_weights": {"termination": -7.0, "torques": 0.0}, "max_tilt": 0.3}
    found = columns(tmp_path / "merged", given, training, env_id="Motrix/Go1-v0")
    expected = columns(tmp_path / "alike", {}, environment.merged(training, given), env_id="Motrix/Go1-v0")
    for term in ("torques", "termination"):
        assert (found[f"reward_terms/{term}"] < 0).all()
        np.testing.assert_array_equal(found[f"reward_terms/{term}"], expected[f"reward_terms/{term}"])


def test_a_field_that_the_task_does_not_have_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match="max_episode_step'"):
        columns(tmp_path, {}, {"max_episode_step": 5})


def test_it_is_written_as_json_on_the_command_line():
    assert changed(TINY, {"training_env": '{"max_episode_steps": 5}'}).training_env == SHORTER
    for text in ("5", "{max_episode_steps: 5}"):
        with pytest.raises(UsageError, match="training_env"):
            changed(TINY, {"training_env": text})
