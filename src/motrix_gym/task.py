"""What an episode means: `Task`, the base class of every task.

A task is a frozen dataclass. Its fields are its configuration. Its methods are pure functions of arrays with a leading
axis of N environments. A task has no state of an environment, and never sees indices or masks of environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import mujoco
from gymnasium import spaces

from motrix_gym import arrays as xp
from motrix_gym.fields import Bound, check_fields, nearest
from motrix_gym.physics.base import Override
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import PREFIX, own_terms, terms_of, with_tables
from motrix_gym.state import Array, PhysicsState, Transition
from motrix_gym.symmetry import Mirror

LONGEST_STEP = 10.0  # s
LONGEST_HISTORY = 100  # steps


def render_fps(control_dt: float) -> int:
    """Frames a second of a video that shows one frame a control step of `control_dt` s: real time, but at least 1."""
    return max(1, round(1 / control_dt))


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: its fields are the configuration, its methods what an episode means.

    Attributes:
        control_dt: Seconds between two actions; a multiple of the model's timestep, at most 10.
        reward_weights: Weights that replace the defaults of `WEIGHTS`, by reward term.
        observed: Blocks of the observation that the policy sees, in their order here; all where it is none. A critic
            sees all.
        history: Steps that the policy sees of each block, from the oldest to the newest; 1 to 100.
    """

    WEIGHTS: ClassVar[Mapping[str, float]] = {}  # of all reward terms; a subclass may set it anew
    SETTLING_TIME: ClassVar[float] = 0.0  # s of physics without control before the first observation
    control_dt: Annotated[float, Bound(low=0, high=LONGEST_STEP, above=True)]
    reward_weights: Mapping[str, float] = field(default_factory=dict)
    observed: tuple[str, ...] | None = None
    history: Annotated[int, Bound(low=1, high=LONGEST_HISTORY)] = 1

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
        """The bounded action space of one environment."""
        raise NotImplementedError

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, Any]:
        """Samples start states: qpos (N, nq), qvel (N, nv) and the task state."""
        raise NotImplementedError

    def reset_after(self, rng: RandomStreams, last: Any) -> tuple[Array, Array, Any]:
        """Samples start states for environments that have had an episode; a curriculum continues from how it went.

        Args:
            rng: The random streams of these environments.
            last: The task state that their last episode ended with, however it ended.

        Returns:
            As `reset`.
        """
        return self.reset(rng)

    def model_overrides(self, state: Any) -> dict[str, Override]:
        """Fields of the model that differ between environments during an episode: domain randomization.

        Returns:
            New values by name of a field of `mujoco.MjModel`, always for the same fields and elements.
        """
        return {}

    def external_force(self, state: Any) -> dict[str, Array]:
        """Forces on bodies during the next control step.

        Returns:
            By body, (N, 6): force, N, on its centre of mass and torque, N m, in the world's axes.
        """
        return {}

    def is_valid_start(self, physics: PhysicsState) -> Array:
        """Whether an episode may begin at a start state, (N,) bool; one that is not valid is sampled again."""
        return xp.full(physics.qpos.shape[:1], True, physics.qpos)

    def control(self, physics: PhysicsState, state: Any, action: Array) -> Array:
        """The actuator signals of an action, ctrl (N, nu)."""
        raise NotImplementedError

    def observe(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        """All blocks of the observation of one step, each (N, k), joined in this order; the policy sees `observed`."""
        raise NotImplementedError

    def noise(self, state: Any) -> dict[str, Array]:
        """Sensor noise: what is added to blocks of the observation, by block, (N, k). A critic sees them without."""
        return {}

    def privileged(self, physics: PhysicsState, state: Any) -> dict[str, Array]:
        """Privileged observations, for a critic in training alone, in blocks, each (N, k), joined in this order."""
        return {}

    def reward(self, t: Transition) -> dict[str, Array]:
        """The unweighted reward terms, each (N,): those of the methods with a `reward_term` decorator."""
        return {name: getattr(self, PREFIX + name)(t) for name in terms_of(type(self))}

    def terminated(self, t: Transition) -> dict[str, Array]:
        """The reasons for which an episode ends, each (N,) bool."""
        raise NotImplementedError

    def next_state(self, t: Transition, rng: RandomStreams) -> Any:
        """The task state after a step: the next command, timers, the last action."""
        raise NotImplementedError

    def metrics(self, t: Transition) -> dict[str, Array]:
        """Quantities to report beside the reward, each (N,), in physical units."""
        return {}

    def success(self, t: Transition) -> Array | None:
        """Whether an episode that ended here would have succeeded, (N,) bool; None for a task that is never solved."""
        return None

    def markers(self, state: Any) -> dict[str, Array]:
        """Where pictures show a part of the task state, as a target.

        Returns:
            Mocap bodies of the model by name, each with how far it is from where the model has it, (N, 3) m.
        """
        return {}

    def mirror(self) -> Mirror | None:
        """The left-right reflection, for a task that has one."""
        return None
