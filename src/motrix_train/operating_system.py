"""What differs between Linux, macOS and Windows: each difference once, and here. Tested on Linux alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    OWN_GROUP = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    import fcntl

    OWN_GROUP = 0
"""The `creationflags` of a process in a group of its own; elsewhere than on Windows, `process_group` asks for one."""


NICENESS = 19  # the greatest
TIMER_SLACK = 10_000_000  # ns
CHUNK = 2**20  # bytes


def usable_cpus() -> list[int]:
    """The numbers of the CPUs that this process may use; of all that there are where a system cannot restrict it."""
    if sys.platform == "darwin" or sys.platform == "win32":
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0))


def flush_to_disk(path: Path) -> None:
    """Waits until a file, or the names in a directory, survives a loss of power.

    Windows cannot be asked to write the names in a directory.
    """
    if sys.platform == "win32" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps other processes out of the same block for a directory; the end of the process ends it in any case.

    Windows locks no directories: there it is a file ``.lock`` in it.

    Raises:
        BlockingIOError: Another process is in the block.
        OSError: The directory cannot be opened.
    """
    if sys.platform == "win32":
        file = directory / ".lock"
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
        try:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except OSError as taken:
                raise BlockingIOError(*taken.args) from taken
            yield
        finally:
            os.close(descriptor)
            with suppress(OSError):  # another process has it open
                file.unlink()
    else:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)


def make_file(path: Path, size: int) -> None:
    """Makes a file of so many zeros whose place on the disk is reserved, so that no later write finds the disk full.

    Only Linux reserves it without writing.

    Raises:
        OSError: The disk is full or refuses.
    """
    with path.open("wb") as file:
        if sys.platform == "linux":
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            for start in range(0, size, CHUNK):
                file.write(bytes(min(CHUNK, size - start)))


def give_way() -> None:
    """Leaves the CPUs to the other processes, where they want them. Windows has no such call.

    On Linux the threads that are started later also wake up less often: each of their waits may last a little longer.
    """
    if sys.platform != "win32":
        with suppress(OSError):
            os.nice(NICENESS)
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/timerslack_ns").write_text(str(TIMER_SLACK))


def has_display() -> bool:
    """Whether a window or a browser can be opened here."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
