"""Swimmer: a chain of links swims with its nose to a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.fields import Bound, Positive
from motrix_gym.model_files import load_spec
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import TargetTask

SPACING = 0.1  # m from one link to the next
GEAR = 5e-4  # N m a unit of the action
MOST_LINKS = 30
VIEW_SLOPE = 0.4  # by which the camera of the model looks ahead as it looks down
CLOSE_SHARE = 0.2  # of targets that are close
CLOSE, FAR = 0.3, 2.0  # m that a target is from the middle at most, in x and in y
VELOCITY = {"linear": mujoco.mjtSensor.mjSENS_VELOCIMETER, "angular": mujoco.mjtSensor.mjSENS_GYRO}
PLANAR = [0, 1, 5]  # of a link's linear and angular velocity: sideways, backwards, about the vertical


@dataclass(frozen=True)
class SwimmerState(TaskState):
    """What a Swimmer remembers.

    Attributes:
        target: Where its nose is to be, (N, 2) m.
    """

    target: Array


@dataclass(frozen=True, kw_only=True)
class Swimmer(TargetTask):
    """A chain of links swims with its nose to a target.

    dm_control's ``swimmer swimmer6``: `links` of 0.1 m and 0.01 kg move in a plane, in a fluid;
    each action, in [-1, 1], turns a joint with 5e-4 N m a unit. Joint angles are within 360 degrees / `links`. In one
    episode of five the target is within 0.3 m of the middle in x and in y, in the others within 2 m. An episode begins
    at rest with the head in the middle, in any direction and with joint angles uniform in their ranges, and has 1000
    steps of 30 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-4 | joint_angles | joint angles, from the head on | rad |
    | 5-6 | to_target | vector from the nose to the target, along the head's x axis and y axis | m |
    | 7-24 | link_velocity | for each link, along its x axis and its y axis, and its yaw rate | m/s, rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        target_radius: Radius of the target, m.
        links: How many links it has, with the head.
    """

    MODEL: ClassVar = "swimmer.xml"
    control_dt: float = 0.03
    target_radius: Positive = 0.1
    links: Annotated[int, Bound(low=3, high=MOST_LINKS)] = 6

    def spec(self) -> mujoco.MjSpec:
        """The model before it is compiled."""
        spec = load_spec(self.MODEL)
        link, shape = spec.find_default("link"), spec.find_default("shape")
        body = spec.body("head")
        for i in range(1, self.links):
            body = body.add_body(name=f"link{i}", pos=[0.0, SPACING, 0.0])
            body.add_joint(link, name=f"joint{i}", range=[-self.reach, self.reach])
            body.add_geom(link, name=f"link{i}_mass")
            body.add_geom(shape, name=f"link{i}")
            body.add_site(link, name=f"link{i}")
            motor = spec.add_actuator(name=f"joint{i}", target=f"joint{i}", trntype=mujoco.mjtTrn.mjTRN_JOINT)
            motor.gear[0], motor.ctrlrange = GEAR, [-1, 1]
            for name, kind in VELOCITY.items():
                spec.add_sensor(
                    name=f"link_velocity/link{i}_{name}",
                    type=kind,
                    objtype=mujoco.mjtObj.mjOBJ_SITE,
                    objname=f"link{i}",
                )
        spec.site("target").size[0] = self.target_radius
        middle, height = SPACING * (self.links - 1) / 2, 0.4 + SPACING * self.links  # m
        spec.camera("track").pos = [0.0, middle - VIEW_SLOPE * height, height]
        return spec

    @property
    def reach(self) -> float:
        """How far a joint turns to each side, rad."""
        return 2 * np.pi / self.links

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, SwimmerState]:
        n, joints = len(rng), self.links - 1
        heading = rng.uniform(-np.pi, np.pi)
        angles = rng.uniform(-self.reach, self.reach, joints)
        distance = xp.where(rng.uniform() < CLOSE_SHARE, CLOSE, FAR)
        qpos = xp.concat([xp.zeros((n, 2), heading), heading, angles], axis=1)
        return qpos, xp.zeros_like(qpos), SwimmerState(distance * rng.uniform(-1.0, 1.0, 2))

    def observe(self, physics: PhysicsState, state: SwimmerState) -> dict[str, Array]:
        velocity = xp.reshape(physics.sensor["link_velocity"], (-1, self.links, 6))
        return {
            "joint_angles": physics.qpos[:, 3:],
            "to_target": to_target(physics, state),
            "link_velocity": xp.reshape(xp.columns(velocity, PLANAR), (velocity.shape[0], -1)),
        }

    @reward_term(1.0)
    def reward_at_target(self, t: Transition) -> Array:
        """1 where the nose is in the target, of `target_radius`, 1 / (1 + 9 (d / 5)^2) at d radii from it"""
        away = distance(t.next_physics, t.state)
        return tolerance(away, (0.0, self.target_radius), 5 * self.target_radius, sigmoid="long_tail")

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"distance": distance(t.next_physics, t.state)}

    def markers(self, state: SwimmerState) -> dict[str, Array]:
        return {"target": xp.pad(state.target, 0, 1)}


@dataclass(frozen=True, kw_only=True)
class Swimmer15(Swimmer):
    """A chain of fifteen links swims with its nose to a target.

    dm_control's ``swimmer swimmer15``: all else is as for six links.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-13 | joint_angles | joint angles, from the head on | rad |
    | 14-15 | to_target | vector from the nose to the target, along the head's x axis and y axis | m |
    | 16-60 | link_velocity | for each link, along its x axis and its y axis, and its yaw rate | m/s, rad/s |
    """

    links: int = 15


def to_target(physics: PhysicsState, state: SwimmerState) -> Array:
    """The vector from the nose to the target, along the x axis and the y axis of the head, (N, 2) m."""
    axes = xp.reshape(physics.sensor["head_axes"], (-1, 2, 3))[:, :, :2]  # (N, axis, xy)
    return xp.einsum("nij,nj->ni", axes, state.target - physics.sensor["nose"][:, :2])


def distance(physics: PhysicsState, state: SwimmerState) -> Array:
    """From the nose to the middle of the target, (N,) m."""
    return xp.vector_norm(to_target(physics, state), axis=1)
