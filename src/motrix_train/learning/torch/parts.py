"""Computes layers for parts of the rows, in threads of their own, forward and backward.

Torch's own threads share each single product of matrices, and wait for one another by spinning: with small layers that
costs more than it brings. Here a thread takes a part of the rows through all layers and back.

How many parts there are depends on the number of rows alone, and gradients are summed in the order of the parts. So the
result is the same to the last bit, however many threads there are.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn

FEW_ROWS = 1024  # are not worth a thread
ROWS_OF_A_PART = 4096  # or more, where there are more than two parts


class Threads:
    """The threads that compute parts; one of them is the caller's."""

    def __init__(self) -> None:
        self._others: ThreadPoolExecutor | None = None

    def set(self, count: int) -> None:
        """Computes in this many threads from now on; if they are several, each product of matrices in one."""
        if self._others is not None:
            self._others.shutdown()
        self._others = None
        if count > 1:
            # oneDNN asks each thread by itself how many it may take
            self._others = ThreadPoolExecutor(count - 1, "motrix-parts", torch.set_num_threads, (1,))

    def map(self, function: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
        """The results in the order of the arguments."""
        calls = list(zip(*arguments, strict=True))
        if self._others is None:
            return [function(*call) for call in calls]
        others = [self._others.submit(function, *call) for call in calls[1:]]
        return [function(*calls[0]), *(other.result() for other in others)]


THREADS = Threads()


def in_parts(layers: Sequence[nn.Module], rows: torch.Tensor) -> torch.Tensor:
    """The rows (N, k) after all layers, (N, m); the gradient of the parameters too is computed in parts."""
    of_parameters_alone = torch.is_grad_enabled() and not rows.requires_grad
    if len(rows) < FEW_ROWS or not of_parameters_alone or rows.device.type != "cpu":
        return _after(layers, rows)
    parameters = itertools.chain.from_iterable(layer.parameters() for layer in layers)
    return _InParts.apply(layers, rows, *parameters)


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: Sequence[nn.Module], rows: torch.Tensor, *parameters: nn.Parameter) -> torch.Tensor:
        def compute(part: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                return _after(layers, part)

        parts = rows.chunk(max(2, len(rows) // ROWS_OF_A_PART))
        ctx.outputs, ctx.parameters = THREADS.map(compute, parts), parameters
        return torch.cat([output.detach() for output in ctx.outputs])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        [gradient] = gradients

        def differentiate(output: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return torch.autograd.grad(output, ctx.parameters, gradient)

        parts = gradient.split([len(output) for output in ctx.outputs])
        found = THREADS.map(differentiate, ctx.outputs, parts)
        sums = [sum(of_parts[1:], of_parts[0]) for of_parts in zip(*found, strict=True)]
        return None, None, *sums


def _after(layers: Sequence[nn.Module], rows: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        rows = layer(rows)
    return rows
