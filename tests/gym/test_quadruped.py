"""The quadruped: how its episodes begin, what it remembers of its servos, what its speed earns."""

import gymnasium
import mujoco
import numpy as np
import pytest

from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.state import Transition
from motrix_gym.tasks.basic.quadruped import LIFT, RATES, WALLS, QuadrupedFetch, lifted

IDS = ["Motrix/QuadrupedWalk-v0", "Motrix/QuadrupedFetch-v0"]


def contacts(model: mujoco.MjModel, qpos: np.ndarray) -> int:
    """How many contacts there are at some positions."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_forward(model, data)
    return data.ncon


@pytest.mark.parametrize("env_id", IDS)
def test_nothing_touches_in_the_beginning_and_something_does_one_step_lower(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=200, num_threads=1).unwrapped
    envs.reset(seed=0)
    model = envs.task.model()
    for qpos in envs.get_state()["qpos"]:
        assert contacts(model, qpos) == 0
        qpos[2] -= LIFT
        assert contacts(model, qpos) > 0


def test_a_robot_beside_a_wall_is_lifted_out_of_it():
    model = QuadrupedFetch().model()
    rng = np.random.default_rng(0)
    for wall in WALLS.values():
        places = -np.array(wall) * rng.uniform(13.5, 16.0, (50, 1))
        turns = rng.normal(size=(50, 4))
        rotations = turns / np.linalg.norm(turns, axis=1, keepdims=True)
        heights = lifted(places, rotations, WALLS.values())
        assert heights.max() > 1.2
        for place, height, rotation in zip(places, heights, rotations, strict=True):
            qpos = np.concatenate([place, height, rotation, model.qpos0[7:]])
            assert contacts(model, qpos) == 0
            qpos[2] -= LIFT
            assert contacts(model, qpos) > 0


@pytest.mark.parametrize("env_id", IDS)
def test_what_is_remembered_of_the_servos_is_what_mujoco_has(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=4, num_threads=1).unwrapped
    envs.reset(seed=0)
    envs.action_space.seed(0)
    for _ in range(50):
        envs.step(envs.action_space.sample())
    remembered = envs.get_state()["memory.activation"]
    for row in range(4):
        _, data = envs.batch.physics.view(row)
        np.testing.assert_allclose(remembered[row], data.act, rtol=1e-12)


def test_pace_is_a_share_of_twice_the_speed_from_running_backwards_on():
    task = gymnasium.make_vec("Motrix/QuadrupedRun-v0", num_envs=1, move_speed=4.0).unwrapped.task
    model, speed = task.model(), np.array([-8.0, -4.0, 0.0, 2.0, 4.0, 8.0])
    qvel = np.zeros((6, RATES.stop))
    qvel[:, 0] = speed
    qpos = np.tile(model.qpos0, (6, 1))
    now = CpuPhysics(model, 6, 1, task.control_dt).reset(np.ones(6, dtype=bool), qpos, qvel)
    _, _, state = task.beginning(qpos[:, :7])
    nothing = np.zeros((6, 12))
    t = Transition(now, state, nothing, nothing, now, np.zeros(6, dtype=bool))
    np.testing.assert_allclose(task.reward(t)["move"], [0, 0, 0.5, 0.75, 1, 1], atol=1e-12)
