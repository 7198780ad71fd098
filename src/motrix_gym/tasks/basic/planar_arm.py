"""What the tasks of the Control Suite with a planar arm and a gripper have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.random_streams import RandomStreams
from motrix_gym.state import Array, PhysicsState
from motrix_gym.tasks.basic.suite import SuiteTask, random_joints

NUM_JOINTS = 8
THUMB, FINGER = 4, 6  # in qpos
OBSERVED = [0, 1, 2, 3, 6, 7, 4, 5]  # root, shoulder, elbow, wrist, finger, fingertip, thumb, thumbtip
BASE = (0.0, 0.4)  # m, x and z of the root
LENGTHS = np.array([0.18, 0.15, 0.12, 0.065])  # m, upper, middle and lower arm, and from the wrist to the grasp
PLANAR_POSE = [0, 2, 3, 5]  # x and z, w and y, of a position and a quaternion


@dataclass(frozen=True, kw_only=True)
class PlanarArmTask(SuiteTask):
    """A task of the Control Suite with the planar arm."""

    control_dt: float = 0.01

    def random_arm(self, rng: RandomStreams) -> Array:
        """Any angles of the arm, with thumb and finger symmetric, (N, 8) rad."""
        arm = random_joints("planar_arm.xml", rng)
        thumb = arm[:, THUMB : THUMB + 1]
        return xp.concat([arm[:, :FINGER], thumb, arm[:, FINGER + 1 :]], axis=1)

    def is_valid_start(self, physics: PhysicsState) -> Array:
        return physics.sensor["contacts"][:, 0] == 0

    def observe(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        angles = xp.columns(physics.qpos, OBSERVED)
        return {
            "arm_angles": xp.reshape(xp.stack([xp.sin(angles), xp.cos(angles)], axis=2), (angles.shape[0], -1)),
            "arm_velocity": xp.columns(physics.qvel, OBSERVED),
            "touch": xp.log1p(physics.sensor["touch"]),
            "hand": xp.columns(physics.sensor["hand"], PLANAR_POSE),
        }


def grasp_pose(arm: Array) -> Array:
    """Where the gripper grasps at some angles of the arm: x and z, m, and its turn from upright, rad; (N, 8) to (N, 3).

    A turn is about the direction -y, to the left.
    """
    turns = xp.cumulative_sum(arm[:, :4], axis=1)
    lengths = xp.like(LENGTHS, turns)
    x = BASE[0] - xp.sum(lengths * xp.sin(turns), axis=1)
    z = BASE[1] + xp.sum(lengths * xp.cos(turns), axis=1)
    return xp.stack([x, z, turns[:, -1]], axis=1)


def planar_quaternion(pitch: Array) -> Array:
    """w and y of the quaternions of turns about y, (N,) rad to (N, 2)."""
    return xp.stack([xp.cos(pitch / 2), xp.sin(pitch / 2)], axis=1)


def length(vector: Array) -> Array:
    """The length of vectors, (N, 3) m to (N,) m."""
    return xp.vector_norm(vector, axis=1)
