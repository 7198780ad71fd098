"""Makes a robot's model complete for tasks: names, a place to stand, servos and sensors; and says what is missing."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

import mujoco
import numpy as np

from motrix_gym.fields import nearest
from motrix_gym.terrain import FLOOR

Value = TypeVar("Value")
WORLD = "world"
DOWN = "down"  # a site whose z axis points down
IMU = "imu"  # a site at the origin of the trunk, with its axes
TRUNK_CONTACT = "body_contact/trunk"


@dataclass(frozen=True)
class Servo:
    """A position servo of a joint.

    Attributes:
        stiffness: Torque a radian that the joint is from its target, N m/rad.
        damping: Torque a rad/s, beside the damping that the joint has, N m s/rad.
        max_torque: The greatest torque, N m; without it that of the actuator that the model has for the joint.
    """

    stiffness: float
    damping: float
    max_torque: float | None = None


def weld(spec: mujoco.MjSpec, model: mujoco.MjModel, file: str, angles: Mapping[str, float]) -> None:
    """Takes joints out of a model, which stays as it is with them at some angles; their actuators and sensors go too.

    Args:
        spec: The model.
        model: The same model as its file has it, compiled.
        file: Its file, for messages.
        angles: The angle of each joint, rad, by its name.

    Raises:
        ValueError: A body would lose some of its joints, and not all.
    """
    if not angles:
        return
    _shorten_keys(spec, model, angles)
    data = mujoco.MjData(model)
    for name, angle in angles.items():
        data.joint(name).qpos[:] = angle
    mujoco.mj_kinematics(model, data)
    for body in {id(joint.parent): joint.parent for joint in spec.joints if joint.name in angles}.values():
        if kept := [joint.name for joint in body.joints if joint.name not in angles]:
            raise ValueError(
                f"robot {file} has joint {kept[0]!r} in body {body.name!r} beside one that is welded; weld all or none"
            )
        body_id = int(model.joint(body.joints[0].name).bodyid[0])
        body.pos, body.quat = _frame(model, data, body_id)
        body.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
    gone = {*angles, *(actuator.name for actuator in spec.actuators if actuator.target in angles)}
    for sensor in [sensor for sensor in spec.sensors if sensor.objname in gone]:
        spec.delete(sensor)
    for actuator in [actuator for actuator in spec.actuators if actuator.target in angles]:
        spec.delete(actuator)
    for joint in [joint for joint in spec.joints if joint.name in angles]:
        spec.delete(joint)


def _shorten_keys(spec: mujoco.MjSpec, model: mujoco.MjModel, joints: Collection[str]) -> None:
    """Takes some joints, and their actuators, out of the keyframes of a model."""
    gone = [model.joint(name).id for name in joints]
    driven = [actuator for actuator in range(model.nu) if model.actuator_trnid[actuator, 0] in gone]
    lost = {"qpos": model.jnt_qposadr[gone], "qvel": model.jnt_dofadr[gone], "ctrl": driven}
    for key, (name, places) in itertools.product(spec.keys, lost.items()):
        if len(values := getattr(key, name)):
            setattr(key, name, np.delete(values, places))


def _frame(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a body is in its parent: (3,) m, and a unit quaternion."""
    parent = int(model.body_parentid[body])
    back, place, turn = np.zeros(4), np.zeros(3), np.zeros(4)
    mujoco.mju_negQuat(back, data.xquat[parent])
    mujoco.mju_rotVecQuat(place, data.xpos[body] - data.xpos[parent], back)
    mujoco.mju_mulQuat(turn, back, data.xquat[body])
    return place, turn


def complete(
    spec: mujoco.MjSpec, model: mujoco.MjModel, file: str, feet: Sequence[str], servos: Mapping[str, Servo]
) -> None:
    """Adds to a model what tasks of legged robots need and the model lacks.

    Args:
        spec: The model.
        model: The same model as its file has it, compiled.
        file: Its file, for messages.
        feet: Geoms, or bodies with one geom that collides.
        servos: Servos that replace the actuators, by pattern of joint names; none keeps the actuators.

    Raises:
        ValueError: What cannot be added.
    """
    spec.compiler.fusestatic = False  # the feet of a URDF are bodies that do not move in their legs
    trunk = _trunk(spec, file)
    problems = list(_name_feet(spec, feet))
    if servos:
        problems += _replace_actuators(spec, model, servos)
    if problems:
        raise ValueError(f"robot {file}: {'; '.join(problems)}")
    _add_scene(spec, trunk, feet, float(model.stat.extent))
    _add_sensors(spec, trunk, feet)


