"""The files of a training run.

```
runs/<env id>/<time>_<backend>_seed<N>/
  config.json         the resolved configuration, the environment's kwargs, versions, the command
  progress.csv        one line per rollout
  learning_curve.png
  events.out.*        TensorBoard
  videos/             step_<env steps>.mp4, where they were asked for
  diverged/           recordings of environments that diverged, where they were asked for
  checkpoints/        policies: best, last and the newest few step_<env steps>; origin, if it started from a policy;
                      best_before_end, which is best again if the run is lengthened;
                      resume, what the run continues from: last, its optimizer, its environments
```
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from motrix_train.environment import without_module
from motrix_train.errors import RunError, UsageError
from motrix_train.operating_system import locked
from motrix_train.storage import progress_table
from motrix_train.storage.array_file import SUFFIX
from motrix_train.storage.checkpoint_names import STEP, rank
from motrix_train.storage.files import (
    atomic_write,
    move_to_free,
    numbered,
    os_errors,
    remove_empty,
    remove_unfinished,
)
from motrix_train.storage.json_file import json_bytes, read_json_object

RUNS = Path("runs")


class NoTrainedRun(UsageError):
    """An environment has no run with a policy."""


@dataclass(frozen=True)
class RunDirectory:
    """One run.

    Attributes:
        path: Its directory.
        is_new: Whether `create` made it, so that `discard` may remove it.
        created_parents: Parent directories that were created for it, innermost first.
    """

    path: Path
    is_new: bool = False
    created_parents: tuple[Path, ...] = ()

    @property
    def config_path(self) -> Path:
        """The resolved configuration, JSON; its presence marks a run directory."""
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        """The directory of the policies."""
        return self.path / "checkpoints"

    @property
    def resume_path(self) -> Path:
        """What the run continues from."""
        return self.checkpoints / f"resume{SUFFIX}"

    @property
    def videos(self) -> Path:
        """The directory of the videos of the policy in training."""
        return self.path / "videos"

    @property
    def diverged(self) -> Path:
        """The directory of the recordings of environments that diverged."""
        return self.path / "diverged"

    @property
    def progress_path(self) -> Path:
        """The table of progress, CSV."""
        return self.path / "progress.csv"

    @property
    def curve_path(self) -> Path:
        """The picture of the progress."""
        return self.path / "learning_curve.png"

    @classmethod
    def create(
        cls,
        root: Path,
        env_id: str,
        backend: str,
        seed: int,
        resolved: Mapping[str, Any],
        path: Path | None = None,
        policies: Mapping[str, bytes] = MappingProxyType({}),
    ) -> RunDirectory:
        """Makes the directory of a new run, with its configuration in it, in one piece.

        Args:
            root: Where the runs of all environments are.
            env_id: Registered id.
            backend: "torch" or "jax".
            seed: The run's seed.
            resolved: The resolved configuration, plain JSON.
            path: The directory itself, in place of one named after the time.
            policies: Checkpoints that the run starts with, by file name.

        Raises:
            UsageError: `path` exists.
            RunError: The disk refuses; nothing stays behind.
        """
        created = datetime.now(UTC)
        content = {"env_id": env_id, "backend": backend, "seed": seed, "created": created.isoformat(), **resolved}
        if path is None:
            name = f"{created.astimezone():%Y-%m-%d_%H-%M-%S}_{backend}_seed{seed}"
            candidates = numbered(root / without_module(env_id) / name)
        elif path.exists():
            raise _taken(path)
        else:
            candidates = iter([path])
        first = next(candidates)
        created_parents = tuple(parent for parent in first.parents if not parent.exists())
        unfinished = cls(first.with_name(f".{first.name}.{secrets.token_hex(4)}"))
        try:
            with os_errors(first):
                unfinished.checkpoints.mkdir(parents=True)
                atomic_write(unfinished.config_path, json_bytes(content))
                for file_name, data in policies.items():
                    atomic_write(unfinished.checkpoints / file_name, data)
                for candidate in itertools.chain([first], candidates):
                    if move_to_free(unfinished.path, candidate):
                        return cls(candidate, is_new=True, created_parents=created_parents)
            raise _taken(first)
        except BaseException:
            shutil.rmtree(unfinished.path, ignore_errors=True)
            remove_empty(created_parents)
            raise

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The run at `path`.

        Raises:
            UsageError: There is none.
        """
        run = cls(path)
        if not run.config_path.is_file():
            raise UsageError(f"{path} is no run: give a directory that `motrix-train train` made")
        return run

    @classmethod
    def all_below(cls, directory: Path) -> list[RunDirectory]:
        """The runs in a directory and the directories below it, by name."""
        return [cls(record.parent) for record in sorted(directory.rglob("config.json"))]

    @classmethod
    def find_newest(cls, root: Path, env_id: str) -> RunDirectory:
        """The newest run with a policy of an environment.

        Raises:
            NoTrainedRun: There is none.
        """
        return cls._newest(
            (root / without_module(env_id)).glob("*/config.json"),
            NoTrainedRun(
                f"no trained run of {env_id} under {root}/: train it first, with `motrix-train train {env_id}`"
            ),
        )

    @classmethod
    def newest_below(cls, directory: Path) -> RunDirectory:
        """The newest run with a policy in a directory and the directories below it.

        Raises:
            UsageError: There is none.
        """
        return cls._newest(
            directory.rglob("config.json"),
            UsageError(f"no trained run under {directory}/: give a run, or a directory of runs"),
        )

    @classmethod
    def _newest(cls, records: Iterable[Path], otherwise: UsageError) -> RunDirectory:
        """The newest run with a policy among the runs with these records."""
        trained = [run for path in records if (run := cls(path.parent))._policies()]
        if not trained:
            raise otherwise
        return max(trained, key=lambda run: (run._created(), run.path.name))

    def config(self) -> dict[str, Any]:
        """The content of `config.json`: the resolved configuration.

        Raises:
            RunError: It cannot be read, or is no JSON object.
        """
        return read_json_object(self.config_path)

    def _created(self) -> str:
        """When the run began, ISO 8601 in UTC; empty where the configuration cannot be read."""
        with suppress(RunError):
            return str(self.config().get("created", ""))
        return ""

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps other processes from training in this run; the end of the process ends it in any case.

        Raises:
            UsageError: Another process trains in it.
        """
        with contextlib.ExitStack() as lock:
            try:
                lock.enter_context(locked(self.path))
            except BlockingIOError:
                raise UsageError(f"another process is training {self.path}: wait for it, or stop it first") from None
            except OSError as refusal:
                raise RunError(f"cannot read {self.path}: {refusal.strerror or refusal}") from refusal
            yield

    def update_config(self, **changes: Any) -> None:
        """Replaces entries of `config.json`.

        Raises:
            RunError: The disk refuses; the old configuration stays.
        """
        atomic_write(self.config_path, json_bytes({**self.config(), **changes}))

    def remove_unfinished(self) -> None:
        """Removes the temporary files of processes that were killed in this run; call it inside `exclusive`."""
        for directory in (self.path, self.checkpoints, self.videos, self.diverged):
            remove_unfinished(directory)

    def keep_newest(self, count: int) -> None:
        """Removes all but the newest `count` of the checkpoints that are named after their step."""
        steps = sorted((found for path in self._policies() if (found := rank(path))[0] == STEP), reverse=True)
        for path in self._policies():
            if rank(path) in steps[count:]:
                path.unlink()

    def checkpoint(self, name: str) -> Path | None:
        """The checkpoint of this name, None if there is none."""
        return next(self._checkpoints_like(f"{name}.*"), None)

    def best_policy(self) -> Path:
        """The checkpoint that was best in the evaluations, else the last one, else the one of most steps.

        Raises:
            UsageError: The run has no checkpoint.
        """
        policies = self._policies()
        if not policies:
            raise UsageError(f"run {self.path} has no policy: it ended before its first checkpoint")
        return max(policies, key=rank)

    def _policies(self) -> list[Path]:
        return [path for path in self._checkpoints_like("*") if rank(path) > (0, 0)]

    def _checkpoints_like(self, pattern: str) -> Iterator[Path]:
        """Checkpoints without the exports that lie beside them."""
        return (path for path in self.checkpoints.glob(pattern) if path.suffix != ".onnx")

    def append_progress(self, row: Mapping[str, Any]) -> None:
        """Adds one line to the table of progress; see `progress_table.append`."""
        progress_table.append(self.progress_path, row)

    def progress(self) -> dict[str, np.ndarray]:
        """The table of progress: columns by name, each (lines,) float; see `progress_table.read`."""
        return progress_table.read(self.progress_path)

    def rewind(self, env_steps: int) -> None:
        """Drops the lines of the table of progress after a number of env steps."""
        progress_table.rewind(self.progress_path, env_steps)

    def lengthen_progress(self, total_env_steps: int, taken_back: str | None) -> None:
        """Changes the budget of the run in the table of progress; see `progress_table.lengthen`."""
        progress_table.lengthen(self.progress_path, total_env_steps, taken_back)

    def flush_progress(self) -> None:
        """Waits until the table of progress would survive a loss of power."""
        progress_table.flush(self.progress_path)

    def has_trained(self) -> bool:
        """Whether it has progress or a policy."""
        return self.progress_path.exists() or bool(self._policies())

    def discard(self) -> None:
        """Removes a new run that failed before it trained; a run that was opened stays."""
        if not self.is_new:
            return
        for path in (self.config_path, *self.checkpoints.glob("origin.*"), *self.path.glob("events.out.tfevents.*")):
            path.unlink(missing_ok=True)
        remove_empty((self.checkpoints, self.path, *self.created_parents))


def _taken(path: Path) -> UsageError:
    return UsageError(f"run directory {path} exists: name a new one, or remove it")
