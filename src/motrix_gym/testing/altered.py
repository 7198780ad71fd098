"""States that no simulation comes upon: they tell what never changes from what only chance has not changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

Tree = TypeVar("Tree")
_FACTORS = [-10.0, -1.0, 0.0, 0.01, 1.0, 10.0]
_SHIFTS = [0.0, 0.1, 10.0]


def altered(tree: Tree, rng: np.random.Generator) -> Tree:
    """The arrays of a tree, each altered by itself and without regard to the others.

    Every array has its environments in another order. Then floating point numbers are multiplied by a factor from -10
    to 10, and moved by a normal number times 0, 0.1 or 10, both drawn for each environment. Truth values are
    drawn anew.

    Args:
        tree: A dataclass of arrays (N, ...), of such dataclasses, and of mappings of arrays.
        rng: Draws the order, the factors and the truth values.

    Returns:
        The new tree; every array keeps its shape and dtype.
    """
    return _altered(tree, rng)


def _altered(tree: Any, rng: np.random.Generator) -> Any:
    if isinstance(tree, np.ndarray):
        x = tree[rng.permutation(len(tree))]
        if x.dtype.kind == "b":
            return rng.uniform(size=x.shape) < 0.5
        if x.dtype.kind != "f":
            return x
        factor, shift = (rng.choice(choices, (len(x), *(1,) * (x.ndim - 1))) for choices in (_FACTORS, _SHIFTS))
        return (x * factor + shift * rng.normal(size=x.shape)).astype(x.dtype)
    if isinstance(tree, Mapping):
        return {name: _altered(x, rng) for name, x in tree.items()}
    return dataclasses.replace(tree, **{f.name: _altered(getattr(tree, f.name), rng) for f in dataclasses.fields(tree)})
