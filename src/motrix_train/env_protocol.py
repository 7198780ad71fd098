"""The members that `motrix_train` reads from a vector environment beyond Gymnasium's `VectorEnv`.

`EnvProtocol` lists them; the functions below read them, and `motrix_train.learning.symmetry` reads the mirror. Every
member may be missing: an environment of another package is trained, evaluated and shown without it.
`motrix_train.infos` reads the infos of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Protocol, TypeGuard

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from motrix_gym.batch_vector_env import BatchVectorEnv


class ResumableEnv(Protocol):
    """A vector environment that can save its state. Without it, a run cannot be resumed exactly."""

    def get_state(self) -> dict[str, np.ndarray]:
        """All that the environment needs to continue bit for bit, as a flat dictionary of arrays."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> np.ndarray:  # (N, k)
        """Continues from a state that `get_state` returned; returns its observations."""
        ...


class PrivilegedEnv(Protocol):
    """A vector environment with a state that a critic may see in training, as with ``critic=state``.

    A step in which episodes end returns their last states as ``info["final_state"]`` with the mask
    ``info["_final_state"]``.
    """

    state_space: gymnasium.Space[Any] | None
    """Space of the state of one environment; None where the critic sees the observation."""

    def state(self) -> np.ndarray:  # (N, s)
        """The present states of all environments."""
        ...


class EnvProtocol(ResumableEnv, PrivilegedEnv, Protocol):
    """All members that are read if they are there.

    `max_episode_steps`, `task` and `task_names` are read from the unwrapped environment. The others are read from the
    outermost wrapper, because a wrapper may change observations.
    """

    max_episode_steps: int | None
    """Vector steps after which every episode has ended; needed for evaluations."""
    task: Any
    """Frozen dataclass with the configuration of the task; its `control_dt` is the length of a step in seconds, its
    `weights` are shown by ``motrix-train show``."""
    task_names: tuple[str, ...]
    """Names of the joined tasks, empty for a single task; ``info["task"]``, (N,) int, has the indices."""
    mirror: Any
    """Reflection of the robot: `observation` and `action`, each with `index` (k,) and `sign` (k,); None without."""
    observation_blocks: Mapping[str, Any]
    """Slices of the observation by name, described in an export."""
    observation_history: Mapping[str, int]
    """Steps that each of these blocks shows, from the oldest to the newest; 1 without."""


def time_limit(env: VectorEnv) -> int | None:
    """Vector steps after which every episode has ended, None where an episode need not end.

    The environment's own ``max_episode_steps`` counts first, then that of its registration, then that of the
    registration of the single environments in it.
    """
    limits = [getattr(env.unwrapped, "max_episode_steps", None), _registered_limit(env.spec)]
    if isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv):
        limits += [_registered_limit(spec) for spec in env.unwrapped.get_attr("spec")[:1]]
    return next((int(limit) for limit in limits if limit is not None and limit > 0), None)


def task_of(env: VectorEnv) -> Any:
    """The configured task of an environment, a frozen dataclass; None for one that has no task."""
    return getattr(env.unwrapped, "task", None)


def step_seconds(env: VectorEnv) -> float | None:
    """Length of a step in seconds, from the task or from the frame rate; None where neither is known."""
    control_dt = getattr(task_of(env), "control_dt", None)
    frame_rate = env.metadata.get("render_fps")
    return control_dt or (1 / frame_rate if frame_rate else None)


def task_names(env: VectorEnv) -> tuple[str, ...]:
    """The names of the joined tasks, empty for a single task."""
    return tuple(getattr(env.unwrapped, "task_names", ()))


def env_tasks(env: VectorEnv, infos: Mapping[str, Any]) -> np.ndarray | None:  # (N,) int
    """Index of each environment's task where several are joined, else None."""
    return infos["task"] if task_names(env) else None


def state_space(env: VectorEnv) -> gymnasium.Space[Any] | None:
    """The space of the state of one environment, None where the critic sees the observation."""
    return getattr(env, "state_space", None)


def observation_blocks(env: VectorEnv) -> Mapping[str, Any] | None:
    """Slices of the observation by name, None where they are not known."""
    return getattr(env, "observation_blocks", None)


def observation_history(env: VectorEnv) -> Mapping[str, int]:
    """Steps that each block of the observation shows, by name; a block that is not named shows 1."""
    return getattr(env, "observation_history", {})


def is_on_device(env: VectorEnv) -> bool:
    """Whether the environment, one of ours, takes and gives tensors on a device."""
    return isinstance(env.unwrapped, BatchVectorEnv) and env.unwrapped.arrays == "torch"


def is_resumable(env: object) -> TypeGuard[ResumableEnv]:
    """Whether the environment can save its state and continue from it."""
    return hasattr(env, "get_state") and hasattr(env, "set_state")


def resets_envs(env: VectorEnv, make: Callable[[int], VectorEnv]) -> bool:
    """Whether ``reset(options={"reset_mask": mask})`` resets the environments of the mask, and no others.

    Gymnasium does not define this. Its own vector environments do it, and ours; any other one is tried with two
    environments.

    Args:
        env: The environment.
        make: Makes another one, with this number of environments.
    """
    if isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv | BatchVectorEnv):
        return True
    with closing(make(2)) as tried:
        tried.reset(seed=0)
        before = np.array(tried.step(np.zeros_like(tried.action_space.sample()))[0])
        try:
            after, _ = tried.reset(options={"reset_mask": np.array([True, False])})
        except Exception:  # an environment may raise anything at an option that it does not know
            return False
        return np.array_equal(before[1], after[1]) and not np.array_equal(before[0], after[0])


def _registered_limit(spec: Any) -> int | None:
    return None if spec is None else spec.kwargs.get("max_episode_steps", spec.max_episode_steps)
