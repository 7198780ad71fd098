"""The planar arm: where it grasps, where its targets and receptacles stand."""

import gymnasium
import mujoco
import numpy as np
import pytest
from scipy.optimize import minimize

from motrix_gym.model_files import load_model
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.random_streams import RandomStreams, stream_keys
from motrix_gym.state import Transition
from motrix_gym.tasks.basic.manipulator import IN_HAND_SHARE, IN_TARGET_SHARE, OBJECT, ManipulatorBall
from motrix_gym.tasks.basic.planar_arm import FINGER, THUMB, grasp_pose


def test_it_grasps_where_mujoco_has_the_site():
    model = load_model("planar_arm.xml")
    data = mujoco.MjData(model)
    arms = ManipulatorBall().random_arm(RandomStreams(stream_keys(range(50))))
    np.testing.assert_array_equal(arms[:, FINGER], arms[:, THUMB])
    for arm, (x, z, turn) in zip(arms, grasp_pose(arms), strict=True):
        data.qpos[:] = arm
        mujoco.mj_kinematics(model, data)
        grasp = data.site("grasp")
        np.testing.assert_allclose(grasp.xpos, [x, 0, z], atol=1e-12)
        np.testing.assert_allclose(grasp.xmat[[0, 6]], [np.cos(turn), np.sin(turn)], atol=1e-12)


@pytest.mark.parametrize("name", ["InsertBall", "InsertPeg"])
def test_target_and_receptacle_stand_where_the_task_state_says(name):
    envs = gymnasium.make_vec(f"Motrix/Manipulator{name}-v0", num_envs=8, num_threads=1).unwrapped
    envs.reset(seed=0)
    for row, (x, z, pitch) in enumerate(envs.get_state()["memory.target"]):
        _, data = envs.batch.physics.view(row)
        for body in (data.body("target"), data.body("receptacle")):
            np.testing.assert_allclose(body.xpos[[0, 2]], [x, z], atol=1e-12)
            np.testing.assert_allclose(body.xmat[[0, 2]], [np.cos(pitch), np.sin(pitch)], atol=1e-12)
        assert abs(pitch) <= np.pi / 3


def test_a_part_of_the_beginnings_is_in_the_hand_and_another_at_the_target():
    qpos, qvel, state = ManipulatorBall().reset(RandomStreams(stream_keys(range(5000))))
    placed, speed = qpos[:, OBJECT], qvel[:, OBJECT]
    in_hand = (placed[:, :2] == grasp_pose(qpos[:, :8])[:, :2]).all(axis=1)
    at_target = (placed == state.target).all(axis=1)
    assert in_hand.mean() == pytest.approx(IN_HAND_SHARE, abs=0.02)
    assert at_target.mean() == pytest.approx(IN_TARGET_SHARE, abs=0.02)
    np.testing.assert_array_equal(speed[:, 0] == 0, in_hand | at_target)


def test_a_box_at_the_target_earns_everything_once_the_hand_is_away():
    task = gymnasium.make_vec("Motrix/StackerStack2-v0", num_envs=1).unwrapped.task
    _, _, state = task.reset(RandomStreams(stream_keys(range(64))))
    hand_up = np.tile(task.model().qpos0, (64, 1))
    hand_up[:, 11:13] = state.target  # where the second box is
    at_target = np.concatenate([np.zeros((64, 8)), hand_up[:, 8:]], axis=1)
    at_target[:, :4] = reaching(state.target)
    rewards = []
    for qpos in (hand_up, at_target):
        physics = CpuPhysics(task.model(), 64, 1, task.control_dt)
        now = physics.reset(np.ones(64, dtype=bool), qpos, np.zeros_like(qpos))
        nothing = np.zeros((64, 5))
        t = Transition(now, state, nothing, nothing, now, np.zeros(64, dtype=bool))
        rewards.append(task.reward(t)["stacked"])
    np.testing.assert_allclose(rewards[0], 1, atol=2e-3)  # the target is 1 mm behind the plane
    assert (rewards[1] < 1e-3).all()


def reaching(target: np.ndarray) -> np.ndarray:
    """Angles of root, shoulder, elbow and wrist at which the grasp is at a target, (N, 2) m to (N, 4) rad."""
    angles = []
    for place in target:
        found = minimize(lambda x, place=place: np.sum((grasp_pose(x[None])[0, :2] - place) ** 2), [1.5, 0.5, 0.5, 0.5])
        angles.append(found.x)
    return np.array(angles)
