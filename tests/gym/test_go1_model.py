"""The Go1 of `motrix_gym.models` is the robot of the published figures, and it stands."""

from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from motrix_gym.task import load_model

FACTS = yaml.safe_load((Path(__file__).parents[1] / "facts" / "go1.yaml").read_text("utf-8"))
LEGS, PARTS = FACTS["legs"], FACTS["parts"]
JOINTS = [f"{leg}_{part}_joint" for leg in LEGS for part in PARTS]
IN_THE_AIR = 10.0  # m


def per_joint(figure: str) -> np.ndarray:
    """A figure of hip, thigh and calf for all joints, (12, ...)."""
    return np.array([FACTS["joints"][part][figure] for part in PARTS] * len(LEGS), dtype=float)


def from_facts() -> mujoco.MjModel:
    """The robot rebuilt from the figures alone: no ground, no geometry."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    bodies = {"world": spec.worldbody}
    for figures in FACTS["bodies"]:
        name = figures["name"]
        inertia = [figures["inertia"][k] for k in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")]
        body = bodies[name] = bodies[figures["parent"]].add_body(
            name=name,
            pos=figures["pos"],
            mass=figures["mass"],
            ipos=figures["com"],
            fullinertia=inertia,
            explicitinertial=True,
        )
        if name == "trunk":
            body.add_freejoint()
            continue
        joint = FACTS["joints"][name.split("_")[1]]
        limit = joint["torque_limit"]
        body.add_joint(
            name=f"{name}_joint",
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=joint["axis"],
            range=joint["range"],
            limited=True,
            armature=FACTS["armature"],
            damping=[FACTS["damping"], 0, 0],
            frictionloss=joint["frictionloss"],
        )
        servo = spec.add_actuator(name=name, target=f"{name}_joint", trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=FACTS["kp"])
        servo.forcelimited, servo.forcerange = True, [-limit, limit]
    return spec.compile()


@pytest.fixture(scope="module")
def go1() -> mujoco.MjModel:
    return load_model("go1.xml")


def exact(model: mujoco.MjModel) -> mujoco.MjModel:
    """The model with a solver that goes on until it is done, and the same step for all."""
    model.opt.timestep = 0.005
    model.opt.iterations, model.opt.ls_iterations, model.opt.tolerance = 200, 200, 1e-14
    return model


PAIR = exact(load_model("go1.xml")), exact(from_facts())


def at_home(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    return data


def columns(size: int, low: float, high: float) -> st.SearchStrategy[np.ndarray]:
    return arrays(float, size, elements=st.floats(low, high, allow_subnormal=False))


@st.composite
def states(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Any pose within the joint limits and any velocity, high above the ground."""
    turn = draw(columns(4, -1, 1).filter(lambda x: np.linalg.norm(x) > 0.1))
    low, high = per_joint("range").T
    joints = low + (high - low) * draw(columns(12, 0, 1))
    position = np.array([0, 0, IN_THE_AIR])
    return np.concatenate([position, turn / np.linalg.norm(turn), joints]), draw(columns(18, -8, 8))


