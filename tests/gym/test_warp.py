"""MuJoCo Warp behind the environments, on Warp's CPU device: what `Physics` promises, beside MuJoCo itself."""

import importlib.util
import pickle

import gymnasium
import mujoco
import numpy as np
import pytest

import motrix_gym  # noqa: F401
from motrix_gym.physics.base import Override
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.physics.engine import Engine
from motrix_gym.testing import check_vector_env

pytest.importorskip("mujoco_warp")

import warp

from motrix_gym.physics.warp import WarpPhysics
from motrix_gym.physics.warp_model import put_model

CONTROL_DT = 0.01
PENDULUM = "Motrix/Pendulum-v0"
ON_THE_CPU = {"physics": "warp", "device": "cpu"}
RANDOMIZED = {"friction": (0.5, 1.25), "added_mass": (-1.0, 2.0), "action_delay": (0, 1), "push_speed": 0.5}
SCENE = """
<mujoco>
  <option timestep="0.005" {option}><flag midphase="disable"/></option>
  <worldbody>
    <geom type="plane" size="2 2 0.1"/>
    <body name="post" pos="1 0 0.2"><geom type="capsule" size="0.2 0.1"/></body>
    <body name="ball" pos="0 0 0.1"><freejoint/>
      <geom name="ball" type="sphere" size="0.1" mass="1"/>
      <geom pos="0 0 0.05" type="box" size="0.02 0.02 0.02" mass="0.2" contype="0" conaffinity="0"/>
      <site name="ball" size="0.12"/>
    </body>
    <body name="arm" pos="-1 0 1"><joint name="arm" axis="0 1 0" damping="0.1" limited="true" range="-100 100"/>
      <geom type="capsule" fromto="0 0 0 0.4 0 0" size="0.05" mass="0.5"/>
    </body>
    <body name="mark" mocap="true" pos="0 1 1"><geom size="0.1" contype="0" conaffinity="0"/></body>
  </worldbody>
  <actuator><position joint="arm" kp="5" ctrlrange="-1 1"/></actuator>
  <sensor>
    <framepos name="position" objtype="body" objname="ball"/>
    <framelinvel name="velocity" objtype="body" objname="ball"/>
    <accelerometer name="acceleration" site="ball"/>
    <touch name="touch" site="ball"/>
    <actuatorfrc name="torque" actuator="actuator"/>
    <framepos name="post" objtype="body" objname="post"/>
  </sensor>
</mujoco>
""".replace("<position joint", '<position name="actuator" joint')
ON_THE_FLOOR, IN_THE_AIR, ON_THE_POST = (0, 0, 0.099), (0, 0, 1.5), (1, 0.05, 0.59)
AT_THE_POST = (0.705, 0, 0.099)  # and on the floor


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """Warp says which kernels it loads."""
    before, warp.config.log_level = warp.config.log_level, warp.LOG_WARNING
    yield
    warp.config.log_level = before


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(SCENE.format(option=""))


def everywhere(num_envs: int) -> np.ndarray:
    return np.ones(num_envs, dtype=bool)


