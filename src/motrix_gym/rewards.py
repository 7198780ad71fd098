"""Reward terms as pure functions of arrays with a leading axis of N environments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.arrays import Array


def tracking(target: Array, value: Array, variance: float) -> Array:
    """exp(-|target - value|^2 / variance), (N, k) to (N,): 1 on target."""
    return xp.exp(-sum_squares(target - value) / variance)


def sum_squares(x: Array) -> Array:
    """The sum of squares along the last axis, (N, k) to (N,)."""
    return xp.sum(xp.square(x), axis=-1)


def indicator(condition: Array) -> Array:
    """1 where a condition is true, 0 elsewhere, in the shape of `condition`."""
    return xp.floats(condition)


def closeness(x: Array, margin: float) -> Array:
    """1 / (1 + (x / margin)^2), in the shape of `x`: 1 at 0, a half at `margin`, felt from far off."""
    return tolerance(x, margin=margin, sigmoid="long_tail", value_at_margin=0.5)


def tolerance(
    x: Array,
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: float = 0.0,
    sigmoid: str = "gaussian",
    value_at_margin: float = 0.1,
) -> Array:
    """How well each `x` keeps within `bounds`: 1 inside, falling to 0 outside.

    The rewards of the DeepMind Control Suite are made of this function (Tassa et al., arXiv:1801.00690).

    Args:
        x: Any shape.
        bounds: The lowest and the highest good value, inclusive; either may be infinite.
        margin: The distance from the bounds, in the unit of `x`, at which the value is `value_at_margin`; at 0
            the value is 0 everywhere outside.
        sigmoid: How the value falls, with d the distance in margins and v the `value_at_margin`:
            ``gaussian`` v^(d^2), ``hyperbolic`` 1 / cosh(d arcosh(1/v)), ``long_tail`` 1 / (1 + (1/v - 1) d^2),
            ``tanh_squared`` 1 - tanh(d artanh(sqrt(1 - v)))^2, and those that reach 0: ``linear`` 1 - (1 - v) d,
            ``quadratic`` 1 - (1 - v) d^2, ``cosine`` (1 + cos(d arccos(2 v - 1))) / 2.
        value_at_margin: Between 0 and 1; 0 itself only where the value reaches 0.

    Returns:
        Values from 0 to 1 in the shape of `x`.

    Raises:
        ValueError: Bounds in the wrong order, a negative margin, an unknown sigmoid or a value it cannot have.
    """
    low, high = bounds
    if low > high:
        raise ValueError(f"bounds are {bounds}; give the lower one first")
    if margin < 0:
        raise ValueError(f"margin is {margin}; it takes a number of at least 0")
    if sigmoid not in _SIGMOIDS:
        raise ValueError(f"sigmoid {sigmoid!r} is not known; use one of {', '.join(_SIGMOIDS)}")
    if not (0 < value_at_margin < 1 or (value_at_margin == 0 and sigmoid in _REACHING_ZERO)):
        raise ValueError(f"value_at_margin is {value_at_margin}; {sigmoid} takes a number between 0 and 1")
    outside = xp.maximum(xp.maximum(low - x, x - high), 0.0)
    if margin == 0:
        return indicator(outside == 0)
    return _SIGMOIDS[sigmoid](outside / margin, value_at_margin)


def _hyperbolic(d: Array, v: float) -> Array:
    decay = xp.exp(-d * float(np.acosh(1 / v)))  # 1 / cosh of large numbers, without overflow
    return 2 * decay / (1 + decay**2)


def _cosine(d: Array, v: float) -> Array:
    return (1 + xp.cos(xp.minimum(d * float(np.acos(2 * v - 1)), np.pi))) / 2


_SIGMOIDS: dict[str, Callable[[Array, float], Array]] = {
    "gaussian": lambda d, v: v ** (d**2),
    "hyperbolic": _hyperbolic,
    "long_tail": lambda d, v: 1 / (1 + (1 / v - 1) * d**2),
    "tanh_squared": lambda d, v: 1 - xp.tanh(d * float(np.atanh(np.sqrt(1 - v)))) ** 2,
    "linear": lambda d, v: xp.maximum(1 - (1 - v) * d, 0.0),
    "quadratic": lambda d, v: xp.maximum(1 - (1 - v) * d**2, 0.0),
    "cosine": _cosine,
}
_REACHING_ZERO = ("linear", "quadratic", "cosine")
