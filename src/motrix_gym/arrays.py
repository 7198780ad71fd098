"""The array functions that tasks compute with, for arrays of any library: NumPy, Torch, JAX.

A task that computes with these, in place of NumPy's, runs on the arrays of the library in which an engine has its
state. Each function is the one of this name in the Python array API standard, in the library of its first argument,
which is an array. NumPy and JAX follow the standard by themselves, Torch by the package ``array-api-compat``. With
NumPy each is what NumPy computes, to the last bit.

What is the same for all environments, as a pose, stays a NumPy array, a tuple or a number; `like` puts it beside an
array. So do `zeros` and `full` with what is new.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = np.ndarray  # for type checkers; an array of any library

_CONSTANTS_KEPT = 1024


def library(x: Any) -> Any:
    """The module with the functions of the standard for `x`, an array.

    Raises:
        ImportError: `x` is of Torch, and the package ``array-api-compat`` is missing.
    """
    if isinstance(x, (np.generic, int, float)):
        return np
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    try:
        import array_api_compat
    except ImportError:
        name = f"{type(x).__module__}.{type(x).__qualname__}"
        raise ImportError(f"tasks on arrays of {name} need a package: pip install array-api-compat") from None
    return array_api_compat.array_namespace(x)


def like(values: npt.ArrayLike, x: Array) -> Array:
    """Numbers that are the same for all environments, as an array of the library of `x` and on its device.

    Args:
        values: A NumPy array, a tuple or a number. It must not change afterwards.
        x: An array. Floating-point numbers get the dtype that it has, if that is one of such numbers; with NumPy
            `values` keeps its own.
    """
    if type(x) is np.ndarray:
        return np.asarray(values)
    of, kind, device = library(x), x.dtype, getattr(x, "device", None)
    if of.__name__.startswith("jax"):  # keeps the constants of what it compiles by itself; in there, none may be kept
        return _converted(values, of, kind, device)
    return _kept(_Same(values), of, kind, device)


def zeros(shape: tuple[int, ...], x: Array) -> Array:
    """Zeros in an array of the library of `x` and on its device, of its dtype if that is a floating one."""
    return np.zeros(shape) if type(x) is np.ndarray else full(shape, 0.0, x)


def full(shape: tuple[int, ...], value: float, x: Array) -> Array:
    """As `zeros`, with `value` in place of 0; a bool or an int gives an array of bool or int64."""
    if type(x) is np.ndarray:
        return np.full(shape, value)
    of = library(x)
    floating = x.dtype if of.isdtype(x.dtype, "real floating") else of.float64
    dtype = {bool: of.bool, int: of.int64}.get(type(value), floating)
    return of.full(shape, value, dtype=dtype, device=getattr(x, "device", None))


def on_host(function: Callable[[np.ndarray], np.ndarray], x: Array) -> Array:
    """A function of NumPy arrays, of `x`: for what no array library computes, as kinematics by MuJoCo.

    It costs a copy from the device and back, and cannot be compiled by JAX.
    """
    if type(x) is np.ndarray:
        return function(x)
    cpu: Any = getattr(x, "cpu", lambda: x)()
    return _converted(function(np.asarray(cpu)), library(x), x.dtype, getattr(x, "device", None))


def integers(x: Array) -> Array:
    """`x` without the digits after the point, as int64."""
    if type(x) is np.ndarray:
        return x.astype(int)
    of = library(x)
    return of.astype(x, of.int64)


def floats(x: Array) -> Array:
    """`x`, bool or int, as floating-point numbers: 1 where a condition is true, 0 elsewhere.

    With NumPy they are float64, else float32: beside other numbers they take their dtype.
    """
    return x.astype(float) if type(x) is np.ndarray else single(x)


def single(x: Array) -> Array:
    """`x` as float32."""
    if type(x) is np.ndarray:
        return x.astype(np.float32)
    of = library(x)
    return of.astype(x, of.float32)


def columns(x: Array, index: np.ndarray | list[int]) -> Array:
    """The elements of the last axis that `index`, the same for all environments, chooses, in its order."""
    return x[..., index] if type(x) is np.ndarray else library(x).take(x, like(index, x), axis=-1)


def einsum(subscripts: str, x: Array, y: Array) -> Array:
    """The sum of products of two arrays that ``numpy.einsum`` computes, as of ``"nij,nj->ni"``."""
    if type(x) is np.ndarray:
        return np.einsum(subscripts, x, y)
    of = library(x)
    inputs, output = subscripts.split("->")
    operands = inputs.split(",")
    letters = output + "".join(sorted({*inputs} - {*output, ","}))
    x, y = (_spread(of, a, own, letters) for a, own in zip((x, y), operands, strict=True))
    return of.sum(x * y, axis=tuple(range(len(output), len(letters))))


def vector_norm(x: Array, axis: int, keepdims: bool = False) -> Array:
    """The Euclidean norm along an axis."""
    if type(x) is np.ndarray:
        return np.sqrt(np.add.reduce(x * x, axis=axis, keepdims=keepdims))
    return library(x).linalg.vector_norm(x, axis=axis, keepdims=keepdims)


def mean(x: Array, axis: int, keepdims: bool = False) -> Array:
    """The mean along an axis."""
    if type(x) is np.ndarray:
        return np.add.reduce(x, axis=axis, keepdims=keepdims) / x.shape[axis]
    return library(x).mean(x, axis=axis, keepdims=keepdims)


def maximum(x: Array, y: Array | float) -> Array:
    """The larger of an element and of `y`, an array or a number."""
    if type(x) is np.ndarray:
        return np.maximum(x, y)
    return library(x).clip(x, min=y) if isinstance(y, (int, float)) else library(x).maximum(x, y)


def minimum(x: Array, y: Array | float) -> Array:
    """The smaller of an element and of `y`, an array or a number."""
    if type(x) is np.ndarray:
        return np.minimum(x, y)
    return library(x).clip(x, max=y) if isinstance(y, (int, float)) else library(x).minimum(x, y)


def clip(x: Array, low: Array | float, high: Array | float) -> Array:
    """`x`, but at least `low` and at most `high`."""
    return x.clip(low, high) if type(x) is np.ndarray else library(x).clip(x, low, high)


def where(condition: Array, x: Array | float, y: Array | float) -> Array:
    """`x` where `condition` is true, and `y` elsewhere; of two numbers float64, bool or int64, as `full` makes it."""
    if type(condition) is np.ndarray:
        return np.where(condition, x, y)
    if isinstance(x, (float, int)) and isinstance(y, (float, int)):
        x = full(condition.shape, x, condition)
    return library(condition).where(condition, x, y)


def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """The same elements in another shape, of which one length may be -1."""
    return x.reshape(shape) if type(x) is np.ndarray else library(x).reshape(x, shape)


def tile(x: Array, times: tuple[int, ...]) -> Array:
    """`x` repeated along each axis."""
    return np.tile(x, times) if type(x) is np.ndarray else library(x).tile(x, times)


def concat(arrays: Sequence[Array], axis: int) -> Array:
    """Arrays joined along an axis that they have."""
    if type(arrays[0]) is np.ndarray:
        return np.concat(arrays, axis=axis)
    return library(arrays[0]).concat(arrays, axis=axis)


def stack(arrays: Sequence[Array], axis: int) -> Array:
    """Arrays joined along a new axis."""
    if type(arrays[0]) is np.ndarray:
        return np.stack(arrays, axis=axis)
    return library(arrays[0]).stack(arrays, axis=axis)


def pad(x: Array, before: int, after: int) -> Array:
    """`x`, (N, k), with columns of zeros before it and after it."""
    n = x.shape[0]
    return concat([zeros((n, before), x), x, zeros((n, after), x)], axis=1)


def cumulative_sum(x: Array, axis: int) -> Array:
    """The sums of the first elements along an axis."""
    return np.cumulative_sum(x, axis=axis) if type(x) is np.ndarray else library(x).cumulative_sum(x, axis=axis)


def take_along_axis(x: Array, index: Array, axis: int) -> Array:
    """The elements of `x` along an axis that `index`, of as many axes, chooses."""
    if type(x) is np.ndarray:
        return np.take_along_axis(x, index, axis=axis)
    return library(x).take_along_axis(x, index, axis=axis)


def _unary(name: str) -> Callable[[Array], Array]:
    of_numpy = getattr(np, name)

    def function(x: Array) -> Array:
        return of_numpy(x) if type(x) is np.ndarray else getattr(library(x), name)(x)

    return _named(function, name, f"``numpy.{name}`` of each element.")


def _binary(name: str) -> Callable[[Array, Array], Array]:
    of_numpy = getattr(np, name)

    def function(x: Array, y: Array) -> Array:
        return of_numpy(x, y) if type(x) is np.ndarray else getattr(library(x), name)(x, y)

    return _named(function, name, f"``numpy.{name}`` of the elements of two arrays.")


def _reduction(name: str, ufunc: np.ufunc) -> Callable[..., Array]:
    of_numpy = ufunc.reduce

    def function(x: Array, axis: int, keepdims: bool = False) -> Array:
        if type(x) is np.ndarray:
            return of_numpy(x, axis=axis, keepdims=keepdims)
        return getattr(library(x), name)(x, axis=axis, keepdims=keepdims)

    return _named(function, name, f"``numpy.{name}`` along an axis.")


def _named(function: Any, name: str, doc: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


sin, cos, exp, sqrt, square = _unary("sin"), _unary("cos"), _unary("exp"), _unary("sqrt"), _unary("square")
log1p, asinh, tanh, floor, ceil, round = map(_unary, ("log1p", "asinh", "tanh", "floor", "ceil", "round"))
zeros_like, ones_like = _unary("zeros_like"), _unary("ones_like")
atan2, hypot = _binary("atan2"), _binary("hypot")
sum, max, min = _reduction("sum", np.add), _reduction("max", np.maximum), _reduction("min", np.minimum)
all, any = _reduction("all", np.logical_and), _reduction("any", np.logical_or)


class _Same:
    """Numbers that equal themselves alone: kept as they are, since comparing them would cost more than converting."""

    def __init__(self, values: npt.ArrayLike):
        self.values = values

    def __hash__(self) -> int:
        return id(self.values)

    def __eq__(self, other: Any) -> bool:
        return self.values is other.values


def _converted(values: npt.ArrayLike, of: Any, kind: Any, device: Any) -> Array:
    array = np.asarray(values)
    dtype = kind if array.dtype.kind == "f" and of.isdtype(kind, "real floating") else None
    return of.asarray(array, dtype=dtype, device=device, copy=True)


@functools.lru_cache(maxsize=_CONSTANTS_KEPT)
def _kept(values: _Same, of: Any, kind: Any, device: Any) -> Array:
    return _converted(values.values, of, kind, device)


def _spread(of: Any, x: Array, own: str, letters: str) -> Array:
    """An array with the axes `own` as one with the axes `letters`, of length 1 where it has none."""
    x = of.permute_dims(x, tuple(own.index(letter) for letter in letters if letter in own))
    lengths = iter(x.shape)
    return of.reshape(x, tuple(next(lengths) if letter in own else 1 for letter in letters))
