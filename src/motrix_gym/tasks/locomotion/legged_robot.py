"""Robots with legs: a model file, and what a task must know of the robot that the file does not say."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import mujoco
import numpy as np

from motrix_gym.contact_pairs import compile_for_simulation
from motrix_gym.model_files import compile_spec, load_spec
from motrix_gym.state import Array
from motrix_gym.symmetry import LEFT_TO_RIGHT, Flip
from motrix_gym.tasks.locomotion import robot_model
from motrix_gym.tasks.locomotion.robot_model import Servo, foot_depth, matched
from motrix_gym.terrain import PLANE, Terrain

GAITS = {2: (0.0, 0.5), 4: (0.0, 0.5, 0.5, 0.0)}  # by number of feet: a walk, a trot
SAME_PLACE = 0.01  # m, between a joint and the mirror image of its partner
PARALLEL = 0.99  # cosine of the angle between two axes that count as parallel
AHEAD = 0.7  # cosine of the angle between an axis and the way ahead, from which on it moves a leg sideways
START_CLEARANCE = 0.02  # m below the feet when an episode begins


@dataclass(frozen=True, eq=False)
class LeggedRobot:
    """A robot with a trunk that moves freely, and legs of hinge joints with position servos.

    Sensors that a task reads, and a floor, a light and a camera, are added to a model that lacks them. What cannot be
    added, such as a foot of an unknown name, is an error when an environment is made.

    In the model x is forward, y left and z up, and the joints are in the same order as the servos.

    Attributes:
        model: An MJCF or URDF file. A name without a folder is a file of `motrix_gym.models`.
        feet: The geoms that stand on the ground, or bodies with one geom that collides; front feet before hind feet.
        pose: Joint angles when standing, rad, by pattern of joint names, such as ``{"*_thigh_joint": 0.9}``; 0 for
            the joints that no pattern names.
        welded: Joints that are held in `pose` for good, by pattern of joint names: the robot has no such joints.
        swing: How far a joint of a leg leaves `pose` in the middle of a swing of its foot, rad, by pattern of joint
            names; not at all where no pattern names it.
        pose_spread: How far a joint leaves `pose` in an ordinary walk, rad, by pattern of joint names; as far as it
            likes where no pattern names it.
        servos: Position servos that replace the actuators of the model, by pattern of joint names; without them the
            actuators of the model are the servos.
        gait: The phase of each foot in the gait, in [0, 1); a walk for two feet, a trot for four.
        start_height: Height of the trunk when an episode begins, m; without it the feet are 2 cm above the ground.
        symmetric: Whether the right side of the robot is a mirror image of its left side.
        timestep: Time of a physics step in place of that of the model, s.
    """

    model: str | Path
    feet: tuple[str, ...]
    pose: Mapping[str, float] = field(default_factory=dict)
    welded: tuple[str, ...] = ()
    swing: Mapping[str, float] = field(default_factory=dict)
    pose_spread: Mapping[str, float] = field(default_factory=dict)
    servos: Mapping[str, Servo] = field(default_factory=dict)
    gait: tuple[float, ...] = ()
    start_height: float = 0.0
    symmetric: bool = True
    timestep: float = 0.0

    def spec(self, ground: Terrain = PLANE, markers: Mapping[str, float] | None = None) -> mujoco.MjSpec:
        """The complete model on a ground, which can still be added to.

        Args:
            ground: The ground.
            markers: Flat discs on the ground that pictures show, by name, each with its radius, m.

        Raises:
            ValueError: The robot lacks something that cannot be added; the message lists everything.
        """
        spec = load_spec(self.model)
        as_it_is = compile_spec(spec.copy(), self.model)
        held = {name: matched(self.pose, name) or 0.0 for name in self.welded_joints}
        robot_model.weld(spec, as_it_is, str(self.model), held)
        robot_model.complete(spec, as_it_is, str(self.model), self.feet, self.servos)
        if self.timestep:
            spec.option.timestep = self.timestep
        if ground is not PLANE:
            ground.lay(spec)
        robot_model.add_markers(spec, markers or {})
        return spec

    def check(self) -> None:
        """Looks at the model and at the data, as far as they are not used before an episode begins.

        Raises:
            ValueError: The robot is not what the data say; one line with what to change.
        """
        _ = self.default_joints, self.swing_joints, self.spread, self.phases, self.mirrored_joints, self.foot_height

    @cached_property
    def trunk(self) -> str:
        """The name of the body that moves freely."""
        return self.plain.body(self.plain.jnt_bodyid[0]).name

    @cached_property
    def joints(self) -> list[str]:
        """The names of the joints of the legs, in the order of the model."""
        return [self.plain.joint(i).name for i in range(1, self.plain.njnt)]

    @cached_property
    def welded_joints(self) -> list[str]:
        """The names of the joints of the file that are held for good.

        Raises:
            ValueError: A pattern of `welded` names no joint.
        """
        if not self.welded:
            return []
        names = [joint.name for joint in load_spec(self.model).joints if joint.type != mujoco.mjtJoint.mjJNT_FREE]
        self._require_matches(self.welded, names, "welded")
        return [name for name in names if any(fnmatchcase(name, pattern) for pattern in self.welded)]

    @cached_property
    def plain(self) -> mujoco.MjModel:
        """The compiled model on a plane, shared: to be read only."""
        model = compile_for_simulation(self.spec(), self.model)
        robot_model.check(model, str(self.model), self.feet)
        return model

    @cached_property
    def default_joints(self) -> Array:
        """Joint angles when standing, (n,) rad."""
        self._require_matches(self.pose, self.joints + self.welded_joints, "pose")
        return np.array([matched(self.pose, name) or 0.0 for name in self.joints])

    @cached_property
    def swing_joints(self) -> Array:
        """How far each joint leaves the standing pose in the middle of a swing of each foot, (feet, n) rad.

        Raises:
            ValueError: A pattern of `swing` names no joint.
        """
        self._require_matches(self.swing, self.joints + self.welded_joints, "swing")
        bends = np.array([matched(self.swing, name) or 0.0 for name in self.joints])
        return np.array([np.where(np.isin(np.arange(len(bends)), leg), bends, 0.0) for leg in self._legs])

    @cached_property
    def spread(self) -> Array:
        """How far each joint leaves the standing pose in an ordinary walk, (n,) rad; infinity for as far as it likes.

        Raises:
            ValueError: A pattern of `pose_spread` names no joint, or has a spread that is not above 0.
        """
        self._require_matches(self.pose_spread, self.joints + self.welded_joints, "pose_spread")
        for pattern, spread in self.pose_spread.items():
            if not spread > 0:
                raise ValueError(f"robot {self.model} has a pose_spread of {spread} for {pattern!r}; it is above 0 rad")
        return np.array([matched(self.pose_spread, name) or np.inf for name in self.joints])

    @cached_property
    def standing_height(self) -> float:
        """Height of the trunk when an episode begins, m."""
        if self.start_height:
            return self.start_height
        lowest = self._standing.geom_xpos[self._feet, 2] - self.foot_height
        return float(START_CLEARANCE - lowest.min())

    @cached_property
    def foot_height(self) -> Array:
        """Height of the centre of each foot above the ground that it stands on, (feet,) m."""
        return np.array([foot_depth(self.plain, self._standing, foot) for foot in self._feet])

    @cached_property
    def hips(self) -> Array:
        """The joint of each leg that moves it sideways: the first whose axis is forward, (k,) int."""
        sideways = [[joint for joint in leg if abs(self._axes[joint, 0]) > AHEAD] for leg in self._legs]
        return np.array(list(dict.fromkeys(joints[0] for joints in sideways if joints)), dtype=int)

    @cached_property
    def phases(self) -> Array:
        """The phase of each foot in the gait, (feet,) in [0, 1).

        Raises:
            ValueError: The gait is not one phase a foot, or a foot and its mirror image are not half a cycle apart.
        """
        gait = self.gait or GAITS.get(len(self.feet), ())
        if len(gait) != len(self.feet):
            raise ValueError(
                f"robot {self.model} has {len(self.feet)} feet and a gait of {gait}; give a phase for each"
            )
        phases = np.array(gait)
        if self.symmetric and not np.allclose((phases[self.mirrored_feet.index] - phases) % 1.0, 0.5):
            raise ValueError(
                f"robot {self.model} has the gait {gait}; a foot and its mirror image must be half a cycle apart: "
                "order `feet` by pairs, or set symmetric=False"
            )
        return phases

    @cached_property
    def mirrored_joints(self) -> Flip:
        """The reflection of joint angles; for a robot that is not symmetric all stay as they are.

        Raises:
            ValueError: A joint has no mirror image.
        """
        n = len(self.joints)
        if not self.symmetric:
            return Flip.signs(*[1] * n)
        places, axes = self._standing.xanchor[1:], self._axes
        index, sign = [], []
        for name, place, axis in zip(self.joints, places * LEFT_TO_RIGHT, -axes * LEFT_TO_RIGHT, strict=True):
            away = np.where(np.abs(axes @ axis) > PARALLEL, np.linalg.vector_norm(places - place, axis=1), np.inf)
            partner = int(away.argmin())
            self._require_image(f"joint {name!r}", away[partner])
            index.append(partner)
            sign.append(float(np.sign(axes[partner] @ axis)))
        return Flip(np.array(index), np.array(sign))

    @cached_property
    def mirrored_feet(self) -> Flip:
        """The reflection of what there is of each foot; for a robot that is not symmetric all stay as they are.

        Raises:
            ValueError: A foot has no mirror image.
        """
        if not self.symmetric:
            return Flip.signs(*[1] * len(self.feet))
        places, index = self._standing.geom_xpos[self._feet], []
        for name, place in zip(self.feet, places * LEFT_TO_RIGHT, strict=True):
            away = np.linalg.vector_norm(places - place, axis=1)
            self._require_image(f"foot {name!r}", away.min())
            index.append(int(away.argmin()))
        return Flip(np.array(index), np.ones(len(index)))

    @property
    def _axes(self) -> Array:
        return self._standing.xaxis[1:]

    @cached_property
    def _feet(self) -> list[int]:
        return [self.plain.geom(name).id for name in self.feet]

    @cached_property
    def _legs(self) -> list[list[int]]:
        """The joints between the trunk and each foot, from the trunk on."""
        legs = []
        for geom in self._feet:
            chain, body = [], int(self.plain.geom_bodyid[geom])
            while body:
                chain += [j - 1 for j in range(1, self.plain.njnt) if self.plain.jnt_bodyid[j] == body][::-1]
                body = int(self.plain.body_parentid[body])
            legs.append(chain[::-1])
        return legs

    @cached_property
    def _standing(self) -> mujoco.MjData:
        """The robot in its standing pose, with its trunk at the origin."""
        data = mujoco.MjData(self.plain)
        data.qpos[:7] = 0, 0, 0, 1, 0, 0, 0
        data.qpos[7:] = self.default_joints
        mujoco.mj_kinematics(self.plain, data)
        return data

    def _require_matches(self, patterns: Iterable[str], joints: list[str], what: str) -> None:
        """Each pattern names one of some joints, or more."""
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in joints):
                raise ValueError(
                    f"robot {self.model} has no joint {pattern!r}, which {what} names; its joints: {', '.join(joints)}"
                )

    def _require_image(self, what: str, away: float) -> None:
        if away > SAME_PLACE:
            raise ValueError(
                f"robot {self.model} is not symmetric: {what} has no mirror image within {1000 * SAME_PLACE:g} mm; "
                "mend the model or `pose`, or set symmetric=False"
            )


@functools.lru_cache(maxsize=8)
def compiled(robot: LeggedRobot, ground: Terrain, markers: tuple[tuple[str, float], ...]) -> mujoco.MjModel:
    """The compiled model of a robot on a ground, shared: to be read only."""
    if ground is PLANE and not markers:
        return robot.plain
    return compile_for_simulation(robot.spec(ground, dict(markers)), robot.model)


GO1 = LeggedRobot(
    "go1.xml",
    feet=("FR", "FL", "RR", "RL"),
    pose={"*_thigh_joint": 0.9, "*_calf_joint": -1.8},
    start_height=0.3078,
)
GO2 = LeggedRobot(
    "go2.xml",
    feet=("FR", "FL", "RR", "RL"),
    pose={"*_thigh_joint": 0.9, "*_calf_joint": -1.8},
    start_height=0.315,
)
ANYMAL_C = LeggedRobot(
    "anymal_c.xml",
    feet=("LF", "RF", "LH", "RH"),
    pose={"?F_thigh_joint": 0.4, "?F_calf_joint": -0.8, "?H_thigh_joint": -0.4, "?H_calf_joint": 0.8},
    start_height=0.59,
)
G1 = LeggedRobot(
    "g1.xml",
    feet=("left_foot", "right_foot"),
    pose={
        "*_hip_pitch_joint": -0.312,
        "*_knee_joint": 0.669,
        "*_ankle_pitch_joint": -0.363,
        "*_shoulder_pitch_joint": 0.2,
        "left_shoulder_roll_joint": 0.2,
        "right_shoulder_roll_joint": -0.2,
        "*_elbow_joint": 0.6,
    },
    welded=("waist_*", "*_shoulder_*", "*_elbow_*", "*_wrist_*"),
    swing={"*_hip_pitch_joint": -0.25, "*_knee_joint": 0.5, "*_ankle_pitch_joint": -0.25},
    pose_spread={
        "*_hip_pitch_joint": 0.3,
        "*_hip_roll_joint": 0.15,
        "*_hip_yaw_joint": 0.15,
        "*_knee_joint": 0.35,
        "*_ankle_pitch_joint": 0.25,
        "*_ankle_roll_joint": 0.1,
        "waist_yaw_joint": 0.2,
        "waist_roll_joint": 0.08,
        "waist_pitch_joint": 0.1,
        "*_shoulder_yaw_joint": 0.1,
        "*_shoulder_*": 0.15,
        "*_elbow_joint": 0.15,
        "*_wrist_*": 0.3,
    },
    start_height=0.8,
)
G1_FULL = replace(G1, welded=())
