"""A run that was stopped and resumed is the run that was never stopped, bit for bit."""

import re
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison import everything

from motrix_train.cli import run as command
from motrix_train.config import PPOCfg
from motrix_train.errors import RunError, UsageError
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.records import RolloutStats, TrainingPlan, TrainingSummary
from motrix_train.training.request import TrainRequest
from motrix_train.training.resume import ResumeRequest
from motrix_train.training.run import train_run

TINY = PPOCfg(
    seed=5,
    num_envs=8,
    max_env_steps=8 * 16 * 8,
    check_point_interval=32,
    check_points_kept=2,
    evaluation_interval=3,
    evaluation_episodes=4,
    rollouts=16,
    learning_epochs=2,
    mini_batches=2,
    policy_hidden_layer_sizes=(8,),
    value_hidden_layer_sizes=(8,),
    entropy_loss_scale=0.001,
)


@dataclass
class Stopper:
    """Asks for an end, as Ctrl-C does, after a number of updates."""

    updates: int = 10**9
    seen: int = 0
    plan: TrainingPlan | None = None

    def started(self, plan: TrainingPlan) -> None:
        self.plan = plan

    def rollout(self, stats: RolloutStats) -> None:
        self.seen += 1
        if self.seen == self.updates:
            signal.raise_signal(signal.SIGINT)

    def checkpoint_written(self, path: Path) -> None: ...

    def stop_requested(self) -> None: ...

    def finished(self, summary: TrainingSummary) -> None: ...


def job(backend: str, cfg: PPOCfg = TINY, env_id: str = "Motrix/CartPole-v0", **more: Any) -> TrainRequest:
    pytest.importorskip(backend)
    return TrainRequest(env_id=env_id, env_kwargs={}, backend=backend, cfg=cfg, device="cpu", num_threads=1, **more)


