"""SKRL's running normalizer on JAX, with pooled moments."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from skrl.resources.preprocessors.jax import RunningStandardScaler

from motrix_train.learning.normalizer import NO_POOLING, Pooling


class Normalizer(RunningStandardScaler):
    """Subtracts the running mean and divides by the running standard deviation of what the pooling comprises."""

    def __init__(self, size: Any, *, pooling: Pooling = NO_POOLING, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self._pooling = pooling

    def __call__(self, x: jax.Array | None, *, train: bool = False, inverse: bool = False) -> jax.Array | None:
        if train and x is not None and self._pooling.is_needed:
            self.learn(x)
            train = False
        return super().__call__(x, train=train, inverse=inverse)

    def learn(self, x: jax.Array) -> None:
        """Takes vectors, (..., k), into mean and variance."""
        mean, variance = _moments(x)
        moments = self._pooling(
            mean,
            variance,
            x.size // mean.size,
            to_host=np.array,
            to_device=lambda array: jnp.asarray(array, jnp.float32),
        )
        self._parallel_variance(*moments)


@jax.jit
def _moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:  # (..., k) -> (k,), (k,)
    """Mean and unbiased variance, which is 0 of a single vector."""
    rows = x.reshape(-1, x.shape[-1])
    return jnp.mean(rows, axis=0), jnp.var(rows, axis=0, ddof=min(1, len(rows) - 1))
