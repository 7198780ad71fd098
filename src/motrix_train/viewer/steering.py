"""What a user may set in a task: the command of a robot that follows one, or the goal that it goes to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from motrix_gym.hierarchy import HierarchicalVectorEnv
from motrix_gym.random_streams import RandomStreams
from motrix_train.viewer.report import Handle

COMMAND, GOAL, HEADING = "command", "goal", "goal_heading"
VELOCITY = ("forward, m/s", "leftward, m/s", "turn left, rad/s")
AXES = ("x", "y", "z")


def handles(env: Any, task: Any) -> tuple[Handle, ...]:
    """The numbers of the task state that the user may set.

    A goal where the task remembers one, since the task then makes the command of it; else the command, unless a
    higher policy gives it.

    Args:
        env: The unwrapped vector environment.
        task: The task of the environment that is shown.
    """
    shapes = _remembered(task)
    if len(shapes.get(GOAL, ())) == 1 and shapes[GOAL][0] <= len(AXES):
        found = [Handle(GOAL, i, f"goal {AXES[i]}, m") for i in range(shapes[GOAL][0])]
        if shapes.get(HEADING) == ():
            found.append(Handle(HEADING, None, "goal heading, rad"))
        return tuple(found)
    if len(shapes.get(COMMAND, ())) != 1 or isinstance(env, HierarchicalVectorEnv):
        return ()
    width = shapes[COMMAND][0]
    low, high = (np.asarray(getattr(task, f"command_{end}", ())) for end in ("low", "high"))
    if low.shape != (width,) or high.shape != (width,):
        low, high = np.full((2, width), [[-1.0], [1.0]])
    labels = VELOCITY if width == len(VELOCITY) else [f"command {i}" for i in range(width)]
    return tuple(Handle(COMMAND, i, labels[i], *_range(low[i], high[i])) for i in range(width))


def read(handle: Handle, state: Mapping[str, np.ndarray], env: int, task_name: str = "") -> float:
    """The value of a handle in a saved state."""
    return float(_place(handle, state, task_name)[env])


def write(handle: Handle, value: float, state: Mapping[str, np.ndarray], env: int, task_name: str = "") -> None:
    """Sets the value of a handle in a saved state."""
    _place(handle, state, task_name)[env] = value


def _place(handle: Handle, state: Mapping[str, np.ndarray], task_name: str) -> np.ndarray:  # (N,)
    """The values of all environments, as a view of the saved state. Joined tasks may have arrays of their own."""
    name = f"memory.{handle.field}"
    array = state[name if name in state else f"{task_name}.{name}"]
    return array if handle.element is None else array[:, handle.element]


def _remembered(task: Any) -> dict[str, tuple[int, ...]]:
    """The fields of the task state, each with the shape that it has in one environment."""
    _, _, state = task.reset(RandomStreams(np.zeros((1, 2), dtype=np.uint64)))
    return {field.name: getattr(state, field.name).shape[1:] for field in dataclasses.fields(state)}


def _range(low: float, high: float) -> tuple[float, float]:
    """The ends of a slider: standing still is between them, and they are apart."""
    return min(float(low), 0.0 if low < high else low - 1.0), max(float(high), 0.0 if low < high else high + 1.0)
