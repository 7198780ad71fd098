"""The laws that an environment depends on its seed and its actions only, not on the others or on earlier runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import iterate

from motrix_gym.testing.compare import differences, expect_equal, expect_same_runs
from motrix_gym.testing.runs import Subject, by_env, copied
from motrix_gym.testing.violation import LawViolation, NotOffered


def determinism(s: Subject) -> None:
    expect_same_runs("determinism", s.reference, list(s.play(s.env, s.seed, s.actions)))
    afterwards = []
    for _ in range(2):
        s.env.reset(seed=s.seed)
        observation, _ = s.env.reset()
        afterwards.append(copied(observation))
    for i in range(s.num_envs):
        what = "observation of a second reset, without a seed"
        expect_equal("determinism", i, what, *(x[i] for x in afterwards))


def seeds(s: Subject) -> None:
    seeds = [s.seed + i for i in range(s.num_envs)]
    _offers_sequences(s)
    expect_same_runs("seeds", s.reference, list(s.play(s.env, seeds, s.actions)))


def ownership(s: Subject) -> None:
    kept = list(s.play(s.env, s.seed, s.actions))
    for t, result in enumerate(kept):
        for i, (then, now) in enumerate(zip(result.envs, by_env(result.raw, s.num_envs), strict=True)):
            for name, value in then.items():
                expect_equal("ownership", i, f"{name} of step {t}, looked at again at the end", value, now[name])
    for t, (given, result) in enumerate(zip(s.actions, kept[1:], strict=True), start=1):
        for i, left in enumerate(iterate(s.env.action_space, result.raw["action"])):
            expect_equal("ownership", i, f"action handed in at step {t}", given[i], left)
    scribbled = []
    for result in s.play(s.env, s.seed, s.actions):
        scribbled.append(result)
        _scribble(result.raw)
    expect_same_runs("ownership", kept, scribbled, "when the caller writes into every array it got or gave")


def independence(s: Subject) -> None:
    s.need_envs()
    even = np.arange(0, s.num_envs, 2)
    others = s.sampled_actions(s.seed + s.num_envs)
    actions = [
        [mine[i] if i in even else theirs[i] for i in range(s.num_envs)]
        for mine, theirs in zip(s.actions, others, strict=True)
    ]
    changed = list(s.play(s.env, s.seed, actions))
    expect_same_runs("independence", s.reference, changed, "when the odd ones act otherwise", envs=even)


def position(s: Subject) -> None:
    s.need_envs()
    _offers_sequences(s)
    order = np.arange(s.num_envs)[::-1]
    actions = [[action[i] for i in order] for action in s.actions]
    turned = list(s.play(s.env, [s.seed + int(i) for i in order], actions))
    expect_same_runs("position", s.reference, turned, "when the environments stand in reverse order", found_envs=order)


def number(s: Subject) -> None:
    if s.make is None:
        raise NotOffered("it needs a function that makes environments, in place of an environment")
    for num_envs in sorted({1, s.num_envs // 2, s.num_envs - 1} - {0, s.num_envs}):
        fewer = s.make(num_envs)
        run = list(s.play(fewer, s.seed, [action[:num_envs] for action in s.actions]))
        fewer.close()
        expect_same_runs("number", s.reference, run, f"with {num_envs} environments", envs=np.arange(num_envs))


def reset_mask(s: Subject) -> None:
    s.need_envs()
    mask = np.arange(s.num_envs) % 2 == 1
    inside, outside = np.flatnonzero(mask), np.flatnonzero(~mask)
    pause = s.steps // 2
    from_the_start = [
        [s.actions[t - pause if t >= pause and mask[i] else t][i] for i in range(s.num_envs)] for t in range(s.steps)
    ]
    for seed, actions in ((None, s.actions), (s.seed, from_the_start)):
        results, first = [], np.empty(0)
        for t, result in enumerate(s.play(s.env, s.seed, actions)):
            results.append(result)
            if t == pause:
                first = copied(s.env.reset(seed=seed, options={"reset_mask": mask.copy()})[0])
        for i in outside:
            what = "observation that the reset returned for an environment outside the mask"
            expect_equal("reset_mask", i, what, results[pause].latest[i], first[i])
        expect_same_runs("reset_mask", s.reference, results, "outside the mask", envs=outside)
        if seed is None:
            if not any(differences(s.reference[pause + 1 :], results[pause + 1 :], envs=inside)):
                raise LawViolation("reset_mask", inside, "those of the mask went on as if there had been no reset")
        else:
            for i in inside:
                begin = s.reference[0].envs[i]["observation"]
                expect_equal("reset_mask", i, "first observation after a seeded reset", begin, first[i])
            replay = results[pause + 1 :]
            expected = s.reference[1 : 1 + len(replay)]
            expect_same_runs("reset_mask", expected, replay, "in the mask, seeded anew", envs=inside)


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
        s.env.reset(seed=[s.seed + i for i in range(s.num_envs)])  # type: ignore[arg-type]
    except (TypeError, ValueError, gym.error.Error) as error:
        raise NotOffered(f"reset takes no sequence of seeds ({error})") from None
