"""Trains a run directory from where it is to its end, in one process or in several.

A new run and a resumed one take the same way. The run directory holds all that a training needs, so a run that was
killed before its first checkpoint is resumed from its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from motrix_train import schema
from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup
from motrix_train.learning.transfer import InitFrom
from motrix_train.storage.checkpoint import Checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.run_record import RunRecord
from motrix_train.training.callbacks import Callback, CallbackList
from motrix_train.training.records import Goal, TrainingSummary, never
from motrix_train.training.request import TrainRequest, read_origin
from motrix_train.training.resume import ConfigUpdate, ResumeRequest, last_checkpoint
from motrix_train.training.trainer import train_policy


def train_run(
    run: RunDirectory,
    callback: Callback,
    goal: Goal = never,
    group: ProcessGroup = SINGLE_PROCESS,
    resume: ResumeRequest | None = None,
    dump_diverged: bool = False,
) -> TrainingSummary:
    """Trains a run, on rank 0. The other processes of the group call `train_as_worker` at the same time.

    A new run that is refused before it has learned anything is removed. A refused command changes nothing of a run
    that existed before.

    Args:
        run: The run.
        callback: Hooks of the training.
        goal: Ends the training before its budget does.
        group: The processes that train it.
        resume: Settings that change from here on.
        dump_diverged: Whether the run keeps recordings of environments that diverge.

    Raises:
        UsageError: The settings do not go together, or another process trains the run.
        RunError: The disk refuses, or the training diverges.
    """
    summary = _train(group, run, callback, goal, resume, dump_diverged)
    assert summary is not None
    return summary


def train_as_worker(group: ProcessGroup) -> None:
    """Trains the run of rank 0 together with it. Needs no disk.

    Raises:
        EndedElsewhere: The training ended with an error, which rank 0 reports.
    """
    _train(group)


@dataclass(frozen=True)
class _OpenRun:
    """The content of a run that is about to be trained: its configuration with the changes, and its policies."""

    config: Mapping[str, Any]
    changes: Mapping[str, Any]
    resumed: Checkpoint | None
    origin: InitFrom | None


def _train(
    group: ProcessGroup,
    run: RunDirectory | None = None,
    callback: Callback | None = None,
    goal: Goal = never,
    resume: ResumeRequest | None = None,
    dump_diverged: bool = False,
) -> TrainingSummary | None:
    """Trains a run: called by all processes, with the run and what belongs to it on rank 0 alone."""
    with ExitStack() as opened:
        files = group.run(_open, opened, run, resume, group.size)
        shared = group.from_main(lambda: {"config": json.dumps(files.config if files else {})})
        request = TrainRequest.from_record(schema.build(RunRecord, json.loads(str(shared["config"]))))
        if run is None or callback is None or files is None:
            return train_policy(request, group=group)
        try:
            return train_policy(
                replace(request, origin=files.origin),
                run=run,
                callback=CallbackList([ConfigUpdate(run, files.changes), callback]),
                resumed=files.resumed,
                goal=goal,
                group=group,
                dump_diverged=dump_diverged,
            )
        except BaseException:
            if not run.has_trained():
                run.discard()
            raise


def _open(opened: ExitStack, run: RunDirectory | None, resume: ResumeRequest | None, workers: int) -> _OpenRun | None:
    """Locks a run until `opened` is closed, and reads it; None without a run."""
    if run is None:
        return None
    opened.enter_context(run.exclusive())
    resumed = last_checkpoint(run, workers)
    changes = resume.changes(run, workers) if resume else {}
    return _OpenRun({**run.config(), **changes}, changes, resumed, read_origin(RunRecord.of(run), run))
