"""Manipulator: an arm brings a ball or a peg to a target, or inserts it there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rotations
from motrix_gym.fields import Positive
from motrix_gym.model_files import load_spec
from motrix_gym.physics.base import Override
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.planar_arm import (
    NUM_JOINTS,
    PLANAR_POSE,
    PlanarArmTask,
    grasp_pose,
    length,
    planar_quaternion,
)

OBJECT = slice(NUM_JOINTS, None)  # in qpos and qvel
CLOSE = 0.01  # m, from which on a thing is close
IN_HAND_SHARE, IN_TARGET_SHARE = 0.1, 0.1  # of beginnings
TARGET_BOX = ([-0.4, 0.1], [0.4, 0.4])  # m, x and z of its corners
ANY_START = ([-0.5, 0.0, 0.0, -5.0], [0.5, 0.7, 2 * np.pi, 5.0])  # x and z, m, pitch, rad, velocity in x, m/s
PLANE = slice(None, None, 2)  # x and z of a position, w and y of a quaternion


@dataclass(frozen=True)
class ManipulatorState(TaskState):
    """What a Manipulator remembers.

    Attributes:
        target: Where the object is to be: x and z, m, and pitch, rad, (N, 3).
    """

    target: Array


@dataclass(frozen=True, kw_only=True)
class Manipulator(PlanarArmTask):
    """What all tasks share; `ManipulatorBall` and `ManipulatorPeg` describe the fields and have the tables."""

    insert: bool = False
    target_margin: Positive = 0.02

    def spec(self) -> mujoco.MjSpec:
        """The model before it is compiled."""
        spec = load_spec(self.MODEL)
        if not self.insert:
            spec.delete(spec.body("receptacle"))
        return spec

    @cached_property
    def placed_bodies(self) -> list[int]:
        """The bodies of the model that are placed where the target is."""
        model = self.model()
        return [model.body(name).id for name in (["receptacle", "target"] if self.insert else ["target"])]

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, ManipulatorState]:
        arm = self.random_arm(rng)
        most = np.pi / 3 if self.insert else np.pi
        target = xp.concat([rng.uniform(*TARGET_BOX, 2), rng.uniform(-most, most)], axis=1)
        grasp = grasp_pose(arm)
        in_hand = xp.concat([grasp[:, :2], np.pi - rotations.wrapped(grasp[:, 2:])], axis=1)
        anywhere = rng.uniform(*ANY_START, 4)
        drawn = rng.uniform()
        is_in_hand, is_in_target = drawn < IN_HAND_SHARE, drawn >= 1 - IN_TARGET_SHARE
        placed = xp.where(is_in_hand, in_hand, xp.where(is_in_target, target, anywhere[:, :3]))
        speed = xp.where(is_in_hand | is_in_target, 0.0, anywhere[:, 3:])
        qpos = xp.concat([arm, placed], axis=1)
        return qpos, xp.pad(speed, NUM_JOINTS, 2), ManipulatorState(target)

    def model_overrides(self, state: ManipulatorState) -> dict[str, Override]:
        bodies = self.placed_bodies
        place, rotation = state.target[:, :2], planar_quaternion(state.target[:, 2])
        shape = (1, len(bodies), 1)
        return {
            "body_pos": Override(xp.tile(place[:, None, :], shape), at=(bodies, PLANE)),
            "body_quat": Override(xp.tile(rotation[:, None, :], shape), at=(bodies, PLANE)),
        }

    def observe(self, physics: PhysicsState, state: ManipulatorState) -> dict[str, Array]:
        target = xp.concat([state.target[:, :2], planar_quaternion(state.target[:, 2])], axis=1)
        return super().observe(physics, state) | {
            "object": xp.columns(physics.sensor["object"], PLANAR_POSE),
            "object_velocity": physics.qvel[:, OBJECT],
            "target": target,
        }

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"distance": length(t.next_physics.sensor["object_from_target"])}

    def close(self, vector: Array) -> Array:
        """1 where a vector, (N, 3) m, is at most 0.01 m long, falling as a Gaussian, (N,)."""
        return tolerance(length(vector), (0.0, CLOSE), self.target_margin)


@dataclass(frozen=True, kw_only=True)
class ManipulatorBall(Manipulator):
    """A ball is brought to a target by an arm with a gripper, or into a cup there.

    dm_control's ``manipulator``, ``bring_ball`` or ``insert_ball``: an arm with a root 0.4 m above the ground moves in
    a vertical plane between walls that lean outwards. Each action, in [-1, 1], turns root, shoulder, elbow or wrist
    with 12, 8, 4 or 2 N m a unit; the last one closes thumb and finger with 2 N m a unit. The target is at any pitch,
    within 0.4 m to each side and 0.1 to 0.4 m above the ground; with a cup, it is within 60 degrees of upright.

    An episode begins with the arm at rest at any angles. In one of ten the ball is at rest in the hand, in one of ten
    at the target; else it is within 0.5 m to each side and up to 0.7 m above the ground and moves at up to 5 m/s to
    either side. All is drawn again while anything touches. It has 1000 steps of 10 ms. In dm_control a ball at rest
    keeps the velocity of a beginning that was rejected before it.

    The joints are, in this order: root, shoulder, elbow, wrist, finger, fingertip, thumb, thumbtip. A pose is x and z,
    then w and y of a quaternion.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-15 | arm_angles | sine and cosine of the angle of each joint | 1 |
    | 16-23 | arm_velocity | joint velocities | rad/s |
    | 24-28 | touch | ln(1 + force) on palm, finger, thumb, fingertip, thumbtip, force in N | 1 |
    | 29-32 | hand | pose of the hand | m, 1 |
    | 33-36 | object | pose of the ball | m, 1 |
    | 37-39 | object_velocity | velocity of the ball in x and z, its pitch rate | m/s, rad/s |
    | 40-43 | target | pose of the target | m, 1 |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        insert: Whether there is a cup around the target.
        target_margin: How far beyond 0.01 m from the target the reward is 0.1, m.
    """

    MODEL: ClassVar = "manipulator_ball.xml"

    @reward_term(1.0)
    def reward_at_target(self, t: Transition) -> Array:
        """1 where the ball is within 0.01 m of the target, falling as a Gaussian with 0.1 a `target_margin` farther"""
        return self.close(t.next_physics.sensor["object_from_target"])


@dataclass(frozen=True, kw_only=True)
class ManipulatorPeg(Manipulator):
    """A peg is brought to a target by an arm with a gripper, or into a slot there.

    dm_control's ``manipulator``, ``bring_peg`` or ``insert_peg``: an arm with a root 0.4 m above the ground moves in a
    vertical plane between walls that lean outwards. Each action, in [-1, 1], turns root, shoulder, elbow or wrist with
    12, 8, 4 or 2 N m a unit; the last one closes thumb and finger with 2 N m a unit. The target is at any pitch,
    within 0.4 m to each side and 0.1 to 0.4 m above the ground; with a slot, it is within 60 degrees of upright.

    An episode begins with the arm at rest at any angles. In one of ten the peg is at rest in the hand, in one of ten at
    the target; else it is within 0.5 m to each side and up to 0.7 m above the ground and moves at up to 5 m/s to either
    side. All is drawn again while anything touches. It has 1000 steps of 10 ms. In dm_control a peg at rest keeps the
    velocity of a beginning that was rejected before it.

    The joints are, in this order: root, shoulder, elbow, wrist, finger, fingertip, thumb, thumbtip. A pose is x and z,
    then w and y of a quaternion. In the reward, a thing is "near" another with 1 within 0.01 m, falling as a Gaussian
    with 0.1 a `target_margin` farther; "brought" is the mean for the middle and the tip of the peg and their targets,
    "held" that for its hilt and its pommel and the places of the hand where it grasps and pinches.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-15 | arm_angles | sine and cosine of the angle of each joint | 1 |
    | 16-23 | arm_velocity | joint velocities | rad/s |
    | 24-28 | touch | ln(1 + force) on palm, finger, thumb, fingertip, thumbtip, force in N | 1 |
    | 29-32 | hand | pose of the hand | m, 1 |
    | 33-36 | object | pose of the peg | m, 1 |
    | 37-39 | object_velocity | velocity of the peg in x and z, its pitch rate | m/s, rad/s |
    | 40-43 | target | pose of the target | m, 1 |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        insert: Whether there is a slot around the target.
        target_margin: How far beyond 0.01 m from a target "near" is 0.1, m.
    """

    MODEL: ClassVar = "manipulator_peg.xml"

    @reward_term(1.0)
    def reward_held_and_brought(self, t: Transition) -> Array:
        """brought or held / 3, whichever is more"""
        sensor = t.next_physics.sensor
        brought = (self.close(sensor["object_from_target"]) + self.close(sensor["tip_from_target"])) / 2
        held = (self.close(sensor["object_from_grasp"]) + self.close(sensor["object_from_pinch"])) / 2
        return xp.maximum(brought, held / 3)
