"""TensorBoard's event files of a run: written as it goes, and cut back to where it is resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motrix_train.errors import RunError
from motrix_train.operating_system import flush_to_disk
from motrix_train.storage.files import atomic_replace

HYPERPARAMETERS = "_hparams_/"  # prefixes of the tags of TensorBoard's table of hyperparameters


class EventLog:
    """Scalars over env steps, into a new file of a run.

    Args:
        directory: The run's.

    Raises:
        RunError: The disk refuses.
    """

    def __init__(self, directory: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._directory = directory
        try:
            self._writer = EventFileWriter(str(directory))
        except OSError as error:
            raise RunError(f"cannot write to {directory}: {error.strerror or error}") from error

    def add(self, scalars: Mapping[str, float], env_steps: int) -> None:
        """Adds those of the scalars that are finite."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        for tag, value in scalars.items():
            if np.isfinite(value):
                self._add(Summary(value=[Summary.Value(tag=tag, simple_value=value)]), env_steps)

    def describe(self, hyperparameters: Mapping[str, Any]) -> None:
        """Adds the hyperparameters of the run, by name; TensorBoard shows them as a table of all runs.

        A value that is neither a number nor a string is shown as a string.
        """
        from tensorboard.plugins.hparams import summary_v2

        shown = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in hyperparameters.items()
        }
        self._add(summary_v2.hparams_pb(shown, trial_id=self._directory.name), 0)

    def _add(self, summary: Any, env_steps: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

        self._writer.add_event(Event(summary=summary, step=env_steps, wall_time=time.time()))

    def flush(self) -> None:
        """Waits until every event is on the disk."""
        self._writer.flush()
        for path in event_files(self._directory):
            flush_to_disk(path)

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()


def event_files(directory: Path) -> list[Path]:
    """The event files of a run, in the order in which they were begun."""
    return sorted(directory.glob("events.out.tfevents.*"))


def rewind(directory: Path, env_steps: int, taken_back: str | None = None) -> None:
    """Drops every event after a number of env steps, a half-written event of a killed process, and the hyperparameters,
    which the next `EventLog` writes again.

    Args:
        directory: The run's.
        env_steps: Those of the last events that stay.
        taken_back: Prefixes of the tags whose events at `env_steps` are dropped too.

    Raises:
        RunError: The disk refuses; nothing is lost.
    """
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.summary.writer.record_writer import RecordWriter

    def stays(event: Event) -> bool:
        at_end = taken_back is not None and event.step == env_steps
        dropped = (HYPERPARAMETERS, taken_back) if at_end else (HYPERPARAMETERS,)
        return event.step <= env_steps and not any(v.tag.startswith(dropped) for v in event.summary.value)

    for path in event_files(directory):
        records = list(RawEventFileLoader(str(path)).Load())
        with atomic_replace(path) as temporary, temporary.open("wb") as file:
            writer = RecordWriter(file)
            for record in records:
                if stays(Event.FromString(record)):
                    writer.write(record)
            writer.flush()
        flush_to_disk(path)
