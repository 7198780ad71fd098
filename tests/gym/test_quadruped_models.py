"""The robots with four legs of `motrix_gym.models` are those of the published figures, and they stand."""

from collections import ChainMap
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from motrix_gym.model_files import load_model

IN_THE_AIR = 10.0  # m


class Robot:
    """The figures of a robot, its model, and both once more as an exact pair to be compared."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts = yaml.safe_load((Path(__file__).parents[1] / "facts" / f"{name}.yaml").read_text("utf-8"))
        self.legs, self.parts = self.facts["legs"], self.facts["parts"]
        self.joints = [f"{leg}_{part}" for leg in self.legs for part in self.parts]
        self.pair = exact(self.model()), exact(self.from_facts())

    def model(self) -> mujoco.MjModel:
        return load_model(f"{self.name}.xml")

    def joint(self, name: str) -> ChainMap[str, Any]:
        """The figures of a joint: its own, then those of its part, then those of all."""
        joints = self.facts["joints"]
        return ChainMap(joints.get(name, {}), joints[name.split("_")[1]], self.facts)

    def per_joint(self, figure: str) -> np.ndarray:
        """A figure of all joints, (12, ...)."""
        return np.array([self.joint(name)[figure] for name in self.joints], dtype=float)

    def stand_pose(self) -> list[float]:
        """Joint angles when standing, rad."""
        pose = self.facts["stand_pose"]
        return [pose.get(name, pose[name.split("_")[1]]) for name in self.joints]

    def from_facts(self) -> mujoco.MjModel:
        """The robot rebuilt from the figures alone: no ground, no geometry."""
        spec = mujoco.MjSpec()
        spec.compiler.degree = False
        bodies = {"world": spec.worldbody}
        for figures in self.facts["bodies"]:
            name = figures["name"]
            inertia = [figures["inertia"][k] for k in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")]
            body = bodies[name] = bodies[figures["parent"]].add_body(
                name=name,
                pos=figures["pos"],
                quat=figures.get("quat", [1, 0, 0, 0]),
                mass=figures["mass"],
                ipos=figures["com"],
                fullinertia=inertia,
                explicitinertial=True,
            )
            if name == "trunk":
                body.add_freejoint()
                continue
            joint = self.joint(name)
            limit = joint["torque_limit"]
            body.add_joint(
                name=f"{name}_joint",
                type=mujoco.mjtJoint.mjJNT_HINGE,
                axis=joint["axis"],
                range=joint["range"],
                limited=True,
                armature=joint["armature"],
                damping=[joint["damping"], 0, 0],
                frictionloss=joint["frictionloss"],
            )
            servo = spec.add_actuator(name=name, target=f"{name}_joint", trntype=mujoco.mjtTrn.mjTRN_JOINT)
            servo.set_to_position(kp=joint["kp"], kv=joint["kd"])
            servo.forcelimited, servo.forcerange = True, [-limit, limit]
        return spec.compile()


def exact(model: mujoco.MjModel) -> mujoco.MjModel:
    """The model with a solver that goes on until it is done, and the same step for all."""
    model.opt.timestep = 0.005
    model.opt.iterations, model.opt.ls_iterations, model.opt.tolerance = 200, 200, 1e-14
    return model


ROBOTS = {name: Robot(name) for name in ("go1", "go2", "anymal_c")}
every_robot = pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)


@pytest.fixture(params=ROBOTS.values(), ids=ROBOTS)
def robot(request: pytest.FixtureRequest) -> Robot:
    """Every robot in turn."""
    return request.param


@pytest.fixture
def model(robot: Robot) -> mujoco.MjModel:
    """The model of every robot in turn."""
    return robot.model()


def at_home(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    return data


def columns(size: int, low: float, high: float) -> st.SearchStrategy[np.ndarray]:
    return arrays(float, size, elements=st.floats(low, high, allow_subnormal=False))


@st.composite
def motions(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """A turn of the trunk, a unit quaternion, and for each joint a place in its range, 0 to 1; any velocity."""
    turn = draw(columns(4, -1, 1).filter(lambda x: np.linalg.norm(x) > 0.1))
    return turn / np.linalg.norm(turn), draw(columns(12, 0, 1)), draw(columns(18, -8, 8))


def state(robot: Robot, motion: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities of a robot within its joint limits, high above the ground."""
    turn, share, qvel = motion
    low, high = robot.per_joint("range").T
    return np.concatenate([[0, 0, IN_THE_AIR], turn, low + (high - low) * share]), qvel


