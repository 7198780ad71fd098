"""What a task returns is looked at once, before it is believed: `CheckedTask`, from the making to the first step.

Nearly every mistake in these arrays would broadcast, and train, as something else. After the first step the task itself
is asked again, at no cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mujoco
import numpy as np

from motrix_gym import rows
from motrix_gym.fields import nearest
from motrix_gym.observation import check_observed
from motrix_gym.physics.base import Override
from motrix_gym.state import PhysicsState, Transition
from motrix_gym.symmetry import Mirror
from motrix_gym.task import Task

Array = np.ndarray
_OF_NUMPY = np.zeros(1)
_REMEDY = "compute with motrix_gym.arrays, or give arrays='numpy'"


class TaskError(ValueError):
    """A method of a task returns something else than it should; the message names the method and what it should be."""


class CheckedTask:
    """Answers as a task does, and raises `TaskError`, in one line, where an answer is none.

    Args:
        task: The task.
        model: Its model.
        example: An array of the library that the task is to compute with; NumPy's by default.
    """

    def __init__(self, task: Task, model: mujoco.MjModel, example: Array = _OF_NUMPY):
        self._task, self._model, self._array = task, model, type(example)
        self.widths: dict[str, int] = {}  # of the blocks of the observation, once it was looked at

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self._task)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def reset(self, rng: Any) -> tuple[Array, Array, Any]:
        return self._beginning("reset", rng)

    def reset_after(self, rng: Any, last: Any) -> tuple[Array, Array, Any]:
        return self._beginning("reset_after", rng, last)

    def model_overrides(self, state: Any) -> dict[str, Override]:
        overrides = self._asked("model_overrides", state)
        for name, override in overrides.items():
            if not hasattr(self._model, name):
                self._refuse("model_overrides", f"names {name!r}, which is no field of mujoco.MjModel")
            if not isinstance(override, Override):
                self._refuse("model_overrides", f"gives {name} {override!r}; it takes an Override")
            n = _num_envs(state, default=len(override.values))
            field = getattr(self._model, name)
            try:
                like = np.broadcast_to(field, (n, *field.shape))[override.index]
            except IndexError:
                return self._refuse("model_overrides", f"gives {name} at {override.at}; its shape is {field.shape}")
            self._require("model_overrides", name, override.values, like.shape)
        return overrides

    def external_force(self, state: Any) -> dict[str, Array]:
        forces = self._asked("external_force", state)
        bodies = [self._model.body(i).name for i in range(self._model.nbody)]
        for name, x in forces.items():
            if name not in bodies:
                self._refuse("external_force", f"names a body {name!r}{nearest(name, bodies)}")
            self._require("external_force", name, x, (_num_envs(state, default=len(x)), 6))
        return forces

    def is_valid_start(self, physics: PhysicsState) -> Array:
        return self._require(
            "is_valid_start", "the result", self._asked("is_valid_start", physics), (len(physics.qpos),), bool
        )

    def control(self, physics: PhysicsState, state: Any, action: Array) -> Array:
        ctrl = self._asked("control", physics, state, action)
        return self._require("control", "ctrl", ctrl, (len(action), self._model.nu))

    def observe(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        blocks = self._blocks("observe", physics, state)
        if not blocks:
            self._refuse("observe", "gives no block; an observation has one or more")
        check_observed(self._task.observed, blocks)
        self.widths = {name: block.shape[1] for name, block in blocks.items()}
        return blocks

    def noise(self, state: Any) -> dict[str, Array]:
        noise = self._asked("noise", state)
        if unknown := [name for name in noise if name not in self.widths]:
            self._refuse("noise", f"names a block {unknown[0]!r}{nearest(unknown[0], self.widths)}")
        for name, x in noise.items():
            self._require("noise", name, x, (_num_envs(state, default=len(x)), self.widths[name]))
        return noise

    def privileged(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        return self._blocks("privileged", physics, state)

    def reward(self, t: Transition) -> dict[str, Array]:
        terms = self._groups("reward", t)
        weights = self._task.weights
        if unweighted := [name for name in terms if name not in weights]:
            self._refuse("reward", f"gives {unweighted[0]!r}, which has no weight{nearest(unweighted[0], weights)}")
        if missing := [name for name in weights if name not in terms]:
            self._refuse("reward", f"gives no {missing[0]!r}, which has a weight{nearest(missing[0], terms)}")
        return terms

    def terminated(self, t: Transition) -> dict[str, Array]:
        return self._groups("terminated", t, bool)

    def metrics(self, t: Transition) -> dict[str, Array]:
        return self._groups("metrics", t)

    def success(self, t: Transition) -> Array | None:
        found = self._asked("success", t)
        return None if found is None else self._require("success", "the result", found, (len(t.action),), bool)

    def next_state(self, t: Transition, rng: Any) -> Any:
        state = self._asked("next_state", t, rng)
        if type(state) is not type(t.state):
            self._refuse("next_state", f"gives a {type(state).__name__}; it takes a {type(t.state).__name__}")
        self._require_state("next_state", state, len(t.action), before=t.state)
        return state

    def mirror(self) -> Mirror | None:
        mirror, blocks = self._asked("mirror"), self.widths
        if mirror is None:
            return None
        if missing := [name for name in blocks if name not in mirror.blocks]:
            self._refuse("mirror", f"reflects no block {missing[0]!r}; give blocks for {', '.join(blocks)}")
        if list(mirror.blocks) != list(blocks):
            self._refuse(
                "mirror", f"has the blocks {', '.join(mirror.blocks)}; the observation has {', '.join(blocks)}"
            )
        widths = {f"block {name!r}": (mirror.blocks[name], width) for name, width in blocks.items()}
        widths |= {"qpos": (mirror.qpos, self._model.nq), "qvel": (mirror.qvel, self._model.nv)}
        widths["action"] = mirror.action, self._task.action_space().shape[0]
        for name, (flip, width) in widths.items():
            if (len(flip.index), len(flip.sign)) != (width, width):
                self._refuse("mirror", f"reflects {len(flip.index)} elements of {name}; it has {width}")
        return mirror

    def _beginning(self, method: str, rng: Any, *last: Any) -> tuple[Array, Array, Any]:
        start = self._asked(method, rng, *last)
        if not isinstance(start, tuple) or len(start) != 3:
            self._refuse(method, "gives no three values; it takes qpos, qvel and the task state")
        qpos, qvel, state = start
        self._require(method, "qpos", qpos, (len(rng), self._model.nq))
        self._require(method, "qvel", qvel, (len(rng), self._model.nv))
        self._require_state(method, state, len(rng))
        return qpos, qvel, state

    def _blocks(self, method: str, physics: PhysicsState, state: Any) -> dict[str, Array]:
        blocks = self._asked(method, physics, state)
        for name, x in blocks.items():
            width = x.shape[1] if np.ndim(x) == 2 else "k"
            self._require(method, name, x, (len(physics.qpos), width))
        return blocks

    def _groups(self, method: str, t: Transition, dtype: type | None = None) -> dict[str, Array]:
        groups = self._asked(method, t)
        for name, x in groups.items():
            self._require(method, name, x, (len(t.action),), dtype)
        return groups

    def _asked(self, method: str, *given: Any) -> Any:
        """What a method returns; it reads only sensors that there are, and leaves what it is given as it is."""
        given = tuple(self._with_known_sensors(x, method) for x in given)
        before = [(name, x, rows.to_host(x)) for name, x in _arrays(given, self._array)]
        try:
            result = getattr(self._task, method)(*given)
        except (AttributeError, TypeError) as error:
            if self._array is np.ndarray:
                raise
            return self._refuse(method, f"fails on tensors ({error}); {_REMEDY}")
        for name, x, then in before:
            if not np.array_equal(rows.to_host(x), then, equal_nan=then.dtype.kind == "f"):
                self._refuse(method, f"writes to {name} in place; it takes a new array")
        return result

    def _with_known_sensors(self, x: Any, method: str) -> Any:
        if isinstance(x, PhysicsState):
            return dataclasses.replace(x, sensor=_Sensors(x.sensor, lambda what: self._refuse(method, what)))
        if isinstance(x, Transition):
            states = {name: self._with_known_sensors(getattr(x, name), method) for name in ("physics", "next_physics")}
            return dataclasses.replace(x, **states)
        return x

    def _require_state(self, method: str, state: Any, n: int, before: Any = None) -> None:
        if not dataclasses.is_dataclass(state):
            self._refuse(method, f"gives a task state {state!r}; it takes a dataclass of arrays")
        for f in dataclasses.fields(state):
            x, like = getattr(state, f.name), getattr(before, f.name, None)
            further = np.shape(x)[1:] if like is None else like.shape[1:]
            self._require(method, f"state.{f.name}", x, (n, *further), None if like is None else _dtype_of(like))

    def _require(self, method: str, name: str, x: Any, shape: tuple[Any, ...], dtype: Any = None) -> Any:
        what = "an array" if self._array is np.ndarray else f"a {self._array.__module__}.{self._array.__name__}"
        wanted = f"{what} of shape ({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
        if not isinstance(x, self._array):
            remedy = f": {_REMEDY}" if isinstance(x, np.ndarray) else ""
            self._refuse(method, f"gives {name} {x!r}; it takes {wanted}{remedy}")
        if x.shape != shape:
            self._refuse(method, f"gives {name} of shape {tuple(x.shape)}; it takes {wanted}")
        if dtype is not None:
            own, needed = _dtype_of(x), np.dtype(dtype)
            is_converted = self._array is not np.ndarray and own.kind == needed.kind
            if own != needed and not is_converted:
                self._refuse(method, f"gives {name} of {own}; it takes {needed}")
        return x

    def _refuse(self, method: str, what: str) -> Any:
        raise TaskError(f"{type(self._task).__name__}.{method} {what}")


class _Sensors(dict):
    """Sensors by name; one that there is not is refused with the nearest that there is."""

    def __init__(self, sensors: Mapping[str, Array], refuse: Callable[[str], Any]):
        super().__init__(sensors)
        self._refuse = refuse

    def __missing__(self, name: str) -> Array:
        return self._refuse(f"reads a sensor {name!r}{nearest(name, self)}")


def _arrays(given: Any, array: type, name: str = "") -> Iterator[tuple[str, Array]]:
    """The arrays, of the type `array`, in what a method is given, with what they are called."""
    if isinstance(given, array):
        yield name, given
    elif isinstance(given, (PhysicsState, Transition)) or (
        dataclasses.is_dataclass(given) and not isinstance(given, type)
    ):
        for f in dataclasses.fields(given):
            yield from _arrays(getattr(given, f.name), array, f"{name}.{f.name}" if name else f.name)
    elif isinstance(given, Mapping):
        for key, x in given.items():
            yield from _arrays(x, array, f"{name}[{key!r}]")
    elif isinstance(given, tuple):
        for x in given:
            yield from _arrays(x, array, name)


def _dtype_of(x: Array) -> np.dtype:
    """The dtype of an array, as NumPy names it."""
    return x.dtype if type(x) is np.ndarray else rows.to_host(x[:0]).dtype


def _num_envs(state: Any, default: int) -> int:
    """The number of environments of a task state; `default` where it has no field."""
    fields = dataclasses.fields(state)
    return len(getattr(state, fields[0].name)) if fields else default
