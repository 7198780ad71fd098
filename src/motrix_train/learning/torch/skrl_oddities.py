"""What the trainer relies on in SKRL's Torch classes: see `motrix_train.learning.skrl_oddities` for the list."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from skrl import config

from motrix_train.distributed import ProcessGroup


@contextlib.contextmanager
def averaging_over(workers: ProcessGroup) -> Iterator[None]:
    """worker_globals: SKRL averages gradients and the KL divergence over the workers inside this context.

    SKRL has no function for it: it reads environment variables when it is imported, and insists on NCCL. If the globals
    stayed set, SKRL would also broadcast every new network and shift every seed.
    """
    before = config.torch._world_size, config.torch._is_distributed
    config.torch._world_size, config.torch._is_distributed = workers.size, workers.size > 1
    try:
        yield
    finally:
        config.torch._world_size, config.torch._is_distributed = before


class GradientNorm:
    """gradient_norm: the mean norm of the gradients over the steps of an optimizer, before clipping.

    Each gradient is measured when it is accumulated; the optimizer's step sums them.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._squares: list[torch.Tensor] = []  # of one step, an element per parameter
        self._norms: list[torch.Tensor] = []
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.register_post_accumulate_grad_hook(self._measure)
        optimizer.register_step_pre_hook(self._finish_step)

    def __call__(self) -> float:
        """The mean since the last call, NaN without a step."""
        norms, self._norms = self._norms, []
        return float(torch.stack(norms).mean()) if norms else math.nan

    def _measure(self, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        self._squares.append(parameter.grad.square().sum())

    def _finish_step(self, *step: Any) -> None:
        self._norms.append(torch.stack(self._squares).sum().sqrt())
        self._squares = []


class SharedFeatures:
    """policy_then_value: the features that the policy and the value of the same tensor share, computed once.

    The features of the policy's tensor are kept until the next call. Only the same tensor object finds them.
    """

    def __init__(self) -> None:
        self._last: tuple[torch.Tensor | None, torch.Tensor] = (None, torch.empty(0))

    def __call__(
        self, observations: torch.Tensor, role: str, compute: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Features of the observations for ``"policy"`` or ``"value"``."""
        tensor, features = self._last
        if tensor is not observations:
            features = compute(observations)
        self._last = (observations, features) if role == "policy" else (None, torch.empty(0))
        return features
