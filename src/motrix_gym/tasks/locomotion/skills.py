"""What a legged robot does with its whole body: it gets up, and it stands on its hands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rewards, rotations
from motrix_gym.fields import Positive
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import indicator
from motrix_gym.state import Array, PhysicsState, Transition
from motrix_gym.symmetry import Flip, Mirror
from motrix_gym.tasks.holding import Holding
from motrix_gym.tasks.locomotion.domain_randomization import JOINTS_IN_QVEL, POLAR, RandomizedState
from motrix_gym.tasks.locomotion.legged_robot import GO1
from motrix_gym.tasks.locomotion.legged_task import LeggedTask
from motrix_gym.tasks.locomotion.robot_model import TRUNK_CONTACT
from motrix_gym.tasks.locomotion.velocity import AXIAL

HEIGHT = 2  # in qpos
DROP_HEIGHT = 0.46  # m of the trunk, from where nothing but a foot can reach the ground


@dataclass(frozen=True)
class SkillState(RandomizedState):
    """What a skill remembers.

    Attributes:
        action: The last action, (N, joints).
        held: For how long the pose has been held without a break, (N,) s.
    """

    action: Array
    held: Array


@dataclass(frozen=True, kw_only=True)
class SkillTask(LeggedTask, Holding):
    """A legged robot on a plane takes a pose and holds it; without a command."""

    # Taken out of the fields: the ground is a plane, and no tilt is a fall.
    terrain: ClassVar[Mapping[str, float]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]
    terrain_seed: ClassVar = 0  # pyright: ignore[reportIncompatibleVariableOverride]
    terrain_levels: ClassVar = 1  # pyright: ignore[reportIncompatibleVariableOverride]
    height_scan: ClassVar = False  # pyright: ignore[reportIncompatibleVariableOverride]
    max_tilt: ClassVar  # pyright: ignore[reportIncompatibleVariableOverride]

    action_scale: Positive = 1.5
    still_speed: Positive = 0.1
    hold_time: Positive = 1.0

    def start_state(self, rng: RandomStreams) -> SkillState:
        """The task state that an episode begins with."""
        n = len(rng)
        action = xp.zeros((n, len(self.ROBOT.joints)), rng.key)
        return SkillState(**self.reset_randomization(rng), action=action, held=xp.zeros((n,), rng.key))

    def observe(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        return {
            "angular_velocity": physics.sensor["angular_velocity"],
            "gravity": physics.sensor["gravity_direction"],
            "joint_position": self.joint_displacement(physics) - self.offset(state),
            "joint_velocity": physics.qvel[:, JOINTS_IN_QVEL],
            "last_action": state.action,
        }

    def privileged(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        noiseless = self.observe(physics, state)
        return {
            **{f"true_{name}": noiseless[name] for name in self.observation_noise},
            "linear_velocity": physics.sensor["linear_velocity"],
            "height": physics.qpos[:, HEIGHT : HEIGHT + 1],
            "contact": indicator(self.in_contact(physics)),
            "trunk_contact": indicator(self.trunk_contact(physics))[:, None],
            "held": state.held[:, None],
            **({"push": state.push} if self.push_speed else {}),
            "drawn": state.drawn,
        }

    @reward_term(-2e-5)
    def reward_torques(self, t: Transition) -> Array:
        """sum of squared servo torques"""
        return rewards.sum_squares(t.next_physics.sensor["torque"])

    @reward_term(-1e-8)
    def reward_dof_acc(self, t: Transition) -> Array:
        """sum of squared joint accelerations"""
        return rewards.sum_squares((t.next_physics.qvel - t.physics.qvel)[:, JOINTS_IN_QVEL] / self.control_dt)

    @reward_term(-0.01)
    def reward_action_rate(self, t: Transition) -> Array:
        """sum of squared changes of the action"""
        return rewards.sum_squares(t.action - t.state.action)

    def next_state(self, t: Transition, rng: RandomStreams) -> SkillState:
        return replace(self.next_randomization(t.state, t.action, rng), action=t.action, held=self.time_held(t))

    def mirror(self) -> Mirror | None:
        if not self.ROBOT.symmetric:
            return None
        joints = self.ROBOT.mirrored_joints
        blocks = {
            "angular_velocity": AXIAL,
            "gravity": POLAR,
            "joint_position": joints,
            "joint_velocity": joints,
            "last_action": joints,
        }
        return Mirror(
            qpos=Flip.joined(POLAR, Flip.signs(1, -1, 1, -1), joints),
            qvel=Flip.joined(POLAR, AXIAL, joints),
            action=joints,
            blocks=blocks,
            state=lambda state: replace(self.mirrored_randomization(state, blocks), action=joints(state.action)),
        )

    def feet(self, physics: PhysicsState) -> Array:
        """Where the feet are, (N, feet, 3) m."""
        return xp.reshape(physics.sensor["position"], (-1, len(self.ROBOT.feet), 3))

    def is_still(self, physics: PhysicsState) -> Array:
        """Whether the trunk moves at no more than `still_speed`, (N,) bool."""
        return rewards.sum_squares(physics.sensor["linear_velocity"]) <= self.still_speed**2

    def trunk_contact(self, physics: PhysicsState) -> Array:
        """Whether the trunk touches the ground, (N,) bool."""
        return physics.sensor[TRUNK_CONTACT][:, 0] > 0


@dataclass(frozen=True, kw_only=True)
class Go1Getup(SkillTask):
    """A Unitree Go1 gets up, however it has fallen, and stands.

    The robot is that of Go1, and no part of it collides with another. It begins in the air, turned at random and with
    random joint angles, and drops. Each action in [-1, 1] shifts the target angle of a position servo by `action_scale`
    radians from the standing pose. Episodes last 300 steps of 20 ms; a fall does not end them. In the formulas
    "upright" is (1 - g)^2 / 4, where g is the vertical component of gravity in the trunk's axes: 1 when the trunk is
    level, 0 when it is upside down.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-2 | angular_velocity | angular velocity of the trunk, in its axes | rad/s |
    | 3-5 | gravity | direction of gravity in the trunk's axes, (0, 0, -1) when level | 1 |
    | 6-17 | joint_position | joint angles from the standing pose | rad |
    | 18-29 | joint_velocity | joint velocities | rad/s |
    | 30-41 | last_action | the last action | 1 |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Success:

    For the last `hold_time` the robot has stood: all feet on the ground and the trunk off it, tilted by at most
    `level_tilt`, no joint more than `pose_tolerance` from the standing pose, no faster than `still_speed`.

    Attributes:
        hold_time: How long the robot has to stand, s.
        still_speed: Speed of the trunk up to which the robot stands, m/s.
        level_tilt: Tilt up to which the trunk is level, rad.
        pose_tolerance: Angle within which a joint is where it is when standing, rad.
        pose_variance: Width of the term of the pose, rad^2.
    """

    ROBOT: ClassVar = GO1
    level_tilt: Positive = 0.25
    pose_tolerance: Positive = 0.35
    pose_variance: Positive = 2.0

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, SkillState]:
        n = len(rng)
        low, high = self.reference_model().jnt_range[1:].T
        joints = rng.uniform(low, high, len(self.ROBOT.joints))
        trunk = xp.concat(
            [xp.zeros((n, 2), joints), xp.full((n, 1), DROP_HEIGHT, joints), rotations.uniform(rng)], axis=1
        )
        return xp.concat([trunk, joints], axis=1), xp.zeros((n, 6 + joints.shape[1]), joints), self.start_state(rng)

    def is_valid_start(self, physics: PhysicsState) -> Array:
        return xp.all(self.feet(physics)[:, :, 2] > xp.like(self.ROBOT.foot_height, physics.qpos), axis=1)

    @reward_term(1.0)
    def reward_upright(self, t: Transition) -> Array:
        """upright"""
        return self._upright(t.next_physics)

    @reward_term(1.0)
    def reward_height(self, t: Transition) -> Array:
        """upright x height of the trunk as a share of that of a standing robot, 0 to 1"""
        share = xp.clip(t.next_physics.qpos[:, HEIGHT] / self.ROBOT.standing_height, 0.0, 1.0)
        return self._upright(t.next_physics) * share

    @reward_term(1.0)
    def reward_pose(self, t: Transition) -> Array:
        """upright x exp(-sum of squared joint angles from the standing pose / `pose_variance`)"""
        off = rewards.sum_squares(self.joint_displacement(t.next_physics))
        return self._upright(t.next_physics) * xp.exp(-off / self.pose_variance)

    @reward_term(1.0)
    def reward_standing(self, t: Transition) -> Array:
        """1 in a step at whose end the robot stands"""
        return indicator(self.holds(t))

    def terminated(self, t: Transition) -> dict[str, Array]:
        return {}

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"height": t.next_physics.qpos[:, HEIGHT], "standing": indicator(self.holds(t))}

    def holds(self, t: Transition) -> Array:
        physics = t.next_physics
        level = physics.sensor["gravity_direction"][:, 2] <= -float(np.cos(self.level_tilt))
        on_feet = xp.all(self.in_contact(physics), axis=1) & ~self.trunk_contact(physics)
        posed = xp.all(abs(self.joint_displacement(physics)) <= self.pose_tolerance, axis=1)
        return level & on_feet & posed & self.is_still(physics)

    def _upright(self, physics: PhysicsState) -> Array:
        return xp.square(1 - physics.sensor["gravity_direction"][:, 2]) / 4


@dataclass(frozen=True, kw_only=True)
class Go1Handstand(SkillTask):
    """A Unitree Go1 stands on its front feet, nose down.

    The robot is that of Go1, and no part of it collides with another. Episodes start near the standing pose with a
    random heading and last 500 steps of 20 ms. Each action in [-1, 1] shifts the target angle of a position servo by
    `action_scale` radians from the standing pose. In the formulas "nose down" is (1 + g)^2 / 4, where g is the
    component of gravity along the trunk: 1 when the nose points down, a quarter when the trunk is level.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-2 | angular_velocity | angular velocity of the trunk, in its axes | rad/s |
    | 3-5 | gravity | direction of gravity in the trunk's axes, (0, 0, -1) when level | 1 |
    | 6-17 | joint_position | joint angles from the standing pose | rad |
    | 18-29 | joint_velocity | joint velocities | rad/s |
    | 30-41 | last_action | the last action | 1 |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | trunk_contact | the trunk touches the ground |
    | diverged | the physics diverged |

    Success:

    For the last `hold_time` the robot has stood on its hands: both front feet on the ground and the hind feet off it,
    the nose at most `nose_tilt` from straight down, the trunk no faster than `still_speed`.

    Attributes:
        hold_time: How long the robot has to stand on its hands, s.
        still_speed: Speed of the trunk up to which the robot stands, m/s.
        nose_tilt: Angle from straight down within which the nose points down, rad.
        hind_height: Height of the hind feet that is rewarded in full, m.
    """

    ROBOT: ClassVar = GO1
    still_speed: Positive = 0.3
    nose_tilt: Positive = 0.35
    hind_height: Positive = 0.6

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, SkillState]:
        n, n_joints = len(rng), len(self.ROBOT.joints)
        unit = rng.uniform(-1.0, 1.0, n_joints + 1)
        height = xp.full((n, 1), self.ROBOT.standing_height, unit)
        trunk = xp.concat([xp.zeros((n, 2), unit), height, rotations.from_yaw(np.pi * unit[:, -1])], axis=1)
        joints = xp.like(self.ROBOT.default_joints, unit) + 0.1 * unit[:, :-1]
        qpos = xp.concat([trunk, joints], axis=1)
        return qpos, xp.zeros((n, 6 + n_joints), unit), self.start_state(rng)

    @reward_term(1.0)
    def reward_nose_down(self, t: Transition) -> Array:
        """nose down"""
        return self._nose_down(t.next_physics)

    @reward_term(0.5)
    def reward_hind_feet(self, t: Transition) -> Array:
        """mean height of the hind feet as a share of `hind_height`, 0 to 1 each"""
        return xp.mean(xp.clip(self.feet(t.next_physics)[:, 2:, 2] / self.hind_height, 0.0, 1.0), axis=1)

    @reward_term(1.0)
    def reward_handstand(self, t: Transition) -> Array:
        """1 in a step at whose end the robot stands on its hands"""
        return indicator(self.holds(t))

    @reward_term(-0.2)
    def reward_speed(self, t: Transition) -> Array:
        """(speed of the trunk)^2"""
        return rewards.sum_squares(t.next_physics.sensor["linear_velocity"])

    @reward_term(-10.0)
    def reward_termination(self, t: Transition) -> Array:
        """1 in a step that terminates"""
        return indicator(t.terminated)

    def terminated(self, t: Transition) -> dict[str, Array]:
        return {"trunk_contact": self.trunk_contact(t.next_physics)}

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"nose_down": self._nose_down(t.next_physics), "handstand": indicator(self.holds(t))}

    def holds(self, t: Transition) -> Array:
        physics = t.next_physics
        down = physics.sensor["gravity_direction"][:, 0] >= float(np.cos(self.nose_tilt))
        contact = self.in_contact(physics)
        return down & xp.all(contact[:, :2], axis=1) & ~xp.any(contact[:, 2:], axis=1) & self.is_still(physics)

    def _nose_down(self, physics: PhysicsState) -> Array:
        return xp.square(1 + physics.sensor["gravity_direction"][:, 0]) / 4
