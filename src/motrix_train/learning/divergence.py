"""What is not finite in a training, and whose fault it is: the environment's, or that of what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from motrix_train.errors import RunError
from motrix_train.infos import columns
from motrix_train.storage.array_tree import leaves

ENVS_NAMED = 5


def is_finite(values: np.ndarray) -> bool:
    """Whether all numbers are finite in the float32 that networks compute in."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(np.float32, copy=False)).all())


def require_finite(
    what: str, values: np.ndarray, when: str, envs: np.ndarray | None = None, infos: Mapping[str, Any] | None = None
) -> None:
    """Refuses what an environment gave where it is not finite.

    Args:
        what: Its name, as "observation".
        values: (n, ...), one for each environment.
        when: In which step, for the message.
        envs: (n,) int, the environments of the values; by default all.
        infos: Of the step, to be searched for the reward term.

    Raises:
        RunError: Names the value, the environments and the step.
    """
    if is_finite(values):
        return
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(values.astype(np.float32, copy=False).reshape(len(values), -1))  # (n, k)
    first, element = np.argwhere(bad)[0]
    places = np.flatnonzero(bad.any(axis=1))
    where = f"{values.reshape(len(values), -1)[first, element]} in {_named(places if envs is None else envs[places])}"
    if values.ndim > 1:
        where += f", element {element}"
    if terms := _reward_terms(infos or {}, places):
        where += f", from the reward term {' and '.join(map(repr, terms))}"
    raise RunError(
        f"the environment gave {_article(what)} {what} that is not finite {when}: {where}; mend the environment, or "
        "have it end an episode before it comes to this"
    )


def first_not_finite(state: Mapping[str, Any]) -> str | None:
    """The name of the first array of nested dicts that is not finite, as ``value/output/bias``."""
    floats = ((name, np.asarray(array)) for name, array in leaves(state))
    return next((name for name, x in floats if x.dtype.kind == "f" and not np.isfinite(x).all()), None)


def _named(envs: np.ndarray) -> str:
    named = ", ".join(map(str, envs[:ENVS_NAMED]))
    more = f" and {len(envs) - ENVS_NAMED} more" if len(envs) > ENVS_NAMED else ""
    return f"environment{'s' if len(envs) > 1 else ''} {named}{more}"


def _reward_terms(infos: Mapping[str, Any], places: np.ndarray) -> list[str]:
    return [name for name, values, _ in columns(infos, "reward_terms") if not is_finite(values[places])]


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"
