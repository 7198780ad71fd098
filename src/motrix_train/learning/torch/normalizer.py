"""SKRL's running normalizer on Torch, with pooled moments."""

from typing import Any

import torch
from skrl.resources.preprocessors.torch import RunningStandardScaler

from motrix_train.learning.normalizer import NO_POOLING, Pooling


class Normalizer(RunningStandardScaler):
    """Subtracts the running mean and divides by the running standard deviation of what the pooling comprises."""

    def __init__(self, size: Any, *, pooling: Pooling = NO_POOLING, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self._pooling = pooling

    def learn(self, x: torch.Tensor) -> None:
        """Takes vectors, (N, k), into mean and variance."""
        variance = x.var(dim=0) if len(x) > 1 else torch.zeros_like(x[0])
        self._parallel_variance(x.mean(dim=0), variance, len(x))

    def _parallel_variance(self, input_mean: torch.Tensor, input_var: torch.Tensor, input_count: int) -> None:
        moments = self._pooling(
            input_mean,
            input_var,
            input_count,
            to_host=lambda tensor: tensor.detach().cpu().numpy(),
            to_device=lambda array: torch.tensor(array, device=self.device),
        )
        super()._parallel_variance(*moments)
