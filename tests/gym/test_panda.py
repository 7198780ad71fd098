"""The Panda of `motrix_gym.models` is that of the published figures, and goes where its targets are."""

from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from motrix_gym.model_files import load_model
from motrix_gym.tasks.manipulation.panda import MAX_LEAD

FACTS = yaml.safe_load((Path(__file__).parents[1] / "facts" / "panda.yaml").read_text("utf-8"))
ARM = slice(0, 7)
HOME = np.array([0.0, -0.2, 0.0, -2.3, 0.0, 2.1, 0.7854])


@pytest.fixture
def model() -> mujoco.MjModel:
    return load_model("panda.xml")


def from_facts() -> mujoco.MjModel:
    """The arm and its hand rebuilt from the figures alone, its weight borne; no geometry, the fingers not tied."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    bodies = {"world": spec.worldbody}
    for figures in FACTS["bodies"]:
        name = figures["name"]
        bodies[name] = bodies[figures["parent"]].add_body(
            name=name,
            pos=figures["pos"],
            quat=figures.get("quat", [1, 0, 0, 0]),
            mass=figures["mass"],
            ipos=figures["com"],
            fullinertia=[figures["inertia"][k] for k in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")],
            explicitinertial=True,
            gravcomp=float(name != "link0"),
        )
        if "joint" not in figures:
            continue
        joint = figures["joint"]
        finger = "finger" in name
        number = int(joint["name"][-1]) - 1
        bodies[name].add_joint(
            name=joint["name"],
            type=mujoco.mjtJoint.mjJNT_SLIDE if finger else mujoco.mjtJoint.mjJNT_HINGE,
            axis=joint["axis"],
            range=joint["range"],
            limited=True,
            armature=FACTS["armature"],
            damping=[FACTS["finger"]["damping"] if finger else FACTS["damping"][number], 0, 0],
        )
        servo = spec.add_actuator(name=joint["name"], target=joint["name"], trntype=mujoco.mjtTrn.mjTRN_JOINT)
        if finger:
            servo.set_to_position(kp=FACTS["finger"]["kp"], kv=FACTS["finger"]["kd"])
        else:
            limit = FACTS["force_limit"][number]
            servo.set_to_position(kp=FACTS["kp"][number], kv=FACTS["kd"][number])
            servo.forcelimited, servo.forcerange = True, [-limit, limit]
    return spec.compile()


PAIR = load_model("panda.xml"), from_facts()
LOW, HIGH = PAIR[1].jnt_range.T
FINGERS_ALIKE = [0, 1, 2, 3, 4, 5, 6, 7, 7]


def columns(size: int, low: float, high: float) -> st.SearchStrategy[np.ndarray]:
    return arrays(float, size, elements=st.floats(low, high, allow_subnormal=False))


def simulate(model: mujoco.MjModel, share: np.ndarray, qvel: np.ndarray, ctrl: np.ndarray) -> mujoco.MjData:
    """A state within the joint limits, its fingers alike: where the equality of the model does nothing."""
    data = mujoco.MjData(model)
    data.qpos = (LOW + (HIGH - LOW) * (0.05 + 0.9 * share))[FINGERS_ALIKE]
    data.qvel = qvel[FINGERS_ALIKE]
    data.ctrl[:] = ctrl[: model.nu]
    mujoco.mj_forward(model, data)
    return data


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal to a millionth of the largest element."""
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@given(columns(9, 0, 1))
def test_mass_matrix_is_that_of_the_facts(share):
    matrices = []
    for model in PAIR:
        matrix = np.zeros((9, 9))
        mujoco.mj_fullM(model, simulate(model, share, np.zeros(9), np.zeros(9)), matrix)
        matrices.append(matrix)
    assert_close(*matrices)


@given(columns(9, 0, 1), columns(9, -2, 2), columns(9, 0, 1))
def test_dynamics_are_those_of_the_facts(share, qvel, target):
    """Forces and accelerations: what each servo gives, and half of that of the fingers for either."""
    ctrl = (LOW + (HIGH - LOW) * target)[FINGERS_ALIKE]
    ours, theirs = (simulate(model, share, qvel, ctrl) for model in PAIR)
    assert ours.ncon == 0
    for quantity in ("qfrc_passive", "qfrc_bias", "qfrc_actuator", "qacc_smooth"):
        assert_close(getattr(ours, quantity), getattr(theirs, quantity))


def test_total_mass(model):
    assert model.body_mass.sum() == pytest.approx(FACTS["total_mass"], rel=1e-7)


def test_gripper_figures(model):
    capsule, pad = FACTS["hand_capsule"], FACTS["pad"]
    np.testing.assert_allclose(model.geom("hand").size[:2], [capsule["radius"], capsule["half_length"]])
    np.testing.assert_allclose(model.geom("hand").pos, capsule["pos"])
    for name in ("left_pad", "right_pad"):
        for figure in ("size", "pos", "friction"):
            np.testing.assert_allclose(getattr(model.geom(name), figure), pad[figure])
    np.testing.assert_allclose(model.site("tcp").pos, FACTS["tcp_in_hand"])


def test_the_arm_comes_first_and_its_targets_keep_to_its_ranges(model):
    joints = [figures["joint"] for figures in FACTS["bodies"] if "joint" in figures]
    assert [model.joint(i).name for i in range(model.njnt)] == [joint["name"] for joint in joints]
    assert [model.actuator(i).name for i in range(model.nu)] == [*(f"joint{i}" for i in range(1, 8)), "fingers"]
    np.testing.assert_allclose(model.jnt_range, [joint["range"] for joint in joints])
    np.testing.assert_allclose(model.actuator_ctrlrange, model.jnt_range[:8])


def test_only_the_gripper_collides_and_not_with_itself(model):
    colliding = np.flatnonzero(model.geom_contype | model.geom_conaffinity)
    assert {model.geom(i).name for i in colliding} == {"hand", "left_finger", "right_finger", "left_pad", "right_pad"}
    assert not (model.geom_contype[colliding, None] & model.geom_conaffinity[None, colliding]).any()


def test_an_arm_that_is_told_nothing_stays_where_it_is(model):
    data = at_rest(model)
    mujoco.mj_step(model, data, nstep=400)
    np.testing.assert_allclose(data.qpos[ARM], HOME, atol=1e-6)


@pytest.mark.parametrize("joint", range(7))
def test_a_joint_comes_to_its_target_within_a_second_without_shaking(model, joint):
    data = at_rest(model)
    data.ctrl[joint] += MAX_LEAD[joint]
    farthest = []
    for _ in range(200):
        mujoco.mj_step(model, data)
        farthest.append(data.qpos[joint])
    assert max(farthest) < HOME[joint] + 1.4 * MAX_LEAD[joint]
    np.testing.assert_allclose(data.qpos[ARM], data.ctrl[ARM], atol=0.005)
    assert np.abs(data.qvel).max() < 0.02


def test_the_fingers_open_and_close_as_one(model):
    data = at_rest(model)
    for opening in (0.0, 0.04, 0.015):
        data.ctrl[7] = opening
        mujoco.mj_step(model, data, nstep=100)
        np.testing.assert_allclose(data.qpos[7:9], opening, atol=5e-4)
        between = data.geom("left_pad").xpos - data.geom("right_pad").xpos
        expected = 2 * (opening + FACTS["pad"]["pos"][1]) * data.sensor("spreading").data
        np.testing.assert_allclose(between, expected, atol=1e-3)


def at_rest(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos = [*HOME, 0.04, 0.04]
    data.ctrl = [*HOME, 0.04]
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.sensor("pointing").data, [0, 0, -1], atol=1e-4)
    return data
