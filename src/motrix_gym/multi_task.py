"""Joined tasks: which there are, what they have in common, which environment has which."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, parse_env_id

from motrix_gym.entry_points import imported, task_of
from motrix_gym.fields import Count, configured, nearest
from motrix_gym.task import Task

_LONGEST_CYCLE = 10_000  # environments


@dataclass(frozen=True, kw_only=True)
class Member:
    """One of the tasks that are joined, as `MultiTask.tasks` lists it.

    Attributes:
        id: Registered id of its environment.
        name: What it is called; by default the id without namespace and version.
        weight: Its share of the environments, a whole number: 1 and 3 for a quarter and three quarters.
        kwargs: Fields of its task.
    """

    id: str = ""
    name: str = ""
    weight: Count = 1
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError('there is no "id"; give that of a registered environment')
        if not re.fullmatch(r"[\w-]*", self.name):
            raise ValueError(f"name is {self.name!r}; it takes letters, digits, _ and -")

    @property
    def label(self) -> str:
        """The name in force."""
        return self.name or parse_env_id(self.id.rpartition(":")[2])[1]

    def task(self) -> Task:
        """The task.

        An id may have its module before it, as in ``"module:Id"``, but the module is not imported for it: this may be
        what a file says.

        Raises:
            gymnasium.error.Error: There is no such id.
            TypeError: The task has no such field, or one of another type.
            ValueError: The task refuses a value, the id is not that of one task of this package, or it has a module
                before it that is not imported.
        """
        module, _, env_id = self.id.rpartition(":")
        if module and module not in sys.modules:
            raise ValueError(f"{self.id!r} is of a module that is not imported; import {module} first")
        spec = _registered(env_id)
        path = task_of(spec)
        cls = imported(path) if path is not None else None
        if not (isinstance(cls, type) and issubclass(cls, Task)):
            raise ValueError(f"{self.id!r} is not the environment of one task of motrix_gym; only such can be joined")
        return configured(cls, {**spec.kwargs, **self.kwargs})


@dataclass(frozen=True, kw_only=True)
class MultiTask:
    """Several tasks with the same actions, for one policy; by default a Go1 that walks, and one that runs.

    An environment has one of the tasks. Which one follows from its seed: consecutive seeds go through a cycle that
    holds each task as often as its weight says, evenly spread, so that with weights of 2 and 1 every third environment
    has the second task. An environment keeps its task until it is seeded anew. All tasks must have the same action
    space and control step; the time limit is that of this environment.

    Observation:

    The blocks of the environment's task, then the block `task`, a one-hot vector in the order of `tasks`. Blocks of the
    same name share their columns; blocks that only other tasks have are zero.

    Reward:

    The terms of all tasks, each named after its task, as in `walk/torques`, and zero in the environments of other
    tasks.

    Termination:

    The reasons of all tasks; those of the same name are one.

    Metrics:

    The metrics of all tasks, each named after its task, as in `walk/velocity_error`. Beside each stands the mask of
    the environments that have it, `_walk/velocity_error`, over which to take its mean. `infos["task"]` is the index of
    each environment's task, `envs.unwrapped.task_names` has the names. `infos["success"]` is there where one of the
    tasks can be solved, masked in the environments of those that cannot.

    Attributes:
        tasks: The tasks, each `{"id": ..., "name": ..., "weight": ..., "kwargs": {...}}`. All but the id can be left
            out: the name is then that of the id, the weight is 1. A task with the weight 0 has no environments,
            but keeps its place in the observation. The `kwargs` are fields of the task.
        reward_weights: Weights that replace those of the tasks, by term, as in `{"walk/torques": 0.0}`.
    """

    tasks: tuple[Mapping[str, Any], ...] = (
        {
            "id": "Motrix/Go1-v0",
            "name": "walk",
            "kwargs": {"command_low": (-0.5, -0.5, -1.0), "command_high": (0.5, 0.5, 1.0)},
        },
        {
            "id": "Motrix/Go1-v0",
            "name": "run",
            "kwargs": {"command_low": (0.5, -0.2, -0.5), "command_high": (1.5, 0.2, 0.5)},
        },
    )
    reward_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = [member.label for member in self._listed()]
        if not labels:
            raise ValueError("tasks is empty; list one or more")
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f'tasks has the name {twice[0]!r} more than once; give each a "name" of its own')
        if not 0 < sum(self.shares) <= _LONGEST_CYCLE:
            raise ValueError(f"the weights of tasks sum up to {sum(self.shares)}; it takes 1 to {_LONGEST_CYCLE}")
        (first, like), *others = self.members().items()
        for name, task in others:
            for what, mine, other in (
                ("control steps", f"{like.control_dt:g} s", f"{task.control_dt:g} s"),
                ("action spaces", like.action_space(), task.action_space()),
                ("histories", like.history, task.history),
            ):
                if mine != other:
                    raise ValueError(f"tasks {first!r} and {name!r} have different {what}, {mine} and {other}")
        for term in self.reward_weights:
            if term not in self.weights:
                raise ValueError(f"reward_weights has no term {term!r}{nearest(term, self.weights)}")

    @property
    def control_dt(self) -> float:
        """Seconds between two actions."""
        return next(iter(self.members().values())).control_dt

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every reward term, by ``task/term``."""
        return {f"{name}/{term}": w for name, task in self.members().items() for term, w in task.weights.items()}

    @property
    def shares(self) -> list[int]:
        """The weight of every task."""
        return [int(member.weight) for member in self._listed()]

    def action_space(self) -> spaces.Box:
        """The bounded action space of one environment."""
        return next(iter(self.members().values())).action_space()

    def members(self) -> dict[str, Task]:
        """The tasks by name, in order."""
        found: dict[str, Task] = {}
        for i, member in enumerate(self._listed()):
            terms = {tuple(term.split("/", 1)): weight for term, weight in self.reward_weights.items()}
            replaced = {names[-1]: weight for names, weight in terms.items() if names[0] == member.label}
            with about_task(i):
                task = member.task()
                found[member.label] = dataclasses.replace(task, reward_weights={**task.reward_weights, **replaced})
        return found

    def _listed(self) -> list[Member]:
        members = []
        for i, entry in enumerate(self.tasks):
            with about_task(i):
                members.append(configured(Member, entry))
        return members


def _registered(env_id: str) -> EnvSpec:
    try:
        return gym.spec(env_id)
    except gym.error.Error as unknown:
        raise type(unknown)(f"{unknown} An id of another package is known once the package is imported.") from None


def cycle(shares: Sequence[int]) -> np.ndarray:
    """Each index as often as its share says and evenly spread, (sum of the shares,) int.

    The k-th of an index's n places is where (k + 1/2) / n of the cycle have passed.
    """
    index = np.repeat(np.arange(len(shares)), shares)
    moment = np.concatenate([(2 * np.arange(n) + 1) / (2 * n) for n in shares if n])
    return index[np.argsort(moment, kind="stable")]


@contextmanager
def about_task(i: int) -> Iterator[None]:
    """Says of which of the tasks an error is."""
    try:
        yield
    except (TypeError, ValueError, gym.error.Error) as error:
        raise type(error)(f"tasks[{i}]: {error}") from None
