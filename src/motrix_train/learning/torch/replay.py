"""The replay memory of off-policy learning on Torch: the newest transitions, in files that outlive the process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skrl.memories.torch import Memory
from skrl.utils.spaces.torch import compute_space_size

from motrix_train.errors import RunError
from motrix_train.operating_system import make_file
from motrix_train.storage.files import os_errors

_TYPES = {torch.float32: np.dtype(np.float32), torch.bool: np.dtype(bool)}
SUFFIX = ".replay"


class ReplayMemory(Memory):
    """The transitions of the last `window` vector steps, to sample from.

    It holds `slack` vector steps more. What a checkpoint refers to is not overwritten before that many steps, so a run
    that is killed between two checkpoints goes on from files that still have every transition of the first.

    Args:
        window: Vector steps that are sampled from.
        slack: Vector steps beyond these.
        num_envs: Environments.
        device: Where the samples go.
        folder: Of the files, one a tensor; None keeps the transitions in memory alone.
    """

    def __init__(
        self, window: int, slack: int, *, num_envs: int, device: torch.device, folder: Path | None = None
    ) -> None:
        super().__init__(memory_size=window + slack, num_envs=num_envs, device=device)
        self.window, self.stored = window, 0  # vector steps
        self._folder = folder
        self._files: list[np.memmap] = []
        self._new_files: list[Path] = []

    def create_tensor(
        self, name: str, *, size: Any, dtype: torch.dtype | None = None, keep_dimensions: bool = False
    ) -> bool:
        if size is None:
            return False
        shape = (self.memory_size, self.num_envs, compute_space_size(size, occupied_size=True))
        assert dtype is not None
        tensor = self._tensor(name, shape, dtype)
        self.tensors[name], self.tensors_view[name] = tensor, tensor.view(-1, shape[-1])
        return True

    def add_samples(self, **tensors: Any) -> None:
        super().add_samples(**tensors)
        self.stored += 1

    def sample(
        self, names: list[str], *, batch_size: int, mini_batches: int = 1, sequence_length: int = 1
    ) -> list[list[Any]]:
        """A batch of transitions, each drawn uniformly from the window."""
        steps = min(self.stored, self.window)
        first = (self.memory_index - steps) * self.num_envs
        indexes = (torch.randint(steps * self.num_envs, (batch_size,)) + first) % (self.memory_size * self.num_envs)
        found = (self.tensors_view.get(name) for name in names)
        return [[None if x is None else x[indexes].to(self.device) for x in found]]

    def state(self) -> dict[str, Any]:
        """What `restore` needs beside the files."""
        return {"index": self.memory_index, "stored": self.stored}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `state` returned, with the files of the same run.

        Raises:
            RunError: One of them was missing or had another size.
        """
        if self._new_files:
            raise RunError(f"{self._new_files[0]} was lost or damaged: start a new run with --init-from")
        self.memory_index, self.stored = int(state["index"]), int(state["stored"])
        if not (0 <= self.memory_index < self.memory_size and self.stored >= 0):
            raise ValueError(f"the place {self.memory_index} is not one of the {self.memory_size} of the memory")

    def flush(self) -> None:
        """Brings all transitions to the disk."""
        for file in self._files:
            with os_errors(Path(str(file.filename))):
                file.flush()

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if self._folder is None:
            return torch.zeros(shape, dtype=dtype)
        path = self._folder / f"{name}{SUFFIX}"
        size = int(np.prod(shape)) * _TYPES[dtype].itemsize
        if _made(path, size):
            self._new_files.append(path)
        self._files.append(np.memmap(path, _TYPES[dtype], mode="r+", shape=shape))
        return torch.from_numpy(self._files[-1])


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
