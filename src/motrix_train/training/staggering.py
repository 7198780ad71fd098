"""Keeps the rows of a training from going through their episodes in step.

Where every episode lasts as long as the time limit, rows that start together stay together: a rollout then holds one
moment of the episode only, and each update forgets the others. So every row's first episode is cut, at moments spread
evenly over the time limit. A cut is a truncation like that of the time limit: its value is bootstrapped from the true
last observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from motrix_train.ppo.agent import successors


class Staggering:
    """When the first episode of each row is cut.

    Args:
        num_envs: N, the number of rows.
        time_limit: Of an episode, vector steps.
        seed: Which row is cut when.
    """

    def __init__(self, num_envs: int, time_limit: int, seed: int) -> None:
        self._moments = np.random.default_rng(seed).permutation(num_envs) * time_limit // num_envs  # (N,)

    def due(self, step: int) -> np.ndarray:  # (N,) bool
        """The rows that are cut after this vector step, counted from 1."""
        return self._moments == step


def with_final(infos: Mapping[str, Any], cut: np.ndarray, name: str, present: np.ndarray) -> dict[str, Any]:
    """The infos of a step after which rows were cut.

    Args:
        infos: As the environment gave them.
        cut: (N,) bool, the rows that were cut; none of them had ended.
        name: Where the infos have what was last in an episode, as in ``final_obs``.
        present: (N, k), the same after the step, of the rows that had not ended.
    """
    ended = infos.get(f"_{name}", np.zeros(len(cut), dtype=bool))
    return {**infos, name: successors(present, infos, name), f"_{name}": ended | cut}
