"""Resuming a run: the checkpoint that it continues from, and the settings that a resumed run may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from motrix_gym.fields import short
from motrix_train.config import to_json
from motrix_train.errors import RunError, UsageError
from motrix_train.storage import checkpoint
from motrix_train.storage.checkpoint import Checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.run_record import RunRecord
from motrix_train.storage.versions import installed_versions
from motrix_train.training.callbacks import Callback
from motrix_train.training.records import TrainingPlan


@dataclass(frozen=True, kw_only=True)
class ResumeRequest:
    """The settings that may change when a run is resumed; none of them changes what is learned.

    Attributes:
        command: The command line, for the record.
        max_env_steps: A longer budget, None for the run's own.
        device: Of the networks, None for the run's own.
        num_threads: Physics threads, 0 for the run's own.
    """

    command: str
    max_env_steps: int | None = None
    device: str | None = None
    num_threads: int = 0

    def changes(self, run: RunDirectory, workers: int = 1) -> dict[str, Any]:
        """The entries of the run's `config.json` that change, with their new values.

        Raises:
            UsageError: The run has used its budget, or cannot be resumed.
            RunError: The run is damaged.
        """
        record, resumed = RunRecord.of(run), last_checkpoint(run, workers)
        cfg = replace(record.config, max_env_steps=self.max_env_steps or record.config.max_env_steps)
        done = resumed.env_steps if resumed else 0
        if done >= cfg.env_steps(workers):
            raise UsageError(
                f"{run.path} has its {done:,} env steps: give more, as in "
                f"--max-env-steps {2 * record.config.max_env_steps}"
            )
        entry = {"env_steps": done, "command": self.command, "versions": installed_versions()}
        return {
            "config": to_json(cfg),
            "device": self.device or record.device,
            "num_threads": self.num_threads or record.num_threads,
            "resumed": [*run.config().get("resumed", ()), entry],
        }


class ConfigUpdate(Callback):
    """Changes the run's `config.json` once the training starts, so that a refused command changes nothing.

    It also removes what killed processes have left in the run directory.
    """

    def __init__(self, run: RunDirectory, changes: Mapping[str, Any]) -> None:
        self._run, self._changes = run, changes

    def started(self, plan: TrainingPlan) -> None:
        """Writes the changes."""
        self._run.remove_unfinished()
        if self._changes:
            self._run.update_config(**self._changes)


def last_checkpoint(run: RunDirectory, workers: int = 1) -> Checkpoint | None:
    """Reads the checkpoint that a run continues from, None if it was stopped before its first.

    Raises:
        UsageError: The run cannot be resumed exactly, or not with so many workers.
        RunError: The checkpoint is damaged, or is not the run's own.
    """
    record = RunRecord.of(run)
    if workers != record.workers:
        raise UsageError(
            f"{run.path} was begun with {record.workers} worker(s) and goes on with as many, not with {workers}: start "
            f"{record.workers}, or begin a new run with --init-from {run.path}"
        )
    resumed = read_resume_file(run)
    if resumed is None:
        return None
    resumed.require_networks(run.resume_path)
    _require_same_run(run.config_path, record, run.resume_path, resumed)
    if not resumed.resume_state:
        raise UsageError(
            f"{run.path} cannot be resumed exactly, since {resumed.env_id} cannot save its state: "
            f"start a new run with --init-from {run.path}"
        )
    return resumed


def read_resume_file(run: RunDirectory) -> Checkpoint | None:
    """Reads what a run continues from, None before its first checkpoint.

    It is written before the policy ``last``. If the training was killed between the two, ``last`` is written now.

    Raises:
        UsageError: The run has a policy, but not what it continues from.
        RunError: The file is damaged, or the disk refuses.
    """
    last = run.checkpoint("last")
    if not run.resume_path.exists():
        if last is None:
            return None
        checkpoint.require_policy_file(last)
        raise UsageError(f"{run.path} has lost {run.resume_path.name}: start a new run with --init-from {last}")
    resumed = checkpoint.read(run.resume_path)
    if last is None or checkpoint.env_steps_of(last) != resumed.env_steps:
        checkpoint.write(run.resume_path.with_stem("last"), resumed.policy_alone())
    return resumed


def _require_same_run(config_path: Path, record: RunRecord, last: Path, resumed: Checkpoint) -> None:
    """Refuses a configuration that differs from the one that the checkpoint was trained with."""
    written, trained = to_json(record.config), to_json(resumed.cfg)
    written |= {"env_id": record.env_id, "env_kwargs": record.env_kwargs, "backend": record.backend}
    trained |= {"env_id": resumed.env_id, "env_kwargs": resumed.env_kwargs, "backend": resumed.backend}
    for name in written:
        if written[name] != trained[name] and name != "max_env_steps":
            raise RunError(
                f"{config_path} says {name} {short(written[name])}, {last} was trained with "
                f"{short(trained[name])}: put it back"
            )
