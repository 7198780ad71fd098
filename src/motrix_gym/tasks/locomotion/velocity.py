"""Legged robots that follow a velocity command. A robot is a table, a terrain a field; the task is the same for all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rewards, rotations
from motrix_gym.fields import Positive, PositiveRange, Share
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import once_per_step, reward_term
from motrix_gym.rewards import indicator
from motrix_gym.state import Array, PhysicsState, Transition
from motrix_gym.symmetry import Flip, Mirror
from motrix_gym.tasks.locomotion.domain_randomization import (
    JOINTS_IN_QVEL,
    POLAR,
    RandomizedState,
)
from motrix_gym.tasks.locomotion.height_scan import MIRRORED_SCAN
from motrix_gym.tasks.locomotion.legged_robot import ANYMAL_C, GO1, GO2
from motrix_gym.tasks.locomotion.legged_task import LeggedTask

PROMOTION_DISTANCE = 4.0  # m along the command, which an episode must have come to count as walked
AXIAL = Flip.signs(-1, 1, -1)
MIRRORED_COMMAND = Flip.signs(1, -1, -1)


@dataclass(frozen=True)
class VelocityState(RandomizedState):
    """What the velocity task remembers.

    Attributes:
        command: Forward and leftward velocity and yaw rate to follow, (N, 3) m/s, m/s, rad/s.
        command_left: Time until the next command, (N,) s.
        phase: Phase of the gait clock, (N,) in [0, 1).
        action: The last action, (N, joints).
        air_time: Time since each foot last touched the ground, (N, feet) s.
        level: Difficulty of the tile that the episode began on, (N,) int.
        asked: How far the commands of the episode led until now, (N,) m.
        walked: How far it came along them, (N,) m.
        fell: Whether the episode has ended by a fall, (N,) bool.
    """

    command: Array
    command_left: Array
    phase: Array
    action: Array
    air_time: Array
    level: Array
    asked: Array
    walked: Array
    fell: Array


@dataclass(frozen=True, kw_only=True)
class VelocityTask(LeggedTask):
    """A robot with legs follows a velocity command.

    It is commanded a forward and a leftward velocity and a yaw rate, which change every few seconds and are zero for
    some of the time. Each action in [-1, 1] shifts the target angle of a position servo by `action_scale` radians from
    the standing pose. Episodes start near the standing pose with a random heading and last 1000 steps of 20 ms.

    A clock of `gait_frequency` asks for a gait, with four legs a trot, whenever there is a command to follow or speed
    to lose. In the formulas "moving" is 1 then, and 0 for a robot below `still_speed` that is told to stand; "lift" is
    max(0, sin(2 pi (phase + offset))) x moving. In a trot the offset is 0 for the first leg and the one diagonal to it,
    and 1/2 for the others. A foot is asked to stand where its lift is zero.

    The ground is a plane, or with `terrain` a grid of tiles, a column for each kind of ground and a row for each of
    `terrain_levels`. The kinds and what their size means: `noise`, squares of random height up to so many m; `slope_up`
    and `slope_down`, m a metre; `stairs_up` and `stairs_down`, height of a stair, m, each 0.3 m deep; `blocks`, square
    blocks and holes so many m high or deep. Up and down are the ways out of the middle of a tile, where an episode
    begins. The sizes given are those of the hardest level; they grow evenly from level to level. An episode begins on a
    random tile; with `terrain_curriculum`, on a random tile of the environment's level. The first level is random in
    the easier half. It rises by one when an episode came 4 m along its commands, at least 0.7 of the way they led, and
    did not fall; it sinks by one when it fell before that, or came less than 0.4 of the way. Beyond the hardest level
    it is random again.

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
    | diverged | the physics diverged |

    Attributes:
        control_dt: Seconds between two actions.
        reward_weights: Weights that replace those of the table, by term.
        command_low: Lowest forward and leftward velocity and yaw rate commanded, m/s, m/s, rad/s.
        command_high: Highest ones.
        command_interval: Shortest and longest time between new commands, s.
        still_probability: Share of the commands that are zero.
        still_speed: Planar speed below which a zero command asks for all feet on the ground, m/s.
        tracking_variance: Width of the tracking terms, (m/s)^2 and (rad/s)^2.
        approach_variance: Width of the approach term, (m/s)^2.
        gait_frequency: Strides a second.
        swing_height: Height of a foot in the middle of its swing, m.
        terrain_curriculum: Whether the level of an environment follows what it has mastered.
    """

    command_low: tuple[float, float, float] = (-1.0, -0.8, -1.0)
    command_high: tuple[float, float, float] = (1.5, 0.8, 1.0)
    command_interval: PositiveRange = (4.0, 8.0)
    still_probability: Share = 0.1
    still_speed: float = 0.3
    tracking_variance: Positive = 0.25
    approach_variance: Positive = 1.5
    gait_frequency: Positive = 2.0
    swing_height: Positive = 0.08
    terrain_curriculum: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(low > high for low, high in zip(self.command_low, self.command_high, strict=True)):
            raise ValueError(
                f"command_low {self.command_low} is above command_high {self.command_high} in one place or more; "
                "lower it, or raise the other"
            )
        if self.terrain_curriculum and not self.terrain:
            raise ValueError("terrain_curriculum is true on a plane, which has no levels; give it a terrain")

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, VelocityState]:
        return self.reset_on_level(self._first_level(rng), rng)

    def reset_after(self, rng: RandomStreams, last: VelocityState) -> tuple[Array, Array, VelocityState]:
        return self.reset_on_level(self._next_level(last, rng), rng) if self.terrain_curriculum else self.reset(rng)

    def reset_on_level(self, level: Array, rng: RandomStreams) -> tuple[Array, Array, VelocityState]:
        n, robot = len(rng), self.ROBOT
        n_joints, n_feet = len(robot.joints), len(robot.feet)
        unit = rng.uniform(-1.0, 1.0, n_joints + 8)
        joints = xp.like(robot.default_joints, unit) + 0.1 * unit[:, :n_joints]
        heading, velocity, phase = unit[:, n_joints], unit[:, n_joints + 1 : -1], unit[:, -1]
        xy, above = self.start_place(level, rng)
        height = robot.standing_height + above[:, None]
        yaw = self.start_yaw(level, heading)
        qpos = xp.concat([xy, height, rotations.from_yaw(yaw), joints], axis=1)
        qvel = xp.concat([0.3 * velocity, xp.zeros_like(joints)], axis=1)
        state = VelocityState(
            **self.reset_randomization(rng),
            command=xp.zeros((n, 3), unit),
            command_left=xp.zeros((n,), unit),
            phase=0.5 + 0.5 * phase,
            action=xp.zeros((n, n_joints), unit),
            air_time=xp.zeros((n, n_feet), unit),
            level=level,
            asked=xp.zeros((n,), unit),
            walked=xp.zeros((n,), unit),
            fell=xp.full((n,), False, unit),
        )
        return qpos, qvel, self.with_new_command(state, rng)

    def _first_level(self, rng: RandomStreams) -> Array:
        """The level of the first episode, (N,) int."""
        if not self.terrain:
            return xp.full((len(rng),), 0, rng.key)
        levels = (self.terrain_levels + 1) // 2 if self.terrain_curriculum else self.terrain_levels
        return xp.integers(rng.uniform()[:, 0] * levels)

    def _next_level(self, last: VelocityState, rng: RandomStreams) -> Array:
        """The level that follows from how the last episode went, (N,) int."""
        mastered = ~last.fell & (last.walked >= xp.maximum(0.7 * last.asked, PROMOTION_DISTANCE))
        failed = (last.fell & (last.walked < PROMOTION_DISTANCE)) | (
            (last.asked >= PROMOTION_DISTANCE) & (last.walked < 0.4 * last.asked)
        )
        level = xp.maximum(last.level + xp.where(mastered, 1, xp.where(failed, -1, 0)), 0)
        anywhere = xp.integers(rng.uniform()[:, 0] * self.terrain_levels)
        return xp.where(level < self.terrain_levels, level, anywhere)

    def observe(self, physics: PhysicsState, state: VelocityState) -> dict[str, Array]:
        angle = 2 * np.pi * state.phase
        clock = xp.stack([xp.sin(angle), xp.cos(angle)], axis=1)
        return {
            "linear_velocity": physics.sensor["linear_velocity"],
            "angular_velocity": physics.sensor["angular_velocity"],
            "gravity": physics.sensor["gravity_direction"],
            "joint_position": self.joint_displacement(physics) - self.offset(state),
            "joint_velocity": physics.qvel[:, JOINTS_IN_QVEL],
            "last_action": state.action,
            "command": state.command,
            "gait_clock": clock * indicator(self._moving(physics, state))[:, None],
            **({"height_scan": self.ground_around(physics)} if self.height_scan else {}),
        }

    def privileged(self, physics: PhysicsState, state: VelocityState) -> dict[str, Array]:
        noiseless = self.observe(physics, state)
        return {
            **{f"true_{name}": noiseless[name] for name in self.observation_noise},
            "contact": indicator(self.in_contact(physics)),
            "air_time": state.air_time,
            **({"push": state.push} if self.push_speed else {}),
            "drawn": state.drawn,
            **({"ground": self.ground_around(physics)} if self.terrain else {}),
        }

    @reward_term(1.0)
    def reward_tracking_lin_vel(self, t: Transition) -> Array:
        """exp(-(error of the planar velocity)^2 / `tracking_variance`)"""
        velocity = t.next_physics.sensor["linear_velocity"][:, :2]
        return rewards.tracking(t.state.command[:, :2], velocity, self.tracking_variance)

    @reward_term(0.5)
    def reward_approach_lin_vel(self, t: Transition) -> Array:
        """the same with `approach_variance`: felt from far off"""
        velocity = t.next_physics.sensor["linear_velocity"][:, :2]
        return rewards.tracking(t.state.command[:, :2], velocity, self.approach_variance)

    @reward_term(0.5)
    def reward_tracking_ang_vel(self, t: Transition) -> Array:
        """exp(-(error of the yaw rate)^2 / `tracking_variance`)"""
        yaw_rate = t.next_physics.sensor["angular_velocity"][:, 2:]
        return rewards.tracking(t.state.command[:, 2:], yaw_rate, self.tracking_variance)

    @reward_term(-1.0)
    def reward_lin_vel_z(self, t: Transition) -> Array:
        """(vertical velocity)^2"""
        return xp.square(t.next_physics.sensor["linear_velocity"][:, 2])

    @reward_term(-0.02)
    def reward_ang_vel_xy(self, t: Transition) -> Array:
        """(roll rate)^2 + (pitch rate)^2"""
        return rewards.sum_squares(t.next_physics.sensor["angular_velocity"][:, :2])

    @reward_term(-1.0)
    def reward_orientation(self, t: Transition) -> Array:
        """sum of the squares of the horizontal components of gravity"""
        return rewards.sum_squares(t.next_physics.sensor["gravity_direction"][:, :2])

    @reward_term(-1e-4)
    def reward_torques(self, t: Transition) -> Array:
        """sum of squared servo torques"""
        return rewards.sum_squares(t.next_physics.sensor["torque"])

    @reward_term(-1e-7)
    def reward_dof_acc(self, t: Transition) -> Array:
        """sum of squared joint accelerations"""
        return rewards.sum_squares((t.next_physics.qvel - t.physics.qvel)[:, JOINTS_IN_QVEL] / self.control_dt)

    @reward_term(-0.02)
    def reward_action_rate(self, t: Transition) -> Array:
        """sum of squared changes of the action"""
        return rewards.sum_squares(t.action - t.state.action)

    @reward_term(1.0)
    def reward_feet_air_time(self, t: Transition) -> Array:
        """sum over landing feet of (time in the air - 0.1 s), moving"""
        landed = self.in_contact(t.next_physics) & (t.state.air_time > 0)
        return xp.sum((t.state.air_time - 0.1) * indicator(landed), axis=1) * indicator(self.moving(t))

    @reward_term(-0.5)
    def reward_hip_pos(self, t: Transition) -> Array:
        """(1 - min(abs(leftward command), 1)) x sum of squared hip angles"""
        sideways = xp.minimum(abs(t.state.command[:, 1]), 1.0)
        return (1.0 - sideways) * rewards.sum_squares(
            xp.columns(self.joint_displacement(t.next_physics), self.ROBOT.hips)
        )

    @reward_term(-0.1)
    def reward_stand_still(self, t: Transition) -> Array:
        """sum of absolute joint angles from the standing pose, not moving"""
        return xp.sum(abs(self.joint_displacement(t.next_physics)), axis=1) * indicator(~self.moving(t))

    @reward_term(0.3)
    def reward_gait(self, t: Transition) -> Array:
        """share of the feet whose contact is as the clock asks, moving"""
        as_asked = self.in_contact(t.next_physics) == (self.lift(t) == 0)
        return xp.mean(indicator(as_asked), axis=1) * indicator(self.moving(t))

    @reward_term(-0.3)
    def reward_feet_height(self, t: Transition) -> Array:
        """mean over feet of (height above the ground / `swing_height` - lift)^2"""
        feet = xp.reshape(t.next_physics.sensor["position"], (-1, len(self.ROBOT.feet), 3))
        height = feet[:, :, 2] - xp.like(self.ROBOT.foot_height, feet) - self.ground.height(feet[:, :, :2])
        return xp.mean(xp.square(height / self.swing_height - self.lift(t)), axis=1)

    @reward_term(-0.05)
    def reward_feet_slip(self, t: Transition) -> Array:
        """sum of squared planar velocities of the feet in contact"""
        velocity = xp.reshape(t.next_physics.sensor["velocity"], (-1, len(self.ROBOT.feet), 3))[:, :, :2]
        return xp.sum(xp.sum(xp.square(velocity), axis=2) * indicator(self.in_contact(t.next_physics)), axis=1)

    @reward_term(-10.0)
    def reward_termination(self, t: Transition) -> Array:
        """1 in a step that terminates"""
        return indicator(t.terminated)

    @once_per_step
    def moving(self, t: Transition) -> Array:
        """Whether the robot is to follow a command, or has speed to lose, when the step begins, (N,) bool."""
        return self._moving(t.physics, t.state)

    @once_per_step
    def lift(self, t: Transition) -> Array:
        """Foot heights that the clock asks for, (N, feet), as a share of the swing height; 0 when not moving."""
        return self._lift(t.state) * indicator(self.moving(t))[:, None]

    def next_state(self, t: Transition, rng: RandomStreams) -> VelocityState:
        state = self.next_randomization(t.state, t.action, rng)
        command, velocity = state.command[:, :2], t.next_physics.sensor["linear_velocity"][:, :2]
        speed = xp.sqrt(rewards.sum_squares(command))
        along = xp.sum(command * velocity, axis=1) / xp.maximum(speed, 1e-9)
        state = replace(
            state,
            command_left=state.command_left - self.control_dt,
            phase=(state.phase + self.gait_frequency * self.control_dt) % 1.0,
            action=t.action,
            air_time=xp.where(self.in_contact(t.next_physics), 0.0, state.air_time + self.control_dt),
            asked=state.asked + self.control_dt * speed,
            walked=state.walked + self.control_dt * along,
            fell=t.terminated,
        )
        return self.with_new_command(state, rng)

    def metrics(self, t: Transition) -> dict[str, Array]:
        off = t.state.command[:, :2] - t.next_physics.sensor["linear_velocity"][:, :2]
        return {
            "velocity_error": xp.sqrt(rewards.sum_squares(off)),
            "yaw_rate_error": abs(t.state.command[:, 2] - t.next_physics.sensor["angular_velocity"][:, 2]),
            **({"terrain_level": xp.floats(t.state.level)} if self.terrain else {}),
        }

    def mirror(self) -> Mirror | None:
        if not self.ROBOT.symmetric:
            return None
        joints, feet = self.ROBOT.mirrored_joints, self.ROBOT.mirrored_feet
        blocks = {
            "linear_velocity": POLAR,
            "angular_velocity": AXIAL,
            "gravity": POLAR,
            "joint_position": joints,
            "joint_velocity": joints,
            "last_action": joints,
            "command": MIRRORED_COMMAND,
            "gait_clock": Flip.signs(-1, -1),
            **({"height_scan": MIRRORED_SCAN} if self.height_scan else {}),
        }
        return Mirror(
            qpos=Flip.joined(POLAR, Flip.signs(1, -1, 1, -1), joints),
            qvel=Flip.joined(POLAR, AXIAL, joints),
            action=joints,
            blocks=blocks,
            state=lambda state: replace(
                self.mirrored_randomization(state, blocks),
                command=MIRRORED_COMMAND(state.command),
                phase=(state.phase + 0.5) % 1.0,
                action=joints(state.action),
                air_time=feet(state.air_time),
            ),
        )

    def with_new_command(self, state: VelocityState, rng: RandomStreams) -> VelocityState:
        """The task state with a new command in the environments where one is due."""
        unit = rng.uniform(size=5)
        low, high = xp.like(self.command_low, unit), xp.like(self.command_high, unit)
        shortest, longest = self.command_interval
        command = (low + (high - low) * unit[:, :3]) * indicator(unit[:, 3:4] >= self.still_probability)
        interval = shortest + (longest - shortest) * unit[:, 4]
        due = state.command_left <= 0
        return replace(
            state,
            command=xp.where(due[:, None], command, state.command),
            command_left=xp.where(due, interval, state.command_left),
        )

    def _moving(self, physics: PhysicsState, state: VelocityState) -> Array:
        """Whether there is something to follow, or speed to lose, (N,) bool."""
        commanded = rewards.sum_squares(state.command) > 0.1**2
        return commanded | (rewards.sum_squares(physics.sensor["linear_velocity"][:, :2]) > self.still_speed**2)

    def _lift(self, state: VelocityState) -> Array:
        """Foot heights that the clock asks for, (N, feet), as a share of the swing height."""
        return xp.maximum(xp.sin(2 * np.pi * (state.phase[:, None] + xp.like(self.ROBOT.phases, state.phase))), 0.0)


@dataclass(frozen=True, kw_only=True)
class Go1(VelocityTask):
    """A Unitree Go1 follows a velocity command.

    The robot weighs 12.7 kg. Its 12 joints are in the order FR, FL, RR, RL x hip, thigh, calf; their servos have
    35 N m/rad.
    """

    ROBOT: ClassVar = GO1


@dataclass(frozen=True, kw_only=True)
class Go2(VelocityTask):
    """A Unitree Go2 follows a velocity command.

    The robot weighs 15.2 kg. Its 12 joints are in the order FR, FL, RR, RL x hip, thigh, calf; their servos have
    50 N m/rad.

    Weights:
    """

    ROBOT: ClassVar = GO2
    WEIGHTS: ClassVar = {**VelocityTask.WEIGHTS, "torques": -7e-5}
    action_scale: Positive = 0.5


@dataclass(frozen=True, kw_only=True)
class AnymalC(VelocityTask):
    """An ANYbotics ANYmal C follows a velocity command.

    The robot weighs 45.0 kg. Its 12 joints are in the order LF, RF, LH, RH x hip (HAA), thigh (HFE), calf (KFE); their
    servos have 100 N m/rad. It stands with all knees bent inward.

    Weights:
    """

    ROBOT: ClassVar = ANYMAL_C
    WEIGHTS: ClassVar = {**VelocityTask.WEIGHTS, "torques": -8e-6}
    command_high: tuple[float, float, float] = (1.0, 0.8, 1.0)
    action_scale: Positive = 0.5
    gait_frequency: Positive = 1.5
    swing_height: Positive = 0.12
