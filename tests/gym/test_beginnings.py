"""What a task may ask of an episode's beginning: that it is drawn again until it fits, and that it settles."""

from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motrix_gym.model_files import load_model
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.random_streams import RandomStreams, stream_keys
from motrix_gym.state import TaskState
from motrix_gym.tasks.basic.cartpole import CART, CartPole
from motrix_gym.vector_env import MotrixVectorEnv

SEEDS = st.integers(0, 2**63 - 1)
SETTLING_STEPS = 30


@dataclass(frozen=True)
class Marked(TaskState):
    """What was remembered of a beginning: the cart's position in it."""

    position: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Picky(CartPole):
    """A CartPole that begins to the right of `leftmost` only."""

    leftmost: float = 0.005

    def reset(self, rng):
        qpos, qvel, _ = super().reset(rng)
        return qpos, qvel, Marked(qpos[:, :1])

    def is_valid_start(self, physics):
        return physics.qpos[:, CART] > self.leftmost


@dataclass(frozen=True, kw_only=True)
class Settling(CartPole):
    """A CartPole whose pole has begun to fall when an episode begins."""

    SETTLING_TIME: ClassVar = 0.3


@dataclass(frozen=True, kw_only=True)
class PickyAndSettling(Picky):
    """Both."""

    SETTLING_TIME: ClassVar = 0.3


def first_accepted(task: Picky, seed: int, episode: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What a loop over one row's stream begins its episodes with, in turn."""
    rng = RandomStreams(stream_keys([seed]))
    while True:
        qpos, qvel, _ = task.reset(rng)
        if qpos[0, CART] > task.leftmost:
            if episode == 0:
                return qpos[0], qvel[0]
            episode -= 1


def settled(qpos: np.ndarray, qvel: np.ndarray) -> mujoco.MjData:
    """One simulation that has moved for the settling time."""
    model = load_model("cartpole.xml")
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_step(model, data, SETTLING_STEPS)
    return data


@settings(max_examples=20)
@given(seeds=st.lists(SEEDS, min_size=1, max_size=6), leftmost=st.sampled_from([-1.0, 0.0, 0.008]))
def test_each_row_begins_with_the_first_accepted_draw_of_its_own_stream(seeds, leftmost):
    task = Picky(leftmost=leftmost)
    envs = MotrixVectorEnv(task, len(seeds), num_threads=1, max_episode_steps=1)
    envs.reset(seed=seeds)
    for episode in range(3):
        state = envs.get_state()
        for row, seed in enumerate(seeds):
            qpos, qvel = first_accepted(task, seed, episode)
            np.testing.assert_array_equal(state["qpos"][row], qpos)
            np.testing.assert_array_equal(state["qvel"][row], qvel)
            np.testing.assert_array_equal(state["memory.position"][row], qpos[:1])
        envs.step(np.zeros((len(seeds), 1)))


def test_what_no_draw_can_meet_is_refused():
    envs = MotrixVectorEnv(Picky(leftmost=1.0), 2, num_threads=1)
    with pytest.raises(ValueError, match="Picky accepts none of 1000 start states"):
        envs.reset(seed=0)


@settings(max_examples=10)
@given(seed=SEEDS, threads=st.integers(1, 2))
def test_a_row_begins_where_its_draw_settles_without_control(seed, threads):
    envs = MotrixVectorEnv(Settling(), 3, num_threads=threads, max_episode_steps=4)
    streams = [RandomStreams(stream_keys([seed + row])) for row in range(3)]
    envs.reset(seed=seed)
    for _ in range(2):
        state = envs.get_state()
        for row, rng in enumerate(streams):
            qpos, qvel, _ = Settling().reset(rng)
            data = settled(qpos[0], qvel[0])
            np.testing.assert_array_equal(state["qpos"][row], data.qpos)
            np.testing.assert_array_equal(state["qvel"][row], data.qvel)
        for _ in range(4):
            envs.step(np.full((3, 1), 3.0))


def test_a_row_that_settles_is_noticed_by_no_other():
    envs, undisturbed = (MotrixVectorEnv(Settling(), 3, num_threads=1) for _ in range(2))
    for e in (envs, undisturbed):
        e.reset(seed=0)
        e.step(np.ones((3, 1)))
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(envs.get_state()["simulation"][[0, 2]], undisturbed.get_state()["simulation"][[0, 2]])
    for _ in range(3):
        found, expected = (e.step(np.ones((3, 1)))[0] for e in (envs, undisturbed))
        np.testing.assert_array_equal(found[[0, 2]], expected[[0, 2]])


def test_what_is_accepted_is_the_draw_and_not_what_it_settles_to():
    task = PickyAndSettling()
    envs = MotrixVectorEnv(task, 8, num_threads=1)
    envs.reset(seed=0)
    for row in range(8):
        np.testing.assert_array_equal(envs.get_state()["qpos"][row], settled(*first_accepted(task, row)).qpos)


def test_a_settled_frame_has_current_sensors():
    model = load_model("go1.xml")
    physics = CpuPhysics(model, 2, 1, control_dt=0.02)
    physics.reset(np.ones(2, dtype=bool), np.tile(model.key_qpos[0], (2, 1)), np.full((2, model.nv), 0.1))
    settled = physics.settle(np.array([False, True]), 0.1)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = settled.qpos[0], settled.qvel[0]
    mujoco.mj_forward(model, data)
    for i in np.flatnonzero(model.sensor_needstage < int(mujoco.mjtStage.mjSTAGE_ACC)):
        sensor = model.sensor(i)
        np.testing.assert_allclose(settled.sensor[sensor.name][0], data.sensor(i).data, atol=1e-12)


def test_settling_times_are_whole_numbers_of_physics_steps():
    physics = CpuPhysics(load_model("cartpole.xml"), 1, 1, control_dt=0.01)
    with pytest.raises(ValueError, match=r"settling time of 0\.015 s is not a multiple .* 0\.01 s"):
        physics.settle(np.array([True]), 0.015)


def test_a_beginning_that_diverges_as_it_settles_is_refused():
    model = load_model("go1.xml")
    physics = CpuPhysics(model, 3, 1, control_dt=0.02)
    start = np.tile(model.key_qpos[0], (3, 1))
    speed = np.zeros((3, model.nv))
    speed[1, 7] = 9e9  # below what counts as divergence
    physics.reset(np.ones(3, dtype=bool), start, speed)
    with pytest.raises(ValueError, match=r"diverges while it settles for 0\.1 s"):
        physics.settle(np.ones(3, dtype=bool), 0.1)
    physics.reset(np.array([False, True, False]), start[:1], np.zeros((1, model.nv)))
    physics.settle(np.ones(3, dtype=bool), 0.1)
