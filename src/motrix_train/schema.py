"""Dataclasses from JSON, each field checked against its annotation.

Configurations, plans and every file of a run are dataclasses whose annotations say which values they take::

    rollouts: Annotated[int, Bound(1, 10**6)]
    device: str | None

Nothing that a file says is believed: depth, numbers, names and types are checked before a value is used. A mistake is a
`UsageError` that names the field, the value and the values that the field takes.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from motrix_gym import fields
from motrix_gym.fields import annotations_of, nearest, short
from motrix_train.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnyRecord = TypeVar("AnyRecord", bound="DataclassInstance")

MAX_DEPTH = 32  # brackets
MAX_DIGITS = 40  # of a whole number


def check(name: str, value: Any, annotation: Any) -> None:
    """Checks a value by an annotation, as `motrix_gym.fields.check`.

    Raises:
        UsageError: The value is of another type or outside of the limits.
    """
    try:
        fields.check(name, value, annotation)
    except (TypeError, ValueError) as mistake:
        raise UsageError(str(mistake)) from mistake


def build(record: type[AnyRecord], values: Any, place: str = "") -> AnyRecord:
    """A dataclass from a JSON object. Lists become tuples, and objects the dataclasses of their fields' annotations.

    A dataclass with a method ``class_of`` says by it which of its subclasses an object is of.

    Args:
        record: The dataclass; fields without a default must be there.
        values: The JSON object.
        place: Its place in the file, as a prefix of field names: ``"config."``.

    Raises:
        UsageError: A field is unknown, missing, of another type or out of bounds.
    """
    record = getattr(record, "class_of", lambda _: record)(values)
    converted = check_known(record, values, place)
    for field in dataclasses.fields(record):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in values:
            raise UsageError(f"{place}{field.name} is missing")
    return record(**converted)


def check_known(record: type[Any], values: Any, place: str = "") -> dict[str, Any]:
    """The values of a JSON object for the fields of a dataclass, checked and converted; some may be missing.

    Raises:
        UsageError: A field is unknown, of another type or out of bounds.
    """
    known = annotations_of(record)
    if not isinstance(values, Mapping):
        raise UsageError(f"{place.rstrip('.') or 'it'} is {short(values)}; it takes an object of fields")
    for name in values:
        if name not in known:
            where = f" in {place.rstrip('.')}" if place else ""
            raise UsageError(f"unknown setting {short(name)}{where}{nearest(name, known)}")
    return {name: _converted(place + name, value, known[name][0]) for name, value in values.items()}


def parse_json(data: bytes) -> Any:
    """JSON of bounded depth, with whole numbers of bounded length.

    Raises:
        UsageError: It is not; the message says why.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_int=_whole_number)
        require_plain(value)
    except UnicodeDecodeError as damage:
        raise UsageError("it is not written in UTF-8") from damage
    except RecursionError as damage:
        raise UsageError(f"it is nested deeper than {MAX_DEPTH} brackets") from damage
    except ValueError as damage:
        raise UsageError(f"it is no JSON: {damage}") from damage
    return value


def require_plain(value: Any, depth: int = 0) -> None:
    """Raises an error if JSON or TOML values are nested too deep or hold a whole number that is too long.

    Raises:
        UsageError: They do.
    """
    if depth > MAX_DEPTH:
        raise UsageError(f"it is nested deeper than {MAX_DEPTH} brackets")
    if isinstance(value, int) and value.bit_length() > 128:
        raise UsageError(f"it holds a whole number of {value.bit_length()} bits: give one of 128 at most")
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    for element in inner:
        require_plain(element, depth + 1)


def _converted(name: str, value: Any, annotation: Any) -> Any:
    """A JSON value converted to the type of its field and checked; a class with ``parse`` is made from a text."""
    inner = _type_of(annotation)
    if isinstance(value, str) and hasattr(inner, "parse"):
        return inner.parse(value)
    if value is not None and dataclasses.is_dataclass(inner):
        return build(typing.cast(Any, inner), value, f"{name}.")
    if isinstance(value, list) and typing.get_origin(inner) is tuple:
        element = typing.get_args(inner)[0]
        value = tuple(_converted(f"{name}[{i}]", x, element) for i, x in enumerate(value))
    check(name, value, annotation)
    return value


def _type_of(annotation: Any) -> Any:
    """``T`` of ``T | None`` and of an ``Annotated`` one."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _type_of(annotation.__origin__)
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        (inner,) = (option for option in typing.get_args(annotation) if option is not type(None))
        return _type_of(inner)
    return annotation


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a whole number has {len(text)} digits, at most {MAX_DIGITS} are read")
    return int(text)
