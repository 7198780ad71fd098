"""Which data a running normalizer of observations, states or values takes its mean and variance from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup
from motrix_train.learning.symmetry import Array, SignedPermutation


@dataclass(frozen=True)
class Pooling:
    """Pools the moments of a batch over all workers, then with the mirror images of its vectors.

    So every worker normalizes alike, and the normalized image of a vector is the image of the normalized vector.
    """

    workers: ProcessGroup = SINGLE_PROCESS
    mirror: SignedPermutation | None = None

    @property
    def is_needed(self) -> bool:
        """Whether pooling changes anything."""
        return self.workers.size > 1 or self.mirror is not None

    def __call__(
        self,
        mean: Array,  # (k,)
        variance: Array,  # (k,) unbiased
        count: int,
        *,
        to_host: Callable[[Array], np.ndarray],
        to_device: Callable[[np.ndarray], Array],
    ) -> tuple[Array, Array, int]:
        """Mean, variance and number of vectors after pooling, from those of one worker's batch."""
        if self.workers.size > 1:
            *pooled, count = self.workers.pool_moments(to_host(mean), to_host(variance), count)
            mean, variance = map(to_device, pooled)
        if self.mirror is not None:
            mean, variance = self.mirror.pool_moments(mean, variance)
        return mean, variance, count


NO_POOLING = Pooling()