def simulate(model: mujoco.MjModel, qpos: np.ndarray, qvel: np.ndarray, ctrl: np.ndarray) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos, data.qvel, data.ctrl = qpos, qvel, ctrl
    mujoco.mj_forward(model, data)
    return data


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal to a millionth of the largest element."""
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@given(states())
def test_mass_matrix_is_that_of_the_facts(state):
    matrices = []
    for model in PAIR:
        matrix = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, simulate(model, *state, ctrl=np.zeros(12)), matrix)
        matrices.append(matrix)
    assert_close(*matrices)


@given(states(), columns(12, -2, 2))
def test_dynamics_in_the_air_are_those_of_the_facts(state, targets):
    low, high = per_joint("range").T
    ours, theirs = (simulate(model, *state, ctrl=np.clip(targets, low, high)) for model in PAIR)
    assert ours.ncon == 0
    for quantity in ("qfrc_passive", "qfrc_bias", "qfrc_actuator", "qacc_smooth", "qacc"):
        assert_close(getattr(ours, quantity), getattr(theirs, quantity))


def test_total_mass(go1):
    assert go1.body_mass.sum() == pytest.approx(FACTS["total_mass"], rel=1e-9)


def test_joints_and_servos_are_in_the_order_of_the_facts(go1):
    joints = [go1.joint(i).name for i in range(1, go1.njnt)]
    assert joints == JOINTS
    assert [f"{go1.actuator(i).name}_joint" for i in range(go1.nu)] == JOINTS
    assert list(go1.actuator_trnid[:, 0]) == list(range(1, go1.njnt))


def test_joint_figures(go1):
    hinges, dofs = slice(1, None), slice(6, None)
    np.testing.assert_allclose(go1.jnt_range[hinges], per_joint("range"))
    np.testing.assert_allclose(go1.jnt_axis[hinges], per_joint("axis"))
    np.testing.assert_allclose(go1.dof_frictionloss[dofs], per_joint("frictionloss"))
    np.testing.assert_allclose(go1.dof_armature[dofs], FACTS["armature"])
    np.testing.assert_allclose(go1.dof_damping[dofs], FACTS["damping"])


def test_servo_figures(go1):
    limits = per_joint("torque_limit")
    np.testing.assert_allclose(go1.actuator_forcerange, np.stack([-limits, limits], axis=1))
    np.testing.assert_allclose(go1.actuator_gainprm[:, 0], FACTS["kp"])
    np.testing.assert_allclose(go1.actuator_biasprm[:, :3], [[0, -FACTS["kp"], 0]] * go1.nu)
    np.testing.assert_allclose(go1.actuator_ctrlrange, per_joint("range"))


def test_nothing_of_the_robot_touches_the_robot(go1):
    robot = np.flatnonzero(go1.geom_bodyid > 0)
    assert not (go1.geom_contype[robot, None] & go1.geom_conaffinity[None, robot]).any()


def test_drawn_geometry_collides_with_nothing_and_weighs_nothing(go1):
    drawn = [i for i in range(go1.ngeom) if not go1.geom(i).name]
    assert drawn
    assert not go1.geom_contype[drawn].any()
    assert not go1.geom_conaffinity[drawn].any()


def test_home_is_the_standing_pose_with_the_feet_on_the_ground(go1):
    data = at_home(go1)
    np.testing.assert_allclose(data.qpos[7:], [FACTS["stand_pose"][part] for part in PARTS] * len(LEGS))
    np.testing.assert_allclose(data.ctrl, data.qpos[7:])
    for leg in LEGS:
        assert go1.geom(leg).size[0] == FACTS["foot"]["radius"]
        assert data.geom(leg).xpos[2] == pytest.approx(FACTS["foot"]["radius"], abs=1e-6)


def test_feet_touch_the_ground_with_their_own_friction(go1):
    data = at_home(go1)
    assert {go1.geom(int(contact.geom[1])).name for contact in data.contact} == set(LEGS)
    for contact in data.contact:
        assert contact.dim == 3
        assert contact.friction[0] == FACTS["foot"]["friction"]
        np.testing.assert_allclose(contact.solimp[:3], FACTS["foot"]["solimp"])


def test_home_pose_stands(go1):
    data = at_home(go1)
    start = data.qpos.copy()
    two_seconds, heights = round(2 / go1.opt.timestep), []
    for _ in range(two_seconds):
        mujoco.mj_step(go1, data)
        heights.append(data.qpos[2])
        assert [data.sensor(f"contact/{leg}").data[0] for leg in LEGS] == [1] * 4
    # The servos give under the weight by some centimetres, at once; afterwards next to nothing moves.
    assert min(heights) > start[2] - 0.05
    assert heights[two_seconds // 2] - heights[-1] < 0.005
    assert np.abs(data.qpos[:2] - start[:2]).max() < 0.08
    assert data.sensor("gravity_direction").data[2] < -0.99
    assert np.abs(data.qvel).max() < 0.05


@given(states())
def test_base_sensors_are_those_of_the_trunk_frame(state):
    model = PAIR[0]
    data = simulate(model, *state, ctrl=np.zeros(12))
    to_world = data.body("trunk").xmat.reshape(3, 3)
    np.testing.assert_allclose(data.sensor("gravity_direction").data, to_world.T @ [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(data.sensor("linear_velocity").data, to_world.T @ state[1][:3], atol=1e-12)
    np.testing.assert_allclose(data.sensor("angular_velocity").data, state[1][3:6], atol=1e-12)


def test_velocity_stage_makes_every_sensor_current_but_the_torques(go1):
    late = [go1.sensor(i).name for i in np.flatnonzero(go1.sensor_needstage == int(mujoco.mjtStage.mjSTAGE_ACC))]
    assert late == [f"torque/{leg}_{part}" for leg in LEGS for part in PARTS]


@pytest.mark.parametrize(
    ("pose", "touching"),
    [
        pytest.param({"height": 0.2878}, set(), id="standing"),
        pytest.param({"height": 0.05, "thigh": 1.5, "calf": -2.8}, {"trunk"}, id="on its belly"),
        pytest.param({"height": 0.12, "roll": np.pi / 2}, {"FR_thigh", "RR_thigh"}, id="on its right side"),
        pytest.param({"height": 0.05, "roll": np.pi}, {"trunk"}, id="on its back"),
    ],
)
def test_body_contact_tells_what_lies_on_the_ground(go1, pose, touching):
    data = at_home(go1)
    data.qpos[2] = pose["height"]
    mujoco.mju_euler2Quat(data.qpos[3:7], [pose.get("roll", 0), 0, 0], "xyz")
    data.qpos[8::3] = pose.get("thigh", 0.9)
    data.qpos[9::3] = pose.get("calf", -1.8)
    mujoco.mj_forward(go1, data)
    sensors = [go1.sensor(i).name for i in range(go1.nsensor)]
    found = {name.split("/")[1] for name in sensors if name.startswith("body_contact/") and data.sensor(name).data[0]}
    assert touching <= found
    assert bool(found) == bool(touching)


def test_any_targets_leave_the_simulation_finite(go1):
    data, rng = at_home(go1), np.random.default_rng(0)
    low, high = go1.actuator_ctrlrange.T
    for _ in range(500):
        data.ctrl = rng.uniform(low, high)
        mujoco.mj_step(go1, data, nstep=4)
        assert np.abs(data.qvel).max() < 100
    assert not any(warning.number for warning in data.warning)
