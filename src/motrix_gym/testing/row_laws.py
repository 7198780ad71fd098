"""The laws about what one row may know of the others, and of how and when it was run before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import iterate

from motrix_gym.testing.compare import differences, expect_equal, expect_same_runs
from motrix_gym.testing.runs import Subject, by_row, copied
from motrix_gym.testing.violation import LawViolation, NotOffered


def determinism(s: Subject) -> None:
    expect_same_runs("determinism", s.reference, list(s.play(s.env, s.seed, s.actions)))
    afterwards = []
    for _ in range(2):
        s.env.reset(seed=s.seed)
        observation, _ = s.env.reset()
        afterwards.append(copied(observation))
    for row in range(s.num_rows):
        what = "observation of a second reset, without a seed"
        expect_equal("determinism", row, what, *(x[row] for x in afterwards))


def seeds(s: Subject) -> None:
    seeds = [s.seed + row for row in range(s.num_rows)]
    _offers_sequences(s)
    expect_same_runs("seeds", s.reference, list(s.play(s.env, seeds, s.actions)))


def ownership(s: Subject) -> None:
    kept = list(s.play(s.env, s.seed, s.actions))
    for t, result in enumerate(kept):
        for row, (then, now) in enumerate(zip(result.rows, by_row(result.raw, s.num_rows), strict=True)):
            for name, value in then.items():
                expect_equal("ownership", row, f"{name} of step {t}, looked at again at the end", value, now[name])
    for t, (given, result) in enumerate(zip(s.actions, kept[1:], strict=True), start=1):
        for row, left in enumerate(iterate(s.env.action_space, result.raw["action"])):
            expect_equal("ownership", row, f"action handed in at step {t}", given[row], left)
    scribbled = []
    for result in s.play(s.env, s.seed, s.actions):
        scribbled.append(result)
        _scribble(result.raw)
    expect_same_runs("ownership", kept, scribbled, "when the caller writes into every array it got or gave")


def independence(s: Subject) -> None:
    s.need_rows()
    even = np.arange(0, s.num_rows, 2)
    others = s.sampled_actions(s.seed + s.num_rows)
    actions = [
        [mine[row] if row in even else theirs[row] for row in range(s.num_rows)]
        for mine, theirs in zip(s.actions, others, strict=True)
    ]
    changed = list(s.play(s.env, s.seed, actions))
    expect_same_runs("independence", s.reference, changed, "when the odd rows act otherwise", rows=even)


def position(s: Subject) -> None:
    s.need_rows()
    _offers_sequences(s)
    order = np.arange(s.num_rows)[::-1]
    actions = [[action[row] for row in order] for action in s.actions]
    turned = list(s.play(s.env, [s.seed + int(row) for row in order], actions))
    expect_same_runs("position", s.reference, turned, "when the rows stand in reverse order", found_rows=order)


def number(s: Subject) -> None:
    if s.make is None:
        raise NotOffered("it needs a function that makes environments, in place of an environment")
    for num_rows in sorted({1, s.num_rows // 2, s.num_rows - 1} - {0, s.num_rows}):
        fewer = s.make(num_rows)
        run = list(s.play(fewer, s.seed, [action[:num_rows] for action in s.actions]))
        fewer.close()
        expect_same_runs("number", s.reference, run, f"with {num_rows} rows", rows=np.arange(num_rows))


def reset_mask(s: Subject) -> None:
    s.need_rows()
    mask = np.arange(s.num_rows) % 2 == 1
    inside, outside = np.flatnonzero(mask), np.flatnonzero(~mask)
    pause = s.steps // 2
    from_the_start = [
        [s.actions[t - pause if t >= pause and mask[row] else t][row] for row in range(s.num_rows)]
        for t in range(s.steps)
    ]
    for seed, actions in ((None, s.actions), (s.seed, from_the_start)):
        results, first = [], np.empty(0)
        for t, result in enumerate(s.play(s.env, s.seed, actions)):
            results.append(result)
            if t == pause:
                first = copied(s.env.reset(seed=seed, options={"reset_mask": mask.copy()})[0])
        for row in outside:
            what = "observation that the reset returned for a row outside the mask"
            expect_equal("reset_mask", row, what, results[pause].latest[row], first[row])
        expect_same_runs("reset_mask", s.reference, results, "outside the mask", rows=outside)
        if seed is None:
            if not any(differences(s.reference[pause + 1 :], results[pause + 1 :], rows=inside)):
                raise LawViolation("reset_mask", inside, "the rows of the mask went on as if there had been no reset")
        else:
            for row in inside:
                begin = s.reference[0].rows[row]["observation"]
                expect_equal("reset_mask", row, "first observation after a seeded reset", begin, first[row])
            replay = results[pause + 1 :]
            expected = s.reference[1 : 1 + len(replay)]
            expect_same_runs("reset_mask", expected, replay, "in the mask, seeded anew", rows=inside)


def _scribble(value: Any) -> None:
    """Overwrites every array within `value`."""
    if isinstance(value, Mapping):
        for x in value.values():
            _scribble(x)
    elif isinstance(value, np.ndarray) and value.flags.writeable:
        if value.dtype == object:
            for x in value:
                _scribble(x)
        else:
            value[...] = ~value if value.dtype == bool else 77


def _offers_sequences(s: Subject) -> None:
    try:
        s.env.reset(seed=[s.seed + row for row in range(s.num_rows)])  # type: ignore[arg-type]
    except (TypeError, ValueError, gym.error.Error) as error:
        raise NotOffered(f"reset takes no sequence of seeds ({error})") from None
