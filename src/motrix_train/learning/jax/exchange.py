"""What environments give and take, as arrays of JAX: NumPy's arrays, or tensors of Torch that stay on their device."""

import functools
from typing import Any

import jax
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rows


def own_copy(array: Any) -> np.ndarray | jax.Array:
    """A copy, floats as float32 and bools as int8: of NumPy's array one of NumPy, of a tensor of Torch one of JAX.

    Without a copy JAX may share the buffer of the environment, which writes the next step into it. A tensor is copied
    where it is, by DLPack, unless JAX has no such device: then its copy is one of NumPy.
    """
    if not isinstance(array, np.ndarray):
        if _has(str(array.device).partition(":")[0]):
            of = xp.library(array)
            return jax.dlpack.from_dlpack(
                of.astype(array, of.int8 if array.dtype == of.bool else of.float32, copy=True)
            )
        array = rows.to_host(array)
    return np.array(array, dtype=np.int8 if array.dtype == bool else np.float32)


def to_torch(array: jax.Array, other: Any) -> Any:
    """An array of JAX as a tensor of Torch on the device of another one, which nobody may write to."""
    return xp.library(other).from_dlpack(array).to(other.device)


@functools.cache
def _has(kind: str) -> bool:
    """Whether JAX has a device of a kind, as "cuda"."""
    try:
        return bool(jax.local_devices(backend=kind))
    except RuntimeError:
        return False