def simulate(model: mujoco.MjModel, qpos: np.ndarray, qvel: np.ndarray, ctrl: np.ndarray) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos, data.qvel, data.ctrl = qpos, qvel, ctrl
    mujoco.mj_forward(model, data)
    return data


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal to a millionth of the largest element."""
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@every_robot
@given(motions())
def test_mass_matrix_is_that_of_the_facts(robot, motion):
    matrices = []
    for model in robot.pair:
        matrix = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, simulate(model, *state(robot, motion), ctrl=np.zeros(12)), matrix)
        matrices.append(matrix)
    assert_close(*matrices)


@every_robot
@given(motions(), columns(12, -2, 2))
def test_dynamics_in_the_air_are_those_of_the_facts(robot, motion, targets):
    low, high = robot.per_joint("range").T
    ours, theirs = (simulate(m, *state(robot, motion), ctrl=np.clip(targets, low, high)) for m in robot.pair)
    assert ours.ncon == 0
    for quantity in ("qfrc_passive", "qfrc_bias", "qfrc_actuator", "qacc_smooth", "qacc"):
        assert_close(getattr(ours, quantity), getattr(theirs, quantity))


def test_total_mass(robot, model):
    assert model.body_mass.sum() == pytest.approx(robot.facts["total_mass"], rel=1e-7)


def test_joints_and_servos_are_in_the_order_of_the_facts(robot, model):
    assert [model.joint(i).name for i in range(1, model.njnt)] == [f"{name}_joint" for name in robot.joints]
    assert [model.actuator(i).name for i in range(model.nu)] == robot.joints
    assert list(model.actuator_trnid[:, 0]) == list(range(1, model.njnt))


def test_joint_figures(robot, model):
    hinges, dofs = slice(1, None), slice(6, None)
    np.testing.assert_allclose(model.jnt_range[hinges], robot.per_joint("range"))
    np.testing.assert_allclose(model.dof_frictionloss[dofs], robot.per_joint("frictionloss"))
    np.testing.assert_allclose(model.dof_armature[dofs], robot.per_joint("armature"))
    np.testing.assert_allclose(model.dof_damping[dofs], robot.per_joint("damping"))


def test_servo_figures(robot, model):
    limits, kp, kd = robot.per_joint("torque_limit"), robot.per_joint("kp"), robot.per_joint("kd")
    np.testing.assert_allclose(model.actuator_forcerange, np.stack([-limits, limits], axis=1))
    np.testing.assert_allclose(model.actuator_gainprm[:, 0], kp)
    np.testing.assert_allclose(model.actuator_biasprm[:, :3], np.stack([0 * kp, -kp, -kd], axis=1))
    np.testing.assert_allclose(model.actuator_ctrlrange, robot.per_joint("range"))


def test_legs_are_in_front_and_behind_and_turn_alike(robot, model):
    """What the velocity task takes for granted: a pair in front, a pair behind, hips forward, the others leftward."""
    data = at_home(model)
    places = np.array([data.body(f"{leg}_hip").xpos[:2] for leg in robot.legs])
    np.testing.assert_array_equal(np.sign(places[:, 0]), [1, 1, -1, -1])
    np.testing.assert_array_equal(places[:, 1] < 0, [leg in ("FR", "RR", "RF", "RH") for leg in robot.legs])
    np.testing.assert_array_equal(places[::2], places[1::2] * [1, -1])
    np.testing.assert_allclose(data.xaxis[1:], [[1, 0, 0], [0, 1, 0], [0, 1, 0]] * 4, atol=1e-9)


def test_nothing_of_the_robot_touches_the_robot(model):
    geoms = np.flatnonzero(model.geom_bodyid > 0)
    assert not (model.geom_contype[geoms, None] & model.geom_conaffinity[None, geoms]).any()


def test_drawn_geometry_collides_with_nothing_and_weighs_nothing(model):
    drawn = [i for i in range(model.ngeom) if not model.geom(i).name]
    assert drawn
    assert not model.geom_contype[drawn].any()
    assert not model.geom_conaffinity[drawn].any()


def test_home_is_the_standing_pose_with_the_feet_on_the_ground(robot, model):
    data = at_home(model)
    np.testing.assert_allclose(data.qpos[7:], robot.stand_pose())
    np.testing.assert_allclose(data.ctrl, data.qpos[7:])
    for leg in robot.legs:
        assert model.geom(leg).size[0] == robot.facts["foot"]["radius"]
        assert data.geom(leg).xpos[2] == pytest.approx(robot.facts["foot"]["radius"], abs=1e-6)


def test_feet_touch_the_ground_with_their_own_friction(robot, model):
    data = at_home(model)
    assert {model.geom(int(contact.geom[1])).name for contact in data.contact} == set(robot.legs)
    for contact in data.contact:
        assert contact.dim == 3
        assert contact.friction[0] == robot.facts["foot"]["friction"]
        np.testing.assert_allclose(contact.solimp[:3], robot.facts["foot"]["solimp"])


def test_home_pose_stands(robot, model):
    data = at_home(model)
    start = data.qpos.copy()
    second, heights = round(1 / model.opt.timestep), []
    for _ in range(2 * second):
        mujoco.mj_step(model, data)
        heights.append(data.qpos[2])
        on_the_ground = [data.sensor(f"contact/{leg}").data[0] for leg in robot.legs] == [1] * 4
        assert on_the_ground or len(heights) < second
    # The servos give under the weight by some centimetres, at once; afterwards next to nothing moves.
    assert min(heights) > 0.82 * start[2]
    assert abs(heights[second] - heights[-1]) < 0.005
    assert np.abs(data.qpos[:2] - start[:2]).max() < 0.08
    assert data.sensor("gravity_direction").data[2] < -0.99
    assert np.abs(data.qvel).max() < 0.05


@every_robot
@given(motions())
def test_base_sensors_are_those_of_the_trunk_frame(robot, motion):
    qpos, qvel = state(robot, motion)
    data = simulate(robot.pair[0], qpos, qvel, ctrl=np.zeros(12))
    to_world = data.body("trunk").xmat.reshape(3, 3)
    np.testing.assert_allclose(data.sensor("gravity_direction").data, to_world.T @ [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(data.sensor("linear_velocity").data, to_world.T @ qvel[:3], atol=1e-12)
    np.testing.assert_allclose(data.sensor("angular_velocity").data, qvel[3:6], atol=1e-12)


def test_velocity_stage_makes_every_sensor_current_but_the_torques(robot, model):
    late = [model.sensor(i).name for i in np.flatnonzero(model.sensor_needstage == int(mujoco.mjtStage.mjSTAGE_ACC))]
    assert late == [f"torque/{name}" for name in robot.joints]


@pytest.mark.parametrize("pose", ["standing", "on its belly", "on its right side", "on its back"])
def test_body_contact_tells_what_lies_on_the_ground(robot, model, pose):
    data = at_home(model)
    right = [f"{leg}_thigh" for leg in robot.legs if data.body(f"{leg}_hip").xpos[1] < 0]
    thigh_beside_trunk = -data.geom(right[0]).xpos[1]
    height, roll, touching = {
        "standing": (data.qpos[2], 0.0, set()),
        "on its belly": (0.05, 0.0, {"trunk"}),
        "on its right side": (thigh_beside_trunk, np.pi / 2, set(right)),
        "on its back": (0.05, np.pi, {"trunk"}),
    }[pose]
    data.qpos[2] = height
    mujoco.mju_euler2Quat(data.qpos[3:7], [roll, 0, 0], "xyz")
    mujoco.mj_forward(model, data)
    sensors = [model.sensor(i).name for i in range(model.nsensor)]
    found = {name.split("/")[1] for name in sensors if name.startswith("body_contact/") and data.sensor(name).data[0]}
    assert touching <= found
    assert bool(found) == bool(touching)


def test_any_targets_leave_the_simulation_finite(model):
    data, rng = at_home(model), np.random.default_rng(0)
    low, high = model.actuator_ctrlrange.T
    for _ in range(500):
        data.ctrl = rng.uniform(low, high)
        mujoco.mj_step(model, data, nstep=4)
        assert np.abs(data.qvel).max() < 100
    assert not any(warning.number for warning in data.warning)
