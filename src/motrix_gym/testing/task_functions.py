"""The laws that make the methods of a task functions: of their arguments alone, and environment by environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from motrix_gym.physics.base import Override
from motrix_gym.random_streams import RandomStreams
from motrix_gym.state import Array, PhysicsState, Transition, take
from motrix_gym.task import Task
from motrix_gym.testing.task_report import Finding, error
from motrix_gym.testing.task_run import TaskSubject, streams

_METHODS: dict[str, Callable[[Task, Transition, PhysicsState, RandomStreams], Any]] = {
    "reset": lambda task, t, now, rng: task.reset(rng),
    "reset_after": lambda task, t, now, rng: task.reset_after(rng, t.state),
    "is_valid_start": lambda task, t, now, rng: task.is_valid_start(now),
    "control": lambda task, t, now, rng: task.control(t.physics, t.state, t.action),
    "model_overrides": lambda task, t, now, rng: task.model_overrides(t.state),
    "external_force": lambda task, t, now, rng: task.external_force(t.state),
    "observe": lambda task, t, now, rng: task.observe(now, t.state),
    "noise": lambda task, t, now, rng: task.noise(t.state),
    "privileged": lambda task, t, now, rng: task.privileged(now, t.state),
    "reward": lambda task, t, now, rng: task.reward(t),
    "terminated": lambda task, t, now, rng: task.terminated(
        dataclasses.replace(t, terminated=np.zeros(len(t.action), dtype=bool))
    ),
    "next_state": lambda task, t, now, rng: task.next_state(t, rng),
    "metrics": lambda task, t, now, rng: task.metrics(t),
    "success": lambda task, t, now, rng: task.success(t),
}


def functions(s: TaskSubject) -> Iterator[Finding]:
    """The same arguments give the same results, and half of the environments in another order have theirs."""
    t = s.random.transitions[-1]
    rng = streams(s.seed, len(t.action))
    chosen = np.random.default_rng(s.seed).permutation(len(t.action))[: -(-len(t.action) // 2)]
    for method, call in _METHODS.items():
        result, again = (dict(_leaves(_called(call, s.task, t, rng))) for _ in range(2))
        among_others = dict(_leaves(_called(call, s.task, take(t, chosen), take(rng, chosen))))
        for name, x in result.items():
            where = f"{method}{name}"
            if not np.array_equal(x, again.get(name, _ABSENT), equal_nan=x.dtype.kind == "f"):
                remedy = "draw random numbers from `rng` alone, and remember things in the task state alone"
                yield error(where, "is another one when the method is called again", remedy)
            elif not _same(x[chosen], among_others.get(name, _ABSENT)):
                what = "of an environment depends on the other environments, or on their order"
                yield error(where, what, "compute along the axes after the first one alone")


_ABSENT = np.empty(0)


def _called(call: Callable[..., Any], task: Task, t: Transition, rng: RandomStreams) -> Any:
    """What a method returns; neither what it keeps in the transition nor the numbers that it draws are seen again."""
    return call(task, dataclasses.replace(t), t.next_physics, RandomStreams(rng.key, rng.counter))


def _leaves(result: Any, name: str = "") -> Iterator[tuple[str, Array]]:
    """The arrays in what a method returns, with what they are called."""
    if isinstance(result, np.ndarray):
        yield name, result
    elif isinstance(result, Override):
        yield name, result.values
    elif isinstance(result, Mapping):
        for key, x in result.items():
            yield from _leaves(x, f"{name} {key!r}")
    elif isinstance(result, tuple):
        for part, x in zip(("qpos", "qvel", "state"), result, strict=True):
            yield from _leaves(x, f" {part}")
    elif dataclasses.is_dataclass(result):
        for f in dataclasses.fields(result):
            yield from _leaves(getattr(result, f.name), f"{name or ' state'}.{f.name}")


def _same(x: Array, y: Array) -> bool:
    """Whether two arrays are equal, up to the order in which a processor adds numbers."""
    if x.shape != y.shape or x.dtype.kind != "f":
        return np.array_equal(x, y)
    return np.allclose(x, y, rtol=1e-9, atol=1e-12, equal_nan=True)
