"""The task: what an episode means."""

from dataclasses import dataclass
from pathlib import Path

import motrix_gym
import mujoco
import numpy as np
from gymnasium import spaces
from motrix_gym import PhysicsState, RandomStreams, Task, TaskState, Transition, reward_term, rewards
from motrix_gym.fields import Positive, Share

WHEEL_RADIUS = 0.1  # m, as in robot.xml
CLEARANCE = 0.001  # m below the wheels when an episode begins
WHEELS = slice(6, 8)  # in qvel


@dataclass(frozen=True)
class DriveState(TaskState):
    """What the task remembers between steps.

    Attributes:
        command: Forward speed and turn rate to drive with, (N, 2) m/s, rad/s.
    """

    command: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Drive(Task):
    """A robot on two wheels balances and drives as it is told.

    The action is the torque of each wheel, left and right, as a share of 3 N m. The command changes at random times.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-2 | gravity | direction of gravity in the body's axes, (0, 0, -1) when upright | 1 |
    | 3-5 | angular_velocity | angular velocity of the body, in its axes | rad/s |
    | 6-7 | wheel_velocity | left and right | rad/s |
    | 8-9 | command | forward speed, turn rate to the left | m/s, rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | fallen | the body is tilted by more than `max_tilt` |
    | diverged | the physics diverged |

    Attributes:
        control_dt: Seconds between two actions.
        max_speed: Greatest forward and backward speed commanded, m/s.
        max_turn: Greatest turn rate commanded, rad/s.
        new_command: Probability that the command changes in a step.
        max_tilt: Tilt that counts as a fall, rad.
        margin: Errors of speed and turn rate at which their rewards have fallen to a half, m/s and rad/s.
    """

    control_dt: float = 0.02
    max_speed: Positive = 1.0
    max_turn: Positive = 1.5
    new_command: Share = 0.01
    max_tilt: Positive = 0.8
    margin: Positive = 0.3

    def model(self) -> mujoco.MjModel:
        return motrix_gym.load_model(Path(__file__).parent / "robot.xml")

    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, rng: RandomStreams) -> tuple[np.ndarray, np.ndarray, DriveState]:
        unit = rng.uniform(-1.0, 1.0, 3)  # (N, 3)
        n, pitch = len(unit), 0.15 * unit[:, 0]  # rad
        qpos = np.zeros((n, 9))  # position, quaternion, wheel angles
        qpos[:, 2] = WHEEL_RADIUS + CLEARANCE
        qpos[:, 3], qpos[:, 5] = np.cos(pitch / 2), np.sin(pitch / 2)
        qvel = np.zeros((n, 8))
        qvel[:, 0] = 0.3 * unit[:, 1]  # m/s forward
        qvel[:, WHEELS] = qvel[:, :1] / WHEEL_RADIUS  # they roll
        qvel[:, 4] = 0.3 * unit[:, 2]  # rad/s of pitch
        return qpos, qvel, DriveState(self.draw_command(rng))

    def control(self, physics: PhysicsState, state: DriveState, action: np.ndarray) -> np.ndarray:
        return action

    def observe(self, physics: PhysicsState, state: DriveState) -> dict[str, np.ndarray]:
        return {
            "gravity": physics.sensor["gravity"],
            "angular_velocity": physics.sensor["angular_velocity"],
            "wheel_velocity": physics.qvel[:, WHEELS],
            "command": state.command,
        }

    @reward_term(1.0)
    def reward_speed(self, t: Transition) -> np.ndarray:
        """1 / (1 + (error of the forward speed / `margin`)^2)"""
        return rewards.closeness(self.error(t)[:, 0], self.margin)

    @reward_term(0.5)
    def reward_turn(self, t: Transition) -> np.ndarray:
        """1 / (1 + (error of the turn rate / `margin`)^2)"""
        return rewards.closeness(self.error(t)[:, 1], self.margin)

    @reward_term(-0.1)
    def reward_sway(self, t: Transition) -> np.ndarray:
        """(pitch rate)^2"""
        return np.square(t.next_physics.sensor["angular_velocity"][:, 1])

    @reward_term(-0.05)
    def reward_effort(self, t: Transition) -> np.ndarray:
        """sum of squared torques, as shares of the greatest"""
        return rewards.sum_squares(t.action)

    @reward_term(-30.0)
    def reward_fall(self, t: Transition) -> np.ndarray:
        """1 in a step that terminates"""
        return rewards.indicator(t.terminated)

    def terminated(self, t: Transition) -> dict[str, np.ndarray]:
        return {"fallen": t.next_physics.sensor["gravity"][:, 2] > -np.cos(self.max_tilt)}

    def next_state(self, t: Transition, rng: RandomStreams) -> DriveState:
        changes = rng.uniform() < self.new_command  # (N, 1)
        return DriveState(np.where(changes, self.draw_command(rng), t.state.command))

    def metrics(self, t: Transition) -> dict[str, np.ndarray]:
        error = np.abs(self.error(t))
        return {"speed_error": error[:, 0], "turn_error": error[:, 1]}

    def draw_command(self, rng: RandomStreams) -> np.ndarray:
        """A random forward speed and turn rate, (N, 2) m/s, rad/s."""
        return rng.uniform(-1.0, 1.0, 2) * [self.max_speed, self.max_turn]

    def error(self, t: Transition) -> np.ndarray:
        """How far forward speed and turn rate are from the command after a step, (N, 2) m/s, rad/s."""
        sensor = t.next_physics.sensor
        driven = np.stack([sensor["linear_velocity"][:, 0], sensor["angular_velocity"][:, 2]], axis=1)
        return driven - t.state.command
