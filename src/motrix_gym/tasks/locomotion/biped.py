"""Robots with two legs that follow a velocity command: the velocity task, with what a robot needs that may topple."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from motrix_gym import arrays as xp
from motrix_gym.fields import Positive, Share
from motrix_gym.reward_terms import reward_term
from motrix_gym.state import Array, PhysicsState, Transition
from motrix_gym.tasks.locomotion.legged_robot import G1 as G1_LEGS
from motrix_gym.tasks.locomotion.legged_robot import G1_FULL
from motrix_gym.tasks.locomotion.velocity import VelocityTask


@dataclass(frozen=True, kw_only=True)
class Biped(VelocityTask):
    """A robot with two legs follows a velocity command.

    It is commanded a forward and a leftward velocity and a yaw rate, which change every few seconds and are zero for
    some of the time. Each action in [-1, 1] shifts the target angle of a position servo by `action_scale` radians from
    the standing pose. The commands, the clock and the ground are those of `VelocityTask`. The clock asks for a walk:
    one foot swings in the first half of a stride and the other one in the second, by as much as "lift" is above 0,
    which is max(0, sin(2 pi (phase + offset))) x moving. "Moving" is 1 when there is a command to follow or speed to
    lose, and 0 for a robot below `still_speed` that is told to stand.

    A robot whose trunk has sunk has fallen, even if it kneels. Joints are to stay near the standing pose, and those of
    a leg that swings near where they lift its foot; how near, and how they lift it, are data of the robot.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-2 | linear_velocity | velocity of the trunk's origin, in the trunk's axes | m/s |
    | 3-5 | angular_velocity | angular velocity of the trunk, in its axes | rad/s |
    | 6-8 | gravity | direction of gravity in the trunk's axes, (0, 0, -1) when level | 1 |
    | 9-20 | joint_position | joint angles from the standing pose | rad |
    | 21-32 | joint_velocity | joint velocities | rad/s |
    | 33-44 | last_action | the last action | 1 |
    | 45-47 | command | forward and leftward velocity, yaw rate | m/s, m/s, rad/s |
    | 48-49 | gait_clock | sine and cosine of 2 pi phase, zero when not moving | 1 |
    | 50-126 | height_scan | with `height_scan`: ground at 11 x 7 points, above that of a standing robot, -1 to 1 | m |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | tilted | the trunk is tilted by more than `max_tilt` |
    | trunk_contact | the trunk touches the ground |
    | too_low | the trunk is lower above the ground than `min_height` |
    | diverged | the physics diverged |

    Attributes:
        min_height: Height of the trunk that counts as a fall, as a share of its height when an episode begins.
    """

    WEIGHTS: ClassVar = {
        **VelocityTask.WEIGHTS,
        "tracking_ang_vel": 1.0,
        "torques": -2e-5,
        "gait": 1.0,
        "feet_height": -0.5,
    }
    command_low: tuple[float, float, float] = (-0.5, -0.5, -1.0)
    command_high: tuple[float, float, float] = (1.0, 0.5, 1.0)
    action_scale: Positive = 0.5
    swing_height: Positive = 0.07
    min_height: Share = 0.62

    @reward_term(1.0)
    def reward_pose(self, t: Transition) -> Array:
        """mean over joints of exp(-((angle from the standing pose - its swing x lift) / its spread)^2)"""
        swing = xp.einsum("nf,fj->nj", self.lift(t), xp.like(self.ROBOT.swing_joints, t.state.phase))
        off = (self.joint_displacement(t.next_physics) - swing) / xp.like(self.ROBOT.spread, swing)
        return xp.mean(xp.exp(-xp.square(off)), axis=1)

    def terminated(self, t: Transition) -> dict[str, Array]:
        lowest = self.min_height * self.ROBOT.standing_height
        return {**super().terminated(t), "too_low": self._trunk_height(t.next_physics) < lowest}

    def _trunk_height(self, physics: PhysicsState) -> Array:
        """Height of the trunk's origin above the ground below it, (N,) m."""
        return physics.qpos[:, 2] - self.ground.height(physics.qpos[:, :2])


@dataclass(frozen=True, kw_only=True)
class G1(Biped):
    """The legs of a Unitree G1 follow a velocity command.

    The robot weighs 33.3 kg and is 1.3 m tall. Its 12 joints are in the order left, right x hip pitch, hip roll, hip
    yaw, knee, ankle pitch, ankle roll. Their servos have 150 N m/rad at the hips, 300 at the knees and 40 at
    the ankles: it topples unless it balances. The waist and the arms are held as they are when it stands.
    """

    ROBOT: ClassVar = G1_LEGS


@dataclass(frozen=True, kw_only=True)
class G1Full(Biped):
    """A Unitree G1 follows a velocity command with all of its joints.

    The robot is that of G1. After the joints of its legs come those of the waist (yaw, roll, pitch) and, left and
    right, those of the arms: shoulder pitch, shoulder roll, shoulder yaw, elbow, wrist roll, wrist pitch, wrist yaw.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-2 | linear_velocity | velocity of the trunk's origin, in the trunk's axes | m/s |
    | 3-5 | angular_velocity | angular velocity of the trunk, in its axes | rad/s |
    | 6-8 | gravity | direction of gravity in the trunk's axes, (0, 0, -1) when level | 1 |
    | 9-37 | joint_position | joint angles from the standing pose | rad |
    | 38-66 | joint_velocity | joint velocities | rad/s |
    | 67-95 | last_action | the last action | 1 |
    | 96-98 | command | forward and leftward velocity, yaw rate | m/s, m/s, rad/s |
    | 99-100 | gait_clock | sine and cosine of 2 pi phase, zero when not moving | 1 |
    | 101-177 | height_scan | with `height_scan`: ground at 11 x 7 points, above that of a standing robot, -1 to 1 | m |
    """

    ROBOT: ClassVar = G1_FULL
