"""A reward term is a method of a task: its decorator has the weight, its docstring the formula."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

AnyMethod = TypeVar("AnyMethod", bound=Callable[..., Any])
PREFIX = "reward_"


def once_per_step(method: AnyMethod) -> AnyMethod:
    """Computes a method of a transition once for all reward terms that read it.

    The result is kept in the transition, and must not be written to.
    """

    @functools.wraps(method)
    def kept(self: Any, t: Any) -> Any:
        results = vars(t).setdefault("_results", {})
        key = (method, id(self))
        if key not in results:
            results[key] = self, method(self, t)  # the task is kept too, so that no other can have its id
        return results[key][1]

    return kept  # type: ignore[return-value]


def reward_term(weight: float) -> Callable[[AnyMethod], AnyMethod]:
    """Makes a method of a task a reward term: ``reward_torques`` is the term ``torques``.

    The method takes a `Transition` and returns the unweighted term, (N,). Its docstring is the formula that the table
    in the docstring of the task shows.

    Args:
        weight: The default weight of the term.
    """

    def decorate(method: AnyMethod) -> AnyMethod:
        term = once_per_step(method)
        term.reward_weight = weight  # type: ignore[attr-defined]
        return term

    return decorate


@functools.cache
def terms_of(cls: type) -> dict[str, Callable[..., Any]]:
    """The reward terms of a task by name, those of its bases first, those of one class in the order of definition."""
    return {name: term for base in reversed(cls.__mro__) for name, term in own_terms(base).items()}


def own_terms(cls: type) -> dict[str, Any]:
    """The reward terms that a class itself defines, by name."""
    return {name.removeprefix(PREFIX): method for name, method in vars(cls).items() if hasattr(method, "reward_weight")}


def with_tables(cls: Any, inherited: Mapping[str, float]) -> str:
    """The docstring of a task with its reward tables.

    The heading ``Reward:`` gets the table of all terms, the heading ``Weights:`` that of the weights which differ from
    the inherited ones. A heading that has a table already keeps it.
    """
    formulas = {name: " ".join((term.__doc__ or "").split()) for name, term in terms_of(cls).items()}
    tables = {
        "Reward": [
            "| term | formula | weight |",
            "|---|---|---|",
            *(f"| {name} | {formula} | {cls.WEIGHTS.get(name)} |" for name, formula in formulas.items()),
        ],
        "Weights": [
            "The weights that differ from those of the table of all terms.",
            "",
            "| term | weight |",
            "|---|---|",
            *(f"| {name} | {weight} |" for name, weight in cls.WEIGHTS.items() if weight != inherited.get(name)),
        ],
    }
    text = inspect.cleandoc(cls.__doc__ or "")
    for heading, lines in tables.items():
        table = f"{heading}:\n\n" + "\n".join(lines) + "\n\n"
        text = re.sub(rf"^{heading}:\n*(?=[^|\n]|\Z)", lambda _, table=table: table, text, flags=re.MULTILINE)
    return text.rstrip()
