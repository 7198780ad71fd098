"""Nested dicts of arrays, and the same as one dict with paths for names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from motrix_gym.fields import short
from motrix_train import schema
from motrix_train.errors import UsageError


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested dicts with their paths, as in ``policy/log_std``."""
    for name, value in tree.items():
        name = name.replace("~", "~0").replace("/", "~1")  # as in JSON pointers, RFC 6901
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `leaves`.

    Raises:
        UsageError: A name is that of a value and of a dict, or is nested too deep.
    """
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, name = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/"))
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise UsageError(f"{short(path)} lies in an array")
        if len(parents) > schema.MAX_DEPTH or name in branch:
            raise UsageError(f"{short(path)} is nested too deep, or there twice")
        branch[name] = value
    return tree


def require_same_shapes(expected: Mapping[str, Any], found: Mapping[str, Any], what: str) -> None:
    """Raise an error if arrays were saved from networks of other sizes.

    Args:
        expected: Nested dicts of arrays of the networks at hand.
        found: The same from a checkpoint.
        what: Name of the networks for the message.
    """
    wanted = {name: np.shape(value) for name, value in leaves(expected)}
    given = {name: np.shape(value) for name, value in leaves(found)}
    for name in sorted(wanted | given):
        if wanted.get(name) != given.get(name):
            raise UsageError(
                f"{what}: the checkpoint has {name} {given.get(name, 'absent')}, this configuration needs "
                f"{wanted.get(name, 'none')}: give the layer sizes and settings that it was trained with"
            )
