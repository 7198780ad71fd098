"""The G1 of `motrix_gym.models` is that of the published figures, whole or with its upper body welded."""

from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from motrix_gym.model_files import load_model
from motrix_gym.tasks.locomotion.legged_robot import G1, G1_FULL

FACTS = yaml.safe_load((Path(__file__).parents[1] / "facts" / "g1.yaml").read_text("utf-8"))
HINGES = [body["joint"] for body in FACTS["bodies"] if "joint" in body]
NAMES = [hinge["name"] for hinge in HINGES]
RANGES = np.array([hinge["range"] for hinge in HINGES])
FEET = ("left_foot", "right_foot")
LEGS = 12  # joints, the first ones
IN_THE_AIR = 10.0  # m


def rotor_inertia(joint: str) -> float:
    """The inertia of the rotors as a joint feels it: each times the square of the ratio of the gears after it."""
    total = 0.0
    for name in motors_of(joint):
        motor = FACTS["motors"][name]
        ratios = np.array([np.prod(motor["gears"][k + 1 :]) for k in range(3)])
        total += float(np.array(motor["rotor_inertias"]) @ ratios**2)
    return total


def motors_of(joint: str) -> list[str]:
    return next(motors for part, motors in FACTS["motor_of_joint"].items() if joint.endswith(part))


def figures(joint: str) -> dict[str, float]:
    """The figures of a servo: rotors; gains of the leg, or those of a natural frequency and a damping ratio."""
    inertia, frequency = rotor_inertia(joint), 2 * np.pi * FACTS["natural_frequency"]
    by_rule = {"kp": inertia * frequency**2, "kd": 2 * FACTS["damping_ratio"] * inertia * frequency}
    return {
        "armature": inertia,
        **next((gains for part, gains in FACTS["legs"].items() if f"_{part}" in joint), by_rule),
        "torque_limit": sum(FACTS["motors"][motor]["torque_limit"] for motor in motors_of(joint)),
    }


def standing(joint: str) -> float:
    """The angle of a joint when standing, rad."""
    pose = FACTS["stand_pose"]
    return pose.get(joint, next((angle for part, angle in pose.items() if joint.endswith(part)), 0.0))


STANDING = np.array([standing(name) for name in NAMES])


