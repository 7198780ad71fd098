"""Robots with four legs: what a task must know of each, and their models on a ground."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import mujoco
import numpy as np

from motrix_gym import terrain
from motrix_gym.model_files import load_spec
from motrix_gym.state import Array
from motrix_gym.symmetry import Flip
from motrix_gym.terrain import Terrain

LEGS = 4
HIPS = slice(0, None, 3)
JOINTS_IN_QPOS = slice(7, None)
MIRRORED_FEET = Flip(index=np.array([1, 0, 3, 2]), sign=np.ones(LEGS))


@dataclass(frozen=True)
class Quadruped:
    """What the task must know of a robot.

    Its legs are the two in front and then the two behind, each hip, thigh, calf; which side comes first is its own
    affair. In its model, hips turn about the forward axis, thighs and calves about the leftward one.

    Attributes:
        model: The file in `motrix_gym.models`.
        front_pose: Joint angles of a front leg when standing, rad.
        hind_pose: Joint angles of a hind leg when standing, rad.
        start_height: Height of the trunk when an episode begins, m: it drops a little.
        foot_radius: Height of a foot's centre on the ground, m.
    """

    model: str
    front_pose: tuple[float, float, float]
    hind_pose: tuple[float, float, float]
    start_height: float
    foot_radius: float

    @property
    def default_joints(self) -> Array:
        """Joint angles when standing, (12,) rad."""
        return np.array([*self.front_pose, *self.front_pose, *self.hind_pose, *self.hind_pose])


GO1 = Quadruped("go1.xml", (0.0, 0.9, -1.8), (0.0, 0.9, -1.8), start_height=0.3078, foot_radius=0.023)
GO2 = Quadruped("go2.xml", (0.0, 0.9, -1.8), (0.0, 0.9, -1.8), start_height=0.315, foot_radius=0.022)
ANYMAL_C = Quadruped("anymal_c.xml", (0.0, 0.4, -0.8), (0.0, -0.4, 0.8), start_height=0.59, foot_radius=0.03)


def robot_spec(robot: str, ground: Terrain, target_markers: tuple[tuple[str, float], ...]) -> mujoco.MjSpec:
    """The model of a robot on a ground, with discs in the plane that pictures move."""
    spec = load_spec(robot)
    if ground is not terrain.PLANE:
        ground.lay(spec)
    for name, radius in target_markers:
        spec.worldbody.add_body(name=name, mocap=True, pos=[0, 0, 0.002]).add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[radius, 0.002, 0],
            rgba=[0.2, 0.6, 0.3, 1],
            contype=0,
            conaffinity=0,
        )
    return spec


@functools.lru_cache(maxsize=8)
def robot_model(robot: str, ground: Terrain, target_markers: tuple[tuple[str, float], ...]) -> mujoco.MjModel:
    """The compiled model of `robot_spec`, shared: to be read only."""
    return robot_spec(robot, ground, target_markers).compile()
