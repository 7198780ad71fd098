"""With NumPy the functions of tasks are NumPy's; `test_array_libraries.py` tries other libraries."""

import functools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_arrays

from motrix_gym import arrays as xp

MATRICES = st.tuples(st.integers(1, 4), st.integers(1, 17))


@given(x=numpy_arrays.arrays(np.float64, MATRICES, elements=st.floats(-1e3, 1e3)))
def test_with_numpy_each_function_is_numpys_to_the_last_bit(x):
    for view in (x, x.T, x[:, ::-1]):
        for axis in (0, 1):
            for keepdims in (False, True):
                same = functools.partial(dict, axis=axis, keepdims=keepdims)
                np.testing.assert_array_equal(xp.mean(view, **same()), np.mean(view, **same()))
                np.testing.assert_array_equal(xp.sum(view, **same()), np.sum(view, **same()))
                np.testing.assert_array_equal(xp.vector_norm(view, **same()), np.linalg.vector_norm(view, **same()))
                np.testing.assert_array_equal(xp.max(view, **same()), np.max(view, **same()))
                np.testing.assert_array_equal(xp.any(view > 0, **same()), np.any(view > 0, **same()))


def test_a_tensor_asks_for_the_package_that_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    with pytest.raises(ImportError, match="pip install array-api-compat"):
        xp.library(object())  # as good as a tensor: it does not say what its library is
