"""Humanoid: a body with 21 joints stands, walks or runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.fields import Positive
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import LocomotionTask, random_joints

STANDING_HEIGHT = 1.4  # m
POSITION, ROTATION, JOINTS = slice(0, 3), slice(3, 7), slice(7, None)  # in qpos


@dataclass(frozen=True, kw_only=True)
class Humanoid(LocomotionTask):
    """A body with 21 joints stands, walks or runs.

    dm_control's ``humanoid``, ``stand``, ``walk`` or ``run``. The action, in [-1, 1], drives abdomen y, z and x with
    up to 40 N m; hip x, z and y, knee, ankle x and y of the right leg with up to 40, 40, 120, 80, 20 and 20 N m and
    those of the left; shoulder 1 and 2 and elbow of the right arm with up to 20, 20 and 40 N m and those of the left.
    An episode begins at rest with the torso 1.5 m above the ground, joint angles uniform in their ranges and the torso
    turned by a unit quaternion in the direction of four numbers uniform in [0, 1), drawn again while anything touches.
    It has 1000 steps of 25 ms.

    In the reward, "tall" is 1 from a head height of 1.4 m on and falls below it as a Gaussian with 0.1 at
    `height_margin` below,
    "upright" is (1 + cosine of the torso's tilt) / 1.9, at most 1, "gentle" is 1 - mean squared action / 5, "still" is
    the mean over both horizontal components of the velocity of a Gaussian with 0.1 at 2 m/s, "pace" is the horizontal
    speed / `move_speed`, at most 1, both of the centre of mass, and "posture" is tall x upright x gentle.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-20 | joint_angles | joint angles | rad |
    | 21 | head_height | height of the head | m |
    | 22-33 | extremities | left hand, left foot, right hand, right foot from the torso, in its axes | m |
    | 34-36 | torso_vertical | the upward direction in the torso's axes | 1 |
    | 37-39 | com_velocity | velocity of the centre of mass | m/s |
    | 40-66 | velocity | velocity of the torso, its angular velocity in its axes, joint velocities | m/s, rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        move_speed: Speed that earns the full reward, m/s; 0 asks to stand still.
        height_margin: How far below the height of standing "tall" is 0.1, m.
    """

    MODEL: ClassVar = "humanoid.xml"
    control_dt: float = 0.025
    height_margin: Positive = STANDING_HEIGHT / 4

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        pose, turn = random_joints(self.MODEL, rng), rng.uniform(size=4)
        rotation = turn / xp.vector_norm(turn, axis=1, keepdims=True)
        qpos = xp.concat([pose[:, POSITION], rotation, pose[:, JOINTS]], axis=1)
        return qpos, xp.zeros_like(qpos[:, 1:]), TaskState()  # a rotation has three velocities

    def is_valid_start(self, physics: PhysicsState) -> Array:
        return physics.sensor["contacts"][:, 0] == 0

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        return {
            "joint_angles": physics.qpos[:, JOINTS],
            "head_height": self.height(physics)[:, None],
            "extremities": physics.sensor["extremity"],
            "torso_vertical": physics.sensor["up"],
            "com_velocity": physics.sensor["velocity"],
            "velocity": physics.qvel,
        }

    @reward_term(1.0)
    def reward_stand_and_move(self, t: Transition) -> Array:
        """posture x (1 + 5 pace) / 6; at a `move_speed` of 0, posture x still"""
        tall = tolerance(self.height(t.next_physics), (STANDING_HEIGHT, np.inf), margin=self.height_margin)
        upright = xp.minimum((1 + t.next_physics.sensor["up"][:, 2]) / 1.9, 1.0)
        gentle = 1.0 - xp.mean(xp.square(t.action), axis=1) / 5
        if self.move_speed > 0:
            moving = (1 + 5 * self.speed_share(self.speed(t.next_physics))) / 6
        else:
            moving = xp.mean(tolerance(t.next_physics.sensor["velocity"][:, :2], margin=2.0), axis=1)
        return tall * upright * gentle * moving

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"head_height": self.height(t.next_physics), "speed": self.speed(t.next_physics)}

    def height(self, physics: PhysicsState) -> Array:  # (N,) m
        return physics.sensor["head"][:, 2]

    def speed(self, physics: PhysicsState) -> Array:  # (N,) m/s, horizontal
        return xp.vector_norm(physics.sensor["velocity"][:, :2], axis=1)
