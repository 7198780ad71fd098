"""Configuration as a dataclass: built from keyword arguments, each value checked by the annotation of its field.

An annotation says the type, and with `typing.Annotated` the limits: ``swing_height: Positive = 0.08``. A subclass that
gives a field another default keeps the limits of its bases: ``swing_height: float = 0.12``.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import functools
import inspect
import math
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnyFields = TypeVar("AnyFields", bound="DataclassInstance")
_KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a string", type(None): "none"}
_LISTS = {(str, ...): "a list of strings"}
_UNIONS = (typing.Union, types.UnionType)
_MAPPINGS = (dict, collections.abc.Mapping)


@dataclass(frozen=True)
class Bound:
    """The numbers that a field takes.

    Attributes:
        low: Smallest number.
        high: Greatest number.
        above: Whether `low` itself is excluded.
        below: Whether `high` itself is excluded.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def accepts(self, number: float) -> bool:
        """Whether a number is within the bound."""
        return self.low <= number <= self.high and not (
            (self.above and number == self.low) or (self.below and number == self.high)
        )

    def __str__(self) -> str:
        """The numbers in words, such as ``above 0, up to 1``."""
        low = f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        high = f"below {self.high:g}" if self.below else f"up to {self.high:g}"
        if not (self.above or self.below) and math.isfinite(self.high - self.low):
            return f"from {self.low:g} to {self.high:g}"
        return ", ".join(words for words, limit in ((low, self.low), (high, self.high)) if math.isfinite(limit))


@dataclass(frozen=True)
class Ascending:
    """A tuple of numbers, none of them smaller than the one before it."""

    def accepts(self, numbers: tuple[float, ...]) -> bool:
        """Whether no number is smaller than the one before it."""
        return list(numbers) == sorted(numbers)

    def __str__(self) -> str:
        return "the lowest value, then the highest"


Positive = Annotated[float, Bound(low=0, above=True)]
NonNegative = Annotated[float, Bound(low=0)]
Share = Annotated[float, Bound(low=0, high=1)]
Count = Annotated[int, Bound(low=0)]
Range = Annotated[tuple[float, float], Ascending()]
PositiveRange = Annotated[tuple[Positive, Positive], Ascending()]


def configured(cls: type[AnyFields], values: Mapping[str, Any]) -> AnyFields:
    """Builds a dataclass, such as a task, from keyword arguments and checks each value by the field's annotation.

    Args:
        cls: The dataclass.
        values: Fields by name; lists stand for tuples, so that plain JSON will do, and NumPy's numbers and arrays for
            Python's.

    Raises:
        TypeError: An unknown field, or a value of another type than the field's.
        ValueError: A value outside of the field's limits, or one that the class refuses.
    """
    known = _annotations(cls)
    checked = {}
    for name, value in values.items():
        if name not in known:
            # Python's own words: other libraries look for them, to try again without the argument.
            raise TypeError(f"{cls.__name__} got an unexpected keyword argument {name!r}{nearest(name, known)}")
        checked[name] = plain(value)
        check_field(cls, name, checked[name])
    return cls(**checked)


def check_fields(instance: Any) -> None:
    """Checks every field of a dataclass by its annotation.

    Raises:
        TypeError: A value is of another type than its field.
        ValueError: A value is outside of its field's limits.
    """
    for field in dataclasses.fields(instance):
        check_field(type(instance), field.name, plain(getattr(instance, field.name)))


def check_field(cls: type[Any], name: str, value: Any) -> None:
    """Checks the value of one field of a dataclass, by the annotations of the class and of its bases.

    Raises:
        TypeError: The value is of another type than the field.
        ValueError: The value is outside of the field's limits.
    """
    for annotation in _annotations(cls)[name]:
        check(name, value, annotation)


