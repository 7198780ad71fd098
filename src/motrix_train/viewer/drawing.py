"""Arrows and discs as MuJoCo's viewers draw them, and whether two models look alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np

from motrix_train.viewer.report import Arrow, Disc

ARROW_WIDTH, DISC_HEIGHT = 0.015, 0.01  # m
SHORTEST_ARROW = 0.01  # m
LOOKS = ("geom_type", "geom_size", "geom_pos", "geom_quat", "geom_rgba", "geom_dataid", "body_pos", "body_quat")


def geoms(shapes: Iterable[Arrow | Disc]) -> list[Any]:
    """Arrows and discs as geoms of a scene; an arrow without length is left out."""
    return [found for shape in shapes if (found := _geom(shape)) is not None]


def looks(model: Any) -> bytes:
    """What tells two models apart that do not look alike."""
    return b"".join(np.ascontiguousarray(getattr(model, name)).tobytes() for name in LOOKS)


def _geom(shape: Arrow | Disc) -> Any:
    geom, rgba = mujoco.MjvGeom(), np.array(shape.rgba, dtype=np.float32)
    upright = np.eye(3).ravel()
    if isinstance(shape, Disc):
        size = np.array([shape.radius, shape.radius, DISC_HEIGHT / 2])
        mujoco.mjv_initGeom(geom, int(mujoco.mjtGeom.mjGEOM_CYLINDER), size, shape.center, upright, rgba)
        return geom
    if np.linalg.norm(shape.vector) < SHORTEST_ARROW:
        return None
    arrow = int(mujoco.mjtGeom.mjGEOM_ARROW)
    mujoco.mjv_initGeom(geom, arrow, np.zeros(3), np.zeros(3), upright, rgba)
    mujoco.mjv_connector(geom, arrow, ARROW_WIDTH, shape.start, shape.start + shape.vector)
    return geom
