"""The choice of a training's best policy from noisy evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


class BestPolicy:
    """Chooses the best policy of a training: the last one that is not measurably worse than any before.

    Mean returns are measured with noise, so the greatest of many is mostly the luckiest. Among policies whose means
    differ by less than the standard error of their difference, the one that trained longest is chosen.
    """

    mean_return: float | None = None
    """Mean return of the best policy so far, None before the first evaluation."""

    def __init__(self) -> None:
        self._highest: tuple[float, float] | None = None  # greatest mean return so far, its standard error

    def is_improved_by(self, mean: float, standard_error: float) -> bool:
        """Takes the evaluation of a policy; returns whether this policy is the best so far."""
        if self._highest is None or mean >= self._highest[0]:
            self._highest = mean, standard_error
        highest, error_of_highest = self._highest
        is_best = mean >= highest - math.hypot(standard_error, error_of_highest)
        if is_best:
            self.mean_return = mean
        return is_best

    def state(self) -> dict[str, Any]:
        """The state for `restore`."""
        chosen = [] if self.mean_return is None else [self.mean_return]
        return {"top": np.array(self._highest or ()), "chosen": np.array(chosen)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that `state` returned."""
        highest, chosen = state["top"].tolist(), state["chosen"].tolist()
        self._highest = (highest[0], highest[1]) if highest else None
        self.mean_return = chosen[0] if chosen else None
