"""`rewards.tolerance` is the function of the DeepMind Control Suite; the others are bounded and monotonic."""

import numpy as np
import pytest
from dm_control.utils.rewards import tolerance as reference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from motrix_gym import rewards
from motrix_gym.rewards import tolerance

REACHING_ZERO = ["linear", "quadratic", "cosine"]
SIGMOIDS = [*REACHING_ZERO, "gaussian", "hyperbolic", "long_tail", "tanh_squared"]
NUMBERS = st.floats(-1e6, 1e6)
BOUNDS = st.one_of(
    st.tuples(NUMBERS | st.just(-np.inf), NUMBERS | st.just(np.inf)).filter(lambda b: b[0] <= b[1]),
    NUMBERS.map(lambda x: (x, x)),
)
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
VALUES = st.sampled_from([0.0, 1.0]) | st.floats(1e-9, 1 - 1e-9)


@given(
    x=arrays(float, SHAPES, elements=NUMBERS),
    bounds=BOUNDS,
    margin=st.just(0.0) | st.floats(1e-6, 1e6),
    sigmoid=st.sampled_from(SIGMOIDS),
    value_at_margin=VALUES,
    edge=st.sampled_from([None, "low", "high", "margin below", "margin above"]),
)
def test_it_is_the_function_of_the_control_suite(x, bounds, margin, sigmoid, value_at_margin, edge):
    low, high = bounds
    there = {"low": low, "high": high, "margin below": low - margin, "margin above": high + margin}.get(edge)
    if there is not None and np.isfinite(there):
        x = np.full_like(x, there)
    try:
        with np.errstate(over="ignore"):
            expected = reference(x, bounds, margin, sigmoid, value_at_margin)
    except ValueError:
        with pytest.raises(ValueError, match="value_at_margin"):
            tolerance(x, bounds, margin, sigmoid, value_at_margin)
        return
    if margin == 0 and not may_have(sigmoid, value_at_margin):
        with pytest.raises(
            ValueError, match="value_at_margin"
        ):  # there it is not asked for, and looked at all the same
            tolerance(x, bounds, margin, sigmoid, value_at_margin)
        return
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = tolerance(x, bounds, margin, sigmoid, value_at_margin)
    assert found.shape == x.shape
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sigmoid", SIGMOIDS)
@given(margins=arrays(float, 8, elements=st.floats(0, 3)), margin=st.floats(1e-2, 1e2), value=st.floats(0.05, 0.95))
def test_it_is_the_same_function_within_some_margins(sigmoid, margins, margin, value):
    x = margins * margin
    found = tolerance(x, margin=margin, sigmoid=sigmoid, value_at_margin=value)
    np.testing.assert_allclose(found, reference(x, margin=margin, sigmoid=sigmoid, value_at_margin=value), atol=1e-9)


def may_have(sigmoid: str, value: float) -> bool:
    """Whether the function can have this value at its margin."""
    return 0 < value < 1 or (value == 0 and sigmoid in REACHING_ZERO)


@given(sigmoid=st.sampled_from(SIGMOIDS), margin=st.floats(1e-2, 1e2), value=st.floats(0.01, 0.99))
def test_it_falls_from_one_through_the_value_at_the_margin(sigmoid, margin, value):
    d = np.linspace(0, 3, 61) * margin
    y = tolerance(d, margin=margin, sigmoid=sigmoid, value_at_margin=value)
    assert y[0] == 1
    assert y[20] == pytest.approx(value)
    assert (np.diff(y) <= 0).all()
    assert (y >= 0).all()


@pytest.mark.parametrize("sigmoid", REACHING_ZERO)
def test_some_reach_zero_at_the_margin(sigmoid):
    y = tolerance(np.array([0.0, 0.9, 1.0, 2.0]), margin=1.0, sigmoid=sigmoid, value_at_margin=0.0)
    assert y[1] > 0
    np.testing.assert_allclose(y[2:], 0.0, atol=1e-15)


@given(x=arrays(float, (4, 3), elements=NUMBERS), y=arrays(float, (3,), elements=NUMBERS), width=st.floats(1e-3, 1e3))
def test_all_are_bounded_and_the_nearer_earns_no_less(x, y, width):
    distance = rewards.sum_squares(x - y)
    order = np.argsort(distance)
    with np.errstate(under="ignore"):
        for earned in (rewards.tracking(y, x, width), rewards.closeness(np.sqrt(distance), width)):
            assert ((earned >= 0) & (earned <= 1)).all()
            assert (np.diff(earned[order]) <= 0).all()
    assert (rewards.tracking(y, y[None], width) == 1).all()
    assert rewards.closeness(np.array([0.0, -width, width]), width) == pytest.approx([1, 0.5, 0.5])
    np.testing.assert_array_equal(rewards.indicator(x > y), (x > y).astype(float))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"bounds": (1.0, 0.0)}, r"bounds are \(1.0, 0.0\)"),
        ({"margin": -1.0}, "margin is -1.0"),
        ({"sigmoid": "gausian"}, "'gausian' is not known; use one of gaussian"),
        ({"value_at_margin": 0.0}, "value_at_margin is 0.0; gaussian"),
        ({"sigmoid": "linear", "value_at_margin": 1.0}, "value_at_margin is 1.0; linear"),
        ({"sigmoid": "linear", "value_at_margin": -0.1}, "value_at_margin is -0.1; linear"),
    ],
)
def test_wrong_values_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        tolerance(np.zeros(1), **{"margin": 1.0, **wrong})
