"""Reads the infos of a vector environment's step, in each of the forms that Gymnasium's environments return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

FINAL = ("final_obs", "final_state")
UNEXPLAINED = "terminated"  # reason of a termination for which the environment returns none


def columns(infos: Mapping[str, Any], group: str) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """The numbers of a group of infos, such as ``metrics``, of the step that was taken.

    Yields the name, the values (N,) and the environments (N,) bool that have it, None for all.
    """
    table, last = _table(infos, group), _table(_table(infos, "final_info"), group)
    for name in dict.fromkeys([*table, *last]):
        if not name.startswith("_") and (found := _column(table, last, name)) is not None:
            yield name, *found


def column(infos: Mapping[str, Any], name: str) -> tuple[np.ndarray, np.ndarray | None] | None:
    """One number of the infos, such as ``success``: values and mask as in `columns`, None if it is missing."""
    return _column(infos, _table(infos, "final_info"), name)


def reasons(infos: Mapping[str, Any], terminated: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields each reason of termination with the environments (N,) bool of `terminated` for which it is the first."""
    unexplained = terminated
    for name, values, envs in columns(infos, "termination"):
        applies = unexplained & values.astype(bool) & (True if envs is None else envs)
        unexplained = unexplained & ~applies
        yield name, applies
    if unexplained.any():
        yield UNEXPLAINED, unexplained


def with_masks(infos: Mapping[str, Any], ended: np.ndarray) -> Mapping[str, Any]:
    """The infos, with the masks of the last observations and states where the environment leaves them out.

    Args:
        infos: Of a step.
        ended: (N,) bool, the environments whose episode ended in it.
    """
    missing = {f"_{name}": ended for name in FINAL if name in infos and f"_{name}" not in infos}
    return {**infos, **missing} if missing else infos


def final(infos: Mapping[str, Any], name: str = "final_obs") -> tuple[np.ndarray, np.ndarray] | None:
    """The environments (n,) int whose episode ended and their last observations, or states, (n, k); None if none ended.

    Gymnasium has two forms: one array (N, k), or an array of objects (N,), each of these an array (k,).
    """
    if name not in infos:
        return None
    envs = np.flatnonzero(infos[f"_{name}"])
    if not envs.size:
        return None
    values = infos[name][envs]
    return envs, np.stack(values.tolist()) if values.dtype == object else values


def _table(infos: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = infos.get(name)
    return found if isinstance(found, Mapping) else {}


def _column(
    table: Mapping[str, Any], last: Mapping[str, Any], name: str
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Values and mask of a number in the infos of a step, or in the final infos of the environments that ended.

    Where Gymnasium joins the infos of single environments, the infos of environments that ended are those of
    their reset.
    """
    values, envs = table.get(name), table.get(f"_{name}")
    if name in last and (values is None or envs is not None):
        ended = last.get(f"_{name}", True)
        if values is None:
            values, envs = last[name], ended
        else:
            values, envs = np.where(ended, last[name], values), envs | ended
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "biuf":
        return None
    return values, envs
