"""What users of a page and of a window ask of a session."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import mujoco
import numpy as np

from motrix_train.viewer.report import Handle
from motrix_train.viewer.steering import COMMAND, GOAL

Wish = Callable[[Any], object]  # of a session
KEY_STEP = 0.1  # of a command or a goal, in its unit


def toggle_pause(session: Any) -> None:
    """Pauses a session, or goes on."""
    session.pace.paused = not session.pace.paused


def add(session: Any, handle: Handle, by: float) -> None:
    """Adds to a command or to a goal; goes a step on or back in a recording."""
    step = by if handle.field.startswith((COMMAND, GOAL)) else math.copysign(1.0, by)
    session.set(handle, session.value(handle) + step)


def zero(session: Any, handles: Iterable[Handle]) -> None:
    """Sets a command to zero."""
    for handle in handles:
        if handle.field == COMMAND:
            session.set(handle, 0.0)


class Pull:
    """The force with which the mouse pulls a body, passed on as long as it does and once when it ends.

    Args:
        wish: Takes a wish.
    """

    def __init__(self, wish: Callable[[Wish], None]) -> None:
        self._wish = wish
        self._is_pulling = False

    def read(self, model: Any, data: Any, perturb: Any) -> None:
        """Reads what the mouse does.

        Args:
            model: The model.
            data: The simulation that is shown; its applied forces are overwritten.
            perturb: The viewer's `mujoco.MjvPerturb`.
        """
        body, force = _force(model, data, perturb)
        if force.any() or self._is_pulling:
            self._wish(lambda session: session.pull(body, force))
        self._is_pulling = bool(force.any())


def _force(model: Any, data: Any, perturb: Any) -> tuple[int, np.ndarray]:
    """The body that the mouse has chosen, and the force on it, (6,) N and N m."""
    body = int(perturb.select)
    if not perturb.active or body <= 0:
        return body, np.zeros(6)
    data.xfrc_applied[:] = 0.0
    mujoco.mjv_applyPerturbForce(model, data, perturb)
    return body, np.array(data.xfrc_applied[body])
