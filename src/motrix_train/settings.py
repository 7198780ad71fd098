"""Changes of a configuration by the user: values, texts such as ``--set rollouts=32``, or a TOML file."""

import typing
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from motrix_gym.fields import annotations_of, in_words, nearest, short
from motrix_train import environment, schema, toml_file
from motrix_train.config import AnyCfg, BaseRLCfg, to_json
from motrix_train.errors import UsageError, within

_FORMS: dict[Any, str] = {
    tuple[int, ...]: "whole numbers such as 256,128,64",
    dict[str, Any]: 'a JSON object such as {"max_episode_steps": 200}',
}


def read_config(path: Path, algorithm: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the TOML file of ``--config``.

    Args:
        path: The file.
        algorithm: Whose fields it has; None for the one that the file names, PPO where it names none.

    Returns:
        Fields of the configuration, which stand at the top of the file, and fields of the task, its table ``env``.

    Raises:
        UsageError: There is no such file, or a field in it is unknown or does not take its value.
        RunError: The file cannot be read.
    """
    table = toml_file.read(path, "configuration", "write one with `motrix-train show ENV --toml > my.toml`")
    with within(str(path)):
        table |= {"algorithm": algorithm} if algorithm else {}
        cls = BaseRLCfg.class_of(table)
        _require_known(cls, table, also=("env",))
        env_fields = table.pop("env", {})
        if not isinstance(env_fields, dict):
            raise UsageError(f"env is {short(env_fields)}; it takes a table of fields of the task")
        environment.require_task_fields(env_fields)
        return parsed(cls, table), env_fields


def to_toml(cfg: BaseRLCfg, env_fields: Mapping[str, Any]) -> str:
    """The file that `read_config` reads as the same configuration and fields of the task.

    Raises:
        UsageError: TOML has no such value, as a null.
    """
    values = {name: "none" if value is None else value for name, value in to_json(cfg).items()}
    return toml_file.write(values | ({"env": env_fields} if env_fields else {}))


def changed(cfg: AnyCfg, settings: Mapping[str, Any]) -> AnyCfg:
    """Replaces fields by values, or by texts as in ``--set rollouts=32``.

    Raises:
        UsageError: There is no such field, it does not take the value, or it does not go with another one.
    """
    return replace(cfg, **parsed(type(cfg), settings))


def parsed(cls: type[BaseRLCfg], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The values of fields, each checked alone.

    Args:
        cls: The configuration that has the fields.
        settings: Field name to value, or to text: layer sizes ``256,128``, whole numbers also ``8e6``, and ``none``
            where there may be no value. Lists are layer sizes too, and whole floats whole numbers.

    Raises:
        UsageError: There is no such field, or it does not take the value.
    """
    _require_known(cls, settings)
    types = typing.get_type_hints(cls)
    return schema.check_known(cls, {name: _parse(name, value, types[name]) for name, value in settings.items()})


def _require_known(cls: type[BaseRLCfg], names: Iterable[str], also: Iterable[str] = ()) -> None:
    known = [*annotations_of(cls), *also]
    for name in names:
        if name not in known:
            raise UsageError(f"unknown setting {short(name)}{nearest(name, known)}")


def _parse(name: str, value: Any, expected: Any) -> Any:
    """The value that a text means for a field of this type; any other value as it is, whole floats as integers."""
    options = typing.get_args(expected)
    [kind] = (option for option in options if option is not type(None)) if type(None) in options else [expected]
    if isinstance(value, float) and value.is_integer() and kind is int:
        return int(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if kind is not expected and text.lower() == "none":
        return None
    if typing.get_origin(kind) is Literal:
        return text
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if kind == tuple[int, ...]:
            return tuple(_integer(width) for width in text.strip("()[]").split(",") if width.strip())
        if kind == dict[str, Any]:
            return schema.parse_json(text.encode())
        return float(text) if kind is float else _integer(text)
    except (ValueError, KeyError, UsageError):
        form = _FORMS.get(expected) or in_words(expected)
        raise UsageError(f"{name}={text[:80]} cannot be read: give {form}") from None


def _integer(text: str) -> int:
    """An integer, also when written as 8e6."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)
