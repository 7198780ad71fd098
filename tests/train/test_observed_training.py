"""A training on some blocks of the observation, of some steps."""

from dataclasses import replace

import numpy as np
import pytest
from comparison import everything
from test_resume import TINY, Stopper, job

from motrix_train.cli import run as command
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.run import train_run

CARTPOLE = "Motrix/CartPole-v0"
FIELDS = {"observed": ["position"], "history": 3, "max_episode_steps": 20}


def trained(place, updates=10**9) -> RunDirectory:
    """A run, stopped after some updates, whose critic sees all blocks."""
    request = replace(job("torch", replace(TINY, critic="state")), env_id=CARTPOLE, env_kwargs=FIELDS)
    run = request.create_run("", place)
    train_run(run, Stopper(updates))
    return run


def test_a_training_with_a_history_resumes_as_if_it_had_never_stopped(tmp_path):
    whole, stopped = trained(tmp_path / "whole"), trained(tmp_path / "stopped", updates=3)
    assert command(["train", "--resume", str(stopped.path)]) == 0
    assert everything(stopped) == everything(whole)


def test_the_policy_and_the_critic_see_what_they_are_to_see(tmp_path, capsys):
    run = trained(tmp_path / "run")
    state = checkpoint.read(run.best_policy()).state
    assert np.shape(state["observation_normalizer"]["mean"]) == (6,)
    assert np.shape(state["state_normalizer"]["mean"]) == (8,)
    assert command(["evaluate", str(run.path), "--episodes", "4"]) == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (['observed=["velocity"]'], """trained with observed ["position"], not ["velocity"]"""),
        (["observed=null", "history=1"], "trained with observations of shape (6,)"),
        (["history=2"], "trained with observations of shape (6,)"),
    ],
)
def test_a_policy_is_not_shown_what_it_did_not_learn_from(fields, said, tmp_path, capsys):
    policy = str(trained(tmp_path / "run").best_policy())
    given = [x for field in fields for x in ("--env", field)]
    assert command(["evaluate", policy, "--episodes", "4", *given]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    kept = ["--env", "history=3"] if "history" not in str(fields) else []
    assert command(["train", CARTPOLE, "--init-from", policy, "--run-dir", str(tmp_path / "new"), *given, *kept]) == 2
    assert capsys.readouterr().err.count("\n") == 1
