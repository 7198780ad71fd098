"""Changes of a `PPOCfg` by the user: values, or texts of the command line such as ``--set rollouts=32``."""

import typing
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from motrix_gym.fields import in_words, nearest
from motrix_train import schema
from motrix_train.config import PPOCfg
from motrix_train.errors import UsageError

_FORMS: dict[Any, str] = {
    tuple[int, ...]: "whole numbers such as 256,128,64",
    dict[str, Any]: 'a JSON object such as {"max_episode_steps": 200}',
}


def override(cfg: PPOCfg, assignments: Mapping[str, str]) -> PPOCfg:
    """Replace fields by values written as text, as in ``--set rollouts=32``.

    Args:
        cfg: What to start from.
        assignments: Field name to value; layer sizes are written ``256,128``.
    """
    return changed(cfg, assignments)


def changed(cfg: PPOCfg, settings: Mapping[str, Any]) -> PPOCfg:
    """Replace fields by values, or by texts as `override` reads them.

    Raises:
        UsageError: There is no such field, or it does not take the value.
    """
    changes, types = {}, typing.get_type_hints(PPOCfg)
    for name, value in settings.items():
        if name not in types:
            raise UsageError(f"unknown setting {name!r}{nearest(name, types)}")
        value = tuple(value) if isinstance(value, list) else value
        changes[name] = _parse(name, value, types[name]) if isinstance(value, str) else value
    return replace(cfg, **changes)


def _parse(name: str, text: str, expected: Any) -> Any:
    """The value that `text` means for a field of this type."""
    text = text.strip()
    if typing.get_origin(expected) is Literal:
        return text
    try:
        if expected is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if expected == int | None and text.lower() == "none":
            return None
        if expected == tuple[int, ...]:
            return tuple(_integer(width) for width in text.strip("()[]").split(",") if width.strip())
        if expected == dict[str, Any]:
            return schema.parse_json(text.encode())
        return float(text) if expected is float else _integer(text)
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
