"""How the saved states of several tasks lie in one flat dictionary of arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from motrix_gym.state import Array


class StateLayout:
    """How the saved states of several tasks share arrays.

    Parts share an array, wide enough for each, where their names, dtypes and numbers of axes are the same. Elsewhere
    the name of the task stands before that of the part.

    Args:
        task_names: The names of the tasks.
        initial: A saved state of one environment of each task.
        num_envs: N.
    """

    def __init__(self, task_names: tuple[str, ...], initial: list[dict[str, Array]], num_envs: int):
        self._initial = initial
        kinds: defaultdict[str, set] = defaultdict(set)
        for state in initial:
            for part, x in state.items():
                kinds[part].add((x.dtype, x.ndim))
        self._names = [
            {part: part if len(kinds[part]) == 1 else f"{name}.{part}" for part in state}
            for name, state in zip(task_names, initial, strict=True)
        ]
        self._blank: dict[str, Array] = {}
        for names, state in zip(self._names, initial, strict=True):
            for part, x in state.items():
                shape = np.maximum(self._blank.get(names[part], x).shape, x.shape)[1:]
                self._blank[names[part]] = np.zeros((num_envs, *shape), dtype=x.dtype)

    def blank(self) -> dict[str, Array]:
        """Zeros for all environments."""
        return {name: x.copy() for name, x in self._blank.items()}

    def take(self, arrays: Mapping[str, Array], k: int, envs: Array) -> dict[str, Array]:
        """The saved state of some environments, (M,) int, as task k has it."""
        names = self._names[k]
        return {part: arrays[names[part]][_corner(envs, x)] for part, x in self._initial[k].items()}

    def put(self, arrays: dict[str, Array], k: int, envs: Array, state: Mapping[str, Array]) -> None:
        """Writes the saved state of environments of task k into `arrays`."""
        for part, x in state.items():
            arrays[self._names[k][part]][_corner(envs, x)] = x

    def put_initial(self, arrays: dict[str, Array], k: int, envs: Array) -> None:
        """Writes a state that task k can take over, and that is reset before it is used."""
        self.put(arrays, k, envs, self._initial[k])


def _corner(envs: Array, x: Array) -> tuple[Any, ...]:
    """Where the elements of `x`, (M, ...), lie in an array of all environments that is as wide as it or wider."""
    return (envs, *map(slice, x.shape[1:]))
