"""Goal: a legged robot walks to a pose on flat ground and stands still there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from motrix_gym import arrays as xp
from motrix_gym import rewards, rotations
from motrix_gym.fields import Ascending, Bound, NonNegative, Positive
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import indicator
from motrix_gym.state import Array, PhysicsState, Transition
from motrix_gym.symmetry import Flip, Mirror
from motrix_gym.tasks.holding import Holding
from motrix_gym.tasks.locomotion.velocity import AnymalC, VelocityState

POSITION, QUATERNION = slice(0, 2), slice(3, 7)  # of the trunk on the ground, and as it is turned, in qpos
SIGHT = 5.0  # m ahead, back, left and right in which a goal is shown where it is
MARKED_AHEAD = 0.5  # m from the goal to the mark of its heading


@dataclass(frozen=True)
class NavigationState(VelocityState):
    """What the task remembers beside what the velocity task does.

    Attributes:
        goal: Where to go, (N, 2) m in the world.
        goal_heading: Which way to face there, (N,) rad in the world.
        arrived: Whether the robot has been told to stand, (N,) bool.
        held: For how long it has stood at the goal without a break, (N,) s.
    """

    goal: Array
    goal_heading: Array
    arrived: Array
    held: Array


@dataclass(frozen=True, kw_only=True)
class AnymalCNavigation(AnymalC, Holding):
    """An ANYbotics ANYmal C walks to a goal, turns as it is told to, and stands still.

    The robot, its actions and its gait are those of the velocity task. The goal is a place, in any direction and up to
    5 m away, and a heading; both stay for the episode. Some goals are where the robot already is. Each step makes of
    what is left to the goal the velocity command to follow: `approach_rate` times the way to the goal as the robot sees
    it, and times the angle to turn by. Where these are not within `command_low` and `command_high`, the velocity is
    shortened in its direction, and the yaw rate is clipped. The command to follow is zero once place and heading are
    within half of their tolerances, until one is outside the whole. From zero at the beginning, what is commanded nears
    it by at most `command_acceleration`, so that the robot need not jump off. Episodes start near the standing pose
    with a random heading and last 1000 steps of 20 ms; nothing observed or rewarded depends on where in the world they
    take place.

    A clock of `gait_frequency` asks for a gait, with four legs a trot, whenever there is a command to follow or speed
    to lose. In the formulas "moving" is 1 then, and 0 for a robot below `still_speed` that is told to stand; "lift" is
    max(0, sin(2 pi (phase + offset))) x moving. In a trot the offset is 0 for the first leg and the one diagonal to it,
    and 1/2 for the others. A foot is asked to stand where its lift is zero. "Closeness of x within m" is
    1 / (1 + (x / m)^2): 1 at x = 0, and half of that at x = m.

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
    | 50-51 | goal | how far the goal is ahead and to the left; beyond 5 m the direction only | m |
    | 52-53 | goal_heading | sine and cosine of the angle to turn by, leftward | 1 |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | tilted | the trunk is tilted by more than `max_tilt` |
    | trunk_contact | the trunk touches the ground |
    | diverged | the physics diverged |

    Success:

    For the last `hold_time` the robot has stood at its goal: place and heading within `position_tolerance` and
    `heading_tolerance`, planar speed and yaw rate at most `standing_speed` and `standing_yaw_rate`.

    Attributes:
        hold_time: How long the robot has to stand at the goal, s.
        command_low: Lowest forward and leftward velocity and yaw rate commanded, m/s, m/s, rad/s; below 0.
        command_high: Highest ones; above 0.
        still_probability: Share of the goals that are where the robot begins.
        goal_distance: Shortest and longest way to a goal, m.
        command_acceleration: How fast the command changes at most, m/s^2 and rad/s^2.
        approach_rate: Share of what is left to the goal that is commanded as the way of a second, 1/s.
        position_tolerance: Distance from the goal within which the robot is there, m.
        heading_tolerance: Angle to its heading within which the robot faces it, rad.
        standing_speed: Planar speed up to which the robot stands, m/s.
        standing_yaw_rate: Yaw rate up to which the robot stands, rad/s.
        position_margin: Distance at which `goal_position` is a half, m.
        heading_margin: Angle at which `goal_heading` is a half at the goal, rad.
    """

    # Taken out of the fields: a goal stays for the episode.
    command_interval: ClassVar  # pyright: ignore[reportIncompatibleVariableOverride]

    goal_distance: Annotated[tuple[NonNegative, NonNegative], Ascending()] = (0.0, 5.0)
    command_acceleration: Positive = 2.0
    approach_rate: Positive = 1.5
    position_tolerance: Annotated[float, Bound(low=0, high=SIGHT, above=True)] = 0.3
    heading_tolerance: Positive = 0.26
    standing_speed: Positive = 0.1
    standing_yaw_rate: Positive = 0.2
    hold_time: Positive = 1.0
    position_margin: Positive = 0.5
    heading_margin: Positive = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (max(self.command_low) < 0 < min(self.command_high)):
            raise ValueError(
                f"command_low {self.command_low} and command_high {self.command_high} do not let the robot go every "
                "way; give only numbers below 0, and only numbers above 0"
            )

    @property
    def target_markers(self) -> dict[str, float]:
        return {"goal": self.position_tolerance, "goal_ahead": self.position_tolerance / 3}

    def reset_on_level(self, level: Array, rng: RandomStreams) -> tuple[Array, Array, NavigationState]:
        qpos, qvel, state = super().reset_on_level(level, rng)
        shortest, longest = self.goal_distance
        drawn = rng.uniform([shortest, 0, 0, 0], [longest, 1, 1, 1], 4)
        distance, bearing, heading, chance = (drawn[:, i] for i in range(4))
        still = chance < self.still_probability
        way = xp.where(still, 0.0, distance)[:, None] * direction(2 * np.pi * bearing)
        navigation = NavigationState(
            **vars(state),
            goal=qpos[:, POSITION] + way,
            goal_heading=xp.where(still, rotations.yaw(qpos[:, QUATERNION]), 2 * np.pi * heading),
            arrived=xp.zeros_like(still),
            held=xp.zeros_like(distance),
        )
        return qpos, qvel, self._commanded(navigation, qpos)

    def observe(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        turn = angle_left(physics.qpos, state)
        return super().observe(physics, state) | {
            "goal": shortened(way_left(physics.qpos, state), -SIGHT, SIGHT),
            "goal_heading": xp.stack([xp.sin(turn), xp.cos(turn)], axis=1),
        }

    @reward_term(0.5)
    def reward_goal_position(self, t: Transition) -> Array:
        """closeness of the distance to the goal within `position_margin`"""
        return rewards.closeness(distance_left(t.next_physics.qpos, t.state), self.position_margin)

    @reward_term(0.5)
    def reward_goal_heading(self, t: Transition) -> Array:
        """goal_position x closeness of the angle to turn by within `heading_margin`"""
        facing = rewards.closeness(angle_left(t.next_physics.qpos, t.state), self.heading_margin)
        return self.reward_goal_position(t) * facing

    @reward_term(0.5)
    def reward_standing(self, t: Transition) -> Array:
        """goal_heading x closeness of speed and of yaw rate within `standing_speed`, `standing_yaw_rate`"""
        slow = rewards.closeness(speed(t.next_physics), self.standing_speed)
        slow = slow * rewards.closeness(yaw_rate(t.next_physics), self.standing_yaw_rate)
        return self.reward_goal_heading(t) * slow

    def next_state(self, t: Transition, rng: RandomStreams) -> NavigationState:
        state: Any = super().next_state(t, rng)
        return self._commanded(replace(state, held=self.time_held(t)), t.next_physics.qpos)

    def metrics(self, t: Transition) -> dict[str, Array]:
        return super().metrics(t) | {
            "goal_distance": distance_left(t.next_physics.qpos, t.state),
            "heading_error": abs(angle_left(t.next_physics.qpos, t.state)),
        }

    def holds(self, t: Transition) -> Array:
        stands = (speed(t.next_physics) <= self.standing_speed) & (
            abs(yaw_rate(t.next_physics)) <= self.standing_yaw_rate
        )
        return stands & self._there(t.next_physics.qpos, t.state, 1.0)

    def markers(self, state: NavigationState) -> dict[str, Array]:
        ahead = state.goal + MARKED_AHEAD * direction(state.goal_heading)
        places = {"goal": state.goal, "goal_ahead": ahead}
        return {n: xp.concat([xy, self.ground.height(xy)[:, None]], axis=1) for n, xy in places.items()}

    def mirror(self) -> Mirror:
        velocity = super().mirror()
        assert velocity is not None, "an ANYmal C is symmetric"
        across = Flip.signs(1, -1)
        return replace(
            velocity,
            blocks={**velocity.blocks, "goal": across, "goal_heading": Flip.signs(-1, 1)},
            state=lambda state: replace(
                velocity.state(state), goal=across(state.goal), goal_heading=-state.goal_heading
            ),
        )

    def with_new_command(self, state: VelocityState, rng: RandomStreams) -> VelocityState:
        return state

    def _commanded(self, state: NavigationState, qpos: Array) -> NavigationState:
        """The task state with the next command on the way to the goal from `qpos`, (N, nq)."""
        arrived = self._there(qpos, state, 0.5) | (state.arrived & self._there(qpos, state, 1.0))
        low, high = xp.like(self.command_low, qpos), xp.like(self.command_high, qpos)
        velocity = shortened(self.approach_rate * way_left(qpos, state), low[:2], high[:2])
        turning = xp.clip(self.approach_rate * angle_left(qpos, state), low[2], high[2])
        wanted = xp.concat([velocity, turning[:, None]], axis=1) * indicator(~arrived)[:, None]
        change, step = wanted - state.command, self.command_acceleration * self.control_dt
        share = step / xp.maximum(xp.vector_norm(change[:, :2], axis=1, keepdims=True), step)
        change = xp.concat([share * change[:, :2], xp.clip(change[:, 2:], -step, step)], axis=1)
        return replace(state, arrived=arrived, command=state.command + change)

    def _there(self, qpos: Array, state: NavigationState, share: float) -> Array:
        """Whether place and heading are within a share of their tolerances, (N,) bool."""
        near = distance_left(qpos, state) <= share * self.position_tolerance
        return near & (abs(angle_left(qpos, state)) <= share * self.heading_tolerance)


def way_left(qpos: Array, state: NavigationState) -> Array:
    """How far the goal is ahead of the robot and to its left, (N, 2) m, whatever its tilt."""
    ahead = direction(rotations.yaw(qpos[:, QUATERNION]))
    leftward = xp.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    way = state.goal - qpos[:, POSITION]
    return xp.stack([xp.sum(way * ahead, axis=1), xp.sum(way * leftward, axis=1)], axis=1)


def distance_left(qpos: Array, state: NavigationState) -> Array:
    """From the robot to its goal on the ground, (N,) m."""
    return xp.vector_norm(state.goal - qpos[:, POSITION], axis=1)


def angle_left(qpos: Array, state: NavigationState) -> Array:
    """By how much to turn left to face as at the goal, (N,) rad in [-pi, pi]."""
    return rotations.wrapped(state.goal_heading - rotations.yaw(qpos[:, QUATERNION]))


def direction(angle: Array) -> Array:
    """Unit vectors on the ground at `angle` from x, (N,) rad to (N, 2)."""
    return xp.stack([xp.cos(angle), xp.sin(angle)], axis=1)


def shortened(vector: Array, low: npt.ArrayLike, high: npt.ArrayLike) -> Array:
    """`vector`, (N, k), so short that each element is from `low` < 0 to `high` > 0, in the same direction."""
    excess = xp.max(xp.maximum(vector / low, vector / high), axis=1, keepdims=True)
    return vector / xp.maximum(excess, 1.0)


def speed(physics: PhysicsState) -> Array:
    """Planar speed of the trunk in its axes, (N,) m/s."""
    return xp.vector_norm(physics.sensor["linear_velocity"][:, :2], axis=1)


def yaw_rate(physics: PhysicsState) -> Array:
    """Leftward yaw rate of the trunk about its axis, (N,) rad/s."""
    return physics.sensor["angular_velocity"][:, 2]