def check(model: mujoco.MjModel, file: str, feet: Sequence[str]) -> None:
    """Checks that each joint is a hinge with a position servo, in the order of the joints.

    Raises:
        ValueError: The message lists all that is wrong.
    """
    names = [model.joint(i).name for i in range(1, model.njnt)]
    servo_of, others = {}, []
    problems = [f"joint {model.joint(i).name!r} is no hinge" for i in range(1, model.njnt) if model.jnt_type[i] != 3]
    for i in range(model.nu):
        at_joint = model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT
        affine = model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_AFFINE
        holds = affine and model.actuator_biasprm[i, 1] == -model.actuator_gainprm[i, 0] < 0
        if at_joint and holds:
            servo_of[model.joint(model.actuator_trnid[i, 0]).name] = i
        else:
            others.append(model.actuator(i).name)
    if others:
        named = ", ".join(others)
        problems.append(f"{len(others)} actuators ({named}) are no position servos of joints; give `servos`")
    elif missing := [name for name in names if name not in servo_of]:
        problems.append(f"no position servo for {', '.join(missing)}; give `servos`")
    elif list(servo_of) != names:
        problems.append(f"its servos are in the order {', '.join(servo_of)}; its joints are {', '.join(names)}")
    sensors = [model.sensor(i).name for i in range(model.nsensor)]
    if TRUNK_CONTACT not in sensors:
        problems.append(f"it has sensors of the group body_contact, and none of the name {TRUNK_CONTACT!r}")
    for group in ("position", "velocity", "contact"):
        found = [name for name in sensors if name.startswith(f"{group}/")]
        if found != (wanted := [f"{group}/{foot}" for foot in feet]):
            problems.append(f"its sensors are {', '.join(found)}; the feet need {', '.join(wanted)}, in this order")
    if problems:
        raise ValueError(f"robot {file}: {'; '.join(problems)}")


def add_markers(spec: mujoco.MjSpec, markers: Mapping[str, float]) -> None:
    """Adds flat discs that pictures show, by name, each with its radius, m."""
    for name, radius in markers.items():
        spec.worldbody.add_body(name=name, mocap=True, pos=[0, 0, 0.002]).add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[radius, 0.002, 0],
            rgba=[0.2, 0.6, 0.3, 1],
            contype=0,
            conaffinity=0,
        )


def matched(table: Mapping[str, Value], joint: str) -> Value | None:
    """The value of the first pattern that the name of a joint matches, None if it matches none."""
    return next((value for pattern, value in table.items() if fnmatchcase(joint, pattern)), None)


