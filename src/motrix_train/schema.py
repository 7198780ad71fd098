"""Values from outside, checked against the annotations of a dataclass.

Configurations, plans and every file of a run are dataclasses whose annotations say what they take::

    rollouts: Annotated[int, Bound(1, 10**6)]
    device: str | None

`check` judges one value, `build` makes a dataclass from a JSON object, and `parse_json` reads JSON whose size, depth
and numbers are bounded. A mistake is a `UsageError` that names the field, the value and what the field takes.
"""

import dataclasses
import difflib
import json
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from motrix_train.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnyRecord = TypeVar("AnyRecord", bound="DataclassInstance")

MAX_DEPTH = 32  # of JSON, in brackets
MAX_DIGITS = 40  # of a whole number in JSON
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlong = 40
_SHORT.maxtuple = _SHORT.maxlist = 8


@dataclass(frozen=True)
class Bound:
    """The numbers that a field takes.

    Attributes:
        low: Smallest number.
        high: Greatest number.
        above: Whether `low` itself is excluded.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def refusal(self, number: float) -> str | None:
        """What to give in place of `number`, None where it is good."""
        if number > self.high:
            return f"give a number from {self.low:g} to {self.high:g}"
        if number < self.low or (self.above and number == self.low):
            return f"give a number above {self.low:g}" if self.above else f"give {self.low:g} or more"
        return None


INFINITE = object()
Limit = typing.Annotated[float, INFINITE]
"""A float that may be infinite; a plain ``float`` may not. Neither may be NaN."""


def short(value: Any) -> str:
    """`repr`, cut where it is long."""
    return _SHORT.repr(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a refusal of an unknown name: the known one that is most like it, if one is."""
    close = difflib.get_close_matches(name[:80], list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def annotations(record: type[Any]) -> dict[str, Any]:
    """The fields of a dataclass with their annotations, bounds included."""
    hints = typing.get_type_hints(record, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


def check(name: str, value: Any, annotation: Any) -> None:
    """Refuses a value that a field does not take.

    Args:
        name: Of the field, for the message.
        value: The value.
        annotation: ``bool``, ``int``, ``float``, ``str``, ``Literal``, ``tuple[T, ...]``, ``dict[str, T]``, ``Any``, a
            dataclass, each ``| None``, and ``Annotated`` with a `Bound` for numbers or for the length of a tuple.

    Raises:
        UsageError: The value is of another type or out of bounds.
    """
    whole = annotation
    annotation, *bounds = _unwrapped(annotation)
    if annotation is Any:
        return
    options = _options(annotation)
    if options is not None:
        if value is not None:
            check(name, value, typing.Annotated[options, *bounds] if bounds else options)
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
        for key, inner in value.items():
            check(f"{name}.{key}", inner, typing.get_args(annotation)[1])
    else:
        for refusal in filter(None, (bound.refusal(value) for bound in bounds)):
            raise UsageError(f"{name} {short(value)} is not possible: {refusal}")


def build(record: type[AnyRecord], values: Any, place: str = "") -> AnyRecord:
    """A dataclass from a JSON object. Lists become tuples, and objects the dataclasses of their fields' annotations.

    Args:
        record: The dataclass; fields without a default must be there.
        values: What the JSON says.
        place: Where in the file it stands, as a prefix of field names: ``"config."``.

    Raises:
        UsageError: A field is unknown, missing, of another type or out of bounds.
    """
    converted = check_known(record, values, place)
    for field in dataclasses.fields(record):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in values:
            raise UsageError(f"{place}{field.name} is missing")
    return record(**converted)


def check_known(record: type[Any], values: Any, place: str = "") -> dict[str, Any]:
    """The fields that a JSON object gives for a dataclass, as `build` takes them; some may be missing.

    Raises:
        UsageError: As `build`, but not for what is missing.
    """
    known = annotations(record)
    if not isinstance(values, Mapping):
        raise UsageError(f"{place.rstrip('.') or 'it'} is {short(values)}; it takes an object of fields")
    for name in values:
        if name not in known:
            where = f" in {place.rstrip('.')}" if place else ""
            raise UsageError(f"unknown setting {short(name)}{where}{nearest(name, known)}")
    return {name: _converted(place + name, value, known[name]) for name, value in values.items()}


def parse_json(data: bytes) -> Any:
    """JSON of bounded depth, with whole numbers of bounded length.

    Raises:
        UsageError: It is none; says why.
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
    """Refuses what is nested too deep, or a whole number that is too long, in plain JSON or TOML values.

    Raises:
        UsageError: There is such a value.
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


def described(annotation: Any) -> str:
    """What a field takes, in words."""
    annotation, *_ = _unwrapped(annotation)
    options = _options(annotation)
    if options is not None:
        return f"{described(options)} or none"
    origin = typing.get_origin(annotation)
    if origin is tuple:
        inner = _unwrapped(typing.get_args(annotation)[0])[0]
        return "integers such as 256,128,64" if inner is int else f"a list, each {described(inner)}"
    if origin is dict:
        return 'a JSON object such as {"max_episode_steps": 200}'
    if dataclasses.is_dataclass(annotation):
        return "an object of fields"
    return {int: "an integer", float: "a finite number", bool: "true or false", str: "a text"}[annotation]


def _unwrapped(annotation: Any) -> list[Any]:
    """The type of an annotation, then its bounds."""
    if typing.get_origin(annotation) is typing.Annotated:
        return [annotation.__origin__, *(bound for bound in annotation.__metadata__ if isinstance(bound, Bound))]
    return [annotation]


def _options(annotation: Any) -> Any:
    """``T`` of ``T | None``, None for any other annotation."""
    if typing.get_origin(annotation) not in (types.UnionType, typing.Union):
        return None
    (inner,) = (option for option in typing.get_args(annotation) if option is not type(None))
    return inner


def _fits(value: Any, annotation: Any) -> bool:
    kind, origin = _unwrapped(annotation)[0], typing.get_origin(_unwrapped(annotation)[0])
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
    for refusal in filter(None, (bound.refusal(len(value)) for bound in bounds)):
        raise UsageError(f"{name} {short(value)} is not possible: it has {len(value)} elements; {refusal}")
    for element in value:
        for refusal in filter(None, (bound.refusal(element) for bound in _unwrapped(annotation)[1:])):
            raise UsageError(f"{name} {short(value)} is not possible: for each, {refusal}")


def _converted(name: str, value: Any, annotation: Any) -> Any:
    """A value of JSON as the field has it; a class with ``parse`` is made from a text."""
    inner = _unwrapped(annotation)[0]
    inner = inner if (option := _options(inner)) is None else option
    if isinstance(value, str) and hasattr(inner, "parse"):
        return inner.parse(value)
    if value is not None and dataclasses.is_dataclass(inner):
        return build(typing.cast(Any, inner), value, f"{name}.")
    if isinstance(value, list) and typing.get_origin(inner) is tuple:
        element = typing.get_args(inner)[0]
        value = tuple(_converted(f"{name}[{i}]", x, element) for i, x in enumerate(value))
    check(name, value, annotation)
    return value


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a whole number has {len(text)} digits, at most {MAX_DIGITS} are read")
    return int(text)