@pytest.fixture(scope="module", params=["torch", "jax"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that was never stopped, to be read only."""
    run = job(request.param).create_run("", tmp_path_factory.mktemp("whole") / "run")
    assert not train_run(run, Stopper()).interrupted
    return run


@pytest.mark.parametrize("updates", [1, 4, 7])
def test_stopped_and_resumed(whole: RunDirectory, updates: int, tmp_path: Path):
    run = TrainRequest.from_run(whole).create_run("", tmp_path / "run")
    assert train_run(run, Stopper(updates)).interrupted
    stopped = RunDirectory.open(run.path)
    assert len(stopped.progress()["env_steps"]) == updates
    resumed = Stopper()
    assert not train_run(stopped, resumed).interrupted
    assert resumed.plan is not None
    assert resumed.plan.env_steps == 128 * updates
    assert everything(run) == everything(whole)


def test_logs_beyond_the_checkpoint_are_written_once_more_and_not_twice(whole: RunDirectory, tmp_path: Path):
    run = TrainRequest.from_run(whole).create_run("", tmp_path / "run")
    train_run(run, Stopper(3))
    kept = run.resume_path.read_bytes()
    train_run(run, Stopper(3))
    run.resume_path.write_bytes(kept)  # as if it had been killed three updates after this checkpoint
    with run.progress_path.open("a") as file:
        file.write("896,1024,0.3")  # and in the middle of a line
    for path in run.path.glob("events.out.tfevents.*"):
        path.write_bytes(path.read_bytes() + b"\x18\x00\x00\x00")  # and of an event
    train_run(run, Stopper())
    assert everything(run) == everything(whole)


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(whole: RunDirectory, tmp_path: Path):
    run = TrainRequest.from_run(whole).create_run("", tmp_path / "run")
    run.append_progress({"env_steps": 128, "mean_return": 3.0})
    train_run(run, Stopper())
    assert everything(run) == everything(whole)


def test_a_mirrored_robot_resumes(tmp_path: Path):
    cfg = replace(TINY, num_envs=4, max_env_steps=4 * 16 * 4, mirror="policy", evaluation_interval=0)
    runs = [job("torch", cfg, "Motrix/Go1-v0").create_run("", tmp_path / name) for name in "ab"]
    for run, updates in zip(runs, (10**9, 2), strict=True):
        train_run(run, Stopper(updates))
    train_run(runs[1], Stopper())
    assert everything(runs[0]) == everything(runs[1])


def lengthened(run: RunDirectory, updates: int) -> None:
    """Trains an ended run up to so many updates."""
    train_run(run, Stopper(), resume=ResumeRequest(command="", max_env_steps=128 * updates))


def test_a_longer_budget_goes_on_where_the_shorter_ended(whole: RunDirectory, tmp_path: Path):
    at_once = job(TrainRequest.from_run(whole).backend, replace(TINY, max_env_steps=128 * 16)).create_run(
        "", tmp_path / "at_once"
    )
    train_run(at_once, Stopper())
    extended = TrainRequest.from_run(whole).create_run("", tmp_path / "extended")
    train_run(extended, Stopper())
    assert command(["train", "--resume", str(extended.path), "--max-env-steps=2048", "--quiet"]) == 0
    assert everything(extended) == everything(at_once)


# the evaluation at the end of a budget: never chosen, chosen as the first and as a later one, of several ends
@pytest.mark.parametrize(("interval", "ends"), [(5, (2, 4, 6)), (3, (4, 6, 10)), (7, (8, 12)), (2, (3, 4))])
def test_a_lengthened_run_is_the_run_that_was_planned_so_long(interval: int, ends: tuple[int, ...], tmp_path: Path):
    cfg = replace(TINY, evaluation_interval=interval, check_point_interval=16)
    planned = job("torch", replace(cfg, max_env_steps=128 * ends[-1])).create_run("", tmp_path / "planned")
    train_run(planned, Stopper())
    run = job("torch", replace(cfg, max_env_steps=128 * ends[0])).create_run("", tmp_path / "run")
    train_run(run, Stopper())
    for updates in ends[1:]:
        assert np.isfinite(run.progress()["evaluation/mean_return"][-1])
        lengthened(run, updates)
    assert everything(run) == everything(planned)
    headers = [made.progress_path.read_text().splitlines()[0] for made in (run, planned)]
    assert headers[0] == headers[1]


def test_killed_after_the_evaluation_at_the_end_and_lengthened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cfg = replace(TINY, max_env_steps=128 * 4, evaluation_interval=3)
    planned = job("torch", replace(cfg, max_env_steps=128 * 10)).create_run("", tmp_path / "planned")
    train_run(planned, Stopper())
    run = job("torch", cfg).create_run("", tmp_path / "run")
    train_run(run, Stopper(2))
    before = run.checkpoint("last").read_bytes()
    train_run(run, Stopper())
    assert checkpoint.read(run.checkpoint("best")).env_steps == 128 * 4
    run.checkpoint("last").write_bytes(before)  # as if it had been killed before its last checkpoint
    lengthened(run, 10)
    assert everything(run) == everything(planned)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert command([str(argument) for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("motrix-train: ")
    return lines[-1]


def test_what_cannot_be_resumed(whole: RunDirectory, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert "has its 1,024 env steps: give more" in refused(capsys, "train", "--resume", whole.path)
    assert "is no run" in refused(capsys, "train", "--resume", tmp_path)
    assert "seed 3 does not go with --resume" in refused(capsys, "train", "--resume", whole.path, "--seed=3")
    assert "env_id Motrix/CartPole-v0 does not go with --resume" in refused(
        capsys, "train", "Motrix/CartPole-v0", "--resume", whole.path
    )
    with whole.exclusive(), pytest.raises(UsageError, match="another process is training"), whole.exclusive():
        pass


def test_other_versions_are_said_before_the_run_goes_on(whole: RunDirectory, capsys: Any, tmp_path: Path):
    run = RunDirectory.open(shutil.copytree(whole.path, tmp_path / "run"))
    run.update_config(versions={**run.config()["versions"], "numpy": "0.1"})
    with run.exclusive():  # so it ends before it has begun
        assert command(["train", "--resume", str(run.path), "--max-env-steps=2048"]) == 2
    said = " ".join("".join(capsys.readouterr()).split())
    assert re.search(r"with numpy \S+ it goes on, but not bit for bit", said), said


def test_an_environment_without_a_state_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from motrix_gym.batch_vector_env import BatchVectorEnv

    run = job("torch").create_run("", tmp_path / "run")
    monkeypatch.delattr(BatchVectorEnv, "get_state")
    train_run(run, Stopper(2))
    with pytest.raises(UsageError, match=r"cannot save its state: start a new run with --init-from .*run"):
        train_run(run, Stopper())


def test_a_damaged_configuration_is_one_line(whole: RunDirectory, tmp_path: Path):
    run = TrainRequest.from_run(whole).create_run("", tmp_path / "run")
    run.update_config(config={"rolouts": 3})
    with pytest.raises(RunError, match=r"config.json is damaged or of another version \(unknown setting 'rolouts'"):
        train_run(run, Stopper())


def test_a_full_disk_loses_nothing(whole: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = TrainRequest.from_run(whole).create_run("", tmp_path / "run")
    train_run(run, Stopper(2))
    before = everything(run)

    def full(path: Path, content: bytes) -> None:
        raise RunError(f"cannot write {path}: No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("motrix_train.storage.checkpoint.atomic_write", full)
        with pytest.raises(RunError, match="No space left"):
            train_run(run, Stopper(2))
    assert {name: everything(run)[name] for name in ("last",)} == {"last": before["last"]}
    train_run(run, Stopper())
    assert everything(run) == everything(whole)
