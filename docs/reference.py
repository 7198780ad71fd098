"""The page of the public names of both packages."""

from __future__ import annotations

import functools
import inspect
import re
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any

from wording import lines

import motrix_gym
import motrix_train


def api_page() -> str:
    """Every public name of both packages: its signature and its docstring."""
    names = {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in (motrix_gym, motrix_train)
        for name in package.__all__
    }
    return lines(
        "# The public names",
        "",
        _markdown(motrix_gym),
        "",
        "| name | what it is |",
        "|---|---|",
        *(
            f"| [`{name}`](#{name.replace('.', '').lower()}) | {_markdown(x).splitlines()[0]} |"
            for name, x in names.items()
        ),
        *(line for name, x in names.items() for line in ("", f"## {name}", "", *_reference(name.partition(".")[2], x))),
    )


def _reference(name: str, thing: Any) -> list[str]:
    """A public name: its signature, its docstring, and the same of what is in it."""
    inner = _members(thing) if isinstance(thing, (type, ModuleType)) else {}
    own = [*_signature(name, thing), _markdown(thing)]
    return own + [
        line for n, x in inner.items() for line in ("", f"### {name}.{n}", "", *_signature(n, x), _markdown(x))
    ]


def _members(owner: type | ModuleType) -> dict[str, Any]:
    """What is public in a module, or in a class and its bases in these packages, those of a base first."""
    if isinstance(owner, ModuleType):
        here = {name: x for name, x in vars(owner).items() if getattr(x, "__module__", "") == owner.__name__}
        return {name: here[name] for name in getattr(owner, "__all__", here) if name in here and name[0] != "_"}
    bases = [base for base in reversed(owner.__mro__) if base.__module__.startswith("motrix_")]
    static = {name: inspect.getattr_static(owner, name) for base in bases for name in vars(base) if name[0] != "_"}
    documented = (property, functools.cached_property, staticmethod, FunctionType)
    return {name: getattr(x, "__func__", x) for name, x in static.items() if isinstance(x, documented)}


def _signature(name: str, thing: Any) -> list[str]:
    if not callable(thing):
        return []
    signature = inspect.signature(thing)
    parameters = [
        p.replace(annotation=_unquoted(p.annotation), default=_short(p.default))
        for p in signature.parameters.values()
        if p.name != "self"
    ]
    result = signature.empty if isinstance(thing, type) else _unquoted(signature.return_annotation)
    return ["```python", f"{name}{signature.replace(parameters=parameters, return_annotation=result)}", "```", ""]


def _unquoted(annotation: Any) -> Any:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


def _short(x: Any) -> Any:
    """A default as the code has it, where that is short."""
    if isinstance(x, Enum):
        return _Bare(str(x))
    if x is ... or "<factory>" in repr(x) or len(repr(x)) > 100:
        return _Bare("...")
    return x


class _Bare(str):
    """A text that is its own `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _markdown(thing: Any) -> str:
    """A docstring, its indented sections as lists and its examples as code."""
    text = (inspect.getdoc(thing) or "").replace("``", "`")
    text = re.sub(r"^>>> .*(?:\n.+)*", r"```python\n\g<0>\n```", text, flags=re.MULTILINE)
    return re.sub(r"^([A-Z]\w+):\n((?:\n? {4}.*\n?)+)", _list, text, flags=re.MULTILINE).rstrip()


def _list(section: re.Match[str]) -> str:
    heading, block = section[1], inspect.cleandoc(f"\n{section[2]}")
    if heading == "Returns":
        return f"{heading}: {' '.join(block.split())}\n"
    entries = re.split(r"\n(?=\S)", block)
    items = [re.sub(r"^([*\w.]+):", r"`\1`:", " ".join(entry.split())) for entry in entries]
    return "\n".join([f"{heading}:", "", *(f"- {item}" for item in items), ""])
