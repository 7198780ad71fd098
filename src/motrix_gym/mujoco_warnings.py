"""Keeps MuJoCo from writing a line, and a file, for each environment that diverges: it is an ending like any other.

MuJoCo has one handler of warnings for the whole process, which may be the user's. It is replaced for the time of our
own calls alone, and gets every warning that is not about our environments.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable

import mujoco

from motrix_gym import forks

DIVERGENCE = [
    int(mujoco.mjtWarning.mjWARN_BADQPOS),
    int(mujoco.mjtWarning.mjWARN_BADQVEL),
    int(mujoco.mjtWarning.mjWARN_BADQACC),
]
_TEXTS = tuple(mujoco.mju_warningText(kind, 0).partition(" at ")[0] for kind in DIVERGENCE)


class _DivergenceIsNoNews:
    """While a thread is within it, MuJoCo's warnings of divergence in the environments of that thread are dropped.

    Several threads may be within it at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within: list[int] = []  # threads
        self._users: Callable[[str], None] | None = None
        self._ours = self._handle
        self._raised: BaseException | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._users = mujoco.get_mju_user_warning()  # type: ignore[assignment]
                mujoco.set_mju_user_warning(self._ours)
            self._within.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within.remove(threading.get_ident())
            if not self._within:
                self._restore()
            raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def give_up(self) -> None:
        """Called in a forked process: the threads that were within are not here."""
        self._lock = threading.Lock()
        if self._within:
            self._within = []
            self._restore()

    def _restore(self) -> None:
        if mujoco.get_mju_user_warning() is self._ours:
            mujoco.set_mju_user_warning(self._users)

    def _handle(self, message: str) -> None:
        """Called from within MuJoCo, which an exception, Ctrl-C's too, would end the process in: it is raised later."""
        try:
            self._pass_on(message)
        except BaseException as error:
            self._raised = error

    def _pass_on(self, message: str) -> None:
        if message.startswith(_TEXTS) and self._is_ours(threading.get_ident()):
            return
        if self._users is None:
            print(f"WARNING: {message}", file=sys.stderr)
            return
        try:
            self._users(message)
        except ctypes.ArgumentError:  # a C function, as dm_control sets one
            self._users(message.encode())  # pyright: ignore[reportArgumentType]

    def _is_ours(self, thread: int) -> bool:
        """Whether a thread is within, or one of the physics threads, which Python does not know."""
        return thread in self._within or all(thread != known.ident for known in threading.enumerate())


DIVERGENCE_IS_NO_NEWS = _DivergenceIsNoNews()
forks.watch(DIVERGENCE_IS_NO_NEWS)
