"""What it means to get up and to stand on the hands: where episodes begin, what is rewarded, what has to be held."""

import gymnasium
import mujoco
import numpy as np
import pytest
from scripts import place

from motrix_gym.tasks.locomotion.skills import Go1Getup, Go1Handstand
from motrix_gym.vector_env import MotrixVectorEnv

NUM_ENVS = 64
STILL = np.zeros((NUM_ENVS, 12), dtype=np.float32)


def make(name: str, **fields: object) -> MotrixVectorEnv:
    return gymnasium.make_vec(f"Motrix/{name}-v0", num_envs=NUM_ENVS, num_threads=1, **fields).unwrapped


def home(envs: MotrixVectorEnv) -> np.ndarray:
    """On its feet."""
    return envs.task.model().key("home").qpos


def test_a_fallen_robot_begins_above_the_ground_and_is_turned_every_way():
    envs = make("Go1Getup")
    envs.reset(seed=0)
    model, qpos = envs.task.model(), envs.batch.state.physics.qpos
    data = mujoco.MjData(model)
    for each in qpos:
        data.qpos = each
        mujoco.mj_forward(model, data)
        assert data.ncon == 0
    gravity = envs.batch.state.physics.sensor["gravity_direction"]
    assert (gravity.min(axis=0) < -0.8).all()
    assert (gravity.max(axis=0) > 0.8).all()


def test_getting_up_is_to_stand_for_as_long_as_hold_time_without_a_break():
    envs = make("Go1Getup", hold_time=0.5)
    envs.reset(seed=0)
    place(envs, home(envs))
    steps = [envs.step(STILL)[4] for _ in range(40)]
    standing = np.array([info["metrics"]["standing"] for info in steps])[:, 0]
    succeeds = np.array([info["success"] for info in steps])[:, 0]
    settled = int(standing.argmin()) if not standing.all() else 0
    first = settled + int(standing[settled:].argmax())
    assert standing[first:].all()
    assert not succeeds[: first + 24].any()
    assert succeeds[first + 24 :].all()


@pytest.mark.parametrize("change", [{"level_tilt": 1e-4}, {"pose_tolerance": 1e-4}, {"still_speed": 1e-6}])
def test_each_condition_of_standing_counts(change):
    envs = make("Go1Getup", **change)
    envs.reset(seed=0)
    place(envs, home(envs))
    for _ in range(20):
        info = envs.step(STILL)[4]
    assert not info["metrics"]["standing"].any()


def test_a_robot_on_its_back_earns_less_than_one_on_its_feet():
    envs = make("Go1Getup")
    envs.reset(seed=0)
    for _ in range(100):
        _, rewards, _, _, _ = envs.step(STILL)
    up = envs.batch.state.physics.sensor["gravity_direction"][:, 2]
    assert rewards[up < -0.95].min() > 2.0
    assert rewards[up > 0.5].max() < 0.5


def test_a_handstand_is_nose_down_on_front_feet_alone():
    envs = make("Go1Handstand")
    envs.reset(seed=0)
    for _ in range(10):
        _, _, terminated, _, info = envs.step(STILL)
    assert not info["metrics"]["handstand"].any()
    assert np.allclose(info["metrics"]["nose_down"], 0.25, atol=0.05)
    assert not terminated.any()


def test_a_handstand_ends_when_the_trunk_touches_the_ground():
    envs = make("Go1Handstand")
    envs.reset(seed=0)
    place(envs, home(envs) - np.eye(19)[2] * 0.25)
    _, _, terminated, _, info = envs.step(STILL)
    assert terminated.all()
    assert info["termination"]["trunk_contact"].all()


@pytest.mark.parametrize("task", [Go1Getup, Go1Handstand])
@pytest.mark.parametrize("field", ["terrain", "max_tilt", "height_scan"])
def test_they_have_no_ground_and_no_fall(task, field):
    with pytest.raises(TypeError, match=field):
        task(**{field: 1})
