"""LQR: bring a chain of masses on springs to rest, the problem of the linear-quadratic regulator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.fields import Bound, PositiveRange
from motrix_gym.model_files import load_spec
from motrix_gym.physics.base import Override
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import sum_squares
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import SuiteTask

MOST_MASSES = 20
FIRST, SPACING = [0.25, 0.0, 0.1], [0.25, 0.0, 0.0]  # m
STRONGEST = 10.0  # N
START_NORM = math.sqrt(2)  # m
AT_REST = 1e-6  # norm of positions and velocities, m and m/s, that ends an episode


@dataclass(frozen=True)
class LQRState(TaskState):
    """What an LQR remembers.

    Attributes:
        stiffness: Of the spring of each mass, (N, masses) N/m.
    """

    stiffness: Array


@dataclass(frozen=True, kw_only=True)
class LQR(SuiteTask):
    """Bring a chain of masses on springs to rest with little effort.

    dm_control's ``lqr lqr_2_1``: each mass, of 4.2 kg, slides on the one before it, and a spring
    pulls it to the middle of that; an action of 1 pushes one of the first `motors` masses with 1 N. Nothing damps
    them. An episode begins at rest at positions that are uniform on the sphere of radius sqrt(2) m, and has 1000 steps
    of 30 ms.

    dm_control draws the stiffnesses once for each environment; here they are drawn for each episode. It has no limit of
    actions and of time; the 10 N here are more than the best policy, which is linear, asks for from any beginning.

    The position of a mass is from the one before it.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-1 | position | position of each mass | m |
    | 2-3 | velocity | its velocity | m/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | at_rest | norm of positions and velocities < 1e-6 |
    | diverged | the physics diverged |

    Attributes:
        masses: How many masses there are.
        motors: How many of them are pushed.
        stiffness_range: Lowest and highest stiffness of a spring, N/m.
    """

    MODEL: ClassVar = "lqr.xml"
    control_dt: float = 0.03
    masses: Annotated[int, Bound(low=1, high=MOST_MASSES)] = 2
    motors: Annotated[int, Bound(low=1, high=MOST_MASSES)] = 1
    stiffness_range: PositiveRange = (15.0, 25.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.motors > self.masses:
            raise ValueError(f"motors is {self.motors}; it takes at most one for each of the {self.masses} masses")

    def spec(self) -> mujoco.MjSpec:
        """The model before it is compiled."""
        spec = load_spec(self.MODEL)
        body = spec.worldbody
        for i in range(self.masses):
            body = body.add_body(name=f"mass{i}", pos=SPACING if i else FIRST)
            body.add_joint(name=f"mass{i}", stiffness=np.mean(self.stiffness_range))
            body.add_geom(name=f"mass{i}", material="pushed" if i < self.motors else "mass")
            body.add_site(name=f"mass{i}")
            if i > 0:
                spring = spec.add_tendon(name=f"spring{i}")
                spring.wrap_site(f"mass{i - 1}")
                spring.wrap_site(f"mass{i}")
        for i in range(self.motors):
            motor = spec.add_actuator(name=f"mass{i}", target=f"mass{i}", trntype=mujoco.mjtTrn.mjTRN_JOINT)
            motor.ctrlrange = [-STRONGEST, STRONGEST]
        return spec

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, LQRState]:
        direction = rng.normal(self.masses)
        qpos = START_NORM * direction / xp.vector_norm(direction, axis=1, keepdims=True)
        return qpos, xp.zeros_like(qpos), LQRState(rng.uniform(*self.stiffness_range, self.masses))

    def model_overrides(self, state: LQRState) -> dict[str, Override]:
        return {"jnt_stiffness": Override(state.stiffness)}

    def observe(self, physics: PhysicsState, state: LQRState) -> dict[str, Array]:
        return {"position": physics.qpos, "velocity": physics.qvel}

    @reward_term(1.0)
    def reward_in_the_middle(self, t: Transition) -> Array:
        """1 - sum of squared positions / 2"""
        return 1 - sum_squares(t.next_physics.qpos) / 2

    @reward_term(-0.05)
    def reward_effort(self, t: Transition) -> Array:
        """sum of squared actions"""
        return sum_squares(t.action)

    def terminated(self, t: Transition) -> dict[str, Array]:
        return {"at_rest": state_norm(t.next_physics) < AT_REST}

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"state_norm": state_norm(t.next_physics)}


@dataclass(frozen=True, kw_only=True)
class LQR6(LQR):
    """Bring six masses on springs to rest, two of which are pushed.

    dm_control's ``lqr lqr_6_2``: all else is as for two masses.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-5 | position | position of each mass | m |
    | 6-11 | velocity | its velocity | m/s |
    """

    masses: int = 6
    motors: int = 2


def state_norm(physics: PhysicsState) -> Array:
    """The norm of positions and velocities, m and m/s, (N,)."""
    return xp.vector_norm(xp.concat([physics.qpos, physics.qvel], axis=1), axis=1)
