"""`rewards.tolerance` is the function of the DeepMind Control Suite."""

import numpy as np
import pytest
from dm_control.utils.rewards import tolerance as reference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from motrix_gym.rewards import tolerance

REACHING_ZERO = ["linear", "quadratic", "cosine"]
SIGMOIDS = [*REACHING_ZERO, "gaussian", "hyperbolic", "long_tail", "tanh_squared"]
NUMBERS = st.floats(-1e3, 1e3)


@given(
    x=arrays(float, (5,), elements=NUMBERS),
    bounds=st.tuples(NUMBERS | st.just(-np.inf), NUMBERS | st.just(np.inf)).filter(lambda b: b[0] <= b[1]),
    margin=st.just(0.0) | st.floats(1e-2, 1e3),
    sigmoid=st.sampled_from(SIGMOIDS),
    value_at_margin=st.floats(1e-3, 0.999),
)
def test_it_is_the_function_of_the_control_suite(x, bounds, margin, sigmoid, value_at_margin):
    x[0], x[1] = (edge if np.isfinite(edge) else x[2] for edge in bounds)
    x[2] = x[0] - margin
    with np.errstate(over="ignore"):
        expected = reference(x, bounds, margin, sigmoid, value_at_margin)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = tolerance(x, bounds, margin, sigmoid, value_at_margin)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


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
