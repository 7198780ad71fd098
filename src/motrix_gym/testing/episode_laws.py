"""The laws about values, ends of episodes, saved states and actions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from motrix_gym.testing.compare import expect_array, expect_equal, expect_same_runs
from motrix_gym.testing.runs import Result, Subject, group
from motrix_gym.testing.violation import LawViolation, NotOffered


def spaces(s: Subject) -> None:
    law, n = "spaces", s.num_envs
    space, single = s.env.observation_space, s.env.single_observation_space
    if space != batch_space(single, n):
        raise LawViolation(law, [], f"observation_space {space} is not {n} times single_observation_space {single}")
    if s.env.action_space != batch_space(s.env.single_action_space, n):
        what = f"action_space {s.env.action_space} is not {n} times {s.env.single_action_space}"
        raise LawViolation(law, [], what)
    for t, result in enumerate(s.reference):
        for name in ("observation", "next_observation"):
            if name in result.raw:
                expect_array(law, f"{name} at step {t}", result.raw[name], space.shape, space.dtype)
        for i, outcome in enumerate(result.envs):
            for name in outcome.keys() & {"observation", "next_observation", "info.final_obs"}:
                expect_array(law, f"{name} at step {t}", outcome[name], single.shape, single.dtype, i)
                if outcome[name] not in single:
                    raise LawViolation(law, [i], f"{name} at step {t} is {outcome[name]}, outside {single}")
        if t == 0:
            continue
        expect_array(law, f"reward at step {t}", result.raw["reward"], (n,), None)
        if not np.issubdtype(result.raw["reward"].dtype, np.floating):
            raise LawViolation(law, [], f"reward at step {t} has dtype {result.raw['reward'].dtype}, not a float")
        for name in ("terminated", "truncated"):
            expect_array(law, f"{name} at step {t}", result.raw[name], (n,), np.dtype(bool))


def endings(s: Subject) -> None:
    for t, result in enumerate(s.reference[1:], start=1):
        both = np.flatnonzero(result.raw["terminated"] & result.raw["truncated"])
        if both.size:
            raise LawViolation("endings", both, f"both are true at step {t}")
    s.need_ends()


def autoreset(s: Subject) -> None:
    if not isinstance(s.mode, AutoresetMode):
        what = f'metadata["autoreset_mode"] is {s.mode!r}, not a gymnasium.vector.AutoresetMode'
        raise LawViolation("autoreset", [], what)
    s.need_ends()
    {
        AutoresetMode.SAME_STEP: _autoreset_same_step,
        AutoresetMode.NEXT_STEP: _autoreset_next_step,
        AutoresetMode.DISABLED: _autoreset_disabled,
    }[s.mode](s)


def _autoreset_same_step(s: Subject) -> None:
    distinct = False
    for t, result in enumerate(s.reference[1:], start=1):
        info = result.raw["info"]
        for name in ("final_obs", "final_info"):
            mask = info.get(f"_{name}", np.zeros(s.num_envs, dtype=bool))
            wrong = np.flatnonzero(np.asarray(mask) != result.ended)
            if wrong.size:
                ended, marked = np.flatnonzero(result.ended), np.flatnonzero(mask)
                what = f"step {t} ended environments {ended}; the mask _{name} has {marked}"
                raise LawViolation("autoreset", wrong, what)
        for i in np.flatnonzero(result.ended):
            distinct |= not np.array_equal(result.envs[i]["info.final_obs"], result.envs[i]["observation"])
    if not distinct:
        envs = np.flatnonzero(np.any([result.ended for result in s.reference], axis=0))
        raise LawViolation("autoreset", envs, "final_obs is always the observation that is returned")


def _autoreset_next_step(s: Subject) -> None:
    others = s.sampled_actions(s.seed + s.num_envs)
    actions = [list(action) for action in s.actions]
    for t, result in enumerate(s.reference[1:], start=1):
        if "final_obs" in result.raw["info"]:
            raise LawViolation("autoreset", [], f"there is a final_obs at step {t}; next-step autoreset has none")
        waiting = np.flatnonzero(s.reference[t - 1].ended)
        for i in waiting:
            outcome = result.envs[i]
            if outcome["reward"] != 0 or result.ended[i]:
                got = ", ".join(f"{name} {outcome[name]}" for name in ("reward", "terminated", "truncated"))
                raise LawViolation(
                    "autoreset", [i], f"the step {t} that resets an environment has {got}; not 0, False, False"
                )
            actions[t - 1][i] = others[t - 1][i]
    changed = list(s.play(s.env, s.seed, actions))
    expect_same_runs("autoreset", s.reference, changed, "with another action in the step that resets an environment")


def _autoreset_disabled(s: Subject) -> None:
    s.env.reset(seed=s.seed)
    for action in s.actions:
        _, _, terminated, truncated, _ = s.env.step(s.batched(action))
        ended = np.flatnonzero(terminated | truncated)
        if ended.size:
            if not _raises(lambda action=action: s.env.step(s.batched(action))):
                raise LawViolation("autoreset", ended, "environments that had ended were stepped on without an error")
            return


def reward_terms(s: Subject) -> None:
    seen = False
    for t, result in enumerate(s.reference[1:], start=1):
        for i, outcome in enumerate(result.envs):
            terms = group(outcome, "reward_terms")
            if terms:
                seen = True
                total, reward = sum(terms.values()), outcome["reward"]
                tolerance = 1e-9 if outcome["reward"].dtype == np.float64 else 1e-5
                if not np.isclose(total, reward, rtol=tolerance, atol=tolerance):
                    what = f"the terms at step {t} sum up to {total}, the reward is {reward}: {terms}"
                    raise LawViolation("reward_terms", [i], what)
    if not seen:
        raise NotOffered('there is no "reward_terms" in the info')


def termination(s: Subject) -> None:
    if not any(group(outcome, "termination") for result in s.reference for outcome in result.envs):
        raise NotOffered('there is no "termination" in the info')
    for t, result in enumerate(s.reference[1:], start=1):
        for i, outcome in enumerate(result.envs):
            reasons = [name for name, holds in group(outcome, "termination").items() if holds]
            if bool(reasons) != bool(outcome["terminated"]):
                what = f"at step {t} terminated is {outcome['terminated']} and the reasons that hold are {reasons}"
                raise LawViolation("termination", [i], what)
    if not any(result.raw["terminated"].any() for result in s.reference[1:]):
        raise NotOffered(f"no episode terminated in {s.steps} steps")


def state(s: Subject) -> None:
    if not (hasattr(s.env, "get_state") and hasattr(s.env, "set_state")):
        raise NotOffered("there is no get_state and set_state")
    pause = s.steps // 2
    saved: Any = None
    run: list[Result] = []
    for t, result in enumerate(s.play(s.env, s.seed, s.actions)):
        run.append(result)
        if t == pause:
            saved = s.env.get_state()  # type: ignore[attr-defined]
    expect_same_runs("state", s.reference, run, "when the state is saved in the middle")
    fresh = [] if s.make is None else [s.make(s.num_envs)]
    for env in (s.env, *fresh):
        try:
            observation = env.set_state(copy.deepcopy(saved))  # type: ignore[attr-defined]
        except ValueError as refusal:
            raise LawViolation("state", [], f"what get_state gave is refused: {refusal}") from refusal
        if isinstance(observation, np.ndarray):
            for i, expected in enumerate(run[pause].latest):
                expect_equal("state", i, "observation that set_state returned", expected, observation[i])
        continued = list(s.go_on(env, s.actions[pause:]))
        which = "in the same environment" if env is s.env else "in a fresh environment"
        expect_same_runs("state", run[pause + 1 :], continued, f"when continued {which}")
    for env in fresh:
        env.close()


def single(s: Subject) -> None:
    if s.single is None:
        raise NotOffered("it needs `single`, a function that makes the single environment")
    for i in range(s.num_envs):
        env = s.single()
        observation, _ = env.reset(seed=s.seed + i)
        expect_equal("single", i, "first observation", observation, s.reference[0].envs[i]["observation"])
        waiting = False
        for t, (action, result) in enumerate(zip(s.actions, s.reference[1:], strict=True), start=1):
            outcome = result.envs[i]
            if waiting:
                expected: dict[str, Any] = {"observation": env.reset()[0]}
            else:
                observation, reward, terminated, truncated, _ = env.step(action[i])
                # Gymnasium's TimeLimit also truncates the step that terminates; the vector environment does not.
                truncated = truncated and not terminated
                expected = {"reward": reward, "terminated": terminated, "truncated": truncated}
                last = "info.final_obs" if result.ended[i] and s.mode is AutoresetMode.SAME_STEP else "observation"
                expected[last] = observation
                if result.ended[i] and s.mode is not AutoresetMode.NEXT_STEP:
                    begin = "observation" if s.mode is AutoresetMode.SAME_STEP else "next_observation"
                    expected[begin] = env.reset()[0]
            waiting = bool(result.ended[i]) and s.mode is AutoresetMode.NEXT_STEP
            for name, value in expected.items():
                expect_equal("single", i, f"{name} at step {t}", value, outcome[name])
        env.close()


def bad_actions(s: Subject) -> None:
    space = s.env.single_action_space
    good = s.batched(s.actions[0])
    bad = {"one action too many": np.concatenate([good, good[:1]])}
    if isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        bad["an action that is NaN"] = np.where(np.arange(good.size).reshape(good.shape) == good.size - 1, np.nan, good)
    if isinstance(space, gym.spaces.Discrete):
        bad[f"the choice {space.start + space.n}"] = np.full_like(good, space.start + space.n)
    for what, actions in bad.items():
        s.env.reset(seed=s.seed)
        if not _raises(lambda actions=actions: s.env.step(actions)):
            raise LawViolation("bad_actions", [], f"{what} was accepted")


def _raises(function: Callable[[], Any]) -> bool:
    try:
        function()
    except Exception:
        return True
    return False
