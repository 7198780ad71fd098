"""How Gymnasium finds the environments of a task: by strings that have the task's name in them.

So the task is a part of the registration, as Gymnasium's own environments are, and no keyword argument: what comes from
outside, as from a file, chooses among what is registered and names no code.
"""

from __future__ import annotations

import copy
import pkgutil
from typing import Any

from gymnasium.envs.registration import EnvSpec

from motrix_gym.fields import plain

_MODULE = "motrix_gym.registration"


def entry_point(kind: str, task: str) -> str:
    """The entry point of a task.

    Args:
        kind: "single" or "vector".
        task: ``module:Class`` of the task.
    """
    return f"{_MODULE}:{kind}/{task.replace(':', '/')}"


def kind_and_task(attribute: str) -> tuple[str, str] | None:
    """What an entry point, without its module, was made from; None for what is none."""
    kind, *task = attribute.split("/")
    return (kind, ":".join(task)) if len(task) == 2 else None


def task_of(spec: EnvSpec) -> str | None:
    """``module:Class`` of the task that an id was registered with; None for an environment that is not of a task."""
    module, _, attribute = str(spec.vector_entry_point).partition(":")
    found = kind_and_task(attribute) if module == _MODULE else None
    return found and found[1]


def imported(task: str) -> Any:
    """What ``module:Class`` names.

    Raises:
        ValueError: There is no such class, or its module cannot be imported; one line.
    """
    try:
        return pkgutil.resolve_name(task)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"task {task!r} cannot be imported: {type(error).__name__}: {error}") from error


class PlainSpec:
    """An environment whose `spec` goes through JSON and back unchanged, whatever its keyword arguments were."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """The registration, and the keyword arguments, that the environment was made with."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = copy.copy(spec)
        if self._spec is not None:
            self._spec.kwargs = plain(self._spec.kwargs, sequence=list)
