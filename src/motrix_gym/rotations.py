"""Rotations as unit quaternions, w x y z."""

from __future__ import annotations

import numpy as np


def from_yaw(yaw: np.ndarray) -> np.ndarray:
    """The quaternions of turns by `yaw` about z; (N,) rad to (N, 4)."""
    zero = np.zeros_like(yaw)
    return np.stack([np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)], axis=-1)


def yaw(quaternion: np.ndarray) -> np.ndarray:
    """The angle about z from the world's x axis to the turned one, seen from above; (N, 4) to (N,) rad."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    return np.atan2(2 * (x * y + w * z), w * w + x * x - y * y - z * z)


def wrapped(angle: np.ndarray) -> np.ndarray:
    """The same directions as angles in [-pi, pi], in the shape of `angle`, rad."""
    return np.atan2(np.sin(angle), np.cos(angle))
