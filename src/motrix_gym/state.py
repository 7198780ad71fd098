"""The state of N environments between two steps, and how the environments in it are selected and replaced.

Every array has a leading axis of N environments. Nothing here is written in place: a new state is a new object. All of
its arrays are NumPy's, or all are Torch's on one device; a saved state is NumPy's, of one form for both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rows
from motrix_gym.arrays import Array
from motrix_gym.random_streams import RandomStreams

Tree = TypeVar("Tree")  # a dataclass of arrays, or of such dataclasses and of dictionaries of arrays


@dataclass(frozen=True)
class PhysicsState:
    """The physical state of N environments at one instant, as far as a task may read it.

    Attributes:
        qpos: Generalised positions, (N, nq), in the model's units (m, rad, unit quaternions w x y z).
        qvel: Generalised velocities, (N, nv), m/s or rad/s.
        sensor: The model's sensors by name, each (N, dim). Sensors named ``group/part`` are also there as
            ``group``, joined in the model's order. Position and velocity sensors are those of this instant;
            force and contact sensors are those of the last physics step that led to it.
    """

    qpos: Array
    qvel: Array
    sensor: Mapping[str, Array]


@dataclass(frozen=True)
class TaskState:
    """What a task remembers of an episode between steps; every field is an array (N, ...)."""


@dataclass(frozen=True)
class Transition:
    """One control step of N environments.

    Attributes:
        physics: The physics state that the policy acted on.
        state: The task state that the policy acted on.
        action: The clipped action, (N, m).
        ctrl: The actuator signals that `Task.control` made of it, (N, nu).
        next_physics: The physics state one control step later.
        terminated: (N,) bool, environments whose episode ends here, divergence included. `Task.terminated`, which
            decides it, reads all False.
    """

    physics: PhysicsState
    state: Any
    action: Array
    ctrl: Array
    next_physics: PhysicsState
    terminated: Array


@dataclass(frozen=True)
class State:
    """All that N environments go on from, beside the simulation inside the physics engine.

    Attributes:
        physics: The physics state.
        task: The task state.
        rng: The random streams.
        elapsed: Control steps since the episode began, (N,) int64.
        has_past: Environments that have had an episode since they were seeded, (N,) bool.
        ended: Environments whose episode has ended and which have not been reset, (N,) bool.
        past_observations: What the policy saw in each of the steps before, from the oldest to the newest,
            (N, history - 1, k) float32; (N, 0, 0) for a policy that sees one step.
    """

    physics: PhysicsState
    task: Any
    rng: RandomStreams
    elapsed: Array
    has_past: Array
    ended: Array
    past_observations: Array


def take(tree: Tree, envs: Any) -> Tree:
    """The state of some environments alone; `envs` are indices, (M,) int, or a mask, (N,) bool."""
    return _map(lambda x: x[envs], tree)


def put(tree: Tree, envs: Any, new: Tree) -> Tree:
    """`tree` with the environments `envs` replaced by `new`, the state of these environments alone."""
    return _map(lambda old, fresh: rows.replaced(old, envs, fresh), tree, new)


def where(mask: Array, tree: Tree, otherwise: Tree) -> Tree:
    """`tree` for the environments that `mask`, (N,) bool, marks, and `otherwise` for the others."""
    return _map(lambda x, y: xp.where(xp.reshape(mask, (-1, *(1,) * (x.ndim - 1))), x, y), tree, otherwise)


def in_dtype_of(tree: Tree, x: Array) -> Tree:
    """`tree` with its floating-point numbers in the dtype of `x`; with NumPy as it is."""
    return tree if type(x) is np.ndarray else _map(lambda y: rows.in_dtype_of(y, x), tree)


def consecutive(widths: Mapping[str, int]) -> dict[str, slice]:
    """The columns of parts that follow one another, by name, from the width of each."""
    stops = np.cumulative_sum(list(widths.values())).tolist()
    return {name: slice(stop - width, stop) for (name, width), stop in zip(widths.items(), stops, strict=True)}


def to_arrays(state: State) -> dict[str, Array]:
    """A state as a flat dictionary of arrays of NumPy, with past observations where there are any.

    `State.has_past` is not in it: a saved state has a past.
    """
    arrays = {
        "qpos": state.physics.qpos,
        "qvel": state.physics.qvel,
        **{f"sensor.{name}": x for name, x in state.physics.sensor.items()},
        **{f"memory.{f.name}": getattr(state.task, f.name) for f in dataclasses.fields(state.task)},
        "key": state.rng.key,
        "counter": state.rng.counter,
        "elapsed": state.elapsed,
        "ended": state.ended,
    }
    if 0 not in state.past_observations.shape:
        arrays["past_observations"] = state.past_observations
    return {name: _as_numpys(name, x) for name, x in arrays.items()}


def from_arrays(arrays: Mapping[str, Array], like: State) -> State:
    """The state that `to_arrays` gave, with the sensors, the task state and the array library that `like` has."""
    x = {name: rows.from_host(array, like.physics.qpos) for name, array in arrays.items()}
    return State(
        PhysicsState(x["qpos"], x["qvel"], {name: x[f"sensor.{name}"] for name in like.physics.sensor}),
        type(like.task)(**{f.name: x[f"memory.{f.name}"] for f in dataclasses.fields(like.task)}),
        RandomStreams(x["key"], x["counter"]),
        elapsed=x["elapsed"],
        has_past=xp.full((len(x["ended"]),), True, x["qpos"]),
        ended=x["ended"],
        past_observations=x.get("past_observations", like.past_observations),
    )


def _as_numpys(name: str, x: Array) -> np.ndarray:
    """A copy of an array of a state, as a state of NumPy's has it."""
    host = rows.to_host(x)
    if type(x) is np.ndarray or name == "past_observations":
        return host
    if name in ("key", "counter"):
        return host.view(np.uint64)
    return host.astype(np.float64) if host.dtype.kind == "f" else host


def _map(function: Callable[..., Array], *trees: Any) -> Any:
    """Applies a function to the arrays of trees of the same structure."""
    first = trees[0]
    if isinstance(first, Mapping):
        return {name: _map(function, *(tree[name] for tree in trees)) for name in first}
    if not dataclasses.is_dataclass(first):
        return function(*trees)
    names = [f.name for f in dataclasses.fields(first)]
    return type(first)(**{name: _map(function, *(getattr(tree, name) for tree in trees)) for name in names})
