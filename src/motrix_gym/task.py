"""The vocabulary of a task: what it reads (`Frame`, `Transition`), what it remembers (`Memory`), what it is (`Task`).

A task is a frozen dataclass. Its fields are its configuration, its methods are pure functions over arrays with a
leading row axis N, one row an environment. It holds no per-environment state and never sees row numbers or masks.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import mujoco
import numpy as np
from gymnasium import spaces

from motrix_gym.random_streams import RandomStreams
from motrix_gym.state import Array as Array
from motrix_gym.state import PhysicsState as PhysicsState
from motrix_gym.state import TaskState as TaskState
from motrix_gym.state import Transition as Transition

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnyFields = TypeVar("AnyFields", bound="DataclassInstance")
LONGEST_STEP = 10.0  # s
_INCLUDE = re.compile(r'<include file="([^"]+)"/>')


def render_fps(control_dt: float) -> int:
    """Frames a second of a video that shows one frame a control step of `control_dt` s: real time, but at least 1."""
    return max(1, round(1 / control_dt))


@dataclass(frozen=True)
class Flip:
    """A reflection of a vector: ``flip(x) = x[..., index] * sign``.

    Attributes:
        index: (k,) int, where each mirrored element comes from.
        sign: (k,) float, +1 or -1.
    """

    index: Array
    sign: Array

    def __call__(self, x: Array) -> Array:
        return x[..., self.index] * self.sign

    @staticmethod
    def signs(*sign: float) -> Flip:
        """A reflection that permutes nothing."""
        return Flip(np.arange(len(sign)), np.asarray(sign, dtype=float))

    @staticmethod
    def joined(*flips: Flip) -> Flip:
        """The reflection of concatenated vectors."""
        starts = np.cumsum([0, *(len(flip.index) for flip in flips)])
        return Flip(
            np.concatenate([flip.index + start for flip, start in zip(flips, starts, strict=False)]),
            np.concatenate([flip.sign for flip in flips]),
        )


@dataclass(frozen=True)
class Mirror:
    """How a left-right symmetric robot is reflected.

    Attributes:
        qpos: Reflection of the generalised positions.
        qvel: Reflection of the generalised velocities.
        action: Reflection of the action.
        blocks: Reflection of each observation block.
        memory: Maps a memory to the memory of the mirrored episode.
    """

    qpos: Flip
    qvel: Flip
    action: Flip
    blocks: Mapping[str, Flip]
    state: Callable[[Any], Any]

    @property
    def observation(self) -> Flip:
        """Reflection of the whole observation vector."""
        return Flip.joined(*self.blocks.values())


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: its fields are the configuration, its methods what an episode means.

    Attributes:
        control_dt: Seconds between two actions; a multiple of the model's timestep, at most 10.
        reward_weights: Weights that replace the defaults of `WEIGHTS`, by reward term.
    """

    WEIGHTS: ClassVar[Mapping[str, float]]
    POSITIVE: ClassVar[tuple[str, ...]] = ()  # fields that must be above 0
    SETTLING_TIME: ClassVar[float] = 0.0  # s of physics without control between what is drawn and the first frame
    control_dt: float
    reward_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.control_dt <= LONGEST_STEP:
            raise ValueError(f"control_dt is {self.control_dt} s; it takes a number above 0, up to {LONGEST_STEP:g}")
        for term, weight in self.reward_weights.items():
            if term not in self.WEIGHTS:
                raise ValueError(f"reward_weights has no term {term!r}{nearest(term, self.WEIGHTS)}")
            _check_type(f"reward_weights[{term!r}]", weight, 0.0)
        for name in self.POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it takes a number above 0")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every reward term."""
        return {**self.WEIGHTS, **self.reward_weights}

    def model(self) -> mujoco.MjModel:
        """The compiled model, with every sensor the task reads."""
        raise NotImplementedError

    def action_space(self) -> spaces.Box:
        """The bounded action space of one row."""
        raise NotImplementedError

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, Any]:
        """What an episode starts from: qpos (N, nq), qvel (N, nv), memory."""
        raise NotImplementedError

    def reset_after(self, rng: RandomStreams, last: Any) -> tuple[Array, Array, Any]:
        """What the next episode of rows that have had one starts from, as `reset`.

        Args:
            draws: The streams of these rows.
            last: The memory that their last episode ended with, however it ended: what a curriculum goes on from.
        """
        return self.reset(rng)

    def model_overrides(self, state: Any) -> dict[str, Array]:
        """What differs in the models of the rows during their episodes.

        Returns:
            Fields of `mujoco.MjModel` by name, each (N, ...), always the same ones.
        """
        return {}

    def external_force(self, state: Any) -> dict[str, Array]:
        """What pushes bodies during the coming control step.

        Returns:
            By body, (N, 6): force, N, on its centre of mass and torque, N m, in the world's axes.
        """
        return {}

    def is_valid_start(self, physics: PhysicsState) -> Array:
        """Whether an episode may begin at what was drawn, (N,) bool; a row that may not is drawn again."""
        return np.ones(len(physics.qpos), dtype=bool)

    def control(self, physics: PhysicsState, state: Any, action: Array) -> Array:
        """What an action means: ctrl, (N, nu)."""
        raise NotImplementedError

    def observe(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        """The observation in blocks, each (N, k), joined in this order."""
        raise NotImplementedError

    def privileged(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        """What a critic may see in training beside the observation, in blocks, each (N, k), joined in this order."""
        return {}

    def reward(self, t: Transition) -> dict[str, Array]:
        """The unweighted reward terms, each (N,)."""
        raise NotImplementedError

    def terminated(self, t: Transition) -> dict[str, Array]:
        """The reasons for which an episode ends, each (N,) bool."""
        raise NotImplementedError

    def next_state(self, t: Transition, rng: RandomStreams) -> Any:
        """The memory that the policy acts on next."""
        raise NotImplementedError

    def metrics(self, t: Transition) -> dict[str, Array]:
        """What one would report about a step beside the reward, each (N,), in physical units."""
        return {}

    def success(self, t: Transition) -> Array | None:
        """Whether an episode that ended here would have succeeded, (N,) bool; None for a task that is never solved."""
        return None

    def markers(self, state: Any) -> dict[str, Array]:
        """Where pictures show what only the memory knows.

        Returns:
            Mocap bodies of the model by name, each with how far it is from where the model has it, (N, 3) m.
        """
        return {}

    def mirror(self) -> Mirror | None:
        """The left-right reflection, for a task that has one."""
        return None


def configured(task: type[AnyFields], values: Mapping[str, Any]) -> AnyFields:
    """A task, or what else is a dataclass, with the given fields, each checked against the type of its default.

    Args:
        task: The task's class.
        values: Fields by name; lists stand for tuples, so that plain JSON will do, and NumPy's numbers and arrays for
            Python's.

    Raises:
        TypeError: An unknown field, or a value of another type than the field's default.
        ValueError: A value that the task refuses.
    """
    defaults = {f.name: _default(f) for f in dataclasses.fields(task)}
    checked = {}
    for name, value in values.items():
        if name not in defaults:
            # Python's own words: other libraries look for them, to try again without the argument.
            raise TypeError(f"{task.__name__} got an unexpected keyword argument {name!r}{nearest(name, defaults)}")
        checked[name] = plain(value)
        _check_type(name, checked[name], defaults[name])
    return task(**checked)


def plain(value: Any, sequence: type[tuple] | type[list] = tuple) -> Any:
    """A value as plain Python has it, through and through.

    Args:
        value: NumPy's numbers, strings and arrays become Python's, members of an enumeration their values.
        sequence: What lists and tuples become; lists are what comes back from JSON.
    """
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist(), sequence)
    if isinstance(value, Enum):
        return plain(value.value, sequence)
    if isinstance(value, Mapping):
        return {plain(key): plain(x, sequence) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return sequence(plain(x, sequence) for x in value)
    return value


def load_model(file_name: str) -> mujoco.MjModel:
    """Compiles a model of `motrix_gym.models`, with the models that it includes."""
    xml = _xml(file_name)
    return mujoco.MjModel.from_xml_string(xml, {name: _xml(name).encode() for name in _INCLUDE.findall(xml)})


def load_spec(file_name: str) -> mujoco.MjSpec:
    """A model of `motrix_gym.models` that can still be added to."""
    return mujoco.MjSpec.from_string(_xml(file_name))


def _xml(file_name: str) -> str:
    return (resources.files("motrix_gym.models") / file_name).read_text("utf-8")


def _default(f: dataclasses.Field) -> Any:
    return f.default if f.default is not dataclasses.MISSING else f.default_factory()  # type: ignore[misc]


def _check_type(name: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        good, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, (int, float)):
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        wanted = "a finite number"
    elif isinstance(default, str):
        good, wanted = isinstance(value, str), "a string"
    elif isinstance(default, tuple) and isinstance(default[0], Mapping):
        good, wanted = isinstance(value, tuple) and all(isinstance(x, Mapping) for x in value), "a list of mappings"
    elif isinstance(default, tuple):
        good, wanted = isinstance(value, tuple) and len(value) == len(default), f"{len(default)} values, like {default}"
        if good:
            for i, (element, like) in enumerate(zip(value, default, strict=True)):
                _check_type(f"{name}[{i}]", element, like)
    else:
        good, wanted = isinstance(value, Mapping), "a mapping"
    if not good:
        raise TypeError(f"{name} is {value!r}; it takes {wanted}")


def nearest(name: str, known: Collection[str]) -> str:
    """What a refusal of an unknown name ends with: the known name that is nearest, and all that are known."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"
