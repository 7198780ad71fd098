"""Legged robots that follow a velocity command. A robot is a table; the task is the same for all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import mujoco
import numpy as np
from gymnasium import spaces

from motrix_gym import rewards, rotations
from motrix_gym.draws import Draws
from motrix_gym.task import Array, Flip, Frame, Memory, Mirror, Task, Transition, load_model


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


LEGS = 4
HIPS = slice(0, None, 3)
JOINTS_IN_QPOS = slice(7, None)
JOINTS_IN_QVEL = slice(6, None)
TROT_OFFSET = np.array([0.0, 0.5, 0.5, 0.0])  # the legs of a diagonal step together
POSITIVE = ("action_scale", "tracking_variance", "approach_variance", "gait_frequency", "swing_height", "max_tilt")

MIRRORED_JOINTS = Flip(index=np.array([3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]), sign=np.tile([-1.0, 1.0, 1.0], LEGS))
MIRRORED_FEET = Flip(index=np.array([1, 0, 3, 2]), sign=np.ones(LEGS))
POLAR = Flip.signs(1, -1, 1)
AXIAL = Flip.signs(-1, 1, -1)
MIRRORED_COMMAND = Flip.signs(1, -1, -1)

GO1 = Quadruped("go1.xml", (0.0, 0.9, -1.8), (0.0, 0.9, -1.8), start_height=0.3078, foot_radius=0.023)
GO2 = Quadruped("go2.xml", (0.0, 0.9, -1.8), (0.0, 0.9, -1.8), start_height=0.315, foot_radius=0.022)
ANYMAL_C = Quadruped("anymal_c.xml", (0.0, 0.4, -0.8), (0.0, -0.4, 0.8), start_height=0.59, foot_radius=0.03)


@dataclass(frozen=True)
class VelocityMemory(Memory):
    """What the velocity task remembers.

    Attributes:
        command: Forward and leftward velocity and yaw rate to follow, (N, 3) m/s, m/s, rad/s.
        command_left: Time until the next command, (N,) s.
        phase: Phase of the gait clock, (N,) in [0, 1).
        action: The last action, (N, 12).
        air_time: Time since each foot last touched the ground, (N, 4) s.
    """

    command: Array
    command_left: Array
    phase: Array
    action: Array
    air_time: Array


@dataclass(frozen=True, kw_only=True)
class VelocityTask(Task):
    """A robot with four legs follows a velocity command on flat ground.

    It is commanded a forward and a leftward velocity and a yaw rate, which change every few seconds and are zero for
    some of the time. Each action in [-1, 1] shifts the target angle of a position servo by `action_scale` radians from
    the standing pose. Episodes start near the standing pose with a random heading and last 1000 steps of 20 ms.

    A clock of `gait_frequency` asks for a trot, diagonal legs together, whenever there is a command to follow or
    speed to lose; in the formulas "moving" is 1 then and 0 for a robot below `still_speed` that is told to stand,
    and "lift" is max(0, sin(2 pi (phase + offset))) x moving, with the offset 0 for the first leg and the one diagonal
    to it, and 1/2 for the others. A foot is asked to stand where its lift is zero.

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

    Reward:

    | term | formula | weight |
    |---|---|---|
    | tracking_lin_vel | exp(-(error of the planar velocity)^2 / `tracking_variance`) | 1.0 |
    | approach_lin_vel | the same with `approach_variance`: felt from far off | 0.5 |
    | tracking_ang_vel | exp(-(error of the yaw rate)^2 / `tracking_variance`) | 0.5 |
    | lin_vel_z | (vertical velocity)^2 | -1.0 |
    | ang_vel_xy | (roll rate)^2 + (pitch rate)^2 | -0.02 |
    | orientation | sum of the squares of the horizontal components of gravity | -1.0 |
    | torques | sum of squared servo torques | -0.0001 |
    | dof_acc | sum of squared joint accelerations | -1e-07 |
    | action_rate | sum of squared changes of the action | -0.02 |
    | feet_air_time | sum over landing feet of (time in the air - 0.1 s), moving | 1.0 |
    | hip_pos | (1 - min(abs(leftward command), 1)) x sum of squared hip angles | -0.5 |
    | stand_still | sum of absolute joint angles from the standing pose, not moving | -0.1 |
    | gait | share of the feet whose contact is as the clock asks, moving | 0.3 |
    | feet_height | mean over feet of (foot height / `swing_height` - lift)^2 | -0.3 |
    | feet_slip | sum of squared planar velocities of the feet in contact | -0.05 |
    | termination | 1 in a step that terminates | -10.0 |

    Termination:

    | reason | condition |
    |---|---|
    | tilted | the trunk is tilted by more than `max_tilt` |
    | trunk_contact | the trunk touches the ground |
    | diverged | the physics diverged |

    Attributes:
        control_dt: Seconds between two actions.
        reward_weights: Weights that replace those of the table, by term.
        action_scale: Servo target shift of a unit action, rad.
        command_low: Lowest forward and leftward velocity and yaw rate commanded, m/s, m/s, rad/s.
        command_high: Highest ones.
        command_interval: Shortest and longest time between new commands, s.
        still_probability: Share of the commands that are zero.
        still_speed: Planar speed below which a zero command asks for all feet on the ground, m/s.
        tracking_variance: Width of the tracking terms, (m/s)^2 and (rad/s)^2.
        approach_variance: Width of the approach term, (m/s)^2.
        gait_frequency: Strides a second.
        swing_height: Height of a foot in the middle of its swing, m.
        max_tilt: Tilt that counts as a fall, rad.
    """

    ROBOT: ClassVar[Quadruped]
    WEIGHTS: ClassVar = {
        "tracking_lin_vel": 1.0,
        "approach_lin_vel": 0.5,
        "tracking_ang_vel": 0.5,
        "lin_vel_z": -1.0,
        "ang_vel_xy": -0.02,
        "orientation": -1.0,
        "torques": -1e-4,
        "dof_acc": -1e-7,
        "action_rate": -0.02,
        "feet_air_time": 1.0,
        "hip_pos": -0.5,
        "stand_still": -0.1,
        "gait": 0.3,
        "feet_height": -0.3,
        "feet_slip": -0.05,
        "termination": -10.0,
    }
    control_dt: float = 0.02
    action_scale: float = 0.4
    command_low: tuple[float, float, float] = (-1.0, -0.8, -1.0)
    command_high: tuple[float, float, float] = (1.5, 0.8, 1.0)
    command_interval: tuple[float, float] = (4.0, 8.0)
    still_probability: float = 0.1
    still_speed: float = 0.3
    tracking_variance: float = 0.25
    approach_variance: float = 1.5
    gait_frequency: float = 2.0
    swing_height: float = 0.08
    max_tilt: float = 1.05

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it takes a number above 0")
        if not 0 <= self.still_probability <= 1:
            raise ValueError(f"still_probability is {self.still_probability}; it takes a number from 0 to 1")
        shortest, longest = self.command_interval
        if not 0 < shortest <= longest:
            raise ValueError(f"command_interval is {self.command_interval} s; it takes the shortest, then the longest")
        if any(low > high for low, high in zip(self.command_low, self.command_high, strict=True)):
            raise ValueError(
                f"command_low {self.command_low} is above command_high {self.command_high} in one place or more; "
                "lower it, or raise the other"
            )

    def model(self) -> mujoco.MjModel:
        return load_model(self.ROBOT.model)

    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (3 * LEGS,), np.float32)

    def begin(self, draws: Draws) -> tuple[Array, Array, VelocityMemory]:
        n, robot = len(draws), self.ROBOT
        start = draws.uniform(-1.0, 1.0, 20)
        joints = robot.default_joints + 0.1 * start[:, :12]
        xy = np.zeros((n, 2))
        height = np.full((n, 1), robot.start_height)
        qpos = np.concatenate([xy, height, rotations.from_yaw(np.pi * start[:, 12]), joints], axis=1)
        qvel = np.concatenate([0.3 * start[:, 13:19], np.zeros_like(joints)], axis=1)
        memory = VelocityMemory(
            command=np.zeros((n, 3)),
            command_left=np.zeros(n),
            phase=0.5 + 0.5 * start[:, 19],
            action=np.zeros((n, 3 * LEGS)),
            air_time=np.zeros((n, LEGS)),
        )
        return qpos, qvel, self._with_new_command(memory, draws)

    def control(self, frame: Frame, memory: VelocityMemory, action: Array) -> Array:
        return self.ROBOT.default_joints + self.action_scale * action

    def observe(self, frame: Frame, memory: VelocityMemory) -> dict[str, Array]:
        angle = 2 * np.pi * memory.phase
        clock = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        return {
            "linear_velocity": frame.sensor["linear_velocity"],
            "angular_velocity": frame.sensor["angular_velocity"],
            "gravity": frame.sensor["gravity_direction"],
            "joint_position": self._bend(frame),
            "joint_velocity": frame.qvel[:, JOINTS_IN_QVEL],
            "last_action": memory.action,
            "command": memory.command,
            "gait_clock": clock * self._moving(frame, memory)[:, None],
        }

    def reward(self, t: Transition) -> dict[str, Array]:
        now, memory = t.now, t.memory
        command = memory.command
        velocity, rate = now.sensor["linear_velocity"], now.sensor["angular_velocity"]
        contact = self._contact(now)
        moving = self._moving(t.before, memory)
        lift = self._lift(memory) * moving[:, None]
        stance = lift == 0
        landed = contact & (memory.air_time > 0)
        foot_height = now.sensor["position"][:, 2::3] - self.ROBOT.foot_radius
        foot_velocity = now.sensor["velocity"].reshape(-1, LEGS, 3)[:, :, :2]
        bend = self._bend(now)
        sideways = np.minimum(np.abs(command[:, 1]), 1.0)
        return {
            "tracking_lin_vel": rewards.tracking(command[:, :2], velocity[:, :2], self.tracking_variance),
            "approach_lin_vel": rewards.tracking(command[:, :2], velocity[:, :2], self.approach_variance),
            "tracking_ang_vel": rewards.tracking(command[:, 2:], rate[:, 2:], self.tracking_variance),
            "lin_vel_z": np.square(velocity[:, 2]),
            "ang_vel_xy": rewards.sum_squares(rate[:, :2]),
            "orientation": rewards.sum_squares(now.sensor["gravity_direction"][:, :2]),
            "torques": rewards.sum_squares(now.sensor["torque"]),
            "dof_acc": rewards.sum_squares((now.qvel - t.before.qvel)[:, JOINTS_IN_QVEL] / self.control_dt),
            "action_rate": rewards.sum_squares(t.action - memory.action),
            "feet_air_time": ((memory.air_time - 0.1) * landed).sum(axis=1) * moving,
            "hip_pos": (1.0 - sideways) * rewards.sum_squares(bend[:, HIPS]),
            "stand_still": np.abs(bend).sum(axis=1) * ~moving,
            "gait": (contact == stance).mean(axis=1) * moving,
            "feet_height": np.square(foot_height / self.swing_height - lift).mean(axis=1),
            "feet_slip": (np.square(foot_velocity).sum(axis=2) * contact).sum(axis=1),
            "termination": 1.0 * t.terminated,
        }

    def terminated(self, t: Transition) -> dict[str, Array]:
        return {
            "tilted": t.now.sensor["gravity_direction"][:, 2] > -np.cos(self.max_tilt),
            "trunk_contact": t.now.sensor["body_contact/trunk"][:, 0] > 0,
        }

    def advance(self, t: Transition, draws: Draws) -> VelocityMemory:
        memory = t.memory
        memory = replace(
            memory,
            command_left=memory.command_left - self.control_dt,
            phase=(memory.phase + self.gait_frequency * self.control_dt) % 1.0,
            action=t.action,
            air_time=np.where(self._contact(t.now), 0.0, memory.air_time + self.control_dt),
        )
        return self._with_new_command(memory, draws)

    def metrics(self, t: Transition) -> dict[str, Array]:
        off = t.memory.command[:, :2] - t.now.sensor["linear_velocity"][:, :2]
        return {
            "velocity_error": np.sqrt(rewards.sum_squares(off)),
            "yaw_rate_error": np.abs(t.memory.command[:, 2] - t.now.sensor["angular_velocity"][:, 2]),
        }

    def mirror(self) -> Mirror:
        return Mirror(
            qpos=Flip.joined(POLAR, Flip.signs(1, -1, 1, -1), MIRRORED_JOINTS),
            qvel=Flip.joined(POLAR, AXIAL, MIRRORED_JOINTS),
            action=MIRRORED_JOINTS,
            blocks={
                "linear_velocity": POLAR,
                "angular_velocity": AXIAL,
                "gravity": POLAR,
                "joint_position": MIRRORED_JOINTS,
                "joint_velocity": MIRRORED_JOINTS,
                "last_action": MIRRORED_JOINTS,
                "command": MIRRORED_COMMAND,
                "gait_clock": Flip.signs(-1, -1),
            },
            memory=lambda memory: replace(
                memory,
                command=MIRRORED_COMMAND(memory.command),
                phase=(memory.phase + 0.5) % 1.0,
                action=MIRRORED_JOINTS(memory.action),
                air_time=MIRRORED_FEET(memory.air_time),
            ),
        )

    def _with_new_command(self, memory: VelocityMemory, draws: Draws) -> VelocityMemory:
        """The memory with a fresh command in the rows whose time for one has come."""
        unit = draws.uniform(size=5)
        low, high = np.array(self.command_low), np.array(self.command_high)
        command = (low + (high - low) * unit[:, :3]) * (unit[:, 3:4] >= self.still_probability)
        interval = self.command_interval[0] + np.diff(self.command_interval) * unit[:, 4]
        due = memory.command_left <= 0
        return replace(
            memory,
            command=np.where(due[:, None], command, memory.command),
            command_left=np.where(due, interval, memory.command_left),
        )

    def _bend(self, frame: Frame) -> Array:  # (N, 12) rad
        return frame.qpos[:, JOINTS_IN_QPOS] - self.ROBOT.default_joints

    def _contact(self, frame: Frame) -> Array:  # (N, 4) bool
        return frame.sensor["contact"] > 0

    def _moving(self, frame: Frame, memory: VelocityMemory) -> Array:
        """Whether there is something to follow, or speed to lose, (N,) bool."""
        commanded = rewards.sum_squares(memory.command) > 0.1**2
        return commanded | (rewards.sum_squares(frame.sensor["linear_velocity"][:, :2]) > self.still_speed**2)

    def _lift(self, memory: VelocityMemory) -> Array:
        """Foot heights that the clock asks for, (N, 4), as a share of the swing height."""
        return np.maximum(np.sin(2 * np.pi * (memory.phase[:, None] + TROT_OFFSET)), 0.0)


@dataclass(frozen=True, kw_only=True)
class Go1(VelocityTask):
    """A Unitree Go1 follows a velocity command on flat ground.

    The robot weighs 12.7 kg. Its 12 joints are in the order FR, FL, RR, RL x hip, thigh, calf; their servos have
    35 N m/rad.
    """

    ROBOT: ClassVar = GO1


@dataclass(frozen=True, kw_only=True)
class Go2(VelocityTask):
    """A Unitree Go2 follows a velocity command on flat ground.

    The robot weighs 15.2 kg. Its 12 joints are in the order FR, FL, RR, RL x hip, thigh, calf; their servos have
    50 N m/rad.

    Weights:

    Those that differ from the weights of the Go1, which the table of all has.

    | term | weight |
    |---|---|
    | torques | -7e-05 |
    """

    ROBOT: ClassVar = GO2
    WEIGHTS: ClassVar = {**VelocityTask.WEIGHTS, "torques": -7e-5}
    action_scale: float = 0.5


@dataclass(frozen=True, kw_only=True)
class AnymalC(VelocityTask):
    """An ANYbotics ANYmal C follows a velocity command on flat ground.

    The robot weighs 45.0 kg. Its 12 joints are in the order LF, RF, LH, RH x hip (HAA), thigh (HFE), calf (KFE); their
    servos have 100 N m/rad. It stands with all knees bent inward.

    Weights:

    Those that differ from the weights of the Go1, which the table of all has.

    | term | weight |
    |---|---|
    | torques | -8e-06 |
    """

    ROBOT: ClassVar = ANYMAL_C
    WEIGHTS: ClassVar = {**VelocityTask.WEIGHTS, "torques": -8e-6}
    action_scale: float = 0.5
    gait_frequency: float = 1.5
    swing_height: float = 0.12
