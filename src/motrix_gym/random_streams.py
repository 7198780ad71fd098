"""One random stream per environment, so that the random numbers of an environment depend on no other environment.

An environment's stream is the counter-based generator Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3", SC 2011), bit for bit the stream of ``numpy.random.Philox(seed)``; here all streams are computed at
once, and the state of a stream is a key and a counter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WORDS_PER_BLOCK = 4
_ROUNDS = 10
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.array([[0xD2E7470EE14C6C93], [0xCA5A826395121157]], dtype=np.uint64)
_MULTIPLIERS_LOW, _MULTIPLIERS_HIGH = _MULTIPLIERS & _LOW_HALF, _MULTIPLIERS >> _HALF
_KEY_STEPS = np.array([[0x9E3779B97F4A7C15], [0xBB67AE8584CAA73B]], dtype=np.uint64)
_CHUNK = 8192  # counters at a time: what they need stays in a processor's cache


def stream_keys(seeds: Sequence[int]) -> np.ndarray:
    """The Philox keys of `seeds`, (N, 2) uint64, spread as ``numpy.random.Philox(seed)`` spreads a seed."""
    return np.stack([np.random.SeedSequence(seed).generate_state(2, np.uint64) for seed in seeds])


def philox(key: np.ndarray, counter: np.ndarray) -> np.ndarray:
    """Philox4x64-10 of every counter under the key of its environment.

    Args:
        key: (N, 2) uint64.
        counter: (N, B) uint64, the low words of B counters for each environment; the high words are zero.

    Returns:
        (N, B, 4) uint64.
    """
    n, blocks = counter.shape
    keys, counters = np.repeat(key, blocks, axis=0), counter.reshape(-1)
    words = np.empty((n * blocks, WORDS_PER_BLOCK), dtype=np.uint64)
    for start in range(0, n * blocks, _CHUNK):
        part = slice(start, start + _CHUNK)
        words[part, 0::2], words[part, 1::2] = _even_and_odd_words(keys[part], counters[part])
    return words.reshape(n, blocks, WORDS_PER_BLOCK)


def _even_and_odd_words(key: np.ndarray, counter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Words 0 and 2, and words 1 and 3, of every counter; (n, 2) and (n,) to twice (n, 2)."""
    even, odd = np.zeros((2, 2, len(counter)), dtype=np.uint64)  # (lane, counter) each
    even[0] = counter
    round_key = np.array(key.T, order="C")
    for _ in range(_ROUNDS):
        mixed = _high_of_product(even)[::-1]
        mixed ^= odd
        mixed ^= round_key
        even *= _MULTIPLIERS
        even, odd = mixed, even[::-1]
        round_key += _KEY_STEPS
    return even.T, odd.T


def _high_of_product(x: np.ndarray) -> np.ndarray:
    """The high 64 bits of the 128 of `x` times the multipliers, by long multiplication of halves."""
    low, high = x & _LOW_HALF, x >> _HALF
    carry = low * _MULTIPLIERS_LOW
    carry >>= _HALF
    middle = np.multiply(low, _MULTIPLIERS_HIGH, out=low)
    middle += carry
    carry = np.bitwise_and(middle, _LOW_HALF, out=carry)
    carry += high * _MULTIPLIERS_LOW
    carry >>= _HALF
    middle >>= _HALF
    high *= _MULTIPLIERS_HIGH
    high += middle
    high += carry
    return high


@dataclass(eq=False)
class RandomStreams:
    """The random streams of N environments. To draw from them moves `counter` on, to a new array.

    Attributes:
        key: (N, 2) uint64, fixed by the seed of an environment.
        counter: (N,) uint64, the blocks of four words that an environment has used; zeros by default.
    """

    key: np.ndarray
    counter: np.ndarray = None  # pyright: ignore[reportAssignmentType]

    def __post_init__(self) -> None:
        if self.counter is None:
            self.counter = np.zeros(len(self.key), dtype=np.uint64)

    def __len__(self) -> int:
        return len(self.key)

    def words(self, size: int) -> np.ndarray:
        """The next `size` 64-bit words of every environment, (N, size) uint64; a rest of a block of four is dropped."""
        blocks = -(-size // WORDS_PER_BLOCK)
        counters = self.counter[:, None] + np.arange(1, blocks + 1, dtype=np.uint64)
        self.counter = self.counter + np.uint64(blocks)
        return philox(self.key, counters).reshape(len(self), blocks * WORDS_PER_BLOCK)[:, :size]

    def uniform(self, low: npt.ArrayLike = 0.0, high: npt.ArrayLike = 1.0, size: int = 1) -> np.ndarray:
        """Uniform numbers in [low, high), (N, size) float64; `low` and `high` broadcast against (size,)."""
        unit = (self.words(size) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
        return low + (high - low) * unit

    def normal(self, size: int = 1) -> np.ndarray:
        """Standard normal numbers, (N, size) float64, by the transform of Box and Muller (1958)."""
        u = self.uniform(size=2 * size)
        return np.sqrt(-2 * np.log1p(-u[:, :size])) * np.cos(2 * np.pi * u[:, size:])
