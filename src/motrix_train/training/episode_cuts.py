"""Spreads the environments of a training over the time of an episode.

Where every episode lasts as long as the time limit, environments that start together stay together. A rollout then
covers one moment of the episode only, and each update forgets the others. So every environment's first episode is cut,
at moments spread evenly over the time limit. A cut is a truncation like that of the time limit: the value of the true
last observation is bootstrapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from motrix_gym import arrays as xp
from motrix_train.learning.agent import successors


class FirstEpisodeCuts:
    """The steps after which the first episode of each environment is cut.

    Args:
        num_envs: N, the number of environments.
        time_limit: Of an episode, vector steps.
        seed: Chooses the step of each environment.
    """

    def __init__(self, num_envs: int, time_limit: int, seed: int) -> None:
        self._steps = np.random.default_rng(seed).permutation(num_envs) * time_limit // num_envs  # (N,)

    def after(self, step: int) -> np.ndarray:  # (N,) bool
        """The environments that are cut after this vector step, counted from 1."""
        return self._steps == step


def with_last_of_cut_envs(infos: Mapping[str, Any], cut: np.ndarray, name: str, present: np.ndarray) -> dict[str, Any]:
    """The infos of a step, with the last observations, or states, of the environments that were cut after it.

    Args:
        infos: As the environment returned them.
        cut: (N,) bool, the environments that were cut; none of them had ended.
        name: ``final_obs`` or ``final_state``.
        present: (N, k), the observations or states after the step, before the cut environments were reset.
    """
    ended = infos.get(f"_{name}", xp.zeros_like(cut))
    return {**infos, name: successors(present, infos, name), f"_{name}": ended | cut}
