"""What a training run leaves on disk.

```
runs/<env id>/<time>_<backend>_seed<N>/
  config.json         the resolved configuration, the environment's kwargs, versions, the command
  progress.csv        one line per rollout
  learning_curve.png
  events.out.*        TensorBoard
  videos/             step_<env steps>.mp4, where they were asked for
  checkpoints/        best, last and the newest few step_<env steps>; origin, if it started from a policy;
                      best_before_end, which is best again if the run is lengthened
```
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import importlib.metadata
import io
import itertools
import json
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from motrix_train.errors import RunError, UsageError

RUNS = Path("runs")
DISTRIBUTIONS = ("motrix-gym", "gymnasium", "mujoco", "numpy", "skrl", "torch", "jax", "flax")


@dataclass(frozen=True)
class RunDirectory:
    """One run.

    Attributes:
        path: Its directory.
        made: The directories around it that had to be made for it, innermost first.
    """

    path: Path
    made: tuple[Path, ...] = ()

    @property
    def config_path(self) -> Path:
        """The resolved configuration, JSON; what makes a directory a run."""
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        """The directory of the policies."""
        return self.path / "checkpoints"

    @property
    def videos(self) -> Path:
        """The directory of what the policies looked like as they trained."""
        return self.path / "videos"

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
    ) -> RunDirectory:
        """Makes the directory of a new run, with its configuration in it.

        Args:
            root: Where the runs of all environments are.
            env_id: Registered id.
            backend: "torch" or "jax".
            seed: The run's seed.
            resolved: What the run was asked for, plain JSON.
            path: The directory itself, in place of one named after the time.

        Raises:
            UsageError: `path` exists.
            RunError: The disk refuses; nothing stays behind.
        """
        created = datetime.now(UTC)
        content = {"env_id": env_id, "backend": backend, "seed": seed, "created": created.isoformat(), **resolved}
        text = json.dumps(content, indent=2) + "\n"
        if path is None:
            wanted = root / env_id.rpartition(":")[2] / f"{created.astimezone():%Y-%m-%d_%H-%M-%S}_{backend}_seed{seed}"
            path = unused(wanted)
        elif path.exists():
            raise UsageError(f"run directory {path} exists: name a new one, or remove it")
        run = cls(path, made=tuple(parent for parent in path.parents if not parent.exists()))
        unfinished = cls(path.with_name(f".{path.name}.{os.getpid()}"))
        try:
            with _refusals(path):
                unfinished.checkpoints.mkdir(parents=True)
                write_whole(unfinished.config_path, text.encode())
                unfinished.path.rename(path)
        except BaseException:
            shutil.rmtree(unfinished.path, ignore_errors=True)
            run._unmake_parents()
            raise
        return run

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
    def find_newest(cls, root: Path, env_id: str) -> RunDirectory:
        """The newest run of an environment that has a policy.

        Raises:
            UsageError: There is none.
        """
        runs = [cls(path.parent) for path in (root / env_id.rpartition(":")[2]).glob("*/config.json")]
        trained = [run for run in runs if run._policies()]
        if not trained:
            raise UsageError(f"no trained run of {env_id} under {root}/: first `motrix-train train {env_id}`")
        return max(trained, key=lambda run: (run._created(), run.path.name))

    def config(self) -> dict[str, Any]:
        """What the run was asked for.

        Raises:
            RunError: It cannot be read.
        """
        with _refusals(self.config_path, "read"):
            text = self.config_path.read_text("utf-8")
        try:
            content = json.loads(text)
        except ValueError as damage:
            raise RunError(f"{self.config_path} is damaged: {damage}") from damage
        if not isinstance(content, dict):
            raise RunError(f"{self.config_path} is damaged: it holds no JSON object")
        return content

    def _created(self) -> str:
        """When the run began, ISO 8601 in UTC; empty where the configuration cannot be read."""
        with contextlib.suppress(RunError):
            return str(self.config().get("created", ""))
        return ""

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps other processes from training in this run; ends with the process, however it ends.

        Raises:
            UsageError: Another process trains in it.
        """
        with _refusals(self.path, "read"):
            directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise UsageError(f"another process is training {self.path}: wait for it, or stop it first") from None
        finally:
            os.close(directory)

    def amend(self, **changes: Any) -> None:
        """Changes entries of the configuration.

        Raises:
            RunError: The disk refuses; the old configuration stays.
        """
        write_whole(self.config_path, (json.dumps({**self.config(), **changes}, indent=2) + "\n").encode())

    def flush_progress(self) -> None:
        """Waits until the table of progress would survive a loss of power."""
        with _refusals(self.progress_path):
            if self.progress_path.exists():
                flush_to_disk(self.progress_path)

    def rewind(self, env_steps: int) -> None:
        """Drops the lines of the table of progress that come after a number of env steps, and a torn last one."""
        if not self.progress_path.exists():
            return
        with _refusals(self.progress_path, "read"), self.progress_path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        header = lines[0] if lines and "env_steps" in lines[0] else []
        column = header.index("env_steps") if header else 0
        kept = [line for line in lines[1:] if len(line) == len(header) and _number(line[column]) <= env_steps]
        if not kept:
            self.progress_path.unlink()
            return
        table = io.StringIO(newline="")
        csv.writer(table).writerows([header, *kept])
        write_whole(self.progress_path, table.getvalue().encode())

    def lengthen_progress(self, total_env_steps: int, taken_back: str | None) -> None:
        """Makes the table of progress that of a run of another budget.

        Args:
            total_env_steps: The budget, as every line says it.
            taken_back: How the columns begin that the last line has only because the former budget ended there,
                None where there are none. Those that no other line has are dropped.
        """
        if not self.progress_path.exists():
            return
        with _refusals(self.progress_path, "read"), self.progress_path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        names = list(lines[0]) if lines else []
        concerned = [] if taken_back is None else [name for name in names if name.startswith(taken_back)]
        lines[-1:] = [line | dict.fromkeys(concerned, "") for line in lines[-1:]]
        kept = [name for name in names if name not in concerned or any(line[name] for line in lines)]
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**line, "total_env_steps": total_env_steps} for line in lines)
        write_whole(self.progress_path, table.getvalue().encode())

    def keep_newest(self, count: int) -> None:
        """Removes all but the newest `count` of the checkpoints that are named after their step."""
        steps = sorted((rank for path in self._policies() if (rank := _rank(path))[0] == _STEP), reverse=True)
        for path in self._policies():
            if _rank(path) in steps[count:]:
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
        return max(policies, key=_rank)

    def _policies(self) -> list[Path]:
        return [path for path in self._checkpoints_like("*") if _rank(path) > (0, 0)]

    def _checkpoints_like(self, pattern: str) -> Iterator[Path]:
        """Checkpoints without the exports that lie beside them."""
        return (path for path in self.checkpoints.glob(pattern) if path.suffix != ".onnx")

    def append_progress(self, row: Mapping[str, Any]) -> None:
        """Adds one line to the table of progress.

        Args:
            row: Values by column, as `flat` names them. Where a column is new, the older lines are empty; None
                and NaN are empty too.

        Raises:
            RunError: The disk refuses.
        """
        cells = {name: "" if value is None or _is_nan(value) else value for name, value in flat(row)}
        with _refusals(self.progress_path):
            if self.progress_path.exists():
                with self.progress_path.open(newline="", encoding="utf-8") as file:
                    header = next(csv.reader(file), [])
            else:
                header = []
            if not set(cells) <= set(header):
                header = [*header, *(name for name in cells if name not in header)]
                self._rewrite(header)
            line = io.StringIO(newline="")
            csv.DictWriter(line, header).writerow(cells)
            with self.progress_path.open("a", newline="", encoding="utf-8") as file:
                file.write(line.getvalue())

    def _rewrite(self, header: list[str]) -> None:
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, header)
        writer.writeheader()
        if self.progress_path.exists():
            with self.progress_path.open(newline="", encoding="utf-8") as file:
                writer.writerows(csv.DictReader(file))
        write_whole(self.progress_path, table.getvalue().encode())

    def progress(self) -> dict[str, np.ndarray]:
        """The table of progress: columns by name, each (lines,) float, NaN where empty; without a torn last line."""
        if not self.progress_path.exists():
            return {}
        with (
            _refusals(self.progress_path, "read"),
            self.progress_path.open(newline="", encoding="utf-8") as file,
        ):
            lines = list(csv.DictReader(line for line in file if line.endswith("\n")))
        names = list(lines[0]) if lines else []
        return {name: np.array([_number(line[name]) for line in lines]) for name in names}

    def has_trained(self) -> bool:
        """Whether anything was learned in it."""
        return self.progress_path.exists() or bool(self._policies())

    def discard(self) -> None:
        """Removes the directory and what was made for it, for a run that was refused before it trained."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._unmake_parents()

    def _unmake_parents(self) -> None:
        for parent in self.made:
            with contextlib.suppress(OSError):
                parent.rmdir()


def flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a line of progress by column; mappings inside become columns like ``reward_terms/torques``."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def versions() -> dict[str, str]:
    """The versions of what a result depends on, of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def changed_versions(before: Mapping[str, str]) -> list[str]:
    """What is of another version than before, with its version now, as in ``mujoco 3.17.0``."""
    return [f"{name} {now}" for name, now in versions().items() if before.get(name) != now]


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file in one piece: whoever looks, also after a loss of power, finds the old content or the new.

    Raises:
        RunError: The disk refuses; the old content stays.
    """
    with replacement(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with _refusals(path):
        flush_to_disk(path.parent)


def flush_to_disk(path: Path) -> None:
    """Waits until a file, or the names in a directory, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place once the block has ended well.

    Raises:
        RunError: The disk refuses; what was at `path` stays.
    """
    with _refusals(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}_", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _refusals(path: Path, doing: str = "write") -> Iterator[None]:
    try:
        yield
    except OSError as refusal:
        raise RunError(f"cannot {doing} {path}: {refusal.strerror or refusal}") from refusal


def unused(path: Path) -> Path:
    """The path if nothing is there, else the first of the same with _2, _3 and so on at its end that is free."""
    numbered = (path.with_name(f"{path.name}_{number}") for number in itertools.count(2))
    return next(free for free in itertools.chain([path], numbered) if not free.exists())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


_STEP = 1


def _rank(policy: Path) -> tuple[int, int]:
    """How much a checkpoint is to be preferred, (0, 0) for any other file."""
    match policy.stem.split("_"):
        case ["best"]:
            return _STEP + 2, 0
        case ["last"]:
            return _STEP + 1, 0
        case ["step", steps] if steps.isdecimal():
            return _STEP, int(steps)
    return 0, 0


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _number(cell: str | None) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        return math.nan
