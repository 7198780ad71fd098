"""A row's random numbers are NumPy's Philox stream of its seed, whatever other rows there are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from motrix_gym.random_streams import WORDS_PER_BLOCK, RandomStreams, stream_keys

SEEDS = st.integers(0, 2**128)
SIZES = st.lists(st.integers(1, 13), min_size=1, max_size=5)


def numpy_words(seed: int, sizes: list[int]) -> list[np.ndarray]:
    """What NumPy's generator gives for the sizes one after the other, each begun at a fresh block of four."""
    generator = np.random.Philox(seed)
    words = []
    for size in sizes:
        blocks = -(-size // WORDS_PER_BLOCK)
        words.append(generator.random_raw(blocks * WORDS_PER_BLOCK)[:size])
    return words


@given(seeds=st.lists(SEEDS, min_size=1, max_size=4), sizes=SIZES)
def test_the_words_are_numpys_bit_for_bit(seeds, sizes):
    rng = RandomStreams(stream_keys(seeds))
    drawn = [rng.words(size) for size in sizes]
    for row, seed in enumerate(seeds):
        for mine, numpys in zip(drawn, numpy_words(seed, sizes), strict=True):
            np.testing.assert_array_equal(mine[row], numpys)


@given(seed=SEEDS)
def test_uniform_numbers_are_numpys_bit_for_bit(seed):
    [mine] = RandomStreams(stream_keys([seed])).uniform(size=8)
    np.testing.assert_array_equal(mine, np.random.Generator(np.random.Philox(seed)).random(8))


@given(counter=st.integers(0, 2**64 - 20), size=st.integers(1, 9))
def test_the_counter_is_all_that_a_stream_needs_to_go_on(counter, size):
    key = stream_keys([3])
    generator = np.random.Philox(3)
    generator.advance(counter)
    [mine] = RandomStreams(key, np.array([counter], dtype=np.uint64)).words(size)
    np.testing.assert_array_equal(mine, generator.random_raw(size))


@given(sizes=SIZES, rows=st.lists(st.integers(0, 6), min_size=1, unique=True))
def test_some_rows_draw_as_they_do_among_all(sizes, rows):
    everyone = RandomStreams(stream_keys(range(7)))
    some = RandomStreams(everyone.key[rows], everyone.counter[rows])
    for size in sizes:
        np.testing.assert_array_equal(some.words(size), everyone.words(size)[rows])


def test_a_draw_leaves_the_counter_that_was_saved_alone():
    rng = RandomStreams(stream_keys([0, 1]))
    saved = rng.counter
    rng.words(5)
    np.testing.assert_array_equal(saved, [0, 0])
    np.testing.assert_array_equal(rng.counter, [2, 2])


def test_rows_with_neighbouring_seeds_have_nothing_in_common():
    words = RandomStreams(stream_keys(range(512))).words(16)
    assert np.unique(words).size == words.size
    bits = np.unpackbits(words.view(np.uint8), axis=1).mean(axis=0)
    np.testing.assert_allclose(bits, 0.5, atol=5 * 0.5 / np.sqrt(512))


def test_uniform_numbers_fill_their_interval_evenly():
    low, high = np.array([-2.0, 10.0, 0.0]), np.array([3.0, 10.5, 1e-3])
    x = (RandomStreams(stream_keys(range(4096))).uniform(low, high, 3) - low) / (high - low)
    assert x.min() >= 0
    assert x.max() < 1
    n = len(x)
    np.testing.assert_allclose(x.mean(axis=0), 0.5, atol=5 / np.sqrt(12 * n))
    np.testing.assert_allclose(x.var(axis=0), 1 / 12, atol=5 / np.sqrt(180 * n))
    np.testing.assert_allclose(np.corrcoef(x.T), np.eye(3), atol=5 / np.sqrt(n))
    steps = np.abs(np.sort(x, axis=0) - (np.arange(n) + 0.5)[:, None] / n).max()
    assert steps < 2 / np.sqrt(n)  # Kolmogorov and Smirnov: exceeded once in a thousand


def test_normal_numbers_are_normal_and_independent():
    x = RandomStreams(stream_keys(range(4096))).normal(3)
    n = len(x)
    assert min(stats.kstest(column, "norm").pvalue for column in x.T) > 1e-3
    np.testing.assert_allclose(np.corrcoef(x.T), np.eye(3), atol=5 / np.sqrt(n))
    np.testing.assert_allclose(np.corrcoef(np.square(x.T)), np.eye(3), atol=5 / np.sqrt(n))


@given(seed=SEEDS, size=st.integers(1, 5))
def test_normal_numbers_do_not_depend_on_other_rows(seed, size):
    alone, among = (RandomStreams(stream_keys(seeds)).normal(size) for seeds in ([seed], [1, seed, 2]))
    np.testing.assert_array_equal(among[1], alone[0])


@pytest.mark.parametrize("size", [1, 4, 5])
def test_one_row_or_none_is_no_special_case(size):
    assert RandomStreams(stream_keys([7])).uniform(size=size).shape == (1, size)
    assert RandomStreams(np.empty((0, 2), dtype=np.uint64)).uniform(size=size).shape == (0, size)
