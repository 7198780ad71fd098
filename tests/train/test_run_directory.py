"""What a run leaves on disk, and what it leaves when the disk refuses."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from motrix_train.errors import RunError, UsageError
from motrix_train.storage.files import atomic_write
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.versions import installed_versions

ENV_ID = "Motrix/CartPole-v0"


def create(root: Path, **kwargs) -> RunDirectory:
    return RunDirectory.create(root, ENV_ID, "torch", 7, {"config": {"rollouts": 32}}, **kwargs)


def with_policies(run: RunDirectory, *names: str) -> RunDirectory:
    for name in names:
        (run.checkpoints / name).touch()
    return run


def test_a_new_run_is_named_after_its_environment_time_backend_and_seed(tmp_path):
    run = create(tmp_path)
    assert run.path.parent == tmp_path / "Motrix" / "CartPole-v0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_torch_seed7", run.path.name)
    assert run.checkpoints.is_dir()


def test_the_configuration_says_what_was_asked_for(tmp_path):
    config = create(tmp_path).config()
    assert (config["env_id"], config["backend"], config["seed"]) == (ENV_ID, "torch", 7)
    assert config["config"] == {"rollouts": 32}


def test_runs_of_one_second_do_not_share_a_directory(tmp_path):
    assert len({create(tmp_path).path for _ in range(3)}) == 3


def test_an_existing_directory_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"mine exists: name a new one"):
        create(tmp_path, path=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("path", [None, "below"])
def test_a_disk_that_refuses_is_one_line(tmp_path, path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write") as refusal:
        create(tmp_path / "file", path=path and tmp_path / "file" / path)
    assert "\n" not in str(refusal.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_nothing_stays_of_a_run_whose_configuration_cannot_be_written(tmp_path):
    with pytest.raises(RunError):
        RunDirectory.create(tmp_path, "a/" + "b" * 300, "torch", 0, {})
    assert not list(tmp_path.iterdir())


def test_discarding_removes_what_was_made_and_nothing_else(tmp_path):
    (tmp_path / "runs").mkdir()
    create(tmp_path / "runs").discard()
    assert [p.name for p in tmp_path.rglob("*")] == ["runs"]


def test_progress_is_read_as_it_was_appended(tmp_path):
    run = create(tmp_path)
    run.append_progress({"env_steps": 10, "mean_return": math.nan, "reward_terms": {"alive": 0.1}})
    run.append_progress({"env_steps": 20, "mean_return": 3.5, "reward_terms": {"alive": 0.2}})
    progress = run.progress()
    assert list(progress) == ["env_steps", "mean_return", "reward_terms/alive"]
    np.testing.assert_array_equal(progress["env_steps"], [10, 20])
    np.testing.assert_array_equal(progress["mean_return"], [math.nan, 3.5])
    np.testing.assert_array_equal(progress["reward_terms/alive"], [0.1, 0.2])


def test_a_column_may_come_later_and_stay_away_again(tmp_path):
    run = create(tmp_path)
    run.append_progress({"env_steps": 1})
    run.append_progress({"env_steps": 2, "losses": {"value": 0.5}})
    run.append_progress({"env_steps": 3})
    np.testing.assert_array_equal(run.progress()["losses/value"], [math.nan, 0.5, math.nan])


def test_a_line_cut_short_by_a_crash_is_none(tmp_path):
    run = create(tmp_path)
    run.append_progress({"env_steps": 1, "mean_return": 2.5})
    with run.progress_path.open("a") as file:
        file.write("2,3")
    np.testing.assert_array_equal(run.progress()["mean_return"], [2.5])


def test_without_progress_there_are_no_columns(tmp_path):
    assert create(tmp_path).progress() == {}


def test_the_best_policy_is_best_then_last_then_the_farthest(tmp_path):
    run = with_policies(
        create(tmp_path), "step_900.safetensors", "step_10000.safetensors", ".best_x.safetensors", "notes.txt"
    )
    assert run.best_policy().name == "step_10000.safetensors"
    assert with_policies(run, "last.safetensors").best_policy().name == "last.safetensors"
    assert with_policies(run, "best.safetensors").best_policy().name == "best.safetensors"


def test_a_run_without_a_policy_says_so(tmp_path):
    with pytest.raises(UsageError, match="has no policy"):
        create(tmp_path).best_policy()


def test_the_newest_run_is_the_youngest_that_has_a_policy(tmp_path):
    runs = [create(tmp_path) for _ in range(3)]
    for run in runs[:2]:
        with_policies(run, "last.safetensors")
    assert RunDirectory.find_newest(tmp_path, ENV_ID).path == runs[1].path
    older = json.loads(runs[1].config_path.read_text()) | {"created": "2001-01-01T00:00:00+00:00"}
    runs[1].config_path.write_text(json.dumps(older))
    assert RunDirectory.find_newest(tmp_path, ENV_ID).path == runs[0].path


def test_a_damaged_run_does_not_hide_the_others(tmp_path):
    good, damaged = (with_policies(create(tmp_path), "last.safetensors") for _ in range(2))
    damaged.config_path.write_text("{")
    assert RunDirectory.find_newest(tmp_path, ENV_ID).path == good.path
    with pytest.raises(RunError, match="is damaged"):
        damaged.config()


def test_without_a_run_the_remedy_is_to_train(tmp_path):
    with pytest.raises(
        UsageError, match=f"no trained run of {ENV_ID} .*: train it first, with `motrix-train train {ENV_ID}`"
    ):
        RunDirectory.find_newest(tmp_path, ENV_ID)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    atomic_write(path, b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(RunError, match="cannot write"):
        atomic_write(path / "below", b"never")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_versions_name_python_and_the_physics():
    assert {"python", "mujoco", "gymnasium", "numpy"} <= installed_versions().keys()


def test_a_run_directory_is_frozen(tmp_path):
    with pytest.raises(dataclasses.FrozenInstanceError):
        create(tmp_path).path = tmp_path
