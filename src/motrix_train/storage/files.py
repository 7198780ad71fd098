"""Atomic writes, and the temporary files that a killed process leaves behind."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from motrix_train.errors import RunError
from motrix_train.operating_system import flush_to_disk

_UNFINISHED = re.compile(
    r"\.(last|resume|best|best_before_end|origin|step_\d+|\d\d_env_\d+"
    r"|config|progress|learning_curve|events\.out\.tfevents\..*)_\w{8}(\..*)?"
)


def atomic_write(path: Path, content: bytes) -> None:
    """Writes a file atomically and durably: readers see the old or the new content, even after a crash.

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
    """A temporary file beside `path` that replaces it if the block ends without an error.

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
    """Removes the temporary files that a killed process left in a directory of a run; no other process may write there.

    Raises:
        RunError: The disk refuses.
    """
    with os_errors(directory):
        for path in directory.iterdir() if directory.is_dir() else ():
            if _UNFINISHED.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                path.unlink()


@contextlib.contextmanager
def os_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """Raises a `RunError` about a path for an `OSError` of the block."""
    try:
        yield
    except OSError as refusal:
        raise RunError(f"cannot {doing} {path}: {refusal.strerror or refusal}") from refusal


def numbered(path: Path) -> Iterator[Path]:
    """The path, then the same with _2, _3 and so on at its end."""
    return itertools.chain([path], (path.with_name(f"{path.name}_{number}") for number in itertools.count(2)))


def move_to_free(directory: Path, target: Path) -> bool:
    """Moves a directory to a free path; False if the path is taken, also if another process has just taken it."""
    if target.exists():
        return False
    try:
        directory.rename(target)
    except OSError as refusal:
        if refusal.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def remove_empty(directories: Iterable[Path]) -> None:
    """Removes directories, as far as they are empty."""
    for directory in directories:
        with contextlib.suppress(OSError):
            directory.rmdir()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
