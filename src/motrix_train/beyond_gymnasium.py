"""What is read of an environment beyond what Gymnasium promises, and the forms in which infos may come.

All of it may be missing: an environment of another package is then trained, evaluated and shown without it. What has
to do with observations and states is asked of the outermost wrapper, which may change the ones and have the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

FINAL = ("final_obs", "final_state")
UNEXPLAINED = "terminated"  # the reason of an episode whose environment gives none


def time_limit(env: VectorEnv) -> int | None:
    """After how many vector steps every episode has ended, None where it need not end.

    It is the environment's own ``max_episode_steps``, else that of its registration, else that of the registration of
    the single environments in it.
    """
    limits = [getattr(env.unwrapped, "max_episode_steps", None), _registered_limit(env.spec)]
    if isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv):
        limits += [_registered_limit(spec) for spec in env.unwrapped.get_attr("spec")[:1]]
    return next((int(limit) for limit in limits if limit is not None and limit > 0), None)


def step_seconds(env: VectorEnv) -> float | None:
    """Length of a step, s: that of the task, else that between two frames; None where neither is known."""
    control_dt = getattr(getattr(env.unwrapped, "task", None), "control_dt", None)
    frame_rate = env.metadata.get("render_fps")
    return control_dt or (1 / frame_rate if frame_rate else None)


def task_names(env: VectorEnv) -> tuple[str, ...]:
    """The names of the tasks that are joined in it."""
    return tuple(getattr(env.unwrapped, "task_names", ()))


def row_tasks(env: VectorEnv, infos: Mapping[str, Any]) -> np.ndarray | None:  # (N,) int
    """Which of the joined tasks each row has, None where there is only one."""
    return infos["task"] if task_names(env) else None


def state_space(env: VectorEnv) -> gymnasium.Space[Any] | None:
    """The space of what a critic may see, None where that is the observation."""
    return getattr(env, "state_space", None)


def saves_state(env: VectorEnv) -> bool:
    """Whether it can save all that it needs to go on exactly, and take it up again."""
    return hasattr(env, "get_state") and hasattr(env, "set_state")


def resets_rows(env: VectorEnv, make: Callable[[int], VectorEnv]) -> bool:
    """Whether ``reset(options={"reset_mask": mask})`` resets the rows of the mask, and no others.

    Gymnasium has no way to say so. Its own vector environments do; of any other, two rows are tried.

    Args:
        env: The environment.
        make: Makes another one with so many rows.
    """
    if isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv):
        return True
    with closing(make(2)) as tried:
        tried.reset(seed=0)
        before = np.array(tried.step(np.zeros_like(tried.action_space.sample()))[0])
        try:
            after, _ = tried.reset(options={"reset_mask": np.array([True, False])})
        except Exception:  # whatever somebody's environment raises at an option that it does not know
            return False
        return np.array_equal(before[1], after[1]) and not np.array_equal(before[0], after[0])


def columns(infos: Mapping[str, Any], group: str) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """The numbers of a group of infos, as of ``metrics``, in the step that was taken.

    Yields the name, the values (N,) and the rows (N,) bool that have it, None for all.
    """
    table, last = _table(infos, group), _table(_table(infos, "final_info"), group)
    for name in dict.fromkeys([*table, *last]):
        if not name.startswith("_") and (found := _column(table, last, name)) is not None:
            yield name, *found


def column(infos: Mapping[str, Any], name: str) -> tuple[np.ndarray, np.ndarray | None] | None:
    """One number of the infos, as ``success``: values and rows as of `columns`, None where it is missing."""
    return _column(infos, _table(infos, "final_info"), name)


def reasons(infos: Mapping[str, Any], terminated: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Why episodes ended: names, and of `terminated`, (N,) bool, the rows (N,) bool whose first reason it is."""
    unexplained = terminated
    for name, values, rows in columns(infos, "termination"):
        applies = unexplained & values.astype(bool) & (True if rows is None else rows)
        unexplained = unexplained & ~applies
        yield name, applies
    if unexplained.any():
        yield UNEXPLAINED, unexplained


def masked(infos: Mapping[str, Any], ended: np.ndarray) -> Mapping[str, Any]:
    """The infos, with the masks of what was last in an episode where they are left out.

    Args:
        infos: Of a step.
        ended: (N,) bool, the rows that ended in it.
    """
    left_out = {f"_{name}": ended for name in FINAL if name in infos and f"_{name}" not in infos}
    return {**infos, **left_out} if left_out else infos


def final(infos: Mapping[str, Any], name: str = "final_obs") -> tuple[np.ndarray, np.ndarray] | None:
    """The rows (n,) int whose episode ended, and what was last in it (n, k); None where none ended.

    Gymnasium has two forms of it: one array (N, k), or an array of objects, (N,), with an array (k,) in each such row.
    """
    if name not in infos:
        return None
    rows = np.flatnonzero(infos[f"_{name}"])
    if not rows.size:
        return None
    values = infos[name][rows]
    return rows, np.stack(values.tolist()) if values.dtype == object else values


def _registered_limit(spec: Any) -> int | None:
    return None if spec is None else spec.kwargs.get("max_episode_steps", spec.max_episode_steps)


def _table(infos: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = infos.get(name)
    return found if isinstance(found, Mapping) else {}


def _column(
    table: Mapping[str, Any], last: Mapping[str, Any], name: str
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Values and rows of a number that stands in the infos of a step, or for rows that ended in those of their end.

    Where the infos are put together from those of single environments, rows that ended have those of their reset in
    the place of those of the step.
    """
    values, rows = table.get(name), table.get(f"_{name}")
    if name in last and (values is None or rows is not None):
        ended = last.get(f"_{name}", True)
        if values is None:
            values, rows = last[name], ended
        else:
            values, rows = np.where(ended, last[name], values), rows | ended
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "biuf":
        return None
    return values, rows
