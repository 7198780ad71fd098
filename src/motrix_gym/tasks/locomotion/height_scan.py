"""The ground around a robot as an observation."""

from __future__ import annotations

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rotations
from motrix_gym.state import Array
from motrix_gym.symmetry import Flip
from motrix_gym.terrain import Terrain

SCAN_X = np.linspace(-0.5, 0.8, 11)  # m ahead of the trunk's middle, where the ground is looked at
SCAN_Y = np.linspace(-0.42, 0.42, 7)  # m to the left of it
SCAN = np.stack(np.meshgrid(SCAN_X, SCAN_Y, indexing="ij"), axis=-1).reshape(-1, 2)
SCAN_AHEAD, SCAN_LEFT = SCAN[:, 0], SCAN[:, 1]
SCAN_RANGE = 1.0  # m up and down
MIRRORED_SCAN = Flip(np.arange(len(SCAN)).reshape(len(SCAN_X), -1)[:, ::-1].ravel(), np.ones(len(SCAN)))


def height_scan(ground: Terrain, qpos: Array, standing_height: float) -> Array:
    """Height of the ground at the points of `SCAN` around the trunk, above the ground of a standing robot, (N, 77) m.

    Args:
        ground: The ground.
        qpos: Generalised positions of a robot with a free trunk, (N, nq).
        standing_height: Height of the trunk of a standing robot, m.
    """
    yaw = rotations.yaw(qpos[:, 3:7])[:, None]
    ahead, left = xp.like(SCAN_AHEAD, qpos), xp.like(SCAN_LEFT, qpos)
    x = qpos[:, :1] + xp.cos(yaw) * ahead - xp.sin(yaw) * left
    y = qpos[:, 1:2] + xp.sin(yaw) * ahead + xp.cos(yaw) * left
    return xp.clip(ground.height(xp.stack([x, y], axis=-1)) - (qpos[:, 2:3] - standing_height), -SCAN_RANGE, SCAN_RANGE)
