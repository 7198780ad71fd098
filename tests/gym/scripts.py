"""What solves a task without having learned it: what chance does not come upon, a script shows."""

from __future__ import annotations

import functools
from collections.abc import Callable

import mujoco
import numpy as np
from panda_script import Guide

from motrix_gym.state import Array
from motrix_gym.tasks.basic.planar_arm import LENGTHS, NUM_JOINTS, grasp_pose
from motrix_gym.tasks.manipulation.panda import FINGERS, JOINTS, PandaTask
from motrix_gym.vector_env import MotrixVectorEnv

Script = Callable[[], Array]  # the actions of all rows, (N, m), at each call

BEFORE, TO, CLOSE, PULL = range(4)
PRESSING = 0.009  # m that the fingers' target is inside of what they hold
PULLED = 0.36  # m that the drawer is open in the end


class OpensDrawer:
    """Turns the hand before the handle, goes to it, closes, and pulls; each row at its own pace.

    Attributes:
        stage: What each row does, (N,) int.
        clear: How far before the bar the hand comes to rest and is turned, m.
        beside: How far beside the middle of the bar, m.
    """

    def __init__(self, envs: MotrixVectorEnv):
        assert isinstance(envs.task, PandaTask)
        self.envs, self.guide = envs, Guide(envs.task)
        self.clear, self.beside = 0.08, 0.0
        self.stage = np.full(envs.num_envs, BEFORE)

    def __call__(self) -> Array:
        return np.array([self._of_row(row) for row in range(self.envs.num_envs)])

    def _of_row(self, row: int) -> Array:
        physics, guide, target = self.envs.batch.state.physics, self.guide, self.envs.batch.state.task.target[row]
        guide.see(physics.qpos[row])
        seen = ("handle", "handle_axes/way", "handle_axes/up")
        bar, out, up = (guide.axes @ physics.sensor[name][row] for name in seen)  # in the axes of the room
        turn = guide.turn(-out, up * np.sign(up @ guide.axes[:, 1]))  # either finger may be the upper one
        shut = physics.sensor["drawer"][row, 0] < PULLED
        way = {
            BEFORE: bar + self.clear * out + self.beside * np.cross(up, out),
            TO: bar,
            CLOSE: bar,
            PULL: bar + 0.015 * shut * out,
        }
        done = {
            BEFORE: np.linalg.norm(way[BEFORE]) < 0.015 and np.linalg.norm(turn) < 0.1,
            TO: np.linalg.norm(bar) < 0.006,
            CLOSE: target[-1] < physics.qpos[row, FINGERS].mean() - PRESSING,
            PULL: False,
        }
        stage = self.stage[row]
        self.stage[row] += done[stage]
        fingers = -1.0 if stage >= CLOSE else 1.0
        return np.append(guide.actions(target[JOINTS], no_farther(way[stage], 0.03), no_farther(turn, 0.05)), fingers)


class ReachesAndGrips:
    """Pulls the hand of a planar arm to the object, or to the first box, and opens and closes it there."""

    STIFFNESS, STEPS_OF_GRIP = 200.0, 40  # N/m, control steps

    def __init__(self, envs: MotrixVectorEnv):
        self.envs, self.steps = envs, 0
        self.gear = envs.task.model().actuator_gear[:4, 0]

    def __call__(self) -> Array:
        qpos = self.envs.batch.state.physics.qpos
        turns = np.cumulative_sum(qpos[:, :4], axis=1)
        links = -LENGTHS[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=2)  # (N, joint, xz), their gradients
        jacobian = np.cumulative_sum(links[:, ::-1], axis=1)[:, ::-1]
        way = qpos[:, NUM_JOINTS : NUM_JOINTS + 2] - grasp_pose(qpos[:, :NUM_JOINTS])[:, :2]
        torque = self.STIFFNESS * np.einsum("njx,nx->nj", jacobian, way)
        grip = 1.0 if self.steps // self.STEPS_OF_GRIP % 2 else -1.0
        self.steps += 1
        return np.clip(np.column_stack([torque / self.gear, np.full(len(qpos), grip)]), -1.0, 1.0)


class IsPlaced:
    """Places a robot with legs where it has to come to, keeps it there, and then lets chance act.

    Args:
        envs: The environments.
        tilt: Pitch of the trunk, rad.
        thighs: How far the thighs are from the standing pose, and are kept, rad.
    """

    STEPS_KEPT = 40  # control steps

    def __init__(self, envs: MotrixVectorEnv, tilt: float = 0.0, thighs: float = 0.0):
        self.rng, self.steps = np.random.default_rng(0), 0
        model, robot = envs.task.model(), envs.task.ROBOT
        bent = np.array([thighs * name.endswith("thigh_joint") for name in robot.joints])
        data = mujoco.MjData(model)
        data.qpos[:] = [0, 0, 0, np.cos(tilt / 2), 0, np.sin(tilt / 2), 0, *(robot.default_joints + bent)]
        mujoco.mj_kinematics(model, data)
        depths = robot.foot_height - [data.geom(foot).xpos[2] for foot in robot.feet]
        data.qpos[2] = depths.max()
        place(envs, data.qpos)
        self.kept = np.tile(bent / envs.task.action_scale, (envs.num_envs, 1))

    def __call__(self) -> Array:
        self.steps += 1
        return self.kept if self.steps <= self.STEPS_KEPT else self.rng.uniform(-1.0, 1.0, self.kept.shape)


def place(envs: MotrixVectorEnv, qpos: np.ndarray) -> None:
    """Puts all robots of a task into one pose, at rest."""
    state, model = envs.get_state(), envs.task.model()
    time = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_TIME)
    state["simulation"][:, time : time + model.nq] = qpos
    state["simulation"][:, time + model.nq : time + model.nq + model.nv] = 0
    envs.set_state(state)


def no_farther(way: Array, limit: float) -> Array:
    """A vector, (3,), in its direction, with a length of at most `limit`."""
    return way * min(1.0, limit / max(float(np.linalg.norm(way)), 1e-9))


SCRIPTS: dict[str, Callable[[MotrixVectorEnv], Script]] = {
    "Motrix/FrankaOpenCabinet-v0": OpensDrawer,
    "Motrix/Go1Getup-v0": IsPlaced,
    "Motrix/Go1Handstand-v0": functools.partial(IsPlaced, tilt=np.pi / 2, thighs=-np.pi / 2),
    "Motrix/ManipulatorBringPeg-v0": ReachesAndGrips,
    "Motrix/ManipulatorInsertPeg-v0": ReachesAndGrips,
    "Motrix/StackerStack2-v0": ReachesAndGrips,
    "Motrix/StackerStack4-v0": ReachesAndGrips,
}
