"""Writes the progress, the events and the checkpoints of a run, on rank 0."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from motrix_train import config
from motrix_train.storage import checkpoint, event_log
from motrix_train.storage.array_file import SUFFIX
from motrix_train.storage.checkpoint import Checkpoint
from motrix_train.storage.files import atomic_write
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.callbacks import Callback
from motrix_train.training.records import RolloutStats, TrainingPlan, tensorboard_scalars

BEFORE_END = "best_before_end"  # the checkpoint that was best before the evaluation at the end of the budget


class Recorder:
    """Writes the files of a run and calls the callbacks.

    Args:
        run: The run.
        callback: Called after each file is written.
        template: A checkpoint without networks: the fields that all checkpoints of the run share.
    """

    def __init__(self, run: RunDirectory, callback: Callback, template: Checkpoint) -> None:
        self.run, self.callback = run, callback
        self._template = template
        self._events: event_log.EventLog | None = None

    def start(self, plan: TrainingPlan, resumed: Checkpoint | None) -> None:
        """Rewinds the files to the checkpoint that the run continues from, and opens them.

        Nothing of the run is changed before.
        """
        _rewind(self.run, resumed, plan.cfg, plan.workers)
        self._events = event_log.EventLog(self.run.path)
        self._events.describe(_hyperparameters(self._template, plan.cfg))
        self.callback.started(plan)

    def add(self, stats: RolloutStats) -> None:
        """Writes one rollout to the progress table and the event file."""
        assert self._events is not None
        self.run.append_progress(asdict(stats))
        self._events.add(tensorboard_scalars(stats), stats.env_steps)
        self.callback.rollout(stats)

    def write_policy(self, name: str, env_steps: int, state: dict[str, Any]) -> None:
        """Writes a policy."""
        self._write(name, replace(self._template, env_steps=env_steps, state=state).policy_alone())

    def write_step(self, env_steps: int, state: dict[str, Any]) -> None:
        """Writes ``step_<env steps>`` and removes the oldest of these checkpoints."""
        self.write_policy(f"step_{env_steps}", env_steps, state)
        self.run.keep_newest(self._template.config["check_points_kept"])

    def write_last(self, env_steps: int, state: dict[str, Any], resume_state: dict[str, Any]) -> Path:
        """Writes what a resumed run continues from, then the policy ``last``, and returns the path of the policy.

        The progress and the events reach the disk before it, so that a resumed run finds no gap in them.
        """
        assert self._events is not None
        self._events.flush()
        self.run.flush_progress()
        content = replace(self._template, env_steps=env_steps, state=state, resume_state=resume_state)
        checkpoint.write(self.run.resume_path, content)
        return self._write("last", content.policy_alone())

    def keep_best_before_end(self) -> None:
        """Copies the best policy so far: a longer run takes back the one that is written at the end of the budget."""
        best = self.run.checkpoint("best")
        if best is not None:
            atomic_write(best.with_stem(BEFORE_END), best.read_bytes())

    def close(self) -> None:
        """Closes the event file."""
        if self._events is not None:
            self._events.close()

    def _write(self, name: str, content: Checkpoint) -> Path:
        path = self.run.checkpoints / f"{name}{SUFFIX}"
        checkpoint.write(path, content)
        self.callback.checkpoint_written(path)
        return path


def _hyperparameters(template: Checkpoint, cfg: config.BaseRLCfg) -> dict[str, Any]:
    """The settings of a run by name, for TensorBoard."""
    return {
        "env_id": template.env_id,
        "backend": template.backend,
        **{f"env/{name}": value for name, value in template.env_kwargs.items()},
        **{name: value for name, value in config.to_json(cfg).items() if value is not None},
    }


def _rewind(run: RunDirectory, resumed: Checkpoint | None, cfg: config.BaseRLCfg, workers: int) -> None:
    """Restores the files of a run at a checkpoint, as a run with this budget has written them.

    Removes an evaluation at the end of a shorter budget, and the best policy that this evaluation chose.
    """
    env_steps = resumed.env_steps if resumed else 0
    period = cfg.evaluation_interval * cfg.rollouts * cfg.num_envs * workers  # env steps
    at_end = bool(period and env_steps % period)
    run.rewind(env_steps)
    run.lengthen_progress(cfg.env_steps(workers), "evaluation/" if at_end else None)
    event_log.rewind(run.path, env_steps, "Evaluation/" if at_end else None)
    best, before = run.checkpoint("best"), run.checkpoint(BEFORE_END)
    if best is not None and period and (checkpoint.env_steps_of(best) or 0) % period:
        if before is not None:
            before.replace(best)
        elif resumed is None or not resumed.resume_state["ranking"]["chosen"].size:
            best.unlink()
    elif before is not None:
        before.unlink()
