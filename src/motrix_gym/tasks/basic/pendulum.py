"""Pendulum: swing a pole up with a motor too weak to lift it, and keep it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.fields import Bound, NonNegative
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import SuiteTask

IN_PLANE = [2, 0]  # z and x of an axis


@dataclass(frozen=True, kw_only=True)
class Pendulum(SuiteTask):
    """Swing a pole up with a motor too weak to lift it, and keep it there.

    dm_control's ``pendulum swingup``: 1 kg at the end of 0.5 m, on a hinge with 1 N m a unit of the action, in
    [-1, 1], against up to 4.9 N m of gravity. An episode begins at rest at any angle and has 1000 steps of 20 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-1 | orientation | cosine and sine of the angle from upright | 1 |
    | 2 | velocity | rate of the hinge | rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        upright_angle: Angle from upright that still counts as upright, rad.
        height_margin: How far below, in lengths of the pole, the reward has fallen to 0, linearly; 0 for at once, as in
            dm_control.
    """

    MODEL: ClassVar = "pendulum.xml"
    control_dt: float = 0.02
    upright_angle: Annotated[float, Bound(low=0, high=np.pi, above=True)] = np.deg2rad(8).item()
    height_margin: NonNegative = 0.0

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        qpos = rng.uniform(-np.pi, np.pi)
        return qpos, xp.zeros_like(qpos), TaskState()

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        return {"orientation": xp.columns(physics.sensor["pole_axis"], IN_PLANE), "velocity": physics.qvel}

    @reward_term(1.0)
    def reward_upright(self, t: Transition) -> Array:
        """1 within `upright_angle` of upright, falling to 0 over a `height_margin` below"""
        height = t.next_physics.sensor["pole_axis"][:, 2]
        upright = (float(np.cos(self.upright_angle)), 1.0)
        return tolerance(height, upright, self.height_margin, sigmoid="linear", value_at_margin=0.0)