def check(name: str, value: Any, annotation: Any) -> None:
    """Checks a value by an annotation.

    Args:
        name: What the message calls the value.
        value: The value, as `plain` returns it.
        annotation: ``bool``, ``int``, ``float``, ``str``, ``Literal``, a tuple, a mapping, a union of these, each also
            ``Annotated`` with a `Bound` or with `Ascending`. Any other annotation takes every value.

    Raises:
        TypeError: The value is of another type.
        ValueError: The value is outside of the limits; a number that is not whole is outside of ``int``.
    """
    kind, limits = _without_limits(annotation)
    if not _is_of(value, kind):
        raise TypeError(f"{name} is {value!r}; it takes {_in_words(kind)}")
    if kind is int and value != int(value):
        raise ValueError(f"{name} is {value!r}; it takes {_in_words(annotation)}")
    for element in _elements(name, value, kind):
        check(*element)
    for limit in limits:
        if not limit.accepts(value):
            noun = {int: "a whole number ", float: "a number "}.get(kind, "")
            raise ValueError(f"{name} is {value!r}; it takes {noun}{limit}")


def plain(value: Any, sequence: type[tuple] | type[list] = tuple) -> Any:
    """A value as plain Python has it, at every depth.

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


def nearest(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: the known name that is most like it, and all known names."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"


@functools.cache
def _annotations(cls: type[Any]) -> dict[str, list[Any]]:
    """The annotations of every field of a dataclass, those of the class before those of its bases."""
    own = [inspect.get_annotations(base, eval_str=True) for base in cls.__mro__ if dataclasses.is_dataclass(base)]
    return {f.name: [hints[f.name] for hints in own if f.name in hints] for f in dataclasses.fields(cls)}


def _without_limits(annotation: Any) -> tuple[Any, list[Bound | Ascending]]:
    """The type of an annotation, and its limits."""
    if typing.get_origin(annotation) is not Annotated:
        return annotation, []
    kind, *metadata = typing.get_args(annotation)
    return kind, [limit for limit in metadata if isinstance(limit, (Bound, Ascending))]


def _origin(kind: Any) -> Any:
    """``tuple`` of ``tuple[int, int]``; of a type without arguments the type."""
    return typing.get_origin(kind) or kind


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; the elements of a tuple or of a mapping are not looked at."""
    origin, arguments = _origin(kind), typing.get_args(kind)
    if origin in (int, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if origin in _KINDS:
        return isinstance(value, origin)
    if origin is Literal:
        return value in arguments
    if origin in _UNIONS:
        return any(_fits(value, option) for option in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and (not arguments or arguments[-1] is ... or len(value) == len(arguments))
    if origin in _MAPPINGS:
        return isinstance(value, Mapping)
    return True


def _elements(name: str, value: Any, kind: Any) -> Iterator[tuple[str, Any, Any]]:
    """The elements of a tuple or of a mapping: what a message calls each, the element, its annotation."""
    origin, arguments = _origin(kind), typing.get_args(kind)
    if origin is tuple and arguments:
        for i, element in enumerate(value):
            yield f"{name}[{i}]", element, arguments[0 if arguments[-1] is ... else i]
    elif origin in _MAPPINGS and arguments:
        for key, element in value.items():
            yield f"{name}[{key!r}]", element, arguments[1]


def _fits(value: Any, annotation: Any) -> bool:
    try:
        check("value", value, annotation)
    except (TypeError, ValueError):
        return False
    return True


def _in_words(annotation: Any) -> str:
    """The values that an annotation takes."""
    kind, limits = _without_limits(annotation)
    origin, arguments = _origin(kind), typing.get_args(kind)
    if origin is Literal:
        words = f"one of {', '.join(map(repr, arguments))}"
    elif origin in _UNIONS:
        words = " or ".join(map(_in_words, arguments))
    elif origin is tuple:
        words = (
            f"{len(arguments)} values" if arguments and arguments[-1] is not ... else _LISTS.get(arguments, "a list")
        )
    else:
        words = _KINDS.get(origin, "a mapping")
    return ", ".join([words, *map(str, limits)])
