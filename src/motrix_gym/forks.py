"""What a process may do with environments that were made before it was forked: nothing that needs what stayed behind.

The threads of a simulation and the state of an OpenGL driver are not copied into a forked process. To use them, or even
to destroy them, waits for ever. So a forked process gives them up, unseen, and says what to do instead.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from typing import Any, Protocol

_watched: weakref.WeakSet[Heir] = weakref.WeakSet()


class Heir(Protocol):
    """Has something that does not outlive a fork."""

    def give_up(self) -> None:
        """Called in the forked process: replaces what stayed behind, after `leak`."""


def watch(heir: Heir) -> None:
    """Has `heir` give up, in every process that is forked while it lives, what stayed behind."""
    _watched.add(heir)


def leak(thing: Any) -> None:
    """Keeps `thing` until the process ends, and beyond: it is never destroyed."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class LeftBehind:
    """Stands for what stayed behind: to use it raises.

    Args:
        message: What is said then.
    """

    def __init__(self, message: str):
        self._message = message

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(self._message)


def _give_up() -> None:
    for heir in list(_watched):
        heir.give_up()


if sys.platform != "win32":  # where nothing is forked
    os.register_at_fork(after_in_child=_give_up)
