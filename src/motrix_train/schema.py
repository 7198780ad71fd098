"""The check of one value against the annotation of a dataclass field.

Configurations, plans and every file of a run are dataclasses whose annotations say which values they take::

    rollouts: Annotated[int, Bound(1, 10**6)]
    device: str | None

A mistake is a `UsageError` that names the field, the value and the values that the field takes. `motrix_train.records`
reads whole dataclasses from JSON.
"""

import dataclasses
import difflib
import math
import reprlib
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from motrix_gym.fields import Bound
from motrix_train.errors import UsageError

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlong = 40
_SHORT.maxtuple = _SHORT.maxlist = 8


INFINITE = object()
Limit = typing.Annotated[float, INFINITE]
"""A float that may be infinite; a plain ``float`` may not. Neither may be NaN."""


def short(value: Any) -> str:
    """`repr`, shortened if it is long."""
    return _SHORT.repr(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the most similar known name, or nothing if none is similar."""
    close = difflib.get_close_matches(name[:80], list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def annotations(record: type[Any]) -> dict[str, Any]:
    """The fields of a dataclass with their annotations, bounds included."""
    hints = typing.get_type_hints(record, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


def check(name: str, value: Any, annotation: Any) -> None:
    """Raises an error if a field does not take a value.

    Args:
        name: Of the field, for the message.
        value: The value.
        annotation: ``bool``, ``int``, ``float``, ``str``, ``Literal``, ``tuple[T, ...]``, ``dict[str, T]``, ``Any``, a
            dataclass, each ``| None``, and ``Annotated`` with a `Bound` for numbers or for the length of a tuple.

    Raises:
        UsageError: The value is of another type or out of bounds.
    """
    whole = annotation
    annotation, *bounds = unwrapped(annotation)
    if annotation is Any:
        return
    inner = option(annotation)
    if inner is not None:
        if value is not None:
            check(name, value, typing.Annotated[inner, *bounds] if bounds else inner)
        return
    if typing.get_origin(annotation) is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in typing.get_args(annotation)):
            choices = ", ".join(map(repr, typing.get_args(annotation)))
            raise UsageError(f"{name} {short(value)} is unknown: give one of {choices}")
        return
    if not _fits(value, whole):
        raise UsageError(f"{name} {short(value)} has the wrong type: give {described(annotation)}")
    if typing.get_origin(annotation) is tuple:
        _check_elements(name, value, typing.get_args(annotation)[0], bounds)
    elif typing.get_origin(annotation) is dict:
        for key, element in value.items():
            check(f"{name}.{key}", element, typing.get_args(annotation)[1])
    else:
        for refusal in filter(None, (_refusal(bound, value) for bound in bounds)):
            raise UsageError(f"{name} {short(value)} is not possible: {refusal}")


def described(annotation: Any) -> str:
    """The values that a field takes, in words."""
    annotation, *_ = unwrapped(annotation)
    inner = option(annotation)
    if inner is not None:
        return f"{described(inner)} or none"
    origin = typing.get_origin(annotation)
    if origin is tuple:
        element = unwrapped(typing.get_args(annotation)[0])[0]
        return "integers such as 256,128,64" if element is int else f"a list, each {described(element)}"
    if origin is dict:
        return 'a JSON object such as {"max_episode_steps": 200}'
    if dataclasses.is_dataclass(annotation):
        return "an object of fields"
    return {int: "an integer", float: "a finite number", bool: "true or false", str: "a text"}[annotation]


def unwrapped(annotation: Any) -> list[Any]:
    """The type of an annotation, then its bounds."""
    if typing.get_origin(annotation) is typing.Annotated:
        return [annotation.__origin__, *(bound for bound in annotation.__metadata__ if isinstance(bound, Bound))]
    return [annotation]


def option(annotation: Any) -> Any:
    """``T`` of ``T | None``, None for any other annotation."""
    if typing.get_origin(annotation) not in (types.UnionType, typing.Union):
        return None
    (inner,) = (option for option in typing.get_args(annotation) if option is not type(None))
    return inner


def _fits(value: Any, annotation: Any) -> bool:
    kind, origin = unwrapped(annotation)[0], typing.get_origin(unwrapped(annotation)[0])
    if kind is Any:
        return True
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(element, typing.get_args(kind)[0]) for element in value)
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(name, str) for name in value)
    if kind is float:
        infinite = INFINITE in getattr(annotation, "__metadata__", ())
        return type(value) is int or (type(value) is float and (math.isfinite(value) or (infinite and value == value)))
    return type(value) is kind


def _check_elements(name: str, value: tuple[Any, ...], annotation: Any, bounds: list[Bound]) -> None:
    for refusal in filter(None, (_refusal(bound, len(value)) for bound in bounds)):
        raise UsageError(f"{name} {short(value)} is not possible: it has {len(value)} elements; {refusal}")
    for element in value:
        for refusal in filter(None, (_refusal(bound, element) for bound in unwrapped(annotation)[1:])):
            raise UsageError(f"{name} {short(value)} is not possible: for each, {refusal}")


def _refusal(bound: Bound, number: float) -> str | None:
    """Which number to give in place of `number`, None if `number` is within the bound."""
    if bound.accepts(number):
        return None
    if number > bound.high:
        return f"give a number from {bound.low:g} to {bound.high:g}"
    return f"give a number above {bound.low:g}" if bound.above else f"give {bound.low:g} or more"
