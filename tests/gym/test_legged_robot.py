"""A robot is data: what a model lacks is added, what cannot be added is named, and any number of legs will do."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import mujoco
import numpy as np
import pytest

from motrix_gym.model_files import load_spec
from motrix_gym.tasks.locomotion import robot_model
from motrix_gym.tasks.locomotion.legged_robot import ANYMAL_C, GO1, GO2, LeggedRobot, Servo
from motrix_gym.tasks.locomotion.velocity import VelocityTask
from motrix_gym.testing import check_task, check_vector_env
from motrix_gym.testing.symmetric_model import symmetric
from motrix_gym.vector_env import MotrixVectorEnv

LEG = """
      <body name="{side}_hip" pos="0 {y} -0.2">
        <joint name="{side}_roll" axis="1 0 0" range="-0.5 0.5"/>
        <geom type="sphere" size="0.03" contype="0" conaffinity="0" mass="0.5"/>
        <body name="{side}_thigh">
          <joint name="{side}_pitch" axis="0 1 0" range="-1.5 1.5"/>
          <geom type="capsule" size="0.03" fromto="0 0 0 0 0 -0.3" mass="1"/>
          <body name="{side}_shank" pos="0 0 -0.3">
            <joint name="{side}_knee" axis="0 1 0" range="0 2"/>
            <geom type="capsule" size="0.025" fromto="0 0 0 0 0 -0.25" mass="0.6"/>
            <body name="{side}_sole" pos="0 0 -0.3">
              <joint name="{side}_ankle" axis="0 1 0" range="-1 1"/>
              <geom {foot} type="box" size="0.1 0.04 0.015" pos="0.03 0 0" mass="0.3"/>
            </body>
          </body>
        </body>
      </body>"""
MOTORS = "".join(
    f'<motor joint="{side}_{joint}" gear="2" ctrlrange="-20 20"/>'
    for side in ("left", "right")
    for joint in ("roll", "pitch", "knee", "ankle")
)
NAMED = ('name="left"', 'name="right"')
POSE = {"*_pitch": -0.3, "*_knee": 0.6, "*_ankle": -0.3}
SERVOS = {"*_ankle": Servo(20.0, 1.0), "*": Servo(60.0, 2.0)}


def biped_xml(*, feet=NAMED, base="<freejoint/>", actuators=MOTORS, y=(0.1, -0.1), asset="") -> str:
    """A robot with two legs, as somebody else may have made it: motors, and neither ground nor sensors."""
    legs = "".join(
        LEG.format(side=side, y=at, foot=foot) for side, at, foot in zip(("left", "right"), y, feet, strict=True)
    )
    return (
        '<mujoco><compiler angle="radian" autolimits="true"/><option timestep="0.004"/><default>'
        '<joint damping="0.2" armature="0.01"/></default>'
        f"<asset>{asset}</asset><worldbody>"
        f'<body name="torso" pos="0 0 1">{base}<geom type="box" size="0.08 0.1 0.12" mass="5"/>{legs}</body>'
        f"</worldbody><actuator>{actuators}</actuator></mujoco>"
    )


@pytest.fixture
def biped_file(tmp_path: Path):
    """A function that writes the model of a biped, and gives the path."""

    def write(**parts) -> Path:
        path = tmp_path / "biped.xml"
        path.write_text(biped_xml(**parts))
        return path

    return write


def task_with(own_robot: LeggedRobot, **fields) -> VelocityTask:
    @dataclass(frozen=True, kw_only=True)
    class Own(VelocityTask):
        """A robot that is not one of ours."""

        ROBOT: ClassVar = own_robot

    return Own(**fields)


def biped(path: Path, **data) -> LeggedRobot:
    return LeggedRobot(path, **{"feet": ("left", "right"), "pose": POSE, "servos": SERVOS} | data)


@pytest.mark.parametrize("robot", [GO1, GO2, ANYMAL_C], ids=lambda robot: robot.model)
def test_the_sensors_that_are_added_read_as_those_of_our_own_models(robot):
    """Law: a robot whose sensors, ground and camera were taken away is the same robot once it is complete again."""
    bare = load_spec(robot.model)
    for sensor in list(bare.sensors):
        bare.delete(sensor)
    path = Path(str(robot.model)).with_suffix("").name
    completed = LeggedRobot(robot.model, robot.feet, robot.pose, start_height=robot.start_height)
    robot_model.complete(bare, bare.copy().compile(), path, robot.feet, {})
    ours, theirs = completed.plain, bare.compile()
    qpos = np.array([0, 0, robot.standing_height - 0.04, 1, 0.05, 0.02, 0, *robot.default_joints])
    readings = []
    for model in (ours, theirs):
        data = mujoco.MjData(model)
        data.qpos[:], data.ctrl[:] = qpos, robot.default_joints + 0.2
        mujoco.mj_step(model, data, 40)
        names = [model.sensor(i).name for i in range(model.nsensor)]
        by_group: dict[str, list] = {}
        for name in names:
            if name.partition("/")[0] != "body_contact" or name == robot_model.TRUNK_CONTACT:
                by_group.setdefault(name.partition("/")[0], []).append(data.sensor(name).data.copy())
        readings.append({group: np.concatenate(values) for group, values in by_group.items()})
    assert readings[0].keys() == readings[1].keys()
    for group, values in readings[0].items():
        np.testing.assert_array_equal(readings[1][group], values, err_msg=group)
    assert readings[0]["contact"].any()


def test_a_biped_with_motors_is_a_velocity_task_and_keeps_the_laws(biped_file):
    robot = biped(biped_file())
    envs = MotrixVectorEnv(task_with(robot), 8, max_episode_steps=40, num_threads=1)
    assert envs.single_action_space.shape == (8,)
    assert [envs.observation_blocks[name].stop for name in ("joint_position", "last_action")] == [17, 33]
    check_vector_env(envs)
    np.testing.assert_array_equal(robot.phases, [0.0, 0.5])
    np.testing.assert_array_equal(robot.hips, [0, 4])
    np.testing.assert_array_equal(robot.mirrored_joints.index, [4, 5, 6, 7, 0, 1, 2, 3])
    np.testing.assert_array_equal(robot.mirrored_joints.sign, [-1, 1, 1, 1] * 2)
    assert robot.foot_height == pytest.approx([0.015, 0.015])


def test_a_robot_begins_with_its_feet_just_above_the_ground(biped_file):
    robot = biped(biped_file())
    data = mujoco.MjData(robot.plain)
    data.qpos[:] = 0, 0, robot.standing_height, 1, 0, 0, 0, *robot.default_joints
    mujoco.mj_forward(robot.plain, data)
    assert data.ncon == 0
    data.qpos[2] -= 0.021
    mujoco.mj_forward(robot.plain, data)
    assert data.ncon > 0


def test_servos_hold_the_pose_with_the_torque_of_the_motors(biped_file):
    model = biped(biped_file()).plain
    np.testing.assert_array_equal(model.actuator_forcerange, np.tile([-40.0, 40.0], (8, 1)))  # gear 2 x 20 N m
    np.testing.assert_array_equal(model.actuator_gainprm[:, 0], [60, 60, 60, 20] * 2)
    np.testing.assert_allclose(model.dof_damping[6:], [2.2, 2.2, 2.2, 1.2] * 2)
    np.testing.assert_array_equal(model.actuator_ctrlrange, model.jnt_range[1:])


def test_what_the_defaults_of_a_model_say_of_its_motors_and_geoms_holds_for_no_addition(biped_file, tmp_path):
    """The same motors, written as MJCF files often are; and a robot whose parts do not collide with each other."""
    plain = biped_xml(actuators=MOTORS.replace(' gear="2" ctrlrange="-20 20"', ""))
    motors = '<motor gear="2" ctrlrange="-20 20"/><geom contype="0" rgba="1 0 0 1"/></default>'
    (tmp_path / "defaults.xml").write_text(plain.replace("</default>", motors))
    robot, usual = biped(tmp_path / "defaults.xml"), biped(biped_file())
    for field in ("actuator_gear", "actuator_ctrlrange", "actuator_forcerange", "actuator_gainprm"):
        np.testing.assert_array_equal(getattr(robot.plain, field), getattr(usual.plain, field), err_msg=field)
    np.testing.assert_array_equal(robot.plain.geom("floor").rgba, usual.plain.geom("floor").rgba)
    model = task_with(robot, terrain={"noise": 0.05}).model()
    assert model.geom_contype[model.geom_bodyid == 0].all()
    data = mujoco.MjData(robot.plain)
    data.qpos[:] = 0, 0, robot.standing_height - 0.021, 1, 0, 0, 0, *robot.default_joints
    mujoco.mj_forward(robot.plain, data)
    assert data.ncon > 0


def test_a_biped_that_nobody_made_for_this_is_a_right_task(biped_file):
    report = check_task(task_with(biped(biped_file()), added_mass=(-1.0, 1.0), push_speed=0.5), num_envs=16, steps=30)
    assert not [remark for remark in report.remarks if "mirror" in remark.where]


def test_masses_that_are_not_quite_symmetric_are_no_error_of_a_mirror(biped_file):
    path = biped_file()
    path.write_text(re.sub(r'(name="left" .*)mass="0.3"', r'\1mass="0.33"', path.read_text()))
    task = task_with(biped(path))
    left, right = (task.model().body(name).mass for name in ("left_sole", "right_sole"))
    assert left == 1.1 * right
    report = check_task(task, num_envs=16, steps=30)
    assert not [remark for remark in report.remarks if "mirror" in remark.where]


def test_a_symmetric_model_is_made_symmetric_by_no_change(biped_file):
    """Also where two bodies, as a hip and a thigh, are in one place."""
    as_it_was, model = (biped(biped_file()).plain for _ in range(2))
    mirror = task_with(biped(biped_file())).mirror()
    assert mirror is not None
    symmetric(model, mirror)
    for field in ("body_mass", "body_ipos"):
        np.testing.assert_allclose(getattr(model, field), getattr(as_it_was, field), atol=1e-12)
    np.testing.assert_allclose(np.sort(model.body_inertia), np.sort(as_it_was.body_inertia), atol=1e-12)


def test_feet_may_be_bodies_and_a_root_without_a_joint_is_set_free(biped_file):
    """As URDF files have them."""
    robot = biped(biped_file(feet=("", ""), base=""), feet=("left_sole", "right_sole"))
    assert robot.plain.nq == 7 + 8
    assert robot.trunk == "torso"
    MotrixVectorEnv(task_with(robot), 2, num_threads=1).reset(seed=0)


POSITION = "".join(f'<position kp="50" joint="{side}_roll"/>' for side in ("left", "right"))
MESH = '<mesh name="shell" file="no_such.stl"/>'
BAD_ROBOTS = [
    ({"asset": MESH}, {}, "biped.xml': Error opening file"),
    ({}, {"feet": ("left", "rigth")}, "the name of the foot 'rigth'; did you mean 'right'?"),
    ({}, {"pose": {"*_kne": 0.5}}, "no joint '*_kne', which pose names; its joints: left_roll"),
    ({}, {"servos": {"*_kne": Servo(1, 1)}}, "no joint matches '*_kne', which `servos` names"),
    ({}, {"servos": {"*_knee": Servo(1, 1)}}, "no pattern of `servos` matches joint 'left_roll'"),
    ({}, {"servos": {}}, "8 actuators (, , , , , , , ) are no position servos of joints; give `servos`"),
    ({"actuators": POSITION}, {"servos": {}}, "no position servo for left_pitch, left_knee"),
    ({"actuators": ""}, {}, "the model says no greatest torque of joint 'left_roll'; give max_torque"),
    ({"y": (0.1, -0.2)}, {}, "is not symmetric: foot 'left' has no mirror image within 10 mm"),
    ({}, {"welded": ("*_elbow",)}, "has no joint '*_elbow', which welded names; its joints: left_roll, left_pitch"),
    ({}, {"swing": {"*_elbow": 0.1}}, "has no joint '*_elbow', which swing names"),
    ({}, {"pose_spread": {"*_elbow": 0.1}}, "has no joint '*_elbow', which pose_spread names"),
    ({}, {"pose_spread": {"*_knee": 0.0}}, "has a pose_spread of 0.0 for '*_knee'; it is above 0 rad"),
    ({}, {"gait": (0.0, 0.5, 0.5)}, "has 2 feet and a gait of (0.0, 0.5, 0.5); give a phase for each"),
    ({}, {"gait": (0.0, 0.0)}, "a foot and its mirror image must be half a cycle apart"),
    ({"base": '<joint name="rail" type="slide"/>'}, {}, "has 0 bodies with a free joint; it takes one, the trunk"),
]


@pytest.mark.parametrize(("parts", "data", "message"), BAD_ROBOTS)
def test_what_a_robot_lacks_is_said_by_name(biped_file, parts, data, message):
    path = biped_file(**parts)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        MotrixVectorEnv(task_with(biped(path, **data)), 2, num_threads=1).reset(seed=0)
    assert "\n" not in str(error.value)
    assert "biped.xml" in str(error.value)


def test_a_welded_joint_is_gone_and_the_robot_stands_as_it_did(biped_file):
    path = biped_file()
    whole, welded = biped(path), biped(path, welded=("*_ankle",))
    assert welded.joints == [name for name in whole.joints if not name.endswith("ankle")]
    assert [welded.plain.actuator(i).name for i in range(welded.plain.nu)] == welded.joints
    assert welded.standing_height == pytest.approx(whole.standing_height, abs=1e-12)
    feet = []
    for robot in (whole, welded):
        data = mujoco.MjData(robot.plain)
        data.qpos[7:] = robot.default_joints
        mujoco.mj_kinematics(robot.plain, data)
        feet.append([*data.geom("left").xpos, *data.geom("left").xmat])
    np.testing.assert_allclose(*feet, atol=1e-12)
    check_vector_env(MotrixVectorEnv(task_with(welded), 4, max_episode_steps=40, num_threads=1))


def test_a_body_loses_all_of_its_joints_or_none(biped_file):
    path = biped_file()
    path.write_text(
        path.read_text().replace('<joint name="left_knee"', '<joint name="left_twist"/><joint name="left_knee"')
    )
    message = "has joint 'left_twist' in body 'left_shank' beside one that is welded; weld all or none"
    with pytest.raises(ValueError, match=message):
        _ = biped(path, welded=("*_knee",)).plain


def test_a_robot_that_is_not_symmetric_needs_no_mirror(biped_file):
    robot = biped(biped_file(y=(0.1, -0.2)), symmetric=False)
    task = task_with(robot, observation_noise={"joint_position": 0.1}, friction=(0.5, 1.0))
    assert task.mirror() is None
    envs = MotrixVectorEnv(task, 4, num_threads=1)
    envs.reset(seed=0)
    for _ in range(5):
        envs.step(envs.action_space.sample())


def test_terrain_replaces_the_floor_that_was_added(biped_file):
    task = task_with(biped(biped_file()), terrain={"noise": 0.05}, height_scan=True)
    envs = MotrixVectorEnv(task, 2, num_threads=1)
    assert envs.reset(seed=0)[0].shape == (2, 33 + 3 + 2 + 77)


def urdf() -> str:
    """A robot with four legs of two joints each, as URDF has it: a root without a joint, feet that are links."""
    inertia = '<inertia ixx="0.01" ixy="0" ixz="0" iyy="0.01" iyz="0" izz="0.01"/>'
    limits = '<axis xyz="0 1 0"/><limit lower="-2" upper="2" effort="20" velocity="10"/>'
    places = {"FL": "0.2 0.1 -0.1", "FR": "0.2 -0.1 -0.1", "RL": "-0.2 0.1 -0.1", "RR": "-0.2 -0.1 -0.1"}

    def link(name: str, mass: float, geometry: str) -> str:
        shape = f"<collision><geometry>{geometry}</geometry></collision>" if geometry else ""
        return f'<link name="{name}"><inertial><mass value="{mass}"/>{inertia}</inertial>{shape}</link>'

    def joint(name: str, kind: str, parent: str, child: str, place: str) -> str:
        return (
            f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
            f'<origin xyz="{place}"/>{limits if kind == "revolute" else ""}</joint>'
        )

    parts = [link("base", 5.0, '<box size="0.4 0.2 0.1"/>')]
    for leg, place in places.items():
        parts += [
            link(f"{leg}_thigh", 0.5, ""),
            link(f"{leg}_calf", 0.3, ""),
            link(f"{leg}_foot", 0.05, '<sphere radius="0.03"/>'),
            joint(f"{leg}_thigh_joint", "revolute", "base", f"{leg}_thigh", place),
            joint(f"{leg}_calf_joint", "revolute", f"{leg}_thigh", f"{leg}_calf", "0 0 -0.2"),
            joint(f"{leg}_fixed", "fixed", f"{leg}_calf", f"{leg}_foot", "0 0 -0.2"),
        ]
    return f'<robot name="four">{"".join(parts)}</robot>'


def test_a_urdf_is_a_velocity_task(tmp_path):
    (tmp_path / "four.urdf").write_text(urdf())
    robot = LeggedRobot(
        tmp_path / "four.urdf",
        feet=("FL_foot", "FR_foot", "RL_foot", "RR_foot"),
        pose={"*_thigh_joint": 0.7, "*_calf_joint": -1.4},
        servos={"*": Servo(40.0, 1.5)},
    )
    assert robot.trunk == "base"
    np.testing.assert_array_equal(robot.plain.actuator_forcerange, np.tile([-20.0, 20.0], (8, 1)))
    np.testing.assert_array_equal(robot.mirrored_joints.sign, np.ones(8))
    envs = MotrixVectorEnv(task_with(robot), 4, num_threads=1)
    envs.reset(seed=0)
    for _ in range(50):
        *_, info = envs.step(np.zeros((4, 8)))
        assert not info["termination"]["trunk_contact"].any()
    assert (envs.get_state()["qpos"][:, 2] > 0.7 * robot.standing_height).all()
