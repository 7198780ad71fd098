"""Matrices are multiplied in float32, whichever library does it."""

import pytest
import torch

from motrix_train.learning.torch import matrix_products
from motrix_train.learning.torch.matrix_products import float32_with_onednn


def setting() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("inner", [12, 128, 1024])
def test_products_have_the_precision_of_float32(inner):
    torch.manual_seed(inner)
    a, b = torch.randn(500, inner), torch.randn(inner, 64)
    with float32_with_onednn():
        products = a @ b, torch.nn.functional.linear(a, b.T, torch.zeros(64))
    exact = a.double() @ b.double()
    for product in products:
        assert (product - exact).abs().max() < 1e-5 * exact.abs().max()


def test_precision_of_bfloat16_would_be_seen():
    exact = torch.full((4, 4), matrix_products.NEEDS_FLOAT32)
    assert not torch.equal(exact.bfloat16().float(), exact)


def test_setting_is_as_before_even_after_an_error():
    before = setting()
    with pytest.raises(KeyError), float32_with_onednn():
        raise KeyError
    assert setting() == before


def test_processor_whose_units_compute_in_bfloat16_is_left_alone(monkeypatch):
    monkeypatch.setattr(matrix_products, "onednn_computes_in_float32", lambda: False)
    before = setting()
    with float32_with_onednn():
        assert setting() == before
