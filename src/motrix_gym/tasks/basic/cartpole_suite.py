"""The CartPole of the Control Suite: a long, light pole to keep upright, or to swing up first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import SuiteTask

HANGING = (0.0, np.pi)  # m, rad
CART, HINGE = 0, 1


@dataclass(frozen=True, kw_only=True)
class CartPoleSuite(SuiteTask):
    """Keep the pole of a driven cart upright and the cart in the middle, smoothly.

    dm_control's cartpole, ``balance`` or ``swingup``: a cart of 1 kg on a rail of 1.8 m to each side carries a pole of
    0.1 kg and 1 m on a hinge that turns all the way round. The action, in [-1, 1], drives the cart with 10 N a unit.
    An episode begins with the pole up, or with `swing_up` hanging, and has 1000 steps of 10 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-2 | position | cart position, cosine and sine of the pole angle from upright | m, 1, 1 |
    | 3-4 | velocity | cart velocity, pole rate | m/s, rad/s |

    Reward:

    with upright (1 + cosine) / 2, centred 1 in the middle and 0.1 at 2 m, effortless 1 - action^2, and slow 1 at rest
    and 0.1 at 5 rad/s; both fall like a Gaussian.

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        swing_up: Whether an episode begins with the pole hanging, within about 0.01 rad; otherwise within 0.034 rad
            of upright.
    """

    MODEL: ClassVar = "cartpole_suite.xml"
    control_dt: float = 0.01
    swing_up: bool = False

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        if self.swing_up:
            near = 0.01 * rng.normal(2)
            qpos = xp.like(HANGING, near) + near
        else:
            qpos = rng.uniform([-0.1, -0.034], [0.1, 0.034], 2)
        return qpos, 0.01 * rng.normal(2), TaskState()

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        axis = physics.sensor["pole_axis"]
        return {"position": xp.stack([physics.qpos[:, CART], axis[:, 2], axis[:, 0]], axis=1), "velocity": physics.qvel}

    @reward_term(1.0)
    def reward_balance(self, t: Transition) -> Array:
        """upright (1 + centred) / 2 (4 + effortless) / 5 (1 + slow) / 2"""
        upright = (1 + t.next_physics.sensor["pole_axis"][:, 2]) / 2
        centred = tolerance(t.next_physics.qpos[:, CART], margin=2.0)
        effortless = tolerance(t.action[:, 0], margin=1.0, sigmoid="quadratic", value_at_margin=0.0)
        slow = tolerance(t.next_physics.qvel[:, HINGE], margin=5.0)
        return upright * (1 + centred) / 2 * (4 + effortless) / 5 * (1 + slow) / 2
