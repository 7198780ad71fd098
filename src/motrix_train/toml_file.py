"""TOML files of the user: read within bounds, and written for the user to change."""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from motrix_gym.fields import short
from motrix_train import schema
from motrix_train.errors import RunError, UsageError, within

MAX_BYTES = 2**16


def read(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """Reads a TOML file.

    Args:
        path: The file.
        kind: What it should be, for the message.
        remedy: What to do if there is no file.

    Raises:
        UsageError: There is no such file, it is no TOML, or it is too long or nested too deep.
        RunError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a ValueError where the name has a NUL
        raise UsageError(f"there is no {kind} {path}: {remedy}") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a directory: {remedy}") from None
    except OSError as refusal:
        raise RunError(f"cannot read {path}: {refusal.strerror or refusal}") from refusal
    with within(str(path)):
        if len(data) > MAX_BYTES:
            raise UsageError(f"it is too long: give a file of at most {MAX_BYTES:,} bytes")
        try:
            table = tomllib.loads(data.decode("utf-8"))
        except UnicodeDecodeError as damage:
            raise UsageError("it is no TOML: it is not written in UTF-8") from damage
        except RecursionError as mistake:
            raise UsageError(f"it is nested deeper than {schema.MAX_DEPTH} brackets") from mistake
        except ValueError as mistake:  # of TOML, or of a number of thousands of digits
            raise UsageError(f"it is no TOML: {mistake}") from mistake
        schema.require_plain(table)
        _refuse_times(table.items())
        return table


def write(table: Mapping[str, Any]) -> str:
    """The TOML that `read` reads as the same values, tuples as lists; tables stand last, each under its heading.

    Raises:
        UsageError: TOML has no such value, as None.
    """
    lines = _lines({name: value for name, value in table.items() if not isinstance(value, Mapping)})
    for name, inner in table.items():
        if isinstance(inner, Mapping):
            lines += ["", f"[{_key(name)}]", *_lines(inner, f"{name}.")]
    return "\n".join(lines) + "\n"


def _lines(table: Mapping[str, Any], place: str = "") -> list[str]:
    return [f"{_key(name)} = {_value(f'{place}{name}', value)}" for name, value in table.items()]


def _value(place: str, value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str() if not re.search("[\ud800-\udfff]", value):
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(_value(place, element) for element in value)}]"
        case Mapping():
            return f"{{{', '.join(_lines(value, f'{place}.'))}}}"
    raise UsageError(f"{place} is {short(value)}, which TOML cannot say: leave it out, and give it with --set or --env")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")


def _refuse_times(items: Iterable[tuple[str, Any]]) -> None:
    """Refuses dates and times, which TOML has and a run's record, which is JSON, does not."""
    for name, value in items:
        if isinstance(value, (datetime.date, datetime.time)):
            raise UsageError(f"{name} is {value}; it takes numbers, texts, lists and tables")
        if isinstance(value, dict):
            _refuse_times((f"{name}.{key}", inner) for key, inner in value.items())
        elif isinstance(value, list):
            _refuse_times((name, element) for element in value)
