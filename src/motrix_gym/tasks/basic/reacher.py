"""Reacher: bring the finger of a two-link arm to a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import TargetTask, random_joints

FINGER_RADIUS = 0.01  # m
TARGET_DISTANCE = (0.05, 0.20)  # m from the shoulder


@dataclass(frozen=True)
class ReacherState(TaskState):
    """What a Reacher remembers.

    Attributes:
        target: Where the finger is to go, (N, 2) m from the shoulder.
    """

    target: Array


@dataclass(frozen=True, kw_only=True)
class Reacher(TargetTask):
    """Bring the finger of a two-link arm to a target and keep it there.

    dm_control's ``reacher``, ``easy`` or ``hard``: two links of 0.12 m lie on a table; each action, in [-1, 1], turns
    a joint with 0.05 N m a unit. The target is 0.05 to 0.20 m from the shoulder, in any direction. An episode begins
    at rest in any pose and has 1000 steps of 20 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-1 | position | angles of shoulder and wrist | rad |
    | 2-3 | to_target | vector from the finger to the target | m |
    | 4-5 | velocity | rates of shoulder and wrist | rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        target_radius: Radius of the target, m.
    """

    MODEL: ClassVar = "reacher.xml"
    control_dt: float = 0.02
    target_radius: float = 0.05

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, ReacherState]:
        qpos = random_joints(self.MODEL, rng)
        drawn = rng.uniform([TARGET_DISTANCE[0], 0.0], [TARGET_DISTANCE[1], 2 * np.pi], 2)
        distance, angle = drawn[:, 0], drawn[:, 1]
        target = xp.stack([distance * xp.sin(angle), distance * xp.cos(angle)], axis=1)
        return qpos, xp.zeros_like(qpos), ReacherState(target)

    def observe(self, physics: PhysicsState, state: ReacherState) -> dict[str, Array]:
        return {"position": physics.qpos, "to_target": to_target(physics, state), "velocity": physics.qvel}

    @reward_term(1.0)
    def reward_at_target(self, t: Transition) -> Array:
        """1 where the finger, of 0.01 m, touches the target, of `target_radius`, else 0"""
        touching = (0.0, self.target_radius + FINGER_RADIUS)
        return tolerance(distance_to_target(t.next_physics, t.state), bounds=touching)

    def markers(self, state: ReacherState) -> dict[str, Array]:
        return {"target": xp.pad(state.target, 0, 1)}

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"distance": distance_to_target(t.next_physics, t.state)}


def to_target(physics: PhysicsState, state: ReacherState) -> Array:
    """The vector from the finger to the target, (N, 2) m."""
    return state.target - physics.sensor["finger"][:, :2]


def distance_to_target(physics: PhysicsState, state: ReacherState) -> Array:
    """From the centre of the finger to that of the target, (N,) m."""
    return xp.vector_norm(to_target(physics, state), axis=1)
