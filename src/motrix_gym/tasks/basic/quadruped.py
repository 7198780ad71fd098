"""Quadruped: a robot with four legs moves forward, or fetches a ball."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rotations
from motrix_gym.fields import Positive
from motrix_gym.model_files import load_model, load_spec
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import SuiteTask, TargetTask

MODEL = "quadruped.xml"
NUM_JOINTS, NUM_SERVOS = 16, 12
JOINTS, RATES = slice(7, 7 + NUM_JOINTS), slice(6, 6 + NUM_JOINTS)  # in qpos, in qvel
TIMESTEP, FILTER_TIME = 0.005, 0.1  # s, of the physics and of the servos' filter
LIFT = 0.01  # m, the steps in which the beginning is lifted until nothing touches
ROUNDING, CLEARANCE = 1e-9, 1e-12  # steps and m: on level feet, toes just touch at a multiple of LIFT

ARENA = 15.0  # m from the middle of the arena to its walls
SPAWN = 0.9 * ARENA  # m in x and y from the middle that robot and ball begin at most
WALL_FOOT, WALL_RAISED = 15.7, 0.7  # m, where the plane of a wall is
WALLS = {"back": (1, 0), "right": (0, 1), "front": (-1, 0), "left": (0, -1)}  # the way that each faces, in x and y
WORKSPACE_RADIUS, BALL_RADIUS = 0.3, 0.15  # m
BALL_HEIGHT, BALL_SPEED = 2.0, 5.0  # m, m/s
BALL, BALL_RATES = slice(23, 26), slice(22, 28)  # its position in qpos, its velocities in qvel
UP = np.array([0.0, 0.0, 1.0])
BALL_START = (BALL_HEIGHT, 1.0, 0.0, 0.0, 0.0)  # z, m, and no rotation
TARGET = np.array([0.0, 0.0, 0.05])  # m


@dataclass(frozen=True)
class Geom:
    """A geom of the robot, its place in the torso's axes.

    Attributes:
        kind: What it is: sphere, capsule, cylinder or ellipsoid.
        size: Its size, as MuJoCo has it, (3,) m.
        centre: Where its centre is from that of the torso, (3,) m.
        axes: Its axes, (3, 3), in columns.
    """

    kind: mujoco.mjtGeom
    size: Array
    centre: Array
    axes: Array


@dataclass(frozen=True)
class QuadrupedState(TaskState):
    """What a Quadruped remembers.

    Attributes:
        activation: The servos' targets behind their filter, which is MuJoCo's ``act``, (N, 12) rad.
    """

    activation: Array


@dataclass(frozen=True, kw_only=True)
class Quadruped(SuiteTask):
    """What all tasks share; they describe the fields and have the tables."""

    MODEL: ClassVar = MODEL
    control_dt: float = 0.02

    def beginning(self, torso: Array) -> tuple[Array, Array, QuadrupedState]:
        """At rest, legs in their middle; `torso` is its position and rotation, (N, 7)."""
        n = torso.shape[0]
        qpos = xp.pad(torso, 0, NUM_JOINTS)
        return qpos, xp.zeros((n, 6 + NUM_JOINTS), torso), QuadrupedState(xp.zeros((n, NUM_SERVOS), torso))

    def observe(self, physics: PhysicsState, state: QuadrupedState) -> dict[str, Array]:
        return {
            "joint_angles": physics.qpos[:, JOINTS],
            "joint_velocity": physics.qvel[:, RATES],
            "activation": state.activation,
            "torso_velocity": physics.sensor["velocity"],
            "upright": upright(physics)[:, None],
            "acceleration": physics.sensor["acceleration"],
            "angular_velocity": physics.sensor["angular_velocity"],
            "toe_force": xp.asinh(physics.sensor["toe_force"]),
            "toe_torque": xp.asinh(physics.sensor["toe_torque"]),
        }

    def next_state(self, t: Transition, rng: RandomStreams) -> QuadrupedState:
        activation = t.state.activation
        for _ in range(round(self.control_dt / TIMESTEP)):
            activation = activation + TIMESTEP * (t.ctrl - activation) / FILTER_TIME
        return QuadrupedState(activation)

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"upright": upright(t.next_physics), "speed": t.next_physics.sensor["velocity"][:, 0]}


@dataclass(frozen=True, kw_only=True)
class QuadrupedMove(Quadruped):
    """A robot with four legs walks or runs.

    dm_control's ``quadruped``, ``walk`` or ``run``. The action tells three servos of each leg their targets in rad:
    yaw, within 1; lift, (pitch - ankle) / 2, from -1 to 1.1; and extension, (pitch + ankle) / 4 - knee / 2, within
    0.8. Targets are delayed by a filter of 0.1 s. A constraint keeps pitch + knee + ankle near 0. An episode begins at
    rest with any rotation, joint angles of 0, at the lowest multiple of 0.01 m at which nothing touches. It has 1000
    steps of 20 ms.

    The legs are, in this order: front left, front right, back right, back left; the joints of a leg are yaw, pitch,
    knee and ankle.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-15 | joint_angles | joint angles | rad |
    | 16-31 | joint_velocity | joint velocities | rad/s |
    | 32-43 | activation | targets of the servos behind their filter | rad |
    | 44-46 | torso_velocity | velocity of the torso in its axes | m/s |
    | 47 | upright | cosine of the torso's tilt | 1 |
    | 48-50 | acceleration | what an accelerometer in the torso reads, in its axes | m/s^2 |
    | 51-53 | angular_velocity | angular velocity of the torso in its axes | rad/s |
    | 54-65 | toe_force | arsinh of the force between foot and toe, in N, in the toe's axes | 1 |
    | 66-77 | toe_torque | arsinh of the torque between them, in N m | 1 |

    Reward:

    with upright (1 + cosine of the torso's tilt) / 2.

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        move_speed: Forward speed that earns the full reward, m/s.
    """

    move_speed: Positive = 0.5

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, QuadrupedState]:
        rotation = rotations.uniform(rng)
        middle = xp.zeros((len(rng), 2), rotation)
        return self.beginning(xp.concat([middle, lifted(middle, rotation), rotation], axis=1))

    @reward_term(1.0)
    def reward_move(self, t: Transition) -> Array:
        """upright x pace: pace is 1 from `move_speed` on, 1/2 when still, 0 from -`move_speed` on, linear between"""
        speed, asked = t.next_physics.sensor["velocity"][:, 0], self.move_speed
        pace = tolerance(speed, (asked, np.inf), margin=asked, sigmoid="linear", value_at_margin=0.5)
        return (1 + upright(t.next_physics)) / 2 * pace


@dataclass(frozen=True, kw_only=True)
class QuadrupedFetch(Quadruped, TargetTask):
    """A robot with four legs fetches a ball and brings it to the middle of an arena.

    dm_control's ``quadruped fetch``. The action tells three servos of each leg their targets in rad: yaw, within 1;
    lift, (pitch - ankle) / 2, from -1 to 1.1; and extension, (pitch + ankle) / 4 - knee / 2, within 0.8. Targets are
    delayed by a filter of 0.1 s. A constraint keeps pitch + knee + ankle near 0. The arena is a square with 15 m to
    each side of the middle, with walls that lean outwards by 45 degrees. An episode begins with the robot at rest on
    its feet, in any heading, and a ball of 0.15 m, 2 m above the ground, each within 13.5 m of the middle in x and in
    y; the ball's velocity is normal with 5 m/s in x and in y. It has 1000 steps of 20 ms.

    The legs are, in this order: front left, front right, back right, back left; the joints of a leg are yaw, pitch,
    knee and ankle. The workspace is a point 0.8 m before the torso and 0.2 m below it.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-15 | joint_angles | joint angles | rad |
    | 16-31 | joint_velocity | joint velocities | rad/s |
    | 32-43 | activation | targets of the servos behind their filter | rad |
    | 44-46 | torso_velocity | velocity of the torso in its axes | m/s |
    | 47 | upright | cosine of the torso's tilt | 1 |
    | 48-50 | acceleration | what an accelerometer in the torso reads, in its axes | m/s^2 |
    | 51-53 | angular_velocity | angular velocity of the torso in its axes | rad/s |
    | 54-65 | toe_force | arsinh of the force between foot and toe, in N, in the toe's axes | 1 |
    | 66-77 | toe_torque | arsinh of the torque between them, in N m | 1 |
    | 78-80 | ball_position | from the torso to the ball, in the torso's axes | m |
    | 81-83 | ball_velocity | velocity of the ball less that of the torso, in the torso's axes | m/s |
    | 84-86 | ball_spin | angular velocity of the ball in its own axes, turned as if it were in the world's | rad/s |
    | 87-89 | target_position | from the torso to the target, in the torso's axes | m |

    Reward:

    with upright (1 + cosine of the torso's tilt) / 2; reach, 1 where the ball touches a circle of 0.3 m around the
    workspace; and bring, 1 where the ball's middle is in the target. Both are horizontal and fall to 0, linearly,
    21.2 m farther off, the half diagonal of the arena.

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        target_radius: Radius of the target, m.
    """

    target_radius: Positive = 0.4

    def spec(self) -> mujoco.MjSpec:
        """The model before it is compiled."""
        spec = load_spec(self.MODEL)
        spec.geom("floor").size[:2] = ARENA
        for name, (x, y) in WALLS.items():
            pos, normal = [-WALL_FOOT * x, -WALL_FOOT * y, WALL_RAISED], [x, y, 1]
            size = [ARENA if y else 1.0, ARENA if x else 1.0, 0.5]
            wall = spec.worldbody.add_geom(name=f"{name}_wall", type=mujoco.mjtGeom.mjGEOM_PLANE, pos=pos, size=size)
            wall.alt.type, wall.alt.zaxis = mujoco.mjtOrientation.mjORIENTATION_ZAXIS, normal
        ball = spec.worldbody.add_body(name="ball", pos=[0, 0, 3])
        ball.add_freejoint(name="ball")
        ball.add_geom(
            name="ball",
            size=[BALL_RADIUS, 0, 0],
            material="ball",
            priority=1,
            condim=6,
            friction=[0.7, 0.005, 0.005],
            solref=[-10000, -30],
        )
        size = [self.target_radius, 0.06, 0]
        spec.worldbody.add_site(
            name="target", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=size, pos=TARGET, material="target", group=0
        )
        return spec

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, QuadrupedState]:
        n, rotation = len(rng), rotations.from_yaw(rng.uniform(0.0, 2 * np.pi)[:, 0])
        robot, ball = rng.uniform(-SPAWN, SPAWN, 2), rng.uniform(-SPAWN, SPAWN, 2)
        torso = xp.concat([robot, lifted(robot, rotation, WALLS.values()), rotation], axis=1)
        qpos, qvel, state = self.beginning(torso)
        unturned = xp.tile(xp.like(BALL_START, ball), (n, 1))
        ball_velocity = xp.pad(BALL_SPEED * rng.normal(2), 0, 4)
        return xp.concat([qpos, ball, unturned], axis=1), xp.concat([qvel, ball_velocity], axis=1), state

    def observe(self, physics: PhysicsState, state: QuadrupedState) -> dict[str, Array]:
        return super().observe(physics, state) | {
            "ball_position": in_torso_axes(physics, ball_position(physics) - physics.qpos[:, :3]),
            "ball_velocity": in_torso_axes(physics, physics.qvel[:, BALL_RATES][:, :3] - physics.qvel[:, :3]),
            "ball_spin": in_torso_axes(physics, physics.qvel[:, BALL_RATES][:, 3:]),
            "target_position": in_torso_axes(physics, xp.like(TARGET, physics.qpos) - physics.qpos[:, :3]),
        }

    @reward_term(1.0)
    def reward_fetch(self, t: Transition) -> Array:
        """upright x reach x (1 + bring) / 2"""
        half_diagonal = math.sqrt(2) * ARENA
        reach = tolerance(
            distance(t.next_physics.sensor["workspace"], ball_position(t.next_physics)),
            (0.0, WORKSPACE_RADIUS + BALL_RADIUS),
            half_diagonal,
            sigmoid="linear",
            value_at_margin=0.0,
        )
        bring = tolerance(
            ball_to_target(t.next_physics),
            (0.0, self.target_radius),
            half_diagonal,
            sigmoid="linear",
            value_at_margin=0.0,
        )
        return (1 + upright(t.next_physics)) / 2 * reach * (1 + bring) / 2

    def metrics(self, t: Transition) -> dict[str, Array]:
        ball = ball_position(t.next_physics)
        return {
            "upright": upright(t.next_physics),
            "workspace_to_ball": distance(t.next_physics.sensor["workspace"], ball),
            "ball_to_target": ball_to_target(t.next_physics),
        }


def upright(physics: PhysicsState) -> Array:
    """The cosine of the torso's tilt, (N,)."""
    return physics.sensor["axes/z"][:, 2]


def in_torso_axes(physics: PhysicsState, x: Array) -> Array:
    """Vectors in the world's axes in those of the torso, (N, 3)."""
    return xp.einsum("nij,nj->ni", xp.reshape(physics.sensor["axes"], (-1, 3, 3)), x)


def ball_position(physics: PhysicsState) -> Array:
    """Where the ball is, (N, 3) m."""
    return physics.qpos[:, BALL]


def ball_to_target(physics: PhysicsState) -> Array:
    """The horizontal distance between the ball and its target, (N,) m."""
    ball = ball_position(physics)
    return distance(ball, xp.like(TARGET, ball))


def distance(x: Array, y: Array) -> Array:
    """The horizontal distance between two points, (N, 3) or (3,) m each, (N,) m."""
    return xp.vector_norm((x - y)[:, :2], axis=1)


def lifted(place: Array, rotation: Array, walls: Iterable[tuple[int, int]] = ()) -> Array:
    """The lowest multiple of `LIFT` at which a robot with its legs in their middle touches neither floor nor walls.

    Args:
        place: x and y of the torso, (N, 2) m.
        rotation: Of the torso, (N, 4).
        walls: The way that each wall faces, in x and y.

    Returns:
        Height of the torso, (N, 1) m.
    """
    heights = [_extent(rotation, UP)]
    for wall in walls:
        facing = xp.like(np.array(wall, dtype=float), place)
        slant = _extent(rotation, np.array([*wall, 1.0]) / math.sqrt(2))  # across the wall, which rises as it leans out
        heights.append(WALL_RAISED + math.sqrt(2) * slant - (place @ facing + WALL_FOOT))
    return LIFT * xp.ceil(functools.reduce(xp.maximum, heights) / LIFT - ROUNDING)[:, None] + CLEARANCE


def _extent(rotation: Array, normal: Array) -> Array:
    """How far a turned robot reaches from its torso against a direction, (N,) m; rotation (N, 4), normal (3,)."""
    down = xp.einsum("nji,j->ni", rotations.matrix(rotation), xp.like(normal, rotation))  # in the torso's axes
    return functools.reduce(
        xp.maximum, [_half_width(geom, down) - down @ xp.like(geom.centre, down) for geom in _geoms()]
    )


def _half_width(geom: Geom, direction: Array) -> Array:
    """How far a geom reaches from its centre along directions in the torso's axes, (N, 3) to (N,) m."""
    along = direction @ xp.like(geom.axes, direction)
    x, y, z = along[:, 0], along[:, 1], along[:, 2]
    radius, half = geom.size[:2].tolist()
    if geom.kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return xp.full(x.shape, radius, x)
    if geom.kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        return radius + half * abs(z)
    if geom.kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return radius * xp.hypot(x, y) + half * abs(z)
    return xp.vector_norm(along * xp.like(geom.size, along), axis=1)


@functools.cache
def _geoms() -> list[Geom]:
    """The geoms of a robot with its legs in their middle."""
    model = load_model(MODEL)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    robot = model.body("torso").id
    return [
        Geom(
            kind=mujoco.mjtGeom(model.geom_type[i]),
            size=model.geom_size[i],
            centre=data.geom_xpos[i] - data.xpos[robot],
            axes=data.geom_xmat[i].reshape(3, 3),
        )
        for i in range(model.ngeom)
        if model.body_rootid[model.geom_bodyid[i]] == robot
    ]