def start(*places: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities with the ball at a place in each environment."""
    rest = (1, 0, 0, 0, 0.3)
    speeds = (0.1, 0.2, -0.1, 0.5, 0.3, 0.1, 1.0)
    return np.array([[*place, *rest] for place in places]), np.tile(speeds, (len(places), 1))


def begun(model: mujoco.MjModel, *places: tuple[float, float, float], **kwargs) -> WarpPhysics:
    physics = WarpPhysics(model, len(places), "cpu", CONTROL_DT, **kwargs)
    physics.reset(everywhere(len(places)), *start(*places))
    return physics


def expect_close(found, reference, tolerance: float = 1e-4) -> None:
    """Two physics states agree, but for the rounding of float32."""
    np.testing.assert_allclose(found.qpos, reference.qpos, atol=tolerance)
    np.testing.assert_allclose(found.qvel, reference.qvel, atol=10 * tolerance)
    for name, x in reference.sensor.items():
        np.testing.assert_allclose(found.sensor[name], x, atol=10 * tolerance, rtol=10 * tolerance, err_msg=name)


def test_steps_are_mujocos_sensors_included(model):
    places = ON_THE_FLOOR, IN_THE_AIR, ON_THE_POST
    warp, mujoco = begun(model, *places), CpuPhysics(model, 3, 1, CONTROL_DT)
    expect_close(warp.reset(everywhere(3), *start(*places)), mujoco.reset(everywhere(3), *start(*places)))
    ctrl, force = np.array([[0.5], [-0.5], [0.1]]), {"ball": np.tile([1.0, -2.0, 0.5, 0.0, 0.1, 0.0], (3, 1))}
    for _ in range(4):
        (found, failures), (reference, _) = (physics.step(ctrl, force) for physics in (warp, mujoco))
        expect_close(found, reference)
        assert {name: mask.any() for name, mask in failures.items()} == {"diverged": False, "overflow": False}


def test_others_neither_advance_nor_notice(model):
    places = ON_THE_FLOOR, IN_THE_AIR, ON_THE_POST
    some, all_of_them = begun(model, *places), begun(model, *places)
    ctrl, mask = np.zeros((3, 1)), np.array([True, False, True])
    before = some.save()[1]
    (found, _), (reference, _) = some.step(ctrl, mask=mask), all_of_them.step(ctrl)
    np.testing.assert_array_equal(some.save()[1], before)
    np.testing.assert_array_equal(found.qpos[mask], reference.qpos[mask])
    np.testing.assert_array_equal(some.step(ctrl)[0].qpos[1], reference.qpos[1])
    np.testing.assert_array_equal(some.save()[mask], all_of_them.step(ctrl)[0] and all_of_them.save()[mask])


def test_a_saved_state_goes_on_bit_for_bit(model):
    physics, other = begun(model, ON_THE_FLOOR, ON_THE_POST), begun(model, IN_THE_AIR, IN_THE_AIR)
    ctrl = np.array([[0.3], [-0.2]])
    physics.step(ctrl)
    other.restore(physics.save())
    for _ in range(3):
        (found, _), (reference, _) = other.step(ctrl), physics.step(ctrl)
        np.testing.assert_array_equal(found.qpos, reference.qpos)
        for name, x in reference.sensor.items():
            np.testing.assert_array_equal(found.sensor[name], x)
    np.testing.assert_array_equal(other.save(), physics.save())


def test_a_reset_environment_remembers_nothing(model):
    physics = begun(model, ON_THE_FLOOR, ON_THE_POST)
    ctrl = np.ones((2, 1))
    physics.step(ctrl, {"ball": np.ones((2, 6))})
    physics.reset(np.array([False, True]), *start(IN_THE_AIR))
    fresh = begun(model, IN_THE_AIR)
    np.testing.assert_array_equal(physics.save()[1], fresh.save()[0])
    np.testing.assert_array_equal(physics.step(ctrl)[0].qpos[1], fresh.step(ctrl[1:])[0].qpos[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e12])
def test_just_the_environment_that_diverges_is_told(model, bad):
    physics = begun(model, *3 * [ON_THE_FLOOR])
    simulation = physics.save()
    simulation[1, 1 + model.nq + 2] = bad
    physics.restore(simulation)
    ctrl = np.zeros((3, 1))
    assert physics.step(ctrl)[1]["diverged"].tolist() == [False, True, False]
    now, failures = physics.step(ctrl)
    assert not failures["diverged"].any()
    assert np.isfinite(now.qpos).all()


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e12])
def test_an_impossible_start_is_refused(model, bad):
    physics = begun(model, ON_THE_FLOOR, ON_THE_POST)
    qpos, qvel = start(IN_THE_AIR)
    qvel[0, 1] = bad
    with pytest.raises(ValueError, match="an episode cannot begin at qpos"):
        physics.reset(np.array([False, True]), qpos, qvel)


def test_just_the_environment_that_loses_contacts_is_told(model):
    physics = begun(model, IN_THE_AIR, ON_THE_FLOOR, buffers={"njmax": 3})  # one contact has four rows
    _, failures = physics.step(np.zeros((2, 1)))
    assert failures["overflow"].tolist() == [False, True]
    assert not failures["diverged"].any()
    physics.reset(np.array([False, True]), *start(IN_THE_AIR))
    assert not physics.step(np.zeros((2, 1)))[1]["overflow"].any()


def test_contacts_of_all_environments_share_their_room(model):
    physics = begun(model, AT_THE_POST, IN_THE_AIR, buffers={"nconmax": 1})
    assert not physics.step(np.zeros((2, 1)))[1]["overflow"].any()
    physics = begun(model, AT_THE_POST, ON_THE_FLOOR, buffers={"nconmax": 1})
    assert physics.step(np.zeros((2, 1)))[1]["overflow"].all()


def test_it_settles_as_mujoco_does(model):
    places = ON_THE_FLOOR, IN_THE_AIR
    warp, mujoco = begun(model, *places), CpuPhysics(model, 2, 1, CONTROL_DT)
    mujoco.reset(everywhere(2), *start(*places))
    mask = np.array([False, True])
    before = warp.save()[0]
    expect_close(warp.settle(mask, 0.1), mujoco.settle(mask, 0.1))
    np.testing.assert_array_equal(warp.save()[0], before)


OVERRIDES = {
    "body_mass": {"body_mass": Override(np.array([3.0]), at=2)},
    "body_inertia": {"body_inertia": Override(np.array([[0.1, 0.2, 0.2]]), at=2)},
    "body_ipos": {"body_ipos": Override(np.array([[0.02, 0.03, 0.01]]), at=2)},
    "geom_friction": {"geom_friction": Override(np.array([[0.1, 0.2]]), at=(slice(0, 3, 2), 0))},
    "dof_damping": {"dof_damping": Override(np.array([2.0]), at=6)},
    "actuator_gainprm": {"actuator_gainprm": Override(np.array([50.0]), at=(0, 0))},
    "actuator_forcerange": {"actuator_forcerange": Override(np.array([[[-0.1, 0.1]]]))},
    "jnt_stiffness": {"jnt_stiffness": Override(np.array([[0.0, 3.0]]))},
    "geom_size": {"geom_size": Override(np.array([[0.15, 0.0, 0.0]]), at=2)},
    "body_pos": {"body_pos": Override(np.array([[0.95, 0.05]]), at=(1, slice(2)))},
    "body_quat": {"body_quat": Override(np.array([[np.cos(0.2), np.sin(0.2), 0, 0]]), at=1)},
    "mocap": {"body_pos": Override(np.array([[0.5, 0.5, 0.5]]), at=4)},
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_what_differs_between_environments_is_simulated_as_mujoco_does(model, name):
    places = ON_THE_FLOOR, ON_THE_POST
    engines = WarpPhysics(model, 2, "cpu", CONTROL_DT), CpuPhysics(model, 2, 1, CONTROL_DT)
    ctrl = np.ones((2, 1))
    for physics in engines:
        physics.reset(everywhere(2), *start(*places))
        physics.step(ctrl)
        physics.reset(np.array([False, True]), *start(places[1]), OVERRIDES[name])
    for _ in range(3):
        expect_close(*(physics.step(ctrl)[0] for physics in engines), tolerance=3e-4)
    (own, data), (reference, reference_data) = (physics.view(1, {}) for physics in engines)
    np.testing.assert_allclose(own.body_invweight0, reference.body_invweight0)
    np.testing.assert_allclose(data.mocap_pos, reference_data.mocap_pos, atol=1e-6)
    np.testing.assert_allclose(data.geom_xpos, reference_data.geom_xpos, atol=1e-3)


def test_what_changes_between_two_steps_counts_at_once(model):
    physics, other = begun(model, ON_THE_POST), begun(model, ON_THE_POST)
    for engine in (physics, other):
        engine.step(np.ones((1, 1)))
        engine.override(everywhere(1), OVERRIDES["body_pos"])
    other.restore(other.save())  # which has everything computed anew
    np.testing.assert_array_equal(*(engine.step(np.ones((1, 1)))[0].qvel for engine in (physics, other)))


def test_a_field_that_all_have_in_common_is_refused(model):
    physics = begun(model, ON_THE_FLOOR)
    with pytest.raises(ValueError, match=r"geom_contype differs between environments; .* use physics='mujoco'"):
        physics.override(everywhere(1), {"geom_contype": Override(model.geom_contype[None])})


def test_a_view_has_markers_where_they_are_told(model):
    physics = begun(model, ON_THE_FLOOR)
    now, _ = physics.step(np.zeros((1, 1)))
    _, data = physics.view(0, {"mark": np.array([0.1, 0.0, 0.0])})
    np.testing.assert_allclose(data.qpos, now.qpos[0])
    np.testing.assert_allclose(data.mocap_pos[0], (0.1, 1, 1))


@pytest.mark.parametrize(
    ("option", "missing"), [('solver="PGS"', "mjSOL_PGS"), ('integrator="implicit" solver="PGS"', "mjSOL_PGS")]
)
def test_a_model_that_warp_cannot_simulate_says_why(option, missing):
    model = mujoco.MjModel.from_xml_string(SCENE.format(option=option))
    with pytest.raises(ValueError, match=f"physics='warp' cannot simulate this model: {missing} .* physics='mujoco'"):
        WarpPhysics(model, 1, "cpu", CONTROL_DT)


def test_every_registered_model_can_be_simulated(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=1, num_threads=1).unwrapped
    with warp.ScopedDevice("cpu"):
        for model in envs.batch.models:
            put_model(model)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"physics": "wrap"}, "physics 'wrap' is not known; did you mean 'warp'"),
        ({"physics": 3}, "physics 3 is not known .known: mujoco, warp"),
        ({"physics": "warp", "device": "gpu"}, "device 'gpu' is not known; use 'cpu', 'cuda' or 'cuda:0'"),
        ({"physics": "warp", "device": "cuda:99"}, "device is 'cuda:99'; .* device='cpu' is slow"),
        ({"device": "cuda:0"}, "device is 'cuda:0'; physics='mujoco' runs on the CPU, use physics='warp'"),
        ({"physics": "warp", "device": "cpu", "num_threads": 2}, "num_threads is 2; physics='warp' has no threads"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        gymnasium.make_vec(PENDULUM, num_envs=2, **arguments)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'motrix-gym\[warp\]'"):
        Engine("warp", "cpu")


@pytest.mark.parametrize(("env_id", "fields"), [(PENDULUM, {}), ("Motrix/Go1-v0", RANDOMIZED)])
def test_all_laws_hold_on_warps_cpu_device(env_id, fields):
    def make(num_envs):
        return gymnasium.make_vec(env_id, num_envs=num_envs, max_episode_steps=7, **fields, **ON_THE_CPU)

    def single():
        return gymnasium.make(env_id, max_episode_steps=7, **fields, **ON_THE_CPU)

    report = check_vector_env(make, single=single, steps=12)
    assert set(report.skipped) == {"termination"}


def test_an_episode_that_loses_contacts_ends_for_that_reason(monkeypatch):
    monkeypatch.setattr("motrix_gym.physics.warp.buffer_sizes", lambda *_: {"nconmax": 14, "njmax": 9})
    envs = gymnasium.make_vec("Motrix/WalkerStand-v0", num_envs=4, **ON_THE_CPU)
    envs.reset(seed=0)
    ended = np.zeros(4, dtype=bool)
    for _ in range(40):
        _, rewards, terminated, _, info = envs.step(np.zeros(envs.action_space.shape))
        np.testing.assert_array_equal(info["termination"]["overflow"], terminated)
        assert np.isfinite(rewards).all()
        ended |= terminated
    assert ended.any()


def test_joined_tasks_and_copies_have_the_same_engine():
    tasks = [{"id": PENDULUM, "name": name} for name in ("one", "other")]
    envs = gymnasium.make_vec("Motrix/MultiTask-v0", num_envs=3, tasks=tasks, **ON_THE_CPU)
    envs.reset(seed=0)
    copy = pickle.loads(pickle.dumps(envs.unwrapped))
    assert copy.metadata["deterministic"]
    assert copy.physics == "warp"
    action = np.full(envs.action_space.shape, 0.5)
    np.testing.assert_array_equal(copy.step(action)[0], envs.step(action)[0])


def test_a_state_of_mujoco_goes_on_in_warp():
    mujoco, warp = (gymnasium.make_vec(PENDULUM, num_envs=3, **kwargs).unwrapped for kwargs in ({}, ON_THE_CPU))
    mujoco.reset(seed=0)
    warp.set_state(mujoco.get_state())
    action = np.full(mujoco.action_space.shape, 0.5)
    np.testing.assert_allclose(warp.step(action)[0], mujoco.step(action)[0], atol=1e-5)
