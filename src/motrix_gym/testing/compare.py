"""Comparisons of runs and of values, whose violations name the first difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from motrix_gym.testing.runs import Result
from motrix_gym.testing.violation import LawViolation


def expect_same_runs(
    law: str,
    expected: list[Result],
    found: list[Result],
    circumstance: str = "when run again",
    envs: np.ndarray | None = None,
    found_envs: np.ndarray | None = None,
) -> None:
    first: tuple[int, int, str, Any, Any] | None = None
    differing: list[int] = []
    for t, i, name, mine, other in differences(expected, found, envs, found_envs):
        first = first or (t, i, name, mine, other)
        if t > first[0]:
            break
        differing.append(i)
    if first:
        t, i, name, mine, other = first
        what = f"{circumstance}: {name} of environment {i} at step {t}: {_contrast(mine, other)}"
        raise LawViolation(law, sorted(set(differing)), what)


def expect_equal(law: str, i: int | np.integer, what: str, expected: Any, found: Any) -> None:
    if not equal(expected, found):
        raise LawViolation(law, [i], f"{what}: {_contrast(expected, found)}")


def expect_array(law: str, what: str, value: Any, shape: Any, dtype: Any, i: int | None = None) -> None:
    envs = [] if i is None else [i]
    if not isinstance(value, (np.ndarray, np.generic)) or value.shape != shape:
        described = f"shape {value.shape}" if hasattr(value, "shape") else f"type {type(value).__name__}"
        raise LawViolation(law, envs, f"{what} has {described}; it takes an array of shape {shape}")
    if dtype is not None and value.dtype != dtype:
        raise LawViolation(law, envs, f"{what} has dtype {value.dtype}; it takes {dtype}")
    if np.issubdtype(value.dtype, np.inexact) and not np.isfinite(value).all():
        if i is None:
            envs = np.unique(np.argwhere(~np.isfinite(value))[:, 0])
        raise LawViolation(law, envs, f"{what} is not finite: {value}")


def differences(
    expected: list[Result],
    found: list[Result],
    envs: np.ndarray | None = None,
    found_envs: np.ndarray | None = None,
) -> Iterator[tuple[int, int, str, Any, Any]]:
    """Where two runs differ, in order of time: step, environment, name, expected value, found value.

    Args:
        expected: A run.
        found: Another run; it may be shorter.
        envs: The environments of `expected` that are compared; all by default.
        found_envs: The environment of `found` that each environment of `expected` is compared with; the same by
            default.
    """
    for t, (a, b) in enumerate(zip(expected, found, strict=False)):
        for i in np.arange(len(a.envs)) if envs is None else envs:
            mine, other = a.envs[i], b.envs[i if found_envs is None else found_envs[i]]
            for name in sorted(mine.keys() | other.keys()):
                if name not in mine or name not in other or not equal(mine[name], other[name]):
                    yield t, int(i), name, mine.get(name), other.get(name)


def equal(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return np.array_equal(a, b, equal_nan=bool(np.issubdtype(a.dtype, np.inexact)))


def _contrast(expected: Any, found: Any) -> str:
    """The two values, or the first element in which two arrays differ."""
    if expected is None or found is None:
        return "absent, and should be there" if found is None else "there, and should be absent"
    expected, found = np.asarray(expected), np.asarray(found)
    if expected.shape != found.shape or expected.ndim == 0:
        return f"{found!s}, and should be {expected!s}"
    index = tuple(int(i) for i in np.argwhere(~((expected == found) | ((expected != expected) & (found != found))))[0])
    return f"element {list(index)} is {found[index]!s}, and should be {expected[index]!s}"
