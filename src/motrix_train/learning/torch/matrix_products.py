"""Chooses the library that multiplies matrices on the CPU.

Torch multiplies float32 matrices with MKL, which takes twice as long as oneDNN on some processors, AMD's among them.
Torch uses oneDNN where it is told that products in bfloat16 are good enough. oneDNN then computes in float32 all the
same, unless the processor has units for bfloat16. Whether it does is tried once.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch

NEEDS_FLOAT32 = 1 + 2**-12  # would be 1 in bfloat16


@contextlib.contextmanager
def float32_with_onednn() -> Iterator[None]:
    """Products of float32 matrices on the CPU are computed by oneDNN in this context, if it does so in float32."""
    if not onednn_computes_in_float32():
        yield
        return
    with _bfloat16_is_enough():
        yield


@functools.cache
def onednn_computes_in_float32() -> bool:
    """Whether Torch has oneDNN, and oneDNN computes in float32 although bfloat16 is good enough."""
    settings: Any = getattr(torch.backends.mkldnn, "matmul", None)
    if not torch.backends.mkldnn.is_available() or not hasattr(settings, "fp32_precision"):
        return False
    exact = torch.full((256, 128), NEEDS_FLOAT32)
    with _bfloat16_is_enough(), torch.no_grad():
        return all(
            torch.equal(product, exact)
            for product in (exact @ torch.eye(128), torch.nn.functional.linear(exact, torch.eye(128), torch.zeros(128)))
        )


@contextlib.contextmanager
def _bfloat16_is_enough() -> Iterator[None]:
    settings: Any = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before
