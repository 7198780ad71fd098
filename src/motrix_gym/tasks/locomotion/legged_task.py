"""Tasks of a robot with legs: what its servos are told, the ground under it, where it starts, when it has fallen."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import mujoco
import numpy as np
from gymnasium import spaces

from motrix_gym import arrays as xp
from motrix_gym import terrain
from motrix_gym.fields import Bound, Count, Positive
from motrix_gym.random_streams import RandomStreams
from motrix_gym.state import Array, PhysicsState, Transition
from motrix_gym.tasks.locomotion.domain_randomization import JOINTS_IN_QPOS, DomainRandomization, RandomizedState
from motrix_gym.tasks.locomotion.height_scan import height_scan
from motrix_gym.tasks.locomotion.legged_robot import compiled
from motrix_gym.tasks.locomotion.robot_model import TRUNK_CONTACT
from motrix_gym.terrain import MOST_LEVELS, GroundSize, Terrain

AROUND_MIDDLE = 0.2  # m, how far from the middle of a tile an episode begins, in x and y
NEXT_TILE = terrain.TILE - 0.5  # m from the middle of a tile, where the flat middle of the next one is
FOOTPRINT = 0.6  # m, no part of a standing robot is farther from its middle, in x and y
CLEARANCE = 0.01  # m between the feet and the highest ground beneath a robot, on terrain


@dataclass(frozen=True, kw_only=True)
class LeggedTask(DomainRandomization):
    """A task of a legged robot on a ground.

    An action in [-1, 1] shifts the target angle of a servo by `action_scale` radians from the standing pose.

    Attributes:
        action_scale: Servo target shift of a unit action, rad.
        max_tilt: Tilt that counts as a fall, rad.
        terrain: Size of each kind of ground at the hardest level, by kind; none is a plane.
        terrain_seed: Seed of the ground.
        terrain_levels: Levels of difficulty.
        height_scan: Whether the ground around the trunk is observed.
    """

    control_dt: float = 0.02
    action_scale: Positive = 0.4
    max_tilt: Positive = 1.05
    terrain: Mapping[str, GroundSize] = field(default_factory=dict)
    terrain_seed: Count = 0
    terrain_levels: Annotated[int, Bound(low=1, high=MOST_LEVELS)] = 6
    height_scan: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.terrain:
            terrain.generate(self.terrain, self.terrain_levels, self.terrain_seed)

    @property
    def ground(self) -> Terrain:
        """The ground that the robot walks on."""
        if not self.terrain:
            return terrain.PLANE
        return terrain.generate(self.terrain, self.terrain_levels, self.terrain_seed)

    @property
    def target_markers(self) -> dict[str, float]:
        """The flat discs on the ground that pictures show, by name, each with its radius, m."""
        return {}

    def spec(self) -> mujoco.MjSpec:
        """The model before it is compiled."""
        return self.ROBOT.spec(self.ground, self.target_markers)

    def model(self) -> mujoco.MjModel:
        return copy.copy(self.reference_model())

    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (len(self.ROBOT.joints),), np.float32)

    def reference_model(self) -> mujoco.MjModel:
        return compiled(self.ROBOT, self.ground, tuple(self.target_markers.items()))

    def control(self, physics: PhysicsState, state: RandomizedState, action: Array) -> Array:
        pose = xp.like(self.ROBOT.default_joints, action)
        return pose + self.action_scale * self.delayed(state, action) + self.offset(state)

    def terminated(self, t: Transition) -> dict[str, Array]:
        return {
            "tilted": t.next_physics.sensor["gravity_direction"][:, 2] > -float(np.cos(self.max_tilt)),
            "trunk_contact": t.next_physics.sensor[TRUNK_CONTACT][:, 0] > 0,
        }

    def start_place(self, level: Array, rng: RandomStreams) -> tuple[Array, Array]:
        """Where episodes begin, (N, 2) m, and how far above a robot on the plane, (N,) m."""
        if not self.terrain:
            return xp.zeros((len(rng), 2), rng.key), xp.zeros((len(rng),), rng.key)
        unit = rng.uniform(size=3)
        middles = xp.like(self.ground.middles, unit)
        tile = xp.integers(unit[:, 0] * middles.shape[1])
        middle = xp.stack([middles[:, :, i][level, tile] for i in range(2)], axis=1)
        xy = middle + AROUND_MIDDLE * (2 * unit[:, 1:] - 1)
        return xy, self.ground.highest(xy, FOOTPRINT) + CLEARANCE

    def start_yaw(self, level: Array, unit: Array) -> Array:
        """Heading of the trunk at the start of an episode, (N,) rad, from a random number from -1 to 1 each."""
        return np.pi * unit

    def ground_around(self, physics: PhysicsState) -> Array:
        """The ground around the trunk, as `height_scan` has it, (N, 77) m."""
        return height_scan(self.ground, physics.qpos, self.ROBOT.standing_height)

    def joint_displacement(self, physics: PhysicsState) -> Array:
        """Joint angles from the standing pose, (N, joints) rad."""
        return physics.qpos[:, JOINTS_IN_QPOS] - xp.like(self.ROBOT.default_joints, physics.qpos)

    def in_contact(self, physics: PhysicsState) -> Array:
        """Whether each foot touches the ground, (N, feet) bool."""
        return physics.sensor["contact"] > 0
