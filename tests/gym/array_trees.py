"""Trees of arrays: what the methods of a task are given, and what they return."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.physics.base import Override
from motrix_gym.random_streams import RandomStreams


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of dataclasses, mappings and tuples with `function` applied to its arrays and random streams."""
    if isinstance(tree, (np.ndarray, RandomStreams)):
        return function(tree)
    if isinstance(tree, Mapping):
        return {name: mapped(function, x) for name, x in tree.items()}
    if isinstance(tree, tuple):
        return tuple(mapped(function, x) for x in tree)
    if isinstance(tree, Override):
        return dataclasses.replace(tree, values=function(tree.values))
    if dataclasses.is_dataclass(tree):
        return type(tree)(**{f.name: mapped(function, getattr(tree, f.name)) for f in dataclasses.fields(tree)})
    return tree


def beside(tree: Any, one: Any) -> Any:
    """A tree of NumPy's arrays with arrays of another library."""
    return mapped(lambda x: x.beside(one) if isinstance(x, RandomStreams) else xp.like(x.copy(), one), tree)


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What is no dataclass, mapping or tuple in a tree, with what it is called."""
    if isinstance(tree, Mapping):
        for key, x in tree.items():
            yield from leaves(x, f"{name}[{key!r}]")
    elif isinstance(tree, tuple):
        for i, x in enumerate(tree):
            yield from leaves(x, f"{name}[{i}]")
    elif isinstance(tree, Override):
        yield f"{name}.values", tree.values
    elif dataclasses.is_dataclass(tree):
        for f in dataclasses.fields(tree):
            yield from leaves(getattr(tree, f.name), f"{name}.{f.name}")
    elif tree is not None:
        yield name, tree
