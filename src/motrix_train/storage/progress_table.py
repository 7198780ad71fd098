"""The table of progress of a run, CSV: a line for each rollout, a column for each quantity."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from motrix_gym.fields import short
from motrix_train.errors import RunError
from motrix_train.operating_system import flush_to_disk
from motrix_train.storage.files import atomic_write, os_errors

MAX_LINE = 2**17  # characters
STEPS, TOTAL_STEPS = "env_steps", "total_env_steps"
OF_EPISODES = ("mean_return", "mean_episode_length", "return_by_task/")
"""Columns that are means over the episodes that ended last, so that they change only when one ends."""


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Adds one line to a table, and makes the table if there is none.

    Args:
        path: The table.
        row: Values by column, as `flat` names them. Where a column is new, the older lines are empty; None and NaN
            are empty too.

    Raises:
        RunError: The disk refuses, or the table is damaged.
    """
    cells = {name: "" if value is None or _is_nan(value) else value for name, value in flat(row)}
    header = _header(path)
    if not set(cells) <= set(header):
        wider = [*header, *(name for name in cells if name not in header)]
        lines = [line + [""] * (len(wider) - len(line)) for line in _lines(path)[1:]]
        _write(path, [wider, *lines])
        header = wider
    line = io.StringIO(newline="")
    csv.DictWriter(line, header).writerow(cells)
    with os_errors(path), path.open("a", newline="", encoding="utf-8") as file:
        file.write(line.getvalue())


def read(path: Path) -> dict[str, np.ndarray]:
    """The columns of a table by name, each (lines,) float, NaN where empty; without an incomplete last line.

    Raises:
        RunError: The table is damaged, or cannot be read.
    """
    lines = _lines(path)
    if len(lines) < 2:
        return {}
    numbers = _numbers(path, lines)
    return {name: numbers[:, place] for place, name in enumerate(lines[0])}


def rewind(path: Path, env_steps: int) -> None:
    """Drops the lines after a number of env steps, and an incomplete last line.

    Raises:
        RunError: The table is damaged, or the disk refuses.
    """
    lines = _lines(path)
    if not lines:
        path.unlink(missing_ok=True)
        return
    names, *rows = lines
    steps = _numbers(path, lines)[:, names.index(STEPS) if STEPS in names else 0]
    kept = [row for row, step in zip(rows, steps, strict=True) if step <= env_steps]
    if kept:
        _write(path, [names, *kept])
    else:
        path.unlink()


def lengthen(path: Path, total_env_steps: int, taken_back: str | None) -> None:
    """Changes the budget of the run in a table.

    Args:
        path: The table.
        total_env_steps: The new budget, for every line.
        taken_back: Prefixes of the columns that the last line has only because the former budget ended there, None for
            no column. Such a column is dropped if no other line has it.

    Raises:
        RunError: The table is damaged, or the disk refuses.
    """
    lines = _lines(path)
    if not lines:
        return
    names, *rows = lines
    concerned = [place for place, name in enumerate(names) if taken_back is not None and name.startswith(taken_back)]
    for row in rows:
        if TOTAL_STEPS in names:
            row[names.index(TOTAL_STEPS)] = str(total_env_steps)
    for place in concerned if rows else ():
        rows[-1][place] = ""
    kept = [place for place in range(len(names)) if place not in concerned or any(row[place] for row in rows)]
    _write(path, [[line[place] for place in kept] for line in (names, *rows)])


def flush(path: Path) -> None:
    """Waits until a table would survive a loss of power."""
    with os_errors(path):
        if path.exists():
            flush_to_disk(path)


def flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a line by column; mappings inside become columns like ``reward_terms/torques``."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def measured(progress: Mapping[str, np.ndarray], column: str) -> np.ndarray:
    """A column, (lines,), NaN where it only repeats an older value: where no episode has ended since the line before.

    Args:
        progress: Columns by name.
        column: One of them.
    """
    values, episodes = progress[column], progress.get("episodes")
    if episodes is None or not column.startswith(OF_EPISODES):
        return values
    return np.where(np.diff(episodes, prepend=0) > 0, values, np.nan)


def _header(path: Path) -> list[str]:
    """The first line, empty without a table."""
    if not path.exists():
        return []
    with os_errors(path, "read"), path.open("rb") as file:
        first = file.readline(MAX_LINE)
    return next(iter(_parsed(path, first)), [])


def _lines(path: Path) -> list[list[str]]:
    """All lines except an incomplete last one, each with as many cells as the first; empty without a table."""
    if not path.exists():
        return []
    with os_errors(path, "read"):
        data = path.read_bytes()
    return _parsed(path, data[: data.rfind(b"\n") + 1])


def _parsed(path: Path, data: bytes) -> list[list[str]]:
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
    except UnicodeDecodeError as damage:
        raise _damage(path, "it is not written in UTF-8") from damage
    except csv.Error as damage:
        raise _damage(path, str(damage)) from damage
    names = lines[0] if lines else []
    if len(set(names)) < len(names) or (lines and not all(names)):
        raise _damage(path, "its first line must name each column once")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(names):
            raise _damage(path, f"line {number} has {len(line)} columns, the first line has {len(names)}")
    return lines


def _write(path: Path, lines: Sequence[Sequence[str]]) -> None:
    table = io.StringIO(newline="")
    csv.writer(table).writerows(lines)
    atomic_write(path, table.getvalue().encode())


def _damage(path: Path, reason: str) -> RunError:
    return RunError(f"{path} is damaged: {reason}; mend or remove that line, or remove the file")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _numbers(path: Path, lines: Sequence[Sequence[str]]) -> np.ndarray:
    """The numbers below the first line, (lines - 1, columns)."""
    names, *rows = lines
    numbers = [[_number(path, name, cell) for name, cell in zip(names, row, strict=True)] for row in rows]
    return np.array(numbers).reshape(len(rows), len(names))


def _number(path: Path, name: str, cell: str) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        raise _damage(path, f"column {name} holds {short(cell)}, which is no number") from None
