"""Reward terms as pure functions of arrays with a leading row axis."""

from __future__ import annotations

import numpy as np


def tracking(target: np.ndarray, value: np.ndarray, variance: float) -> np.ndarray:
    """exp(-|target - value|^2 / variance), (N, k) to (N,): 1 on target."""
    return np.exp(-sum_squares(target - value) / variance)


def sum_squares(x: np.ndarray) -> np.ndarray:
    """The sum of squares along the last axis, (N, k) to (N,)."""
    return np.square(x).sum(axis=-1)
