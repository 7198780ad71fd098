"""Batched physics against a loop over single simulations."""

import re
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motrix_gym.model_files import load_model
from motrix_gym.physics.base import Override
from motrix_gym.physics.cpu import CpuPhysics

CONTROL_DT = 0.02

MODELS = ("cartpole.xml", "go1.xml")

SENSORS = """
<mujoco>
  <worldbody><body><joint name="x" type="slide"/><geom size="0.1"/></body></worldbody>
  <sensor>{}</sensor>
</mujoco>
"""


def everywhere(num_envs: int) -> np.ndarray:
    """The mask of all environments."""
    return np.ones(num_envs, dtype=bool)


def random_states(model: mujoco.MjModel, num_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, velocities and controls somewhere around where the model begins."""
    random = np.random.default_rng(seed)
    start = model.key_qpos[0] if model.nkey else model.qpos0
    qpos = np.tile(start, (num_rows, 1))
    free = model.jnt_qposadr[model.jnt_type != int(mujoco.mjtJoint.mjJNT_FREE)]
    qpos[:, free] += random.uniform(-0.1, 0.1, (num_rows, len(free)))
    qvel = random.uniform(-0.3, 0.3, (num_rows, model.nv))
    return qpos, qvel, random.uniform(*model.actuator_ctrlrange.T, (num_rows, model.nu))


@pytest.mark.parametrize("file_name", MODELS)
@settings(max_examples=5)
@given(seed=st.integers(0, 1000), num_threads=st.integers(1, 2))
def test_a_step_is_that_of_a_loop_over_single_simulations(file_name, seed, num_threads):
    model = load_model(file_name)
    qpos, qvel, ctrl = random_states(model, 3, seed)
    physics = CpuPhysics(model, 3, num_threads, CONTROL_DT)
    physics.reset(everywhere(3), qpos, qvel)
    singles = [mujoco.MjData(model) for _ in range(3)]
    for row, data in enumerate(singles):
        data.qpos[:], data.qvel[:] = qpos[row], qvel[row]
        mujoco.mj_forward(model, data)
    for _ in range(5):
        now, failures = physics.step(ctrl)
        assert not failures["diverged"].any()
        for row, data in enumerate(singles):
            data.ctrl[:] = ctrl[row]
            mujoco.mj_step(model, data, round(CONTROL_DT / model.opt.timestep))
            np.testing.assert_array_equal(now.qpos[row], data.qpos)
            np.testing.assert_array_equal(now.qvel[row], data.qvel)


@pytest.mark.parametrize("file_name", MODELS)
def test_position_and_velocity_sensors_are_those_of_the_frame(file_name):
    model = load_model(file_name)
    qpos, qvel, ctrl = random_states(model, 2, 0)
    physics = CpuPhysics(model, 2, 1, CONTROL_DT)
    physics.reset(everywhere(2), qpos, qvel)
    now, _ = physics.step(ctrl)
    current = np.flatnonzero(model.sensor_needstage < int(mujoco.mjtStage.mjSTAGE_ACC))
    data = mujoco.MjData(model)
    for row in range(2):
        data.qpos[:], data.qvel[:] = now.qpos[row], now.qvel[row]
        mujoco.mj_forward(model, data)
        for i in current:
            sensor = model.sensor(i)
            np.testing.assert_allclose(now.sensor[sensor.name][row], data.sensor(i).data, atol=1e-12)


def test_a_frame_is_not_written_to_by_the_next_step():
    model = load_model("go1.xml")
    physics = CpuPhysics(model, 2, 1, CONTROL_DT)
    qpos, qvel, ctrl = random_states(model, 2, 0)
    for before in (physics.reset(everywhere(2), qpos, qvel), physics.step(ctrl)[0]):
        kept = before.qpos.copy(), before.qvel.copy(), {name: x.copy() for name, x in before.sensor.items()}
        physics.step(ctrl)
        np.testing.assert_array_equal(before.qpos, kept[0])
        np.testing.assert_array_equal(before.qvel, kept[1])
        for name, x in kept[2].items():
            np.testing.assert_array_equal(before.sensor[name], x)


def test_a_force_acts_on_the_body_of_its_name_and_in_its_environment():
    model = load_model("go1.xml")
    qpos, qvel, ctrl = random_states(model, 2, 0)
    physics = CpuPhysics(model, 2, 1, CONTROL_DT)
    physics.reset(everywhere(2), qpos, qvel)
    force = np.array([[0.0] * 6, [20.0, -30.0, 10.0, 0.0, 0.0, 0.0]])
    now, _ = physics.step(ctrl, {"trunk": force})
    for row in range(2):
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = qpos[row], qvel[row]
        mujoco.mj_forward(model, data)
        data.ctrl[:], data.body("trunk").xfrc_applied[:] = ctrl[row], force[row]
        mujoco.mj_step(model, data, round(CONTROL_DT / model.opt.timestep))
        np.testing.assert_array_equal(now.qvel[row], data.qvel)


@pytest.mark.parametrize("file_name", MODELS)
def test_a_reset_row_remembers_nothing_and_no_other_row_notices(file_name):
    model = load_model(file_name)
    qpos, qvel, ctrl = random_states(model, 3, 0)
    physics, undisturbed = (CpuPhysics(model, 3, 1, CONTROL_DT) for _ in range(2))
    for p in (physics, undisturbed):
        p.reset(everywhere(3), qpos, qvel)
        for _ in range(4):
            p.step(ctrl)
    physics.reset(np.array([False, True, False]), qpos[1:2], qvel[1:2])
    fresh = CpuPhysics(model, 1, 1, CONTROL_DT)
    fresh.reset(everywhere(1), qpos[1:2], qvel[1:2])
    np.testing.assert_array_equal(physics.save()[1], fresh.save()[0])
    for _ in range(3):
        now, _ = physics.step(ctrl)
        np.testing.assert_array_equal(now.qpos[[0, 2]], undisturbed.step(ctrl)[0].qpos[[0, 2]])
        np.testing.assert_array_equal(now.qpos[1], fresh.step(ctrl[1:2])[0].qpos[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e12])
def test_just_the_row_that_diverges_is_told(bad):
    model = load_model("go1.xml")
    qpos, qvel, ctrl = random_states(model, 3, 0)
    physics = CpuPhysics(model, 3, 1, CONTROL_DT)
    physics.reset(everywhere(3), qpos, qvel)
    velocities = mujoco.mj_stateSize(model, int(mujoco.mjtState.mjSTATE_TIME | mujoco.mjtState.mjSTATE_QPOS))
    simulation = physics.save()
    simulation[1, velocities + 3] = bad
    physics.restore(simulation)
    _, failures = physics.step(ctrl)
    assert {name: failed.tolist() for name, failed in failures.items()} == {"diverged": [False, True, False]}
    _, failures = physics.step(ctrl)
    assert not failures["diverged"].any()


def test_a_row_in_which_mujoco_raises_has_diverged(monkeypatch):
    model = load_model("go1.xml")
    qpos, qvel, ctrl = random_states(model, 3, 0)
    physics = CpuPhysics(model, 3, 1, CONTROL_DT)
    physics.reset(everywhere(3), qpos, qvel)

    def raises(*args: object, **kwargs: object) -> None:
        raise mujoco.batch.SimulationError(np.array([2]), "out of memory")

    monkeypatch.setattr(physics, "_batch", SimpleNamespace(step=raises, warning=np.zeros((3, 10, 2))))
    now, failures = physics.step(ctrl)
    assert failures["diverged"].tolist() == [False, False, True]
    np.testing.assert_array_equal(now.qpos, qpos)


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e12])
@pytest.mark.parametrize("what", ["qpos", "qvel"])
def test_an_impossible_start_is_refused(bad, what):
    model = load_model("go1.xml")
    qpos, qvel, ctrl = random_states(model, 3, 0)
    physics = CpuPhysics(model, 3, 1, CONTROL_DT)
    physics.reset(everywhere(3), qpos, qvel)
    physics.step(ctrl)
    {"qpos": qpos, "qvel": qvel}[what][2, 1] = bad
    with pytest.raises(ValueError, match=rf"{what} \[[^]]*{re.escape(f'{bad:.3g}')}"):
        physics.reset(np.array([True, False, True]), qpos[[0, 2]], qvel[[0, 2]])


@pytest.mark.parametrize("control_dt", [0.013, 0.001, 1e-9])
def test_control_steps_are_whole_numbers_of_physics_steps(control_dt):
    with pytest.raises(ValueError, match=rf"control_dt {control_dt:g} s is not a multiple .* 0\.005 s.* nearest"):
        CpuPhysics(load_model("go1.xml"), 1, 1, control_dt)


def test_sensors_of_a_group_are_joined():
    sensors = ['<jointpos name="a" joint="x"/>', *(f'<jointvel name="g/{i}" joint="x"/>' for i in range(3))]
    model = mujoco.MjModel.from_xml_string(SENSORS.format("".join(sensors)))
    now = CpuPhysics(model, 2, 1, model.opt.timestep).reset(everywhere(2), np.ones((2, 1)), np.array([[3.0], [4.0]]))
    np.testing.assert_array_equal(now.sensor["a"], [[1], [1]])
    np.testing.assert_array_equal(now.sensor["g"], [[3, 3, 3], [4, 4, 4]])
    np.testing.assert_array_equal(now.sensor["g/1"], [[3], [4]])


@pytest.mark.parametrize("names", [("g/1", "a", "g/2"), ("g", "g/1"), ("g/1", "g")])
def test_sensors_of_a_group_that_lie_apart_are_refused(names):
    sensors = "".join(f'<jointpos name="{name}" joint="x"/>' for name in names)
    with pytest.raises(ValueError, match="list just these together"):
        CpuPhysics(mujoco.MjModel.from_xml_string(SENSORS.format(sensors)), 1, 1, 0.002)


TWO_BODIES = """
<mujoco>
  <option><flag midphase="{}"/></option>
  <worldbody>
    <geom type="plane" size="1 1 0.1"/>
    <body><freejoint/>
      <inertial pos="0 0 0" mass="1" diaginertia="0.1 0.1 0.1"/>
      <geom type="{}" size="{}"/>
      <geom type="sphere" pos="0 0 1" size="0.01"/>
    </body>
    <body><freejoint/><geom type="box" size="0.2 0.3 0.1"/></body>
  </worldbody>
</mujoco>
"""
SIZES = {
    "sphere": (0.3, 0, 0),
    "capsule": (0.2, 0.3, 0),
    "ellipsoid": (0.2, 0.3, 0.4),
    "cylinder": (0.2, 0.3, 0),
    "box": (0.3, 0.4, 0.2),
}


@pytest.mark.parametrize("kind", SIZES)
def test_a_geom_that_is_larger_in_one_row_touches_as_one_of_that_size(kind):
    """The model has it a hundredth as large: what MuJoCo looks for contacts with must be that of the row."""

    def model(scale: float) -> mujoco.MjModel:
        size = " ".join(str(scale * x) for x in SIZES[kind])
        return mujoco.MjModel.from_xml_string(TWO_BODIES.format("disable", kind, size))

    small, large = model(0.01), model(1.0)
    qpos = np.array([[0, 0, 0.5, 0.9, 0.1, 0.3, 0.2, 0.1, 0.1, 1.1, 1, 0.2, 0, 0.1]])
    places = []
    for base, fields in ((small, {"geom_size": Override(large.geom_size[None])}), (large, {})):
        physics = CpuPhysics(base, 1, 1, 0.5)
        physics.override(everywhere(1), fields)
        physics.reset(everywhere(1), qpos, np.zeros((1, 12)))
        places.append([physics.step(np.zeros((1, 0)))[0].qpos for _ in range(3)])
    np.testing.assert_array_equal(*places)


def test_sizes_are_not_varied_where_contacts_are_looked_for_body_by_body():
    model = mujoco.MjModel.from_xml_string(TWO_BODIES.format("enable", "sphere", "0.1"))
    with pytest.raises(ValueError, match="midphase"):
        CpuPhysics(model, 1, 1, 0.5).override(everywhere(1), {"geom_size": Override(model.geom_size[None])})
