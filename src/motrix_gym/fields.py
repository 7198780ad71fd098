"""Builds dataclasses from keyword arguments, and checks each value against its field."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Collection, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnyFields = TypeVar("AnyFields", bound="DataclassInstance")


def configured(task: type[AnyFields], values: Mapping[str, Any]) -> AnyFields:
    """A task, or what else is a dataclass, with the given fields, each checked against the type of its default.

    Args:
        task: The task's class.
        values: Fields by name; lists stand for tuples, so that plain JSON will do, and NumPy's numbers and arrays for
            Python's.

    Raises:
        TypeError: An unknown field, or a value of another type than the field's default.
        ValueError: A value that the task refuses.
    """
    defaults = {f.name: _default(f) for f in dataclasses.fields(task)}
    checked = {}
    for name, value in values.items():
        if name not in defaults:
            # Python's own words: other libraries look for them, to try again without the argument.
            raise TypeError(f"{task.__name__} got an unexpected keyword argument {name!r}{nearest(name, defaults)}")
        checked[name] = plain(value)
        check_type(name, checked[name], defaults[name])
    return task(**checked)


def plain(value: Any, sequence: type[tuple] | type[list] = tuple) -> Any:
    """A value as plain Python has it, through and through.

    Args:
        value: NumPy's numbers, strings and arrays become Python's, members of an enumeration their values.
        sequence: What lists and tuples become; lists are what comes back from JSON.
    """
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist(), sequence)
    if isinstance(value, Enum):
        return plain(value.value, sequence)
    if isinstance(value, Mapping):
        return {plain(key): plain(x, sequence) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return sequence(plain(x, sequence) for x in value)
    return value


def _default(f: dataclasses.Field) -> Any:
    return f.default if f.default is not dataclasses.MISSING else f.default_factory()  # type: ignore[misc]


def check_type(name: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        good, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, (int, float)):
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        wanted = "a finite number"
    elif isinstance(default, str):
        good, wanted = isinstance(value, str), "a string"
    elif isinstance(default, tuple) and isinstance(default[0], Mapping):
        good, wanted = isinstance(value, tuple) and all(isinstance(x, Mapping) for x in value), "a list of mappings"
    elif isinstance(default, tuple):
        good, wanted = isinstance(value, tuple) and len(value) == len(default), f"{len(default)} values, like {default}"
        if good:
            for i, (element, like) in enumerate(zip(value, default, strict=True)):
                check_type(f"{name}[{i}]", element, like)
    else:
        good, wanted = isinstance(value, Mapping), "a mapping"
    if not good:
        raise TypeError(f"{name} is {value!r}; it takes {wanted}")


def nearest(name: str, known: Collection[str]) -> str:
    """What a refusal of an unknown name ends with: the known name that is nearest, and all that are known."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"
