"""Acrobot: swing a double pendulum up with a motor at its elbow alone."""

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
from motrix_gym.tasks.basic.suite import TargetTask


@dataclass(frozen=True, kw_only=True)
class Acrobot(TargetTask):
    """Swing a double pendulum up with a motor at its elbow alone, and balance it.

    dm_control's ``acrobot swingup``: two links of 1 m and 1 kg hang from a shoulder without a motor; the action, in
    [-1, 1], turns the elbow with 2 N m a unit. The tip is to come within `target_radius` of the highest point
    that it can reach. An episode begins at rest at any angles and has 1000 steps of 10 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-3 | orientations | sines, then cosines, of the upper and the lower link's angle from upright | 1 |
    | 4-5 | velocity | rates of shoulder and elbow | rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        target_radius: Radius of the target, m.
        target_margin: How far from the target the reward is 0.1, m; the tip hangs 4 m below it.
    """

    MODEL: ClassVar = "acrobot.xml"
    control_dt: float = 0.01
    target_radius: Positive = 0.2
    target_margin: Positive = 1.0

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        qpos = rng.uniform(-np.pi, np.pi, 2)
        return qpos, xp.zeros_like(qpos), TaskState()

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        links = xp.stack([physics.sensor["upper_axis"], physics.sensor["lower_axis"]], axis=2)  # (N, xyz, link)
        return {"orientations": xp.concat([links[:, 0, :], links[:, 2, :]], axis=1), "velocity": physics.qvel}

    @reward_term(1.0)
    def reward_tip_high(self, t: Transition) -> Array:
        """1 within `target_radius` of the highest point, a Gaussian with 0.1 at a `target_margin`"""
        return tolerance(distance(t.next_physics), bounds=(0.0, self.target_radius), margin=self.target_margin)

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"distance": distance(t.next_physics)}


def distance(physics: PhysicsState) -> Array:
    """From the tip to the highest point that it can reach, (N,) m."""
    return xp.vector_norm(physics.sensor["tip_from_target"], axis=1)
