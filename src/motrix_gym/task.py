"""The vocabulary of a task: what it reads (`Frame`, `Transition`), what it remembers (`Memory`), what it is (`Task`).

A task is a frozen dataclass. Its fields are its configuration, its methods are pure functions over arrays with a
leading row axis N, one row an environment. It holds no per-environment state and never sees row numbers or masks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, TypeVar

import mujoco
import numpy as np
from gymnasium import spaces

from motrix_gym.fields import Bound, check_fields, nearest
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import PREFIX, own_terms, terms_of, with_tables
from motrix_gym.symmetry import Mirror

Array = np.ndarray
AnyTaskState = TypeVar("AnyTaskState", bound="TaskState")
LONGEST_STEP = 10.0  # s


def render_fps(control_dt: float) -> int:
    """Frames a second of a video that shows one frame a control step of `control_dt` s: real time, but at least 1."""
    return max(1, round(1 / control_dt))


@dataclass(frozen=True)
class PhysicsState:
    """The physical state of N rows at one instant, as far as a task may read it.

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
    """What a task remembers of an episode between steps; every field is an array with a leading row axis."""


@dataclass(frozen=True)
class Transition:
    """One control step of N rows.

    Attributes:
        physics: The physics state that the policy acted on.
        state: The task state that the policy acted on.
        action: The clipped action, (N, m).
        ctrl: What `Task.control` made of it, (N, nu).
        next_physics: The physics state one control step later.
        terminated: (N,) bool, rows that end here, divergence included. All False while the reasons are judged.
    """

    physics: PhysicsState
    state: Any
    action: Array
    ctrl: Array
    next_physics: PhysicsState
    terminated: Array


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: its fields are the configuration, its methods what an episode means.

    Attributes:
        control_dt: Seconds between two actions; a multiple of the model's timestep, at most 10.
        reward_weights: Weights that replace the defaults of `WEIGHTS`, by reward term.
    """

    WEIGHTS: ClassVar[Mapping[str, float]] = {}  # of all reward terms; a subclass may set it anew
    SETTLING_TIME: ClassVar[float] = 0.0  # s of physics without control between what is drawn and the first frame
    control_dt: Annotated[float, Bound(low=0, high=LONGEST_STEP, above=True)]
    reward_weights: Mapping[str, float] = field(default_factory=dict)

    def __init_subclass__(cls) -> None:
        """Collects the weights of the reward terms of the class, and writes the tables of its docstring."""
        inherited = getattr(super(cls, cls), "WEIGHTS", {})
        if own := own_terms(cls):
            weights = {name: term.reward_weight for name, term in own.items()}
            cls.WEIGHTS = {**inherited, **vars(cls).get("WEIGHTS", {}), **weights}
        if cls.__doc__:
            cls.__doc__ = with_tables(cls, inherited)

    def __post_init__(self) -> None:
        check_fields(self)
        for term in self.reward_weights:
            if term not in self.WEIGHTS:
                raise ValueError(f"reward_weights has no term {term!r}{nearest(term, self.WEIGHTS)}")

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
        """The unweighted reward terms, each (N,): those of the methods with a `reward_term` decorator."""
        return {name: getattr(self, PREFIX + name)(t) for name in terms_of(type(self))}

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


def take(state: AnyTaskState, rows: Any) -> AnyTaskState:
    """The memory of some rows."""
    return _map(lambda x: x[rows], state)


def put(state: AnyTaskState, rows: Array, new: AnyTaskState) -> AnyTaskState:
    """`memory` with `new`, the memory of those rows alone, in the place of `rows`."""

    def replaced(old: Array, fresh: Array) -> Array:
        result = old.copy()
        result[rows] = fresh
        return result

    return _map(replaced, state, new)


def _map(function: Callable[..., Array], *memories: AnyTaskState) -> AnyTaskState:
    names = [f.name for f in dataclasses.fields(memories[0])]
    return type(memories[0])(**{n: function(*(getattr(m, n) for m in memories)) for n in names})
