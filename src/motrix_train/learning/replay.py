"""The replay memory of off-policy learning: the newest transitions, in files that outlive the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from motrix_train.errors import RunError
from motrix_train.operating_system import make_file
from motrix_train.storage.files import os_errors

_FLAGS = ("terminated", "truncated")  # all else is float32
_OF_LAST = ("next_observations", "next_states", "terminated")  # of the last of several steps
DISCOUNTS = "discounts"
SUFFIX = ".replay"


class ReplayMemory:
    """The transitions of the last `window` vector steps, to sample from, as a memory of SKRL for Torch or for JAX.

    It holds `slack` vector steps more. What a checkpoint refers to is not overwritten before that many steps, so a run
    that is killed between two checkpoints goes on from files that still have every transition of the first.

    What is sampled spans up to `n_steps` steps of an episode: the discounted sum of their rewards, and what the last of
    them led to. They are fewer where the episode ends, or is at its newest step. Source: Sutton and Barto,
    "Reinforcement Learning", 2nd edition, section 7.1; as there, no correction is made for the policy's having changed.

    Args:
        window: Vector steps that are sampled from.
        slack: Vector steps beyond these.
        num_envs: Environments.
        to_device: Copies a NumPy array to a tensor, where samples go.
        to_host: Copies a tensor to NumPy.
        n_steps: Steps that a sample spans at most.
        discount_factor: What a reward is worth a step later.
        folder: Of the files, one an array; None keeps the transitions in memory alone.
    """

    def __init__(
        self,
        window: int,
        slack: int,
        *,
        num_envs: int,
        to_device: Callable[[np.ndarray], Any],
        to_host: Callable[[Any], np.ndarray],
        n_steps: int = 1,
        discount_factor: float = 1.0,
        folder: Path | None = None,
    ) -> None:
        self.window, self.num_envs = window, num_envs
        self.n_steps, self.discount_factor = n_steps, discount_factor
        self.index, self.stored = 0, 0  # the place of the next vector step; vector steps so far
        self._places = window + slack
        self._to_device, self._to_host = to_device, to_host
        self._folder = folder
        self._arrays: dict[str, np.ndarray] = {}  # (places, N, k) each
        self._files: list[np.memmap] = []
        self._new_files: list[Path] = []
        if n_steps > 1:
            self.create_tensor("truncated", size=1)

    def create_tensor(self, name: str, *, size: Box | int | None, dtype: Any = None) -> bool:
        """Makes room for vectors of a size, or of a space; none is made for None. `dtype` follows from the name."""
        if size is None:
            return False
        width = size.shape[0] if isinstance(size, Box) else size
        own_dtype = np.dtype(bool if name in _FLAGS else np.float32)
        self._arrays[name] = self._array(name, (self._places, self.num_envs, width), own_dtype)
        return True

    def get_tensor_by_name(self, name: str) -> np.ndarray:  # (places, N, k)
        """All that is there under a name."""
        return self._arrays[name]

    def add_samples(self, **tensors: Any) -> None:
        """Stores the transitions of a vector step, (N, k) for each name; what has no room, or is None, is left out."""
        for name, array in self._arrays.items():
            if tensors.get(name) is not None:
                array[self.index] = self._to_host(tensors[name])
        self.index = (self.index + 1) % self._places
        self.stored += 1

    def note_truncated(self, truncated: np.ndarray) -> None:  # (N,) bool
        """Tells which environments' episodes are truncated by the vector step that `add_samples` stores next."""
        if "truncated" in self._arrays:
            self._arrays["truncated"][self.index, :, 0] = truncated

    def sample(self, names: list[str], *, batch_size: int) -> list[list[Any]]:
        """A batch of transitions, each drawn uniformly from the window: a tensor (batch, k) for each name.

        ``discounts``, (batch, 1), is what the value of the next observation is worth unless the episode terminated.

        They are drawn from NumPy's process-wide generator, as SKRL draws for JAX: a resumed run goes on with its state.
        """
        steps = min(self.stored, self.window)
        drawn = np.random.randint(steps * self.num_envs, size=batch_size)  # noqa: NPY002
        first = (drawn + (self.index - steps) * self.num_envs) % (self._places * self.num_envs)
        last, rewards, discounts = self._span(first, newest=steps - 1 - drawn // self.num_envs)
        found = {"rewards": rewards, DISCOUNTS: discounts}
        for name in self._arrays.keys() & set(names) - found.keys():
            found[name] = self._rows(name, last if name in _OF_LAST else first)
        return [[self._to_device(found[name]) if name in found else None for name in names]]

    def state(self) -> dict[str, Any]:
        """What `restore` needs beside the files."""
        return {"index": self.index, "stored": self.stored}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `state` returned, with the files of the same run.

        Raises:
            RunError: One of them was missing or had another size.
        """
        if self._new_files:
            raise RunError(f"{self._new_files[0]} was lost or damaged: start a new run with --init-from")
        self.index, self.stored = int(state["index"]), int(state["stored"])
        if not (0 <= self.index < self._places and self.stored >= 0):
            raise ValueError(f"the place {self.index} is not one of the {self._places} of the memory")

    def flush(self) -> None:
        """Brings all transitions to the disk."""
        for file in self._files:
            with os_errors(Path(str(file.filename))):
                file.flush()

    def _span(self, first: np.ndarray, newest: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What follows transitions within their episodes, for `n_steps` with themselves at most.

        Args:
            first: The transitions, (batch,) int.
            newest: How many vector steps later the newest one is, (batch,) int.

        Returns:
            The last transitions, (batch,) int, the sums of the discounted rewards, (batch, 1), and what is worth a
            step after the last, (batch, 1).
        """
        last, rewards = first, self._rows("rewards", first)
        discounts = np.full_like(rewards, self.discount_factor)
        goes_on = np.ones(len(first), dtype=bool)
        for step in range(1, self.n_steps):
            ended = self._rows("terminated", last) | self._rows("truncated", last)
            goes_on = goes_on & ~ended[:, 0] & (step <= newest)
            last = np.where(goes_on, (last + self.num_envs) % (self._places * self.num_envs), last)
            rewards = np.where(goes_on[:, None], rewards + discounts * self._rows("rewards", last), rewards)
            discounts = np.where(goes_on[:, None], np.float32(self.discount_factor) * discounts, discounts)
        return last, rewards, discounts

    def _rows(self, name: str, transitions: np.ndarray) -> np.ndarray:  # (batch, k)
        array = self._arrays[name]
        return array.reshape(-1, array.shape[-1])[transitions]

    def _array(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if self._folder is None:
            return np.zeros(shape, dtype)
        path = self._folder / f"{name}{SUFFIX}"
        if _made(path, int(np.prod(shape)) * dtype.itemsize):
            self._new_files.append(path)
        self._files.append(np.memmap(path, dtype, mode="r+", shape=shape))
        return np.asarray(self._files[-1])


def _made(path: Path, size: int) -> bool:
    """Makes a file of so many bytes, with its place on the disk reserved; False where it was there.

    Raises:
        RunError: The disk is full or refuses.
    """
    if path.exists() and path.stat().st_size == size:
        return False
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        make_file(path, size)
    return True
