"""Bounce ball: an arm keeps a ball bouncing on a paddle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import mujoco
import numpy as np
from gymnasium import spaces

from motrix_gym import arrays as xp
from motrix_gym.contact_pairs import load_for_simulation
from motrix_gym.fields import Bound, Positive, Range
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import indicator, sum_squares, tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.task import Task

MODEL = "bounce_ball.xml"
ARM = slice(0, 6)  # in qpos and qvel
HOME = np.deg2rad([0.0, 40.0, 110.0, 0.0, -60.0, 0.0])  # joint angles that hold the paddle level
UPRIGHT = (1.0, 0.0, 0.0, 0.0)  # no rotation
PADDLE = np.array([0.593561, 0.0, 0.279797])  # m, where the paddle's centre is then
GRAVITY = 9.81  # m/s^2
BALL_ON_PADDLE = 0.0225  # m from the paddle's centre to that of a ball that lies on it


@dataclass(frozen=True)
class BounceBallState(TaskState):
    """What BounceBall remembers.

    Attributes:
        joint_target: Angles that the servos are told, (N, 6) rad.
        apex: How high the ball is to rise over the paddle at home, (N, 1) m.
        bounces: How often the ball has bounced, (N,).
        low_time: For how long the ball has been below the height that makes a bounce, (N,) s.
    """

    joint_target: Array
    apex: Array
    bounces: Array
    low_time: Array


@dataclass(frozen=True, kw_only=True)
class BounceBall(Task):
    """Keep a table-tennis ball bouncing on a paddle, up to the same height each time.

    An arm with six joints holds the paddle level, 0.28 m over the floor; the ball comes off it with 0.85 of its speed
    and without friction. Each action, in [-1, 1], moves the target of a joint's servo by up to `joint_speed`, within
    `joint_reach` of home; the servo follows with a lag of 50 ms. An episode begins with the ball above the paddle,
    nearly at rest, and has 1000 steps of 20 ms.

    Heights are over the middle of the paddle at home, distances from it in the plane. The ball bounces when it rises
    past `bounce_height`: it was lower, and only the paddle can send it up again. The apex is where it rises to, or
    came from: its height plus (vertical velocity)^2 / (2 x 9.81 m/s^2). It lands where it will next be as high as a
    ball that lies on the paddle.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-5 | joint_position | joint angles from home | rad |
    | 6-11 | joint_velocity | joint velocities | rad/s |
    | 12-17 | joint_target | targets of the servos from home | rad |
    | 18-20 | ball_position | of the ball from the middle of the paddle at home | m |
    | 21-23 | ball_velocity | of the ball | m/s |
    | 24-26 | paddle_to_ball | from the middle of the paddle to the ball | m |
    | 27-29 | paddle_normal | direction in which the paddle faces | 1 |
    | 30 | apex_command | how high the ball is to rise | m |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | lost | the ball is 0.1 m below the paddle at home, or more than `max_distance` from its middle |
    | at_rest | the ball has not risen past `bounce_height` for `rest_time` |
    | diverged | the physics diverged |

    Success:

    The ball has bounced `successful_bounces` times in the episode, which are in a row since a lost ball ends it.

    Attributes:
        joint_speed: Speed of a servo's target at a unit action, rad/s.
        joint_reach: How far a servo's target may be from home, rad.
        apex_range: Lowest and highest apex asked for, drawn for each episode, m.
        bounce_height: How high the ball must rise for it to be a bounce, m.
        rest_time: Longest time below that, s.
        max_distance: Distance from the middle at which the ball is lost, m.
        successful_bounces: Bounces that make an episode a success.
    """

    control_dt: float = 0.02
    joint_speed: Positive = 2.0
    joint_reach: Positive = 0.5
    apex_range: Range = (0.25, 0.55)
    bounce_height: Positive = 0.1
    rest_time: Positive = 0.5
    max_distance: Positive = 0.3
    successful_bounces: Annotated[int, Bound(low=0, above=True)] = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bounce_height < self.apex_range[0]:
            raise ValueError(
                f"apex_range is {self.apex_range} m; both are to be above the bounce_height {self.bounce_height} m"
            )

    def model(self) -> mujoco.MjModel:
        return load_for_simulation(MODEL)

    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (len(HOME),), np.float32)

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, BounceBallState]:
        n = len(rng)
        unit = rng.uniform(-1.0, 1.0, 11)
        joints = xp.like(HOME, unit) + 0.01 * unit[:, ARM]
        drop = 0.4 + 0.1 * unit[:, 6:7]
        ball = xp.like(PADDLE, unit) + xp.concat([0.02 * unit[:, 7:9], drop], axis=1)
        upright = xp.tile(xp.like(UPRIGHT, unit), (n, 1))
        qpos = xp.concat([joints, ball, upright], axis=1)
        qvel = xp.pad(0.05 * unit[:, 9:11], 6, 4)
        state = BounceBallState(
            joint_target=joints,
            apex=rng.uniform(*self.apex_range),
            bounces=xp.zeros((n,), unit),
            low_time=xp.zeros((n,), unit),
        )
        return qpos, qvel, state

    def control(self, physics: PhysicsState, state: BounceBallState, action: Array) -> Array:
        moved = state.joint_target + self.joint_speed * self.control_dt * action
        home = xp.like(HOME, moved)
        return xp.clip(moved, home - self.joint_reach, home + self.joint_reach)

    def observe(self, physics: PhysicsState, state: BounceBallState) -> dict[str, Array]:
        home = xp.like(HOME, physics.qpos)
        return {
            "joint_position": physics.qpos[:, ARM] - home,
            "joint_velocity": physics.qvel[:, ARM],
            "joint_target": state.joint_target - home,
            "ball_position": _ball(physics),
            "ball_velocity": physics.sensor["ball_velocity"],
            "paddle_to_ball": physics.sensor["ball_position"] - physics.sensor["paddle_position"],
            "paddle_normal": physics.sensor["paddle_normal"],
            "apex_command": state.apex,
        }

    @reward_term(1.0)
    def reward_apex(self, t: Transition) -> Array:
        """1 within 0.02 m of the apex asked for, falling to 0.1 at 0.15 m off"""
        return tolerance(self._apex_error(t), bounds=(0.0, 0.02), margin=0.15)

    @reward_term(0.5)
    def reward_centred(self, t: Transition) -> Array:
        """1 where the ball lands within 0.01 m of the middle, falling to 0.1 at 0.15 m off"""
        return tolerance(landing_distance(t.next_physics), bounds=(0.0, 0.01), margin=0.15)

    @reward_term(5.0)
    def reward_bounce(self, t: Transition) -> Array:
        """1 in a step in which the ball bounces"""
        return indicator(self._bounced(t))

    @reward_term(-0.5)
    def reward_posture(self, t: Transition) -> Array:
        """sum of squared joint angles from home"""
        return sum_squares(t.next_physics.qpos[:, ARM] - xp.like(HOME, t.next_physics.qpos))

    @reward_term(-0.01)
    def reward_effort(self, t: Transition) -> Array:
        """sum of squared actions"""
        return sum_squares(t.action)

    @reward_term(-10.0)
    def reward_termination(self, t: Transition) -> Array:
        """1 in a step that terminates"""
        return indicator(t.terminated)

    def terminated(self, t: Transition) -> dict[str, Array]:
        ball = _ball(t.next_physics)
        away = xp.vector_norm(ball[:, :2], axis=1) > self.max_distance
        return {
            "lost": away | (ball[:, 2] < -0.1),
            "at_rest": self._low_time(t) > self.rest_time,
        }

    def success(self, t: Transition) -> Array:
        return self._bounces(t) >= self.successful_bounces

    def next_state(self, t: Transition, rng: RandomStreams) -> BounceBallState:
        return replace(
            t.state,
            joint_target=t.ctrl,
            bounces=self._bounces(t),
            low_time=self._low_time(t),
        )

    def metrics(self, t: Transition) -> dict[str, Array]:
        distance = xp.vector_norm(_ball(t.next_physics)[:, :2], axis=1)
        return {"apex_error": self._apex_error(t), "distance": distance}

    def markers(self, state: BounceBallState) -> dict[str, Array]:
        return {"apex": xp.pad(state.apex, 2, 0)}

    def _apex_error(self, t: Transition) -> Array:  # (N,) m
        return abs(apex(t.next_physics) - t.state.apex[:, 0])

    def _bounced(self, t: Transition) -> Array:  # (N,) bool
        return (_ball(t.physics)[:, 2] < self.bounce_height) & (_ball(t.next_physics)[:, 2] >= self.bounce_height)

    def _bounces(self, t: Transition) -> Array:  # (N,) with the one of this step
        return t.state.bounces + indicator(self._bounced(t))

    def _low_time(self, t: Transition) -> Array:  # (N,) s with this step
        return xp.where(_ball(t.next_physics)[:, 2] < self.bounce_height, t.state.low_time + self.control_dt, 0.0)


def apex(physics: PhysicsState) -> Array:
    """How high the ball would rise, or came from, over the paddle at home, (N,) m."""
    return _ball(physics)[:, 2] + xp.square(physics.sensor["ball_velocity"][:, 2]) / (2 * GRAVITY)


def landing_distance(physics: PhysicsState) -> Array:
    """How far from the middle of the paddle at home the ball will land, (N,) m."""
    ball, velocity = _ball(physics), physics.sensor["ball_velocity"]
    fall = xp.maximum(ball[:, 2] - BALL_ON_PADDLE, 0.0)
    flight = (velocity[:, 2] + xp.sqrt(xp.square(velocity[:, 2]) + 2 * GRAVITY * fall)) / GRAVITY
    return xp.vector_norm(ball[:, :2] + velocity[:, :2] * xp.maximum(flight, 0.0)[:, None], axis=1)


def _ball(physics: PhysicsState) -> Array:
    """Where the ball is, (N, 3) m from the middle of the paddle at home."""
    ball = physics.sensor["ball_position"]
    return ball - xp.like(PADDLE, ball)
