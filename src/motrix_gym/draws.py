"""Randomness with one stream per row, so that no row's numbers depend on another row.

A row's stream is the counter-based generator Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011), bit for bit the stream of ``numpy.random.Philox(seed)``; here all rows are computed at once and
the state of a row is a key and a counter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

WORDS_PER_BLOCK = 4
_ROUNDS = 10
_MULTIPLIERS = np.array([[0xD2E7470EE14C6C93], [0xCA5A826395121157]], dtype=np.uint64)
_KEY_STEPS = np.array([[0x9E3779B97F4A7C15], [0xBB67AE8584CAA73B]], dtype=np.uint64)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def row_keys(seeds: Sequence[int]) -> np.ndarray:
    """The Philox keys of `seeds`, (N, 2) uint64, spread as ``numpy.random.Philox(seed)`` spreads a seed."""
    return np.stack([np.random.SeedSequence(seed).generate_state(2, np.uint64) for seed in seeds])


def philox(key: np.ndarray, counter: np.ndarray) -> np.ndarray:
    """Philox4x64-10 of every counter under its row's key.

    Args:
        key: (N, 2) uint64.
        counter: (N, B) uint64, the low words of B counters a row; the high words are zero.

    Returns:
        (N, B, 4) uint64.
    """
    n, blocks = counter.shape
    state = np.zeros((2, 2, n * blocks), dtype=np.uint64)  # (even or odd word, lane, row and block)
    state[0, 0] = counter.reshape(-1)
    round_key = np.repeat(key, blocks, axis=0).T
    for _ in range(_ROUNDS):
        high, low = _multiply(_MULTIPLIERS, state[0])
        state[0] = high[::-1] ^ state[1] ^ round_key
        state[1] = low[::-1]
        round_key = round_key + _KEY_STEPS
    return state.transpose(2, 1, 0).reshape(n, blocks, WORDS_PER_BLOCK)


def _multiply(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The high and the low 64 bits of a product of 64-bit integers."""
    a_low, a_high = a & _LOW_HALF, a >> _HALF
    b_low, b_high = b & _LOW_HALF, b >> _HALF
    middle = a_high * b_low + ((a_low * b_low) >> _HALF)
    carried = a_low * b_high + (middle & _LOW_HALF)
    return a_high * b_high + (middle >> _HALF) + (carried >> _HALF), a * b


class Draws:
    """The streams of N rows.

    Attributes:
        key: (N, 2) uint64, fixed by a row's seed.
        counter: (N,) uint64, the blocks of four words that a row has used.
    """

    def __init__(self, key: np.ndarray, counter: np.ndarray | None = None):
        self.key = key
        self.counter = np.zeros(len(key), dtype=np.uint64) if counter is None else counter

    def __len__(self) -> int:
        return len(self.key)

    def words(self, size: int) -> np.ndarray:
        """The next `size` 64-bit words of every row, (N, size) uint64; a rest of a block of four is dropped."""
        blocks = -(-size // WORDS_PER_BLOCK)
        counters = self.counter[:, None] + np.arange(1, blocks + 1, dtype=np.uint64)
        self.counter = self.counter + np.uint64(blocks)
        return philox(self.key, counters).reshape(len(self), -1)[:, :size]

    def uniform(self, low: npt.ArrayLike = 0.0, high: npt.ArrayLike = 1.0, size: int = 1) -> np.ndarray:
        """Uniform numbers in [low, high), (N, size) float64; `low` and `high` broadcast against (size,)."""
        unit = (self.words(size) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
        return low + (high - low) * unit
