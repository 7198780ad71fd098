"""Finger: a finger of two links flicks a spinner, to keep it spinning or to turn it to a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.fields import NonNegative, Positive
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import indicator, tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import SuiteTask, TargetTask, random_joints

SPINNER = 2  # in qpos and qvel
SPINNER_RADIUS = 0.13  # m from the hub to the tip
IN_PLANE = [0, 2]  # x and z of a position


@dataclass(frozen=True)
class FingerState(TaskState):
    """What a finger that turns its spinner remembers.

    Attributes:
        target: Where the spinner's tip is to be, (N, 2) m in x and z from the hub.
    """

    target: Array


@dataclass(frozen=True, kw_only=True)
class Finger(SuiteTask):
    """What both tasks share; `FingerSpin` and `FingerTurn` describe the fields and have the tables."""

    MODEL: ClassVar = "finger.xml"
    control_dt: float = 0.02
    spinner_damping: Positive

    def spec(self) -> mujoco.MjSpec:
        spec = super().spec()
        spec.joint("spinner").damping[0] = self.spinner_damping
        return spec

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, Any]:
        qpos = random_joints(self.MODEL, rng)
        return qpos, xp.zeros_like(qpos), TaskState()

    def is_valid_start(self, physics: PhysicsState) -> Array:
        return physics.sensor["contacts"][:, 0] == 0

    def observe(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        return {
            "position": xp.concat([physics.qpos[:, :SPINNER], tip(physics)], axis=1),
            "velocity": physics.qvel,
            "touch": xp.log1p(physics.sensor["touch"]),
        }


@dataclass(frozen=True, kw_only=True)
class FingerSpin(Finger):
    """Flick a spinner with a finger of two links, so that it keeps spinning.

    dm_control's ``finger spin``: the finger hangs 0.4 m to the left of a spinner on a hinge; each action, in [-1, 1],
    turns a joint of the finger, the upper one with 30 N m and the lower one with 15 N m a unit. There is no gravity.
    An episode begins at rest in any pose without contact and has 1000 steps of 20 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-3 | position | angles of the upper and the lower joint; x and z of the spinner's tip from its hub | rad, m |
    | 4-6 | velocity | rates of upper joint, lower joint and spinner | rad/s |
    | 7-8 | touch | ln(1 + force) on the front and the back of the fingertip, force in N | 1 |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        spinner_damping: Damping of the spinner's hinge, N m s/rad.
        spin_speed: The rate to reach, rad/s, in the direction of the finger's stroke.
    """

    spinner_damping: Positive = 0.03
    spin_speed: Positive = 15.0

    @reward_term(1.0)
    def reward_spinning(self, t: Transition) -> Array:
        """1 where the spinner's rate is at most -`spin_speed`, else 0"""
        return indicator(t.next_physics.qvel[:, SPINNER] <= -self.spin_speed)

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"spinner_rate": t.next_physics.qvel[:, SPINNER]}


@dataclass(frozen=True, kw_only=True)
class FingerTurn(Finger, TargetTask):
    """Turn a spinner with a finger of two links, until its tip is at a target.

    dm_control's ``finger``, ``turn_easy`` or ``turn_hard``: the finger hangs 0.4 m to the left of a spinner on a
    hinge; each action, in [-1, 1], turns a joint of the finger, the upper one with 30 N m and the lower one with
    15 N m a unit. There is no gravity. The target is at any angle around the hub, 0.13 m from it, where the tip gets
    to. An episode begins at rest in any pose without contact and has 1000 steps of 20 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-3 | position | angles of the upper and the lower joint; x and z of the spinner's tip from its hub | rad, m |
    | 4-6 | velocity | rates of upper joint, lower joint and spinner | rad/s |
    | 7-8 | touch | ln(1 + force) on the front and the back of the fingertip, force in N | 1 |
    | 9-10 | target_position | x and z of the target from the hub | m |
    | 11 | distance | from the tip to the rim of the target, negative inside | m |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        target_radius: Radius of the target, m.
        spinner_damping: Damping of the spinner's hinge, N m s/rad.
        target_margin: How far from the target the reward has fallen to 0, linearly, m; 0 for at once, as in dm_control.
    """

    target_radius: Positive = 0.07
    spinner_damping: Positive = 0.5
    target_margin: NonNegative = 0.0

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, FingerState]:
        qpos, qvel, _ = super().reset(rng)
        angle = rng.uniform(-np.pi, np.pi)
        return qpos, qvel, FingerState(SPINNER_RADIUS * xp.concat([xp.sin(angle), xp.cos(angle)], axis=1))

    def observe(self, physics: PhysicsState, state: FingerState) -> dict[str, Array]:
        target = {"target_position": state.target, "distance": self.distance(physics, state)[:, None]}
        return super().observe(physics, state) | target

    @reward_term(1.0)
    def reward_at_target(self, t: Transition) -> Array:
        """1 where the tip is within `target_radius` of the target, falling to 0 over a `target_margin`"""
        away = self.distance(t.next_physics, t.state)
        return tolerance(away, (-np.inf, 0.0), self.target_margin, "linear", value_at_margin=0.0)

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"distance": self.distance(t.next_physics, t.state)}

    def markers(self, state: FingerState) -> dict[str, Array]:
        x, z = state.target[:, 0], state.target[:, 1]
        return {"target": xp.stack([x, xp.zeros_like(x), z], axis=1)}

    def distance(self, physics: PhysicsState, state: FingerState) -> Array:
        """From the spinner's tip to the rim of the target, (N,) m, negative inside."""
        return xp.vector_norm(state.target - tip(physics), axis=1) - self.target_radius


def tip(physics: PhysicsState) -> Array:
    """Where the spinner's tip is, (N, 2) m in x and z from its hub."""
    return xp.columns(physics.sensor["tip_from_hub"], IN_PLANE)
