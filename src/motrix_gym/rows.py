"""Rows of arrays, one for each environment: chosen, written, copied and brought to the host, with NumPy and Torch.

Beside `motrix_gym.arrays`, which tasks compute with: the array API standard writes to no rows, and knows no host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from motrix_gym import arrays as xp
from motrix_gym.arrays import Array


def from_host(values: npt.ArrayLike, x: Array) -> Array:
    """Numbers of the host as an array of its own, of the library of `x` and on its device.

    Floating-point numbers get the dtype that `x` has, if that is one of such numbers, and uint64 becomes int64 of the
    same bits; with NumPy each keeps its own dtype.
    """
    values = np.array(values)
    if type(x) is np.ndarray:
        return values
    of = xp.library(x)
    dtype = x.dtype if values.dtype.kind == "f" and of.isdtype(x.dtype, "real floating") else None
    values = values.view(np.int64) if values.dtype == np.uint64 else values
    return of.asarray(values, dtype=dtype, device=getattr(x, "device", None), copy=True)


def to_host(x: Array) -> np.ndarray:
    """A copy of `x` as an array of NumPy; of what is on a device, the only function here that moves it."""
    if type(x) is np.ndarray:
        return x.copy()
    on_the_cpu: Any = getattr(x, "cpu", lambda: x)()
    return np.asarray(on_the_cpu).copy()


def copied(x: Array) -> Array:
    """A copy of `x`, where `x` is."""
    return x.copy() if type(x) is np.ndarray else xp.library(x).asarray(x, copy=True)


def indices(mask: Array) -> Array:
    """The environments that a mask, (N,) bool, marks, (M,) int. On a device, the host waits for their number."""
    return np.flatnonzero(mask) if type(mask) is np.ndarray else xp.library(mask).nonzero(mask)[0]


def marked(envs: Array, num_envs: int) -> Array:
    """The mask, (N,) bool, that marks some environments, (M,) int."""
    mask = xp.full((num_envs,), False, envs)
    mask[envs] = True
    return mask


def replaced(x: Array, envs: Array, fresh: Array) -> Array:
    """`x` with other rows for some environments, which are indices, (M,) int, or a mask, (N,) bool."""
    result = copied(x)
    result[envs] = fresh
    return result


def in_dtype_of(x: Array, other: Array) -> Array:
    """`x` in the floating dtype of `other`, if it is of floating-point numbers; with NumPy as it is."""
    if type(x) is np.ndarray or x.dtype == other.dtype:
        return x
    of = xp.library(x)
    return of.astype(x, other.dtype) if of.isdtype(x.dtype, "real floating") else x


def one_of(conditions: Sequence[Array]) -> Array:
    """Where one or more of some conditions, each (N,) bool, hold; an array of its own."""
    first, *others = conditions
    result = copied(first)
    for condition in others:
        result = result | condition
    return result


def surely_none(mask: Array) -> bool:
    """Whether no element of a mask is True, as far as is known without waiting for a device: there it says False."""
    return type(mask) is np.ndarray and not mask.any()
