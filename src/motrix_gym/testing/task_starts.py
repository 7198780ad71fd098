"""The laws about how episodes begin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from motrix_gym.testing.task_report import Finding, error, remark
from motrix_gym.testing.task_run import TaskSubject

DEEPEST = 0.005  # m of a contact in a start state; soft contacts of a robot at rest are less deep
_AT_ONCE = 2  # steps


def starts(s: TaskSubject) -> Iterator[Finding]:
    """No start state has a deep contact; if most of them have, that is an error."""
    deep = s.depths > DEEPEST
    if deep.any():
        found = error if deep.mean() > 0.5 else remark
        what = f"{deep.sum()} of {deep.size} start states have geoms up to {s.depths.max() * 1e3:.3g} mm inside others"
        yield found("reset", what, "begin higher or farther apart, or refuse such a start in is_valid_start")


def first_steps(s: TaskSubject) -> Iterator[Finding]:
    """No episode ends at once with zero actions; if all do, that is an error."""
    run = s.zero
    first = run.elapsed[:_AT_ONCE] == np.arange(1, 1 + len(run.elapsed[:_AT_ONCE]))[:, None]
    for name, x in run.reasons.items():
        ended = (x[:_AT_ONCE] & first).any(axis=0)
        if ended.any():
            found = error if ended.all() else remark
            what = f"{ended.sum()} of {ended.size} episodes end within {_AT_ONCE} steps with zero actions"
            yield found(f"terminated {name!r}", what, "begin farther from where it holds, or correct its condition")