def from_facts(joints: list[str]) -> mujoco.MjModel:
    """The robot rebuilt from the figures alone, without ground and geometry; all but some joints are held."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.compiler.fusestatic = False
    bodies = {"world": spec.worldbody}
    for body in FACTS["bodies"]:
        hinge = body.get("joint")
        held = hinge is not None and hinge["name"] not in joints
        turn = np.array(body.get("quat", [1, 0, 0, 0]), dtype=float)
        if held:
            angle = STANDING[NAMES.index(hinge["name"])] / 2
            by = np.array([np.cos(angle), *(np.sin(angle) * np.array(hinge["axis"]))])
            mujoco.mju_mulQuat(turn, turn.copy(), by)
        bodies[body["name"]] = bodies[body["parent"]].add_body(
            name=body["name"],
            pos=body["pos"],
            quat=turn,
            mass=body["mass"],
            ipos=body["com"],
            fullinertia=[body["inertia"][k] for k in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")],
            explicitinertial=True,
        )
        if hinge is None:
            bodies[body["name"]].add_freejoint()
        elif not held:
            add_joint(spec, bodies[body["name"]], hinge)
    return spec.compile()


def add_joint(spec: mujoco.MjSpec, body: mujoco.MjsBody, hinge: dict) -> None:
    name, servo = f"{hinge['name']}_joint", figures(hinge["name"])
    body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=hinge["axis"],
        range=hinge["range"],
        limited=True,
        armature=servo["armature"],
        damping=[servo["kd"], 0, 0],
    )
    actuator = spec.add_actuator(name=hinge["name"], target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.set_to_position(kp=servo["kp"])
    actuator.forcelimited, actuator.forcerange = True, [-servo["torque_limit"], servo["torque_limit"]]


def exact(model: mujoco.MjModel) -> mujoco.MjModel:
    """The model with a solver that goes on until it is done."""
    model.opt.timestep = 0.005
    model.opt.iterations, model.opt.ls_iterations, model.opt.tolerance = 200, 200, 1e-14
    return model


PAIRS = {
    "whole": (exact(load_model("g1.xml")), exact(from_facts(NAMES))),
    "legs": (exact(G1.spec().compile()), exact(from_facts(NAMES[:LEGS]))),
}
every_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


@pytest.fixture
def model() -> mujoco.MjModel:
    return load_model("g1.xml")


def columns(size: int, low: float, high: float) -> st.SearchStrategy[np.ndarray]:
    return arrays(float, size, elements=st.floats(low, high, allow_subnormal=False))


@st.composite
def motions(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """A turn of the pelvis, a unit quaternion; places of joints in their ranges, 0 to 1; any velocity; such targets."""
    turn = draw(columns(4, -1, 1).filter(lambda x: np.linalg.norm(x) > 0.1))
    return turn / np.linalg.norm(turn), draw(columns(29, 0, 1)), draw(columns(35, -8, 8)), draw(columns(29, 0, 1))


def simulate(model: mujoco.MjModel, motion: tuple[np.ndarray, ...]) -> mujoco.MjData:
    """The robot in motion within its joint limits, high above the ground."""
    turn, share, qvel, target = motion
    data, (low, high) = mujoco.MjData(model), RANGES[: model.nu].T
    data.qpos = np.concatenate([[0, 0, IN_THE_AIR], turn, low + (high - low) * share[: model.nu]])
    data.qvel, data.ctrl = qvel[: model.nv], low + (high - low) * target[: model.nu]
    mujoco.mj_forward(model, data)
    return data


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 1e-8 of the largest element, and to 1e-8 where all are small."""
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-8 * max(1.0, np.abs(expected).max()))


@every_pair
@given(motions())
def test_mass_matrix_is_that_of_the_facts(pair, motion):
    matrices = []
    for model in pair:
        matrix = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, simulate(model, motion), matrix)
        matrices.append(matrix)
    assert_close(*matrices)


@every_pair
@given(motions())
def test_dynamics_in_the_air_are_those_of_the_facts(pair, motion):
    ours, theirs = (simulate(model, motion) for model in pair)
    for quantity in ("qfrc_passive", "qfrc_bias", "qfrc_actuator", "qacc_smooth"):
        assert_close(getattr(ours, quantity), getattr(theirs, quantity))


def test_total_mass(model):
    assert model.body_mass.sum() == pytest.approx(FACTS["total_mass"], rel=1e-7)
    assert G1.plain.body_mass.sum() == pytest.approx(FACTS["total_mass"], rel=1e-7)


def test_joints_and_servos_are_those_of_the_facts_in_their_order(model):
    assert [model.joint(i).name for i in range(1, model.njnt)] == [f"{name}_joint" for name in NAMES]
    assert [model.actuator(i).name for i in range(model.nu)] == NAMES
    np.testing.assert_allclose(model.jnt_range[1:], RANGES)
    np.testing.assert_allclose(model.actuator_ctrlrange, RANGES)
    servos = {key: np.array([figures(name)[key] for name in NAMES]) for key in figures(NAMES[0])}
    np.testing.assert_allclose(model.dof_armature[6:], servos["armature"], rtol=1e-9)
    np.testing.assert_allclose(model.dof_damping[6:], servos["kd"], rtol=1e-9)
    np.testing.assert_allclose(model.actuator_gainprm[:, 0], servos["kp"], rtol=1e-9)
    np.testing.assert_allclose(model.actuator_forcerange[:, 1], servos["torque_limit"])


