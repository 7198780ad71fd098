"""PointMass: push a point to the middle of a plane and hold it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from motrix_gym import arrays as xp
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import TargetTask, random_joints


@dataclass(frozen=True, kw_only=True)
class PointMass(TargetTask):
    """Push a point to the middle of a plane and hold it there with little effort.

    dm_control's ``point_mass easy``: 0.3 kg slide on a square of 0.29 m to each side of its middle; each action, in
    [-1, 1], pushes along one axis with 0.1 N a unit. dm_control carries that force over tendons, which its ``hard``
    task turns; they change nothing here and are left out. An episode begins at rest anywhere and has 1000 steps of
    20 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-1 | position | x and y of the point | m |
    | 2-3 | velocity | its velocity | m/s |

    Reward:

    with near 1 within `target_radius` of the middle, falling to 0.1 at twice that distance like a Gaussian, and
    effortless the mean of 1 - action^2.

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        target_radius: Radius of the target, m.
    """

    MODEL: ClassVar = "point_mass.xml"
    control_dt: float = 0.02
    target_radius: float = 0.015

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        qpos = random_joints(self.MODEL, rng)
        return qpos, xp.zeros_like(qpos), TaskState()

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        return {"position": physics.qpos, "velocity": physics.qvel}

    @reward_term(1.0)
    def reward_at_target(self, t: Transition) -> Array:
        """near (4 + effortless) / 5"""
        near = tolerance(distance(t.next_physics), bounds=(0.0, self.target_radius), margin=self.target_radius)
        effortless = xp.mean(tolerance(t.action, margin=1.0, sigmoid="quadratic", value_at_margin=0.0), axis=1)
        return near * (4 + effortless) / 5

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"distance": distance(t.next_physics)}


def distance(physics: PhysicsState) -> Array:
    """From the point to the middle, (N,) m."""
    return xp.vector_norm(physics.qpos, axis=1)
