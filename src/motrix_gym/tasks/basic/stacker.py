"""Stacker: an arm stacks boxes until one is at a target."""

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
from motrix_gym.tasks.basic.planar_arm import NUM_JOINTS, PLANAR_POSE, PlanarArmTask, length

BOX = 0.022  # m, half an edge
MOST_BOXES = 6
SOLVER_TIME = 0.01  # s, the time constant of contacts
BEHIND = 0.001  # m, y of the target, which distances include
PLACE = (0.0, BEHIND, 0.0)  # m, where the model has the target
X_PITCH_Z = [0, 2, 1]  # of the joints of a box
TARGET_REACH = 0.37  # m, x of the target to each side at most
START_BOX = ([0.1, 0.0, 0.0], [0.3, 0.7, 2 * np.pi])  # x and z, m, and pitch, rad, of a box
AWAY, AWAY_MARGIN = 0.1, 0.01  # m, from which distance on the hand has left the target


@dataclass(frozen=True)
class StackerState(TaskState):
    """What a Stacker remembers.

    Attributes:
        target: Where a box is to be: x and z, (N, 2) m.
    """

    target: Array


@dataclass(frozen=True, kw_only=True)
class Stacker(PlanarArmTask):
    """An arm stacks two boxes until one is at a target, and lets it go.

    dm_control's ``stacker stack_2``: an arm with a root 0.4 m above the ground moves in a vertical plane between walls
    that lean outwards. Each action, in [-1, 1], turns root, shoulder, elbow or wrist with 12, 8, 4 or 2 N m a unit; the
    last one closes thumb and finger with 2 N m a unit. Boxes have edges of 0.044 m. The target is up to 0.37 m to each
    side, at the height of a box in a stack of at most `boxes`. An episode begins at rest with the arm at any angles and
    each box 0.1 to 0.3 m to the right, up to 0.7 m above the ground and at any pitch, drawn again while anything
    touches. It has 1000 steps of 10 ms.

    The joints are, in this order: root, shoulder, elbow, wrist, finger, fingertip, thumb, thumbtip. A pose is x and z,
    then w and y of a quaternion.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-15 | arm_angles | sine and cosine of the angle of each joint | 1 |
    | 16-23 | arm_velocity | joint velocities | rad/s |
    | 24-28 | touch | ln(1 + force) on palm, finger, thumb, fingertip, thumbtip, force in N | 1 |
    | 29-32 | hand | pose of the hand | m, 1 |
    | 33-40 | boxes | pose of each box | m, 1 |
    | 41-46 | box_velocity | of each box, velocity in x, pitch rate, velocity in z | m/s, rad/s |
    | 47-48 | target | x and z of the target | m |

    Reward:

    with near 1 where the middle of a box is at the target, falling as a Gaussian with 0.1 at a `target_margin`, and
    away 1 where the hand is 0.1 m from the target, falling as a Gaussian with 0.1 at 0.09 m.

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        boxes: How many boxes there are.
        target_margin: Distance of a box from the target at which the reward is 0.1, m.
    """

    MODEL: ClassVar = "planar_arm.xml"
    boxes: Annotated[int, Bound(low=1, high=MOST_BOXES)] = 2
    target_margin: Positive = 2 * BOX

    def spec(self) -> mujoco.MjSpec:
        """The model before it is compiled."""
        spec = load_spec(self.MODEL)
        kind = mujoco.mjtGeom.mjGEOM_BOX
        for i in range(self.boxes):
            body = spec.worldbody.add_body(name=f"box{i}")
            body.add_joint(name=f"box{i}_x", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[1, 0, 0])
            body.add_joint(name=f"box{i}_z", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1])
            body.add_joint(name=f"box{i}_pitch", axis=[0, 1, 0])
            body.add_geom(spec.find_default("object"), name=f"box{i}", type=kind, size=[BOX] * 3)
        target = spec.worldbody.add_body(name="target", pos=[0, BEHIND, 0], mocap=True)
        target.add_geom(spec.find_default("target"), name="target", type=kind, size=[BOX] * 3)
        for i in range(self.boxes):
            box = {"objtype": mujoco.mjtObj.mjOBJ_XBODY, "objname": f"box{i}"}
            spec.add_sensor(name=f"boxes/{i}_position", type=mujoco.mjtSensor.mjSENS_FRAMEPOS, **box)
            spec.add_sensor(name=f"boxes/{i}_rotation", type=mujoco.mjtSensor.mjSENS_FRAMEQUAT, **box)
        spec.add_sensor(
            name="grasp",
            type=mujoco.mjtSensor.mjSENS_FRAMEPOS,
            objtype=mujoco.mjtObj.mjOBJ_SITE,
            objname="grasp",
        )
        for geom in spec.geoms:
            geom.solref[0] = SOLVER_TIME
        return spec

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, StackerState]:
        arm = self.random_arm(rng)
        storey = xp.floor(rng.uniform(0, self.boxes))
        target = xp.concat([rng.uniform(-TARGET_REACH, TARGET_REACH), BOX * (2 * storey + 1)], axis=1)
        low, high = (np.tile(corner, self.boxes) for corner in START_BOX)
        qpos = xp.concat([arm, rng.uniform(low, high, 3 * self.boxes)], axis=1)
        return qpos, xp.zeros_like(qpos), StackerState(target)

    def observe(self, physics: PhysicsState, state: StackerState) -> dict[str, Array]:
        n = physics.qpos.shape[0]
        poses = xp.columns(xp.reshape(physics.sensor["boxes"], (n, self.boxes, 7)), PLANAR_POSE)
        velocities = xp.reshape(physics.qvel[:, NUM_JOINTS:], (n, self.boxes, 3))
        return super().observe(physics, state) | {
            "boxes": xp.reshape(poses, (n, -1)),
            "box_velocity": xp.reshape(xp.columns(velocities, X_PITCH_Z), (n, -1)),
            "target": state.target,
        }

    @reward_term(1.0)
    def reward_stacked(self, t: Transition) -> Array:
        """near x away"""
        near = tolerance(self.distance(t.next_physics, t.state), margin=self.target_margin)
        away = tolerance(length(t.next_physics.sensor["grasp"] - position(t.state)), (AWAY, np.inf), AWAY_MARGIN)
        return near * away

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"distance": self.distance(t.next_physics, t.state)}

    def markers(self, state: StackerState) -> dict[str, Array]:
        return {"target": position(state) - xp.like(PLACE, state.target)}

    def distance(self, physics: PhysicsState, state: StackerState) -> Array:
        """From the target to the middle of the nearest box, (N,) m."""
        boxes = xp.reshape(physics.sensor["boxes"], (-1, self.boxes, 7))[:, :, :3]
        return xp.min(xp.vector_norm(boxes - position(state)[:, None, :], axis=2), axis=1)


@dataclass(frozen=True, kw_only=True)
class Stacker4(Stacker):
    """An arm stacks four boxes until one is at a target, and lets it go.

    dm_control's ``stacker stack_4``: all else is as for two boxes.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-15 | arm_angles | sine and cosine of the angle of each joint | 1 |
    | 16-23 | arm_velocity | joint velocities | rad/s |
    | 24-28 | touch | ln(1 + force) on palm, finger, thumb, fingertip, thumbtip, force in N | 1 |
    | 29-32 | hand | pose of the hand | m, 1 |
    | 33-48 | boxes | pose of each box | m, 1 |
    | 49-60 | box_velocity | of each box, velocity in x, pitch rate, velocity in z | m/s, rad/s |
    | 61-62 | target | x and z of the target | m |
    """

    boxes: int = 4


def position(state: StackerState) -> Array:
    """Where the target is, (N, 3) m."""
    x, z = state.target[:, 0], state.target[:, 1]
    return xp.stack([x, xp.full(x.shape, BEHIND, x), z], axis=1)
