"""Fish: a fish turns upright, or swims to a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from motrix_gym import arrays as xp
from motrix_gym import rotations
from motrix_gym.fields import Positive
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import SuiteTask, TargetTask

START = [0.0, 0.0, 0.1]  # m, where the torso begins
JOINTS = slice(7, None)  # in qpos
BENT = 0.2  # rad that a joint is at most from straight in the beginning
MOUTH_RADIUS = 0.005  # m
TARGET_BOX = ([-0.4, -0.4, 0.1], [0.4, 0.4, 0.3])  # m, its corners


@dataclass(frozen=True)
class FishState(TaskState):
    """What a fish that swims to a target remembers.

    Attributes:
        target: Where its mouth is to be, (N, 3) m.
    """

    target: Array


@dataclass(frozen=True, kw_only=True)
class Fish(SuiteTask):
    """What both tasks share; `FishUpright` and `FishSwim` describe the fields and have the tables."""

    MODEL: ClassVar = "fish.xml"
    control_dt: float = 0.04

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, Any]:
        n, rotation = len(rng), rotations.uniform(rng)
        qpos = xp.concat([xp.tile(xp.like(START, rotation), (n, 1)), rotation, rng.uniform(-BENT, BENT, 7)], axis=1)
        return qpos, xp.zeros((n, 13), qpos), TaskState()  # a rotation has three velocities

    def observe(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        return {
            "joint_angles": physics.qpos[:, JOINTS],
            "upright": upright(physics)[:, None],
            "velocity": physics.qvel,
        }

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"upright": upright(t.next_physics)}


@dataclass(frozen=True, kw_only=True)
class FishUpright(Fish):
    """A fish turns upright and stays so.

    dm_control's ``fish upright``: the fish floats in water, without weight. The action, in [-1, 1], tells servos where
    tail and tail twist, half the right fin's roll minus the left one's, and the pitches of left and right fin are to
    be, in rad. An episode begins at rest with any rotation and with joint angles uniform within 0.2 rad, and has 1000
    steps of 40 ms.

    The joints are, in this order: tail 1, tail twist, tail 2, roll and pitch of the right fin, of the left fin.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-6 | joint_angles | joint angles | rad |
    | 7 | upright | cosine of the torso's tilt | 1 |
    | 8-20 | velocity | velocity of the torso, its angular velocity in its axes, joint velocities | m/s, rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |
    """

    @reward_term(1.0)
    def reward_upright(self, t: Transition) -> Array:
        """1 upright, falling with the cosine of the tilt as a Gaussian with 0.1 at a tilt of 90 degrees"""
        return tolerance(upright(t.next_physics), (1.0, 1.0), margin=1.0)


@dataclass(frozen=True, kw_only=True)
class FishSwim(Fish, TargetTask):
    """A fish swims to a target and keeps its mouth there.

    dm_control's ``fish swim``: the fish floats in water, without weight. The action, in [-1, 1], tells servos where
    tail and tail twist, half the right fin's roll minus the left one's, and the pitches of left and right fin are to
    be, in rad. The target is anywhere within 0.4 m to each side in x and y, 0.1 to 0.3 m above the ground. An episode
    begins at rest with any rotation and with joint angles uniform within 0.2 rad, and has 1000 steps of 40 ms.

    The joints are, in this order: tail 1, tail twist, tail 2, roll and pitch of the right fin, of the left fin.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-6 | joint_angles | joint angles | rad |
    | 7 | upright | cosine of the torso's tilt | 1 |
    | 8-10 | to_target | vector from the mouth to the target, to the fish's right, down and forward | m |
    | 11-23 | velocity | velocity of the torso, its angular velocity in its axes, joint velocities | m/s, rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        target_radius: Radius of the target, m.
    """

    target_radius: Positive = 0.04

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, FishState]:
        qpos, qvel, _ = super().reset(rng)
        return qpos, qvel, FishState(rng.uniform(*TARGET_BOX, 3))

    def observe(self, physics: PhysicsState, state: FishState) -> dict[str, Array]:
        common = super().observe(physics, state)
        velocity = common.pop("velocity")
        return {**common, "to_target": to_target(physics, state), "velocity": velocity}

    @reward_term(0.875)
    def reward_at_target(self, t: Transition) -> Array:
        """1 where the mouth, of 0.005 m, touches the target, falling as a Gaussian with 0.1 two radii of both off"""
        radii = MOUTH_RADIUS + self.target_radius
        return tolerance(distance(t.next_physics, t.state), (0.0, radii), margin=2 * radii)

    @reward_term(0.125)
    def reward_upright(self, t: Transition) -> Array:
        """(1 + cosine of the torso's tilt) / 2"""
        return (1 + upright(t.next_physics)) / 2

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {**super().metrics(t), "distance": distance(t.next_physics, t.state)}

    def markers(self, state: FishState) -> dict[str, Array]:
        return {"target": state.target}


def upright(physics: PhysicsState) -> Array:
    """The cosine of the torso's tilt, (N,)."""
    return physics.sensor["up"][:, 2]


def to_target(physics: PhysicsState, state: FishState) -> Array:
    """The vector from the mouth to the target, in the axes of the mouth, (N, 3) m."""
    axes = xp.reshape(physics.sensor["mouth_axes"], (-1, 3, 3))  # (N, axis, xyz)
    return xp.einsum("nij,nj->ni", axes, state.target - physics.sensor["mouth"])


def distance(physics: PhysicsState, state: FishState) -> Array:
    """From the mouth to the middle of the target, (N,) m."""
    return xp.vector_norm(state.target - physics.sensor["mouth"], axis=1)