def foot_depth(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> float:
    """How far a geom reaches below its centre, m."""
    down, size = data.geom_xmat[geom].reshape(3, 3)[2], model.geom_size[geom]
    match mujoco.mjtGeom(int(model.geom_type[geom])):
        case mujoco.mjtGeom.mjGEOM_SPHERE:
            return float(size[0])
        case mujoco.mjtGeom.mjGEOM_CAPSULE:
            return float(size[0] + abs(down[2]) * size[1])
        case mujoco.mjtGeom.mjGEOM_BOX:
            return float(np.abs(down) @ size)
        case mujoco.mjtGeom.mjGEOM_CYLINDER:
            return float(abs(down[2]) * size[1] + size[0] * np.sqrt(max(0.0, 1 - down[2] ** 2)))
        case mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.mesh(model.geom_dataid[geom])
            first = int(mesh.vertadr[0])
            return float(-(model.mesh_vert[first : first + int(mesh.vertnum[0])] @ down).min())
        case _:
            return float(np.linalg.vector_norm(down * size))  # an ellipsoid


def _trunk(spec: mujoco.MjSpec, file: str) -> mujoco.MjsBody:
    """The body that moves freely; the root of a model without one is set free."""
    free = [body for body in spec.bodies if any(j.type == mujoco.mjtJoint.mjJNT_FREE for j in body.joints)]
    roots = [body for body in spec.worldbody.bodies if not body.mocap]
    if not free and len(roots) == 1 and not roots[0].joints:
        roots[0].add_freejoint()
        free = roots
    if len(free) != 1:
        raise ValueError(f"robot {file} has {len(free)} bodies with a free joint; it takes one, the trunk")
    return free[0]


def _name_feet(spec: mujoco.MjSpec, feet: Sequence[str]) -> Iterator[str]:
    """Names the geoms of feet that are given as bodies; returns what is wrong."""
    geoms = [geom.name for geom in spec.geoms if geom.name]
    bodies = {body.name: body for body in spec.bodies}
    for foot in feet:
        if foot in geoms:
            continue
        if foot not in bodies:
            yield f"no geom and no body has the name of the foot {foot!r}{nearest(foot, [*geoms, *bodies])}"
            continue
        colliding = [geom for geom in bodies[foot].geoms if geom.contype or geom.conaffinity]
        if len(colliding) == 1:
            colliding[0].name = foot
        else:
            yield f"the foot {foot!r} is a body with {len(colliding)} geoms that collide; give the name of one of them"


def _replace_actuators(spec: mujoco.MjSpec, model: mujoco.MjModel, servos: Mapping[str, Servo]) -> list[str]:
    """Puts position servos in the place of all actuators, with the torques of the model; returns what is wrong."""
    torques = _torques(model)
    joints = [joint for joint in spec.joints if joint.type != mujoco.mjtJoint.mjJNT_FREE]
    names = [model.joint(i).name for i in range(model.njnt) if int(model.jnt_type[i]) != mujoco.mjtJoint.mjJNT_FREE]
    problems = [
        f"no joint matches {pattern!r}, which `servos` names (its joints: {', '.join(names)})"
        for pattern in servos
        if not any(fnmatchcase(name, pattern) for name in names)
    ]
    for key in list(spec.keys):
        spec.delete(key)  # of as many control signals as there were actuators
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for joint in joints:
        servo = matched(servos, joint.name)
        if servo is None:
            problems.append(f"no pattern of `servos` matches joint {joint.name!r}")
            continue
        torque = torques.get(joint.name) if servo.max_torque is None else servo.max_torque
        if torque is None:
            problems.append(f"the model says no greatest torque of joint {joint.name!r}; give max_torque")
            continue
        joint.damping = [joint.damping[0] + servo.damping, *joint.damping[1:]]
        actuator = spec.add_actuator(name=joint.name, target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.gear = [1, 0, 0, 0, 0, 0]  # what the model's defaults say of motors holds for no servo
        actuator.ctrllimited, actuator.ctrlrange = mujoco.mjtLimited.mjLIMITED_AUTO, [0, 0]
        actuator.set_to_position(servo.stiffness, inheritrange=bool(np.ptp(joint.range)))
        actuator.forcelimited, actuator.forcerange = mujoco.mjtLimited.mjLIMITED_TRUE, [-torque, torque]
    return problems


def _torques(model: mujoco.MjModel) -> dict[str, float]:
    """The greatest torque of the actuator of each joint, N m, where the model says one."""
    found: dict[str, float] = {}
    for joint in range(model.njnt):
        if model.jnt_actfrclimited[joint]:
            found[model.joint(joint).name] = float(model.jnt_actfrcrange[joint, 1])
    for i in range(model.nu):
        if model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT:
            gear, gain = model.actuator_gear[i, 0], model.actuator_gainprm[i, 0]
            limits = [found.get(name := model.joint(model.actuator_trnid[i, 0]).name, np.inf)]
            if model.actuator_forcelimited[i]:
                limits.append(abs(gear) * model.actuator_forcerange[i, 1])
            if model.actuator_ctrllimited[i] and model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_NONE:
                limits.append(abs(gear * gain) * model.actuator_ctrlrange[i, 1])
            if np.isfinite(min(limits)):
                found[name] = float(min(limits))
    return found


def _add_scene(spec: mujoco.MjSpec, trunk: mujoco.MjsBody, feet: Sequence[str], size: float) -> None:
    """A floor with a light and a sky where the model has no ground, and a camera that follows the trunk.

    Args:
        spec: The model.
        trunk: Its trunk.
        feet: The geoms of its feet.
        size: How large the model is, m.
    """
    planes = [geom for geom in spec.worldbody.geoms if geom.type == mujoco.mjtGeom.mjGEOM_PLANE]
    if len(planes) == 1:
        planes[0].name = FLOOR
    elif not spec.worldbody.geoms:
        builtin = mujoco.mjtBuiltin
        spec.visual.headlight.ambient = spec.visual.headlight.diffuse = [0.4, 0.4, 0.4]
        spec.add_texture(
            name="sky",
            type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
            builtin=builtin.mjBUILTIN_GRADIENT,
            rgb1=[0.75, 0.84, 0.92],
            rgb2=[0.95, 0.97, 0.99],
            width=64,
            height=384,
        )
        spec.add_texture(
            name=FLOOR,
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            builtin=builtin.mjBUILTIN_CHECKER,
            rgb1=[0.62, 0.66, 0.70],
            rgb2=[0.54, 0.58, 0.62],
            width=256,
            height=256,
        )
        material = spec.add_material(name=FLOOR, texrepeat=[2, 2], texuniform=True)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = FLOOR
        spec.worldbody.add_geom(
            name=FLOOR,
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[0, 0, 0.05],
            material=FLOOR,
            rgba=[0.5, 0.5, 0.5, 1],  # as of a geom without a colour, whatever the model's defaults say of geoms
            contype=1,
            conaffinity=1,
        )
        trunk.add_light(name="sun", mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK, pos=[0.6, -0.8, 2], dir=[-0.3, 0.4, -1])
        for geom in spec.geoms:
            if geom.name in feet:
                geom.priority = 1  # the friction of the foot counts, whatever that of the floor
    if not any(camera.name == "track" for camera in spec.cameras):
        camera = trunk.add_camera(
            name="track", mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK, pos=[0.8 * size, -0.9 * size, 0.3 * size], fovy=40
        )
        camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
        camera.alt.xyaxes = [0.763, 0.647, 0, -0.202, 0.238, 0.950]
    screen = spec.visual.global_
    screen.offwidth, screen.offheight = max(screen.offwidth, 1280), max(screen.offheight, 960)


def _add_sensors(spec: mujoco.MjSpec, trunk: mujoco.MjsBody, feet: Sequence[str]) -> None:
    """The sensors that tasks of legged robots read, where the model has none of their name."""
    sites = [site.name for site in spec.sites]
    if DOWN not in sites:
        spec.worldbody.add_site(name=DOWN, quat=[0, 1, 0, 0], group=5)
    site = next((s.name for s in trunk.sites if s.name == IMU and not np.any(s.pos)), None)
    if site is None:
        site = IMU if IMU not in sites else "trunk_frame"
        trunk.add_site(name=site, group=5)
    kind, of = mujoco.mjtSensor, mujoco.mjtObj
    frame = {"objtype": of.mjOBJ_SITE, "objname": site}
    wanted = {
        "gravity_direction": {
            "type": kind.mjSENS_FRAMEZAXIS,
            "objtype": of.mjOBJ_SITE,
            "objname": DOWN,
            "reftype": of.mjOBJ_SITE,
            "refname": site,
        },
        "linear_velocity": {"type": kind.mjSENS_VELOCIMETER, **frame},
        "angular_velocity": {"type": kind.mjSENS_GYRO, **frame},
        **{f"position/{f}": {"type": kind.mjSENS_FRAMEPOS, "objtype": of.mjOBJ_GEOM, "objname": f} for f in feet},
        **{f"velocity/{f}": {"type": kind.mjSENS_FRAMELINVEL, "objtype": of.mjOBJ_GEOM, "objname": f} for f in feet},
        **{f"contact/{foot}": _contact(of.mjOBJ_GEOM, foot) for foot in feet},
        TRUNK_CONTACT: _contact(of.mjOBJ_BODY, trunk.name),
        **{
            f"torque/{joint.name}": {
                "type": kind.mjSENS_JOINTACTFRC,
                "objtype": of.mjOBJ_JOINT,
                "objname": joint.name,
            }
            for joint in spec.joints
            if joint.type != mujoco.mjtJoint.mjJNT_FREE
        },
    }
    groups = {sensor.name.partition("/")[0] for sensor in spec.sensors}
    for name, sensor in wanted.items():
        if name.partition("/")[0] not in groups:  # a group that the model has is taken as it is, and checked
            spec.add_sensor(name=name, **sensor)


def _contact(kind: mujoco.mjtObj, name: str) -> dict:
    """How many contacts something has with the ground."""
    return {
        "type": mujoco.mjtSensor.mjSENS_CONTACT,
        "objtype": kind,
        "objname": name,
        "reftype": mujoco.mjtObj.mjOBJ_BODY,
        "refname": WORLD,
        "intprm": [1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND), 0, 1],
    }
