"""What solves a task without having learned it: what chance does not come upon, a script shows."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np

from motrix_gym.task import Array, Frame
from motrix_gym.tasks.manipulation.open_cabinet import Y
from motrix_gym.tasks.manipulation.panda import JOINTS, PandaTask
from motrix_gym.vector_env import MotrixVectorEnv

Script = Callable[[], Array]  # the actions of all rows, (N, m), at each call

BEFORE = 0.08  # m before the bar, where the hand comes to rest
TURNED = 0.1  # as a sine, how exactly the hand is turned before it goes on
PLACED = 0.015, 0.006  # m, how exactly it is placed before it goes on, before the bar and at it
CLOSING = 8  # control steps
PULLED = 0.36  # m


def joint_rates(model: mujoco.MjModel, qpos: Array, linear: Array, angular: Array, damping: float = 0.03) -> Array:
    """How fast the joints of a Panda are to turn so that its hand moves, by damped least squares.

    Args:
        model: The model.
        qpos: Where it is, (N, nq).
        linear: How the point between the pads is to move, in the hand's axes, (N, 3) m/s.
        angular: How the hand is to turn, in its axes, (N, 3) rad/s.
        damping: Of the least squares: the joints stay slow where the arm can hardly move so.

    Returns:
        (N, 7) rad/s.
    """
    data, site = mujoco.MjData(model), model.site("tcp").id
    jacobian = np.zeros((6, model.nv))
    rates = []
    for row, motion in zip(qpos, np.concatenate([linear, angular], axis=1), strict=True):
        data.qpos[:] = row
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
        arm, axes = jacobian[:, JOINTS], data.site_xmat[site].reshape(3, 3)
        wanted = np.concatenate([axes @ motion[:3], axes @ motion[3:]])
        rates.append(arm.T @ np.linalg.solve(arm @ arm.T + damping**2 * np.eye(6), wanted))
    return np.array(rates)


def turn_left(frame: Frame) -> Array:
    """About which axis of the hand, and by the sine of which angle, it is off from how it grips best, (N, 3)."""
    way, up = frame.sensor["handle_axes/way"], frame.sensor["handle_axes/up"]
    opening = up * np.sign(up[:, Y : Y + 1])  # either finger may be the upper one
    return (np.cross([0, 0, 1], -way) + np.cross([0, 1, 0], opening)) / 2


class OpensDrawer:
    """Turns the hand before the handle, goes to it, closes, and pulls; each row at its own pace.

    Attributes:
        stage: What each row does, (N,) int: 0 goes before the handle, 1 to it, 2 closes, 3 pulls.
    """

    def __init__(self, envs: MotrixVectorEnv, *, closing: bool = True):
        assert isinstance(envs.task, PandaTask)
        self.envs, self.closing = envs, closing
        self.model, self.joint_speed = envs.task.model(), envs.task.joint_speed
        self.stage = np.zeros(envs.num_envs, dtype=int)
        self.since = np.zeros(envs.num_envs, dtype=int)

    def __call__(self) -> Array:
        frame = self.envs._frame
        bar, way, turn = frame.sensor["handle"], frame.sensor["handle_axes/way"], turn_left(frame)
        before = bar + BEFORE * way
        self._go_on(np.linalg.norm(before, axis=1), np.linalg.norm(bar, axis=1), np.linalg.norm(turn, axis=1))
        aside = bar - (bar * way).sum(axis=1, keepdims=True) * way
        shut = frame.sensor["drawer"] < PULLED
        motions = [_no_faster(5 * before, 0.4), _no_faster(4 * bar, 0.2), 2 * bar, (0.25 * way + 2 * aside) * shut]
        linear = np.choose(self.stage[:, None], motions)
        rates = joint_rates(self.model, frame.qpos, linear, _no_faster(3 * turn, 1.5))
        fingers = np.where((self.stage >= 2) & self.closing, -1.0, 1.0)
        return np.concatenate([rates / self.joint_speed, fingers[:, None]], axis=1).clip(-1, 1)

    def _go_on(self, before: Array, at: Array, turned: Array) -> None:
        ready = [(before < PLACED[0]) & (turned < TURNED), at < PLACED[1], self.since >= CLOSING, False]
        done = np.choose(self.stage, ready)
        self.stage, self.since = self.stage + done, np.where(done, 0, self.since + 1)


SCRIPTS: dict[str, Callable[[MotrixVectorEnv], Script]] = {"Motrix/FrankaOpenCabinet-v0": OpensDrawer}


def _no_faster(velocity: Array, limit: float) -> Array:
    """`velocity`, (N, 3), in its direction, with a length of at most `limit`."""
    return velocity * np.minimum(1, limit / np.maximum(np.linalg.norm(velocity, axis=1, keepdims=True), 1e-9))
