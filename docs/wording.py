"""What the generated pages are made of: lines, code, and what docstrings say."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
from typing import Any


def lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def docstring(cls: type) -> tuple[str, dict[str, str]]:
    """A docstring's text without its Attributes, and its Attributes by name."""
    text, _, attributes = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
    entries = re.split(r"^ {4}(\w+): ", attributes, flags=re.MULTILINE)[1:]
    meanings = {name: " ".join(meaning.split()) for name, meaning in zip(entries[::2], entries[1::2], strict=True)}
    return text.strip().replace("``", "`"), meanings


def attribute_docstrings(cls: type) -> dict[str, str]:
    """The strings below the fields of a dataclass, those of its bases too."""
    inherited = {
        name: text
        for base in reversed(cls.__bases__)
        if base is not object
        for name, text in attribute_docstrings(base).items()
    }
    body = ast.parse(inspect.getsource(cls)).body[0].body  # type: ignore[attr-defined]
    return inherited | {
        field.target.id: " ".join(text.value.value.split()).replace("``", "`")  # type: ignore[attr-defined]
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def code(value: Any) -> str:
    return f"`{json.dumps(value)}`"
