"""JAX's collectives between the workers of a training."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from motrix_train.distributed import TIMEOUT
from motrix_train.launcher import ProcessInfo

_FEWEST_BYTES = 64


def connect(place: ProcessInfo) -> "Collectives":
    """Joins the process group, before anything is computed.

    Raises:
        RuntimeError, ValueError: The other processes cannot be reached.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    jax.distributed.initialize(
        place.address,
        place.size,
        place.rank,
        local_device_ids=0 if len(visible) == 1 and visible[0] else place.local_rank,
        initialization_timeout=int(TIMEOUT.total_seconds()),
        shutdown_timeout_seconds=60,
    )
    return Collectives()


class Collectives:
    """A `motrix_train.distributed.Transport`.

    Lengths are rounded up to powers of two, since JAX compiles anew for each length.
    """

    def all_gather(self, data: np.ndarray) -> np.ndarray:  # (n,) uint8 -> (workers, n)
        return multihost_utils.process_allgather(_padded(data))[:, : data.size]

    def broadcast(self, data: np.ndarray, source: int) -> np.ndarray:  # (n,) uint8 -> (n,)
        is_source = jax.process_index() == source
        return np.asarray(multihost_utils.broadcast_one_to_all(_padded(data), is_source))[: data.size]


def mean_of_all_workers(tree: Any) -> Any:
    """The mean of a pytree over the workers, leaf by leaf."""
    return _compiled_mean()(tree)


@functools.cache
def _compiled_mean() -> Callable[[Any], Any]:
    """The result is on the device of the input: any other placement compiles anew."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    enclosed = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf[None], tree))
    mean = jax.pmap(lambda tree: jax.lax.pmean(tree, "workers"), axis_name="workers")
    opened = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), out_shardings=here)
    return lambda tree: opened(mean(enclosed(tree)))


def _padded(data: np.ndarray) -> np.ndarray:  # (n,) uint8 -> (2**k,)
    padded = np.zeros(max(_FEWEST_BYTES, 1 << (data.size - 1).bit_length()), np.uint8)
    padded[: data.size] = data
    return padded
