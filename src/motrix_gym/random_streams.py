"""One random stream per environment, so that the random numbers of an environment depend on no other environment.

An environment's stream is the counter-based generator Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3", SC 2011), bit for bit the stream of ``numpy.random.Philox(seed)``; here all streams are computed at
once, and the state of a stream is a key and a counter.

The words are the same on every array library. Few have arithmetic of unsigned 64-bit numbers, so beside NumPy keys,
counters and words are int64: the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from motrix_gym import arrays as xp
from motrix_gym import rows
from motrix_gym.arrays import Array

WORDS_PER_BLOCK = 4
_ROUNDS = 10
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.array([[0xD2E7470EE14C6C93], [0xCA5A826395121157]], dtype=np.uint64)
_MULTIPLIERS_LOW, _MULTIPLIERS_HIGH = _MULTIPLIERS & _LOW_HALF, _MULTIPLIERS >> _HALF
_KEY_STEPS = np.array([[0x9E3779B97F4A7C15], [0xBB67AE8584CAA73B]], dtype=np.uint64)
_CHUNK = 8192  # counters at a time: what they need stays in a processor's cache
_LOW_HALF_SIGNED, _FRACTION_SIGNED = 0xFFFFFFFF, (1 << 53) - 1  # what is left of a word that is shifted by 32, by 11
_SIGNED = {  # of int64, (2, 1) each
    name: x.view(np.int64)
    for name, x in {
        "multipliers": _MULTIPLIERS,
        "low": _MULTIPLIERS_LOW,
        "high": _MULTIPLIERS_HIGH,
        "key_steps": _KEY_STEPS,
    }.items()
}


def stream_keys(seeds: Sequence[int]) -> np.ndarray:
    """The Philox keys of `seeds`, (N, 2) uint64, spread as ``numpy.random.Philox(seed)`` spreads a seed."""
    return np.stack([np.random.SeedSequence(seed).generate_state(2, np.uint64) for seed in seeds])


def philox(key: Array, counter: Array) -> Array:
    """Philox4x64-10 of every counter under the key of its environment.

    Args:
        key: (N, 2) uint64 with NumPy, int64 elsewhere, as are counters and words.
        counter: (N, B), the low words of B counters for each environment; the high words are zero.

    Returns:
        (N, B, 4).
    """
    if type(key) is not np.ndarray:
        return _philox_signed(key, counter)
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


def _philox_signed(key: Array, counter: Array) -> Array:
    """`philox` in int64, whose sums and products have the bits of those of unsigned numbers."""
    n, blocks = counter.shape
    multipliers, key_steps = xp.like(_SIGNED["multipliers"], key), xp.like(_SIGNED["key_steps"], key)
    first = xp.reshape(counter, (1, n * blocks))
    even, odd = xp.concat([first, xp.zeros_like(first)], axis=0), xp.concat([xp.zeros_like(first)] * 2, axis=0)
    words = [xp.reshape(xp.tile(key[:, i][:, None], (1, blocks)), (1, n * blocks)) for i in range(2)]
    round_key = xp.concat(words, axis=0)  # (lane, counter)
    for _ in range(_ROUNDS):
        mixed = _swapped(_high_of_product_signed(even)) ^ odd ^ round_key
        even, odd = mixed, _swapped(even * multipliers)
        round_key = round_key + key_steps
    lanes = xp.stack([even[0, :], odd[0, :], even[1, :], odd[1, :]], axis=1)
    return xp.reshape(lanes, (n, blocks, WORDS_PER_BLOCK))


def _high_of_product_signed(x: Array) -> Array:
    """`_high_of_product` in int64: a mask after a shift drops the copies of the sign."""
    multiplier_low, multiplier_high = xp.like(_SIGNED["low"], x), xp.like(_SIGNED["high"], x)
    low, high = x & _LOW_HALF_SIGNED, _upper(x)
    middle = low * multiplier_high + _upper(low * multiplier_low)
    carry = _upper((middle & _LOW_HALF_SIGNED) + high * multiplier_low)
    return high * multiplier_high + _upper(middle) + carry


def _upper(x: Array) -> Array:
    return (x >> 32) & _LOW_HALF_SIGNED


def _swapped(x: Array) -> Array:
    return xp.concat([x[1:, :], x[:1, :]], axis=0)


@functools.cache
def _numbers_from_one(count: int) -> np.ndarray:
    """Kept, so that `arrays.like` brings it to a device but once."""
    return np.arange(1, count + 1)


@dataclass(eq=False)
class RandomStreams:
    """The random streams of N environments. To draw from them moves `counter` on, to a new array.

    Attributes:
        key: (N, 2) uint64, fixed by the seed of an environment.
        counter: (N,) uint64, the blocks of four words that an environment has used; zeros by default.
    """

    key: Array
    counter: Array = None  # pyright: ignore[reportAssignmentType]

    def __post_init__(self) -> None:
        if self.counter is None:
            self.counter = xp.zeros_like(self.key[:, 0])

    def __len__(self) -> int:
        return self.key.shape[0]

    def beside(self, x: Array) -> RandomStreams:
        """The same streams, of NumPy, in the array library of `x` and on its device, as int64.

        Raises:
            ValueError: JAX has no 64-bit numbers: they are to be enabled.
        """
        if type(x) is np.ndarray:
            return self
        key, counter = rows.from_host(self.key, x), rows.from_host(self.counter, x)
        if key.dtype != xp.library(x).int64:
            raise ValueError(f"random streams are {key.dtype}; give JAX 64-bit numbers: set JAX_ENABLE_X64=1")
        return RandomStreams(key, counter)

    def words(self, size: int) -> Array:
        """The next `size` 64-bit words of every environment, (N, size) uint64; a rest of a block of four is dropped."""
        blocks = -(-size // WORDS_PER_BLOCK)
        if type(self.key) is np.ndarray:
            counters = self.counter[:, None] + np.arange(1, blocks + 1, dtype=np.uint64)
            self.counter = self.counter + np.uint64(blocks)
        else:
            counters = self.counter[:, None] + xp.like(_numbers_from_one(blocks), self.key)
            self.counter = self.counter + blocks
        return xp.reshape(philox(self.key, counters), (len(self), blocks * WORDS_PER_BLOCK))[:, :size]

    def uniform(self, low: npt.ArrayLike = 0.0, high: npt.ArrayLike = 1.0, size: int = 1) -> Array:
        """Uniform numbers in [low, high), (N, size) float64; `low` and `high` broadcast against (size,)."""
        unit = self._unit(size)
        if isinstance(low, (int, float)) and isinstance(high, (int, float)):
            return float(low) + (float(high) - float(low)) * unit
        low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
        return xp.like(low, unit) + xp.like(high - low, unit) * unit

    def normal(self, size: int = 1) -> Array:
        """Standard normal numbers, (N, size) float64, by the transform of Box and Muller (1958)."""
        u = self.uniform(size=2 * size)
        return xp.sqrt(-2 * xp.log1p(-u[:, :size])) * xp.cos(2 * np.pi * u[:, size:])

    def _unit(self, size: int) -> Array:
        """Numbers in [0, 1) from the first 53 bits of words."""
        if type(self.key) is np.ndarray:
            return (self.words(size) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        library = xp.library(self.key)
        return library.astype((self.words(size) >> 11) & _FRACTION_SIGNED, library.float64) * 2.0**-53
