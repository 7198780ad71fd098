"""Conditions on a line of progress, such as ``mean_return >= 20``: a name, a comparison and a number."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass

from motrix_train.errors import UsageError

_COMPARISONS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
_GRAMMAR = re.compile(r"\s*([^\s<>=]+)\s*(>=|<=|>|<)\s*([^\s<>=]+)\s*")


@dataclass(frozen=True)
class Condition:
    """One comparison.

    Attributes:
        quantity: A column of ``progress.csv``.
        comparison: ``>=``, ``>``, ``<=`` or ``<``.
        number: The finite number that it is compared with.
    """

    quantity: str
    comparison: str
    number: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parses a condition, written as `str` writes it.

        Raises:
            UsageError: The text is not a condition.
        """
        match = _GRAMMAR.fullmatch(text)
        number = _finite(match[3]) if match else None
        if match is None or number is None:
            raise UsageError(f"{text!r} is no condition: write a name, >=, >, <= or <, and a number: mean_return >= 20")
        return cls(match[1], match[2], number)

    def holds(self, line: Mapping[str, float]) -> bool:
        """Whether it holds for a line of progress; False where the quantity is unknown."""
        return _COMPARISONS[self.comparison](line.get(self.quantity, math.nan), self.number)

    def __str__(self) -> str:
        return f"{self.quantity} {self.comparison} {repr(self.number).removesuffix('.0')}"


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
