"""Files that are written whole or not at all, and what a killed process leaves of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from motrix_train.errors import RunError

_UNFINISHED = re.compile(
    r"\.(last|best|origin|step_\d+|config|progress|learning_curve|events\.out\.tfevents\..*)_\w{8}(\..*)?"
)


def atomic_write(path: Path, content: bytes) -> None:
    """Writes a file atomically and durably: readers see the old content or the new, even after a loss of power.

    Raises:
        RunError: The disk refuses; the old content stays.
    """
    with atomic_replace(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with os_errors(path):
        flush_to_disk(path.parent)


@contextlib.contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place once the block has ended well.

    Raises:
        RunError: The disk refuses; what was at `path` stays.
    """
    with os_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}_", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_unfinished(directory: Path) -> None:
    """Removes the temporary files of a run that a killed process has left in a directory; nobody else may write there.

    Raises:
        RunError: The disk refuses.
    """
    with os_errors(directory):
        for path in directory.iterdir() if directory.is_dir() else ():
            if _UNFINISHED.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                path.unlink()


def flush_to_disk(path: Path) -> None:
    """Waits until a file, or the names in a directory, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def os_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """Tells an `OSError` of the block as a `RunError` about a path."""
    try:
        yield
    except OSError as refusal:
        raise RunError(f"cannot {doing} {path}: {refusal.strerror or refusal}") from refusal


def numbered(path: Path) -> Iterator[Path]:
    """The path, then the same with _2, _3 and so on at its end."""
    return itertools.chain([path], (path.with_name(f"{path.name}_{number}") for number in itertools.count(2)))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
