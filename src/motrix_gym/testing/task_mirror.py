"""The laws of a task with a mirror."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from motrix_gym.observation import with_noise
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.state import Array, Transition
from motrix_gym.symmetry import Flip
from motrix_gym.task import Task
from motrix_gym.testing.symmetric_model import symmetric
from motrix_gym.testing.task_report import Finding, error, remark
from motrix_gym.testing.task_run import TaskSubject, streams

_REMEDY = "correct its index or its signs in mirror(), or what is not symmetric in the task"


@dataclass(frozen=True)
class Step:
    """What one control step leads to, in N environments.

    Attributes:
        before: The blocks of the observation before it, by name, (N, k).
        after: The same after it.
        undrawn: Environments whose next task state has no number that was drawn, (N,) bool.
        earned: Reward terms, reasons and metrics, by method and name, (N,).
    """

    before: Mapping[str, Array]
    after: Mapping[str, Array]
    undrawn: Array
    earned: Mapping[str, Array]


def twice(s: TaskSubject) -> Iterator[Finding]:
    """The mirror image of a mirror image is the original."""
    mirror = s.task.mirror()
    if mirror is None:
        return
    flips = {"qpos": mirror.qpos, "qvel": mirror.qvel, "action": mirror.action}
    flips |= {f"block {name!r}": flip for name, flip in mirror.blocks.items()}
    for name, flip in flips.items():
        if not _undoes_itself(flip):
            yield error(f"mirror {name}", "is not the original when it is reflected twice", _REMEDY)
    if all((flip.index == np.arange(len(flip.index))).all() and (flip.sign > 0).all() for flip in flips.values()):
        yield error("mirror", "reflects nothing", "have it exchange left and right, or return None")
    state = s.random.transitions[-1].state
    again = mirror.state(mirror.state(state))
    for f in dataclasses.fields(state):
        if not np.allclose(getattr(again, f.name), getattr(state, f.name), atol=1e-12):
            yield error(f"mirror state.{f.name}", "is not the original when it is reflected twice", _REMEDY)
    space = s.task.action_space()
    reflected = np.sort(mirror.action(np.stack([space.low, space.high])), axis=0)
    if not np.array_equal(reflected, [space.low, space.high]):
        yield error("mirror action", "reflects actions to outside of the action space", "make the space symmetric")


def mirrored_step(s: TaskSubject) -> Iterator[Finding]:
    """The mirror image of a step is the step of the mirror image, on a model that is symmetric."""
    mirror = s.task.mirror()
    if mirror is None:
        return
    if s.model.nhfield:
        what = "was not compared with a step: the ground is not its own mirror image"
        yield remark("mirror", what, "check the task on a plane too")
        return
    try:
        model = symmetric(s.task.model(), mirror)
    except ValueError as not_symmetric:
        what = f"was not compared with a step: {not_symmetric}"
        yield remark("mirror", what, "make the model symmetric, or let mirror() return None")
        return
    t = s.random.transitions[-1]
    qpos, qvel, state, action = t.physics.qpos, t.physics.qvel, t.state, t.action
    mine = stepped(s.task, model, qpos, qvel, state, action)
    theirs = stepped(s.task, model, mirror.qpos(qpos), mirror.qvel(qvel), mirror.state(state), mirror.action(action))
    for name, flip in mirror.blocks.items():
        pairs = [(mine.before, theirs.before, np.full(len(action), True)), (mine.after, theirs.after, mine.undrawn)]
        for ours, other, envs in pairs:
            expected, found = flip(ours[name])[envs], other[name][envs]
            wrong = ~np.isclose(found, expected, rtol=1e-5, atol=1e-5)
            if wrong.any():
                env, i = np.argwhere(wrong)[0]
                what = (
                    f"element {i} is {found[env, i]:.4g} in a mirrored step, and {expected[env, i]:.4g} by its mirror"
                )
                yield error(f"mirror block {name!r}", what, _REMEDY)
                break
    for name, x in mine.earned.items():
        wrong = ~np.isclose(theirs.earned[name], x, rtol=1e-4, atol=1e-4)
        if wrong.any():
            env = np.flatnonzero(wrong)[0]
            what = f"is {theirs.earned[name][env]:.4g} in a mirrored step, and {x[env]:.4g} in the step itself"
            yield error(f"mirror {name}", what, "correct what is not symmetric in it, or how mirror() reflects states")


def _undoes_itself(flip: Flip) -> bool:
    size = len(flip.index)
    x = np.arange(1.0, size + 1)
    return sorted(flip.index) == list(range(size)) and np.array_equal(flip(flip(x)), x)


def stepped(task: Task, model: mujoco.MjModel, qpos: Array, qvel: Array, state: Any, action: Array) -> Step:
    """One control step from given states, on a model that is the same in all environments."""
    n = len(qpos)
    physics = CpuPhysics(model, n, 1, task.control_dt)
    before = physics.reset(np.full(n, True), qpos, qvel)
    ctrl = task.control(before, state, action)
    now, _ = physics.step(ctrl)
    t = Transition(before, state, action, ctrl, now, np.full(n, False))
    reasons = task.terminated(t)
    t = replace(t, terminated=np.any([np.full(n, False), *reasons.values()], axis=0))
    following, otherwise = (task.next_state(t, streams(seed, n)) for seed in (0, n))
    undrawn = np.full(n, True)
    for f in dataclasses.fields(following):
        undrawn &= (getattr(following, f.name) == getattr(otherwise, f.name)).reshape(n, -1).all(axis=1)
    groups = {"reward term": task.reward(t), "terminated": reasons, "metrics": task.metrics(t)}
    earned = {f"{kind} {name!r}": x for kind, group in groups.items() for name, x in group.items()}
    return Step(with_noise(task, before, state), with_noise(task, now, following), undrawn, earned)