def test_home_is_the_standing_pose_with_the_feet_on_the_ground(model):
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.qpos[7:], STANDING)
    np.testing.assert_allclose(data.ctrl, STANDING)
    assert data.qpos[2] == pytest.approx(FACTS["stand_height"], abs=0.005)
    np.testing.assert_allclose(G1_FULL.default_joints, STANDING)
    np.testing.assert_allclose(G1.default_joints, STANDING[:LEGS])
    for foot in FEET:
        down, geom = data.geom(foot).xmat.reshape(3, 3)[2], model.geom(foot)
        assert data.geom(foot).xpos[2] - np.abs(down) @ geom.size == pytest.approx(0, abs=1e-6)
        assert abs(down[2]) > 0.999
        assert geom.friction[0] == FACTS["friction"]


def test_the_welded_robot_is_the_whole_one_as_it_stands(model):
    """Every body of the robot with twelve joints is where it is with 29 of them, whatever its legs do."""
    legs = G1.plain
    rng = np.random.default_rng(0)
    angles = rng.uniform(*RANGES[:LEGS].T)
    places = []
    for robot, joints in ((model, np.concatenate([angles, STANDING[LEGS:]])), (legs, angles)):
        data = mujoco.MjData(robot)
        data.qpos = np.concatenate([[0, 0, 1, 1, 0, 0, 0], joints])
        mujoco.mj_kinematics(robot, data)
        places.append([[*data.body(body["name"]).xpos, *data.body(body["name"]).xmat] for body in FACTS["bodies"]])
    np.testing.assert_allclose(*places, atol=1e-9)


def test_the_home_of_the_welded_robot_has_the_angles_that_are_left():
    home = G1.plain.key("home")
    np.testing.assert_allclose(home.qpos[7:], G1.default_joints, atol=1e-9)
    np.testing.assert_allclose(home.ctrl, G1.default_joints, atol=1e-9)
    np.testing.assert_allclose(home.qpos[:7], G1_FULL.plain.key("home").qpos[:7])


def test_a_leg_touches_the_other_one_and_nothing_else_of_the_robot(model):
    robot = [i for i in range(model.ngeom) if model.geom_bodyid[i]]
    touching = {
        (model.geom(a).name.split("_")[0], model.geom(b).name.split("_")[0])
        for a in robot
        for b in robot
        if model.geom_contype[a] & model.geom_conaffinity[b]
    }
    assert touching == {("left", "right")}
    parts = {model.geom(i).name.partition("_")[2] for i in robot if model.geom_contype[i]}
    assert parts == {"thigh", "shin", "foot"}


def test_legs_that_meet_push_each_other_away(model):
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    data.qpos[2] = IN_THE_AIR
    data.joint("left_hip_roll_joint").qpos, data.joint("right_hip_roll_joint").qpos = -0.2, 0.2
    mujoco.mj_forward(model, data)
    assert data.ncon > 0
    pairs = {frozenset(model.geom(int(g)).name.split("_")[0] for g in contact.geom) for contact in data.contact}
    assert pairs == {frozenset({"left", "right"})}
    assert data.joint("left_hip_roll_joint").qacc > 0 > data.joint("right_hip_roll_joint").qacc


def test_drawn_geometry_collides_with_nothing(model):
    drawn = [i for i in range(model.ngeom) if not model.geom(i).name]
    assert drawn
    assert not model.geom_contype[drawn].any()
    assert not model.geom_conaffinity[drawn].any()


def test_any_targets_leave_the_simulation_finite(model):
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    for _ in range(500):
        data.ctrl = rng.uniform(*model.actuator_ctrlrange.T)
        mujoco.mj_step(model, data, nstep=4)
        assert np.abs(data.qvel).max() < 100
    assert not any(warning.number for warning in data.warning)


def test_the_mirror_image_of_a_joint_is_the_same_one_of_the_other_side():
    for robot in (G1, G1_FULL):
        for joint, image in enumerate(robot.mirrored_joints.index):
            name = robot.joints[joint].replace("left", "?").replace("right", "left").replace("?", "right")
            assert robot.joints[int(image)] == name
            turns_about = next(hinge["axis"] for hinge in HINGES if f"{hinge['name']}_joint" == robot.joints[joint])
            assert robot.mirrored_joints.sign[joint] == (1 if turns_about == [0, 1, 0] else -1)
    np.testing.assert_array_equal(G1.hips, [1, 7])
