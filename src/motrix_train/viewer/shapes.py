"""What is drawn beside the model: commanded and actual velocity as arrows, a goal as a disc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from motrix_train.viewer.nudges import main_body
from motrix_train.viewer.report import Arrow, Disc, Handle
from motrix_train.viewer.steering import COMMAND, GOAL, VELOCITY

ASKED = (0.1, 0.75, 0.2, 1.0)
ACTUAL = (0.15, 0.4, 0.95, 1.0)
TARGET = (0.1, 0.75, 0.2, 0.5)
SCALE = 0.5  # m of an arrow for 1 m/s
DISC = 0.15  # m


def shapes(model: mujoco.MjModel, data: Any, handles: Mapping[Handle, float]) -> tuple[Arrow | Disc, ...]:
    """Arrows and discs for what the user may set.

    Args:
        model: The model.
        data: The simulation that is drawn.
        handles: What may be set, with the present values.
    """
    body = main_body(model)
    values = [value for handle, value in handles.items() if handle.field == COMMAND]
    if body is not None and len(values) == len(VELOCITY):
        return _velocities(model, data, body, values)
    goal = [value for handle, value in handles.items() if handle.field == GOAL]
    if len(goal) == 2 and not _has_marker(model):
        return (Disc(np.array([*goal, 0.01]), DISC, TARGET),)
    return ()


def _velocities(model: mujoco.MjModel, data: Any, body: int, command: list[float]) -> tuple[Arrow, ...]:
    """Commanded and actual planar velocity above the trunk, and the commanded turn as an arrow at its nose."""
    rotation = data.xmat[body].reshape(3, 3)
    ahead = np.array([rotation[0, 0], rotation[1, 0], 0.0])
    ahead /= max(float(np.linalg.norm(ahead)), 1e-6)
    left = np.array([-ahead[1], ahead[0], 0.0])
    moving = np.zeros(6)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, moving, 0)
    start = data.xpos[body] + np.array([0.0, 0.0, 0.75 * _size(model, body)])
    actual = np.array([moving[3], moving[4], 0.0])
    asked = command[0] * ahead + command[1] * left
    nose = start + 0.5 * _size(model, body) * ahead
    lifted = start + np.array([0.0, 0.0, 0.05])
    return (
        Arrow(lifted, SCALE * asked, ASKED),
        Arrow(start, SCALE * actual, ACTUAL),
        Arrow(nose, SCALE * command[2] * left, ASKED),
    )


def _size(model: mujoco.MjModel, body: int) -> float:
    """How far the geoms of a body reach from its origin, m."""
    first, count = int(model.body_geomadr[body]), int(model.body_geomnum[body])
    if count == 0:
        return 0.3
    reach = (
        np.linalg.vector_norm(model.geom_pos[first : first + count], axis=1) + model.geom_rbound[first : first + count]
    )
    return float(reach.max())


def _has_marker(model: mujoco.MjModel) -> bool:
    """Whether the model itself shows the goal."""
    return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, GOAL) >= 0
