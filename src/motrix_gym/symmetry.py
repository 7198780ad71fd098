"""The left-right reflection of a robot: what a policy may take for the same situation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.arrays import Array

LEFT_TO_RIGHT = np.array([1.0, -1.0, 1.0])
"""The reflection of a point or of a direction, of which y points to the left."""


@dataclass(frozen=True)
class Flip:
    """A reflection of a vector: ``flip(x) = x[..., index] * sign``.

    Attributes:
        index: (k,) int, where each mirrored element comes from.
        sign: (k,) float, +1 or -1.
    """

    index: Array
    sign: Array

    def __call__(self, x: Array) -> Array:
        return xp.columns(x, self.index) * xp.like(self.sign, x)

    @staticmethod
    def signs(*sign: float) -> Flip:
        """A reflection that permutes nothing."""
        return Flip(np.arange(len(sign)), np.asarray(sign, dtype=float))

    def repeated(self, times: int) -> Flip:
        """The reflection of so many vectors after each other."""
        return Flip.joined(*[self] * times)

    @staticmethod
    def joined(*flips: Flip) -> Flip:
        """The reflection of concatenated vectors."""
        starts = np.cumulative_sum([0, *(len(flip.index) for flip in flips)])
        return Flip(
            np.concat([flip.index + start for flip, start in zip(flips, starts, strict=False)]),
            np.concat([flip.sign for flip in flips]),
        )


@dataclass(frozen=True)
class Mirror:
    """How a left-right symmetric robot is reflected.

    Attributes:
        qpos: Reflection of the generalised positions.
        qvel: Reflection of the generalised velocities.
        action: Reflection of the action.
        blocks: Reflection of each observation block, as it is in one step.
        state: Maps a task state to that of the mirrored episode.
        history: Steps that the observation shows of each block.
    """

    qpos: Flip
    qvel: Flip
    action: Flip
    blocks: Mapping[str, Flip]
    state: Callable[[Any], Any]
    history: int = 1

    @property
    def observation(self) -> Flip:
        """Reflection of the whole observation vector."""
        return Flip.joined(*(flip.repeated(self.history) for flip in self.blocks.values()))
