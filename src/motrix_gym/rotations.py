"""Rotations as unit quaternions, w x y z."""

from __future__ import annotations

import numpy as np


def from_yaw(yaw: np.ndarray) -> np.ndarray:
    """The quaternions of turns by `yaw` about z; (N,) rad to (N, 4)."""
    zero = np.zeros_like(yaw)
    return np.stack([np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)], axis=-1)


def yaw(quaternion: np.ndarray) -> np.ndarray:
    """The heading of what is turned by `quaternion`: the turn about z of its x axis; (N, 4) to (N,) rad."""
    w, x, y, z = quaternion.T
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
