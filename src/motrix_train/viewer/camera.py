"""Where the camera of a viewer begins: at the model's own camera, following what that follows."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np

from motrix_gym.rendering import CAMERA

_FOLLOWS = (mujoco.mjtCamLight.mjCAMLIGHT_TRACK, mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM)
NEAREST, FARTHEST = 0.3, 30.0  # m
ROOM = 1.6  # times as far as the model's camera, since the panel covers a part of the picture


def followed_body(model: Any) -> int | None:
    """The body that the model's camera ``track`` follows, None where it stands still."""
    found = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, CAMERA)
    if found < 0 or int(model.cam_mode[found]) not in map(int, _FOLLOWS):
        return None
    return int(model.cam_bodyid[found])


def place(model: Any, data: Any, camera: Any, follow: bool) -> None:
    """Puts a free camera where the model's camera is, or one that follows its body.

    Args:
        model: The model.
        data: The simulation.
        camera: The `mujoco.MjvCamera`, which is changed.
        follow: Whether it follows the body of the model's camera, if there is one.
    """
    mujoco.mjv_defaultFreeCamera(model, camera)
    found = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, CAMERA)
    body = followed_body(model)
    if found >= 0:
        middle = model.stat.center if body is None else data.xpos[body]
        position, ahead = data.cam_xpos[found], -data.cam_xmat[found].reshape(3, 3)[:, 2]
        zoom = math.tan(math.radians(model.cam_fovy[found] / 2)) / math.tan(math.radians(model.vis.global_.fovy / 2))
        away = float(np.dot(middle - position, ahead))
        camera.lookat[:] = position + away * ahead
        camera.distance = float(np.clip(ROOM * away * zoom, NEAREST, FARTHEST))
        camera.azimuth = math.degrees(math.atan2(ahead[1], ahead[0]))
        camera.elevation = math.degrees(math.asin(float(np.clip(ahead[2], -1.0, 1.0))))
    set_following(model, camera, follow)


def set_following(model: Any, camera: Any, follow: bool) -> None:
    """Has the camera follow the body, or leaves it where it looks."""
    body = followed_body(model)
    if follow and body is not None:
        camera.type, camera.trackbodyid = int(mujoco.mjtCamera.mjCAMERA_TRACKING), body
    else:
        camera.type, camera.trackbodyid = int(mujoco.mjtCamera.mjCAMERA_FREE), -1
    camera.fixedcamid = -1
