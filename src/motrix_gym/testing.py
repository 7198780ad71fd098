"""The laws of a vector environment as a checker for anybody's: `check_vector_env`.

Gymnasium checks single environments (``gymnasium.utils.env_checker``) and has nothing for vector environments,
where the mistakes cost most: a terminal observation overwritten by the next episode's first, rows that share random
numbers, a buffer that is written to after it was handed out.

>>> import gymnasium
>>> from motrix_gym.testing import check_vector_env
>>> report = check_vector_env(gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync"))
>>> "autoreset" in report.checked
True
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

_ROWS = 4
_ROWS_OF_INFO = ("reward_terms", "termination", "metrics", "success", "final_obs")
_ARRAY_SPACES = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)

Outcome = dict[str, np.ndarray]  # what one row got in one step, by name


class LawViolation(AssertionError):
    """A vector environment broke a law.

    Attributes:
        law: The law's name, a key of `LAWS`.
        rows: The rows that show it.
    """

    def __init__(self, law: str, rows: Sequence[int | np.integer] | np.ndarray, what: str):
        self.law, self.rows = law, [int(row) for row in rows]
        where = f" [rows {', '.join(map(str, self.rows))}]" if self.rows else ""
        super().__init__(f"{law}: {LAWS[law]}\n{what}{where}")


class _NotOffered(Exception):
    """The environment lacks what a law is about; the message says what."""


@dataclass(frozen=True)
class Report:
    """What `check_vector_env` did.

    Attributes:
        checked: The laws that hold.
        skipped: The laws that were not checked, and why.
    """

    checked: tuple[str, ...]
    skipped: dict[str, str]

    def __str__(self) -> str:
        width = max(map(len, LAWS))
        lines = [f"{law:<{width}}  holds" for law in self.checked]
        return "\n".join(lines + [f"{law:<{width}}  skipped: {why}" for law, why in self.skipped.items()])


def check_vector_env(
    env: VectorEnv | Callable[[int], VectorEnv],
    *,
    single: Callable[[], gym.Env] | None = None,
    seed: int = 0,
    steps: int = 100,
    skip: Collection[str] = (),
) -> Report:
    """Checks a vector environment against the `LAWS`, with random actions.

    Laws about what an environment does not offer (weighted reward terms, reasons of termination, saved states) are
    skipped, and so are those about ends of episodes when none ends: give it short episodes, or more steps.

    Args:
        env: The environment, which is left used but open; or a function from a number of rows to one, which
            lets more laws be checked.
        single: Makes the single environment that every row should equal.
        seed: Row i is seeded with seed + i.
        steps: Steps of a run. About fifteen runs are made.
        skip: Laws to leave out.

    Returns:
        Which laws hold, and which were skipped and why.

    Raises:
        LawViolation: A law does not hold; the message names it, the rows and the values.
        TypeError: Spaces that are not of arrays.
        ValueError: An unknown law in `skip`.
    """
    for law in skip:
        if law not in LAWS:
            raise ValueError(f"skip has {law!r}, which is no law; the laws: {', '.join(LAWS)}")
    make = None if isinstance(env, VectorEnv) else env
    subject = _Subject(env if isinstance(env, VectorEnv) else env(_ROWS), make, single, seed, steps)
    checked: list[str] = []
    skipped: dict[str, str] = {}
    try:
        for law, check in _CHECKS.items():
            if law in skip:
                skipped[law] = "left out by the caller"
                continue
            try:
                check(subject)
            except _NotOffered as missing:
                skipped[law] = str(missing)
            else:
                checked.append(law)
    finally:
        if make is not None:
            subject.env.close()
    return Report(tuple(checked), skipped)


@dataclass(frozen=True)
class _Result:
    """What one call returned.

    Attributes:
        raw: The returned objects themselves, and the array of actions that was handed in.
        rows: Their values at the moment of the return, copied, by row.
        latest: The present observation of every row, after the reset that a disabled autoreset leaves to the caller.
        ended: (N,) bool, rows whose episode ended in this call.
    """

    raw: dict[str, Any]
    rows: list[Outcome]
    latest: np.ndarray
    ended: np.ndarray


class _Subject:
    """The environment under test, how it is made, and one run of it that others are compared with."""

    def __init__(
        self,
        env: VectorEnv,
        make: Callable[[int], VectorEnv] | None,
        single: Callable[[], gym.Env] | None,
        seed: int,
        steps: int,
    ):
        for space in (env.single_observation_space, env.single_action_space):
            if not isinstance(space, _ARRAY_SPACES):
                raise TypeError(f"{space} is not a space of arrays; the checker knows no others")
        self.env, self.make, self.single, self.seed, self.steps = env, make, single, seed, steps
        self.num_rows = env.num_envs
        self.mode = env.metadata.get("autoreset_mode")
        self.actions = self.sampled_actions(seed)
        self._reference: list[_Result] | None = None

    @property
    def reference(self) -> list[_Result]:
        """A run of the environment with its rows seeded seed, seed + 1 ..., taking `actions`."""
        if self._reference is None:
            self._reference = list(self.play(self.env, self.seed, self.actions))
        return self._reference

    def sampled_actions(self, seed: int) -> list[list[Any]]:
        """Random actions by step and row; row i's come from seed + i."""
        spaces = [copy.deepcopy(self.env.single_action_space) for _ in range(self.num_rows)]
        for row, space in enumerate(spaces):
            space.seed(seed + row)
        return [[space.sample() for space in spaces] for _ in range(self.steps)]

    def batched(self, actions: Sequence[Any]) -> Any:
        """One action a row as the environment takes them."""
        space = self.env.single_action_space
        return concatenate(space, list(actions), create_empty_array(space, len(actions)))

    def play(self, env: VectorEnv, seed: Any, actions: list[list[Any]]) -> Iterator[_Result]:
        """Resets, then takes `actions`; one result a call."""
        observation, info = env.reset(seed=seed)
        raw = {"observation": observation, "info": info}
        nothing_ended = np.zeros(env.num_envs, dtype=bool)
        yield _Result(raw, _by_row(raw, env.num_envs), _copied(observation), nothing_ended)
        yield from self.go_on(env, actions)

    def go_on(self, env: VectorEnv, actions: list[list[Any]]) -> Iterator[_Result]:
        """Takes `actions` from where the environment is; resets rows that end where it leaves that to the caller."""
        for action in actions:
            batch = self.batched(action)
            returned = env.step(batch)
            raw: dict[str, Any] = {"action": batch}
            raw |= zip(("observation", "reward", "terminated", "truncated", "info"), returned, strict=True)
            rows = _by_row(raw, env.num_envs)
            latest = _copied(raw["observation"])
            ended = np.array([bool(row["terminated"]) or bool(row["truncated"]) for row in rows])
            if self.mode is AutoresetMode.DISABLED and ended.any():
                raw["next_observation"], _ = env.reset(options={"reset_mask": ended.copy()})
                latest = _copied(raw["next_observation"])
                for row, outcome in enumerate(_by_row(raw, env.num_envs)):
                    if ended[row]:
                        rows[row]["next_observation"] = outcome["next_observation"]
            yield _Result(raw, rows, latest, ended)

    def need_ends(self) -> None:
        """Raises _NotOffered if no episode of the reference run ended."""
        if not any(result.ended.any() for result in self.reference):
            raise _NotOffered(f"no episode ended in {self.steps} steps; make episodes shorter or take more steps")

    def need_rows(self, at_least: int = 2) -> None:
        """Raises _NotOffered if there are too few rows."""
        if self.num_rows < at_least:
            raise _NotOffered(f"it needs {at_least} rows, there is {self.num_rows}")


def _spaces(s: _Subject) -> None:
    """Observations and final observations lie in their space, in its dtype; rewards are finite, flags are bools."""
    law, n = "spaces", s.num_rows
    space, single = s.env.observation_space, s.env.single_observation_space
    if space != batch_space(single, n):
        raise LawViolation(law, [], f"observation_space {space} is not {n} rows of single_observation_space {single}")
    if s.env.action_space != batch_space(s.env.single_action_space, n):
        what = f"action_space {s.env.action_space} is not {n} rows of {s.env.single_action_space}"
        raise LawViolation(law, [], what)
    for t, result in enumerate(s.reference):
        for name in ("observation", "next_observation"):
            if name in result.raw:
                _expect_array(law, f"{name} at step {t}", result.raw[name], space.shape, space.dtype)
        for row, outcome in enumerate(result.rows):
            for name in outcome.keys() & {"observation", "next_observation", "info.final_obs"}:
                _expect_array(law, f"{name} at step {t}", outcome[name], single.shape, single.dtype, row)
                if outcome[name] not in single:
                    raise LawViolation(law, [row], f"{name} at step {t} is {outcome[name]}, outside {single}")
        if t == 0:
            continue
        _expect_array(law, f"reward at step {t}", result.raw["reward"], (n,), None)
        if not np.issubdtype(result.raw["reward"].dtype, np.floating):
            raise LawViolation(law, [], f"reward at step {t} has dtype {result.raw['reward'].dtype}, not a float")
        for name in ("terminated", "truncated"):
            _expect_array(law, f"{name} at step {t}", result.raw[name], (n,), np.dtype(bool))


def _determinism(s: _Subject) -> None:
    """The same seed and actions give the same bits, and so does the episode after them."""
    _expect_same_runs("determinism", s.reference, list(s.play(s.env, s.seed, s.actions)))
    afterwards = []
    for _ in range(2):
        s.env.reset(seed=s.seed)
        observation, _ = s.env.reset()
        afterwards.append(_copied(observation))
    for row in range(s.num_rows):
        what = "observation of a second reset, without a seed"
        _expect_equal("determinism", row, what, *(x[row] for x in afterwards))


def _seeds(s: _Subject) -> None:
    """A seed s seeds row i with s + i; a sequence seeds each row."""
    seeds = [s.seed + row for row in range(s.num_rows)]
    _offers_sequences(s)
    _expect_same_runs("seeds", s.reference, list(s.play(s.env, seeds, s.actions)))


def _endings(s: _Subject) -> None:
    """terminated and truncated are never both true."""
    for t, result in enumerate(s.reference[1:], start=1):
        both = np.flatnonzero(result.raw["terminated"] & result.raw["truncated"])
        if both.size:
            raise LawViolation("endings", both, f"both are true at step {t}")
    s.need_ends()


def _autoreset(s: _Subject) -> None:
    """Autoreset is declared in metadata["autoreset_mode"] and does what is declared."""
    if not isinstance(s.mode, AutoresetMode):
        what = f'metadata["autoreset_mode"] is {s.mode!r}, not a gymnasium.vector.AutoresetMode'
        raise LawViolation("autoreset", [], what)
    s.need_ends()
    {
        AutoresetMode.SAME_STEP: _autoreset_same_step,
        AutoresetMode.NEXT_STEP: _autoreset_next_step,
        AutoresetMode.DISABLED: _autoreset_disabled,
    }[s.mode](s)


def _autoreset_same_step(s: _Subject) -> None:
    distinct = False
    for t, result in enumerate(s.reference[1:], start=1):
        info = result.raw["info"]
        for name in ("final_obs", "final_info"):
            mask = info.get(f"_{name}", np.zeros(s.num_rows, dtype=bool))
            wrong = np.flatnonzero(np.asarray(mask) != result.ended)
            if wrong.size:
                ended, marked = np.flatnonzero(result.ended), np.flatnonzero(mask)
                what = f"step {t} ended rows {ended}; the mask _{name} has {marked}"
                raise LawViolation("autoreset", wrong, what)
        for row in np.flatnonzero(result.ended):
            distinct |= not np.array_equal(result.rows[row]["info.final_obs"], result.rows[row]["observation"])
    if not distinct:
        rows = np.flatnonzero(np.any([result.ended for result in s.reference], axis=0))
        raise LawViolation("autoreset", rows, "final_obs is always the observation that is returned")


def _autoreset_next_step(s: _Subject) -> None:
    others = s.sampled_actions(s.seed + s.num_rows)
    actions = [list(action) for action in s.actions]
    for t, result in enumerate(s.reference[1:], start=1):
        if "final_obs" in result.raw["info"]:
            raise LawViolation("autoreset", [], f"there is a final_obs at step {t}; next-step autoreset has none")
        waiting = np.flatnonzero(s.reference[t - 1].ended)
        for row in waiting:
            outcome = result.rows[row]
            if outcome["reward"] != 0 or result.ended[row]:
                got = ", ".join(f"{name} {outcome[name]}" for name in ("reward", "terminated", "truncated"))
                raise LawViolation("autoreset", [row], f"the step {t} that resets a row has {got}; not 0, False, False")
            actions[t - 1][row] = others[t - 1][row]
    changed = list(s.play(s.env, s.seed, actions))
    _expect_same_runs("autoreset", s.reference, changed, "with another action in the step that resets a row")


def _autoreset_disabled(s: _Subject) -> None:
    s.env.reset(seed=s.seed)
    for action in s.actions:
        _, _, terminated, truncated, _ = s.env.step(s.batched(action))
        ended = np.flatnonzero(terminated | truncated)
        if ended.size:
            if not _raises(lambda action=action: s.env.step(s.batched(action))):
                raise LawViolation("autoreset", ended, "rows that had ended were stepped on without an error")
            return


def _ownership(s: _Subject) -> None:
    """What was returned is never written to again; writing to it, or to the actions handed in, changes nothing."""
    kept = list(s.play(s.env, s.seed, s.actions))
    for t, result in enumerate(kept):
        for row, (then, now) in enumerate(zip(result.rows, _by_row(result.raw, s.num_rows), strict=True)):
            for name, value in then.items():
                _expect_equal("ownership", row, f"{name} of step {t}, looked at again at the end", value, now[name])
    for t, (given, result) in enumerate(zip(s.actions, kept[1:], strict=True), start=1):
        for row, left in enumerate(iterate(s.env.action_space, result.raw["action"])):
            _expect_equal("ownership", row, f"action handed in at step {t}", given[row], left)
    scribbled = []
    for result in s.play(s.env, s.seed, s.actions):
        scribbled.append(result)
        _scribble(result.raw)
    _expect_same_runs("ownership", kept, scribbled, "when the caller writes into every array it got or gave")


def _independence(s: _Subject) -> None:
    """A row does not depend on what the other rows do, nor on when they end."""
    s.need_rows()
    even = np.arange(0, s.num_rows, 2)
    others = s.sampled_actions(s.seed + s.num_rows)
    actions = [
        [mine[row] if row in even else theirs[row] for row in range(s.num_rows)]
        for mine, theirs in zip(s.actions, others, strict=True)
    ]
    changed = list(s.play(s.env, s.seed, actions))
    _expect_same_runs("independence", s.reference, changed, "when the odd rows act otherwise", rows=even)


def _position(s: _Subject) -> None:
    """A row does not depend on its position among the rows."""
    s.need_rows()
    _offers_sequences(s)
    order = np.arange(s.num_rows)[::-1]
    actions = [[action[row] for row in order] for action in s.actions]
    turned = list(s.play(s.env, [s.seed + int(row) for row in order], actions))
    _expect_same_runs("position", s.reference, turned, "when the rows stand in reverse order", found_rows=order)


def _number(s: _Subject) -> None:
    """A row does not depend on the number of rows."""
    if s.make is None:
        raise _NotOffered("it needs a function that makes environments, in place of an environment")
    for num_rows in sorted({1, s.num_rows // 2, s.num_rows - 1} - {0, s.num_rows}):
        fewer = s.make(num_rows)
        run = list(s.play(fewer, s.seed, [action[:num_rows] for action in s.actions]))
        fewer.close()
        _expect_same_runs("number", s.reference, run, f"with {num_rows} rows", rows=np.arange(num_rows))


def _reset_mask(s: _Subject) -> None:
    """reset(options={"reset_mask": mask}) resets, and seeds, exactly the rows of the mask."""
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
                first = _copied(s.env.reset(seed=seed, options={"reset_mask": mask.copy()})[0])
        for row in outside:
            what = "observation that the reset returned for a row outside the mask"
            _expect_equal("reset_mask", row, what, results[pause].latest[row], first[row])
        _expect_same_runs("reset_mask", s.reference, results, "outside the mask", rows=outside)
        if seed is None:
            if not any(_differences(s.reference[pause + 1 :], results[pause + 1 :], rows=inside)):
                raise LawViolation("reset_mask", inside, "the rows of the mask went on as if there had been no reset")
        else:
            for row in inside:
                begin = s.reference[0].rows[row]["observation"]
                _expect_equal("reset_mask", row, "first observation after a seeded reset", begin, first[row])
            replay = results[pause + 1 :]
            expected = s.reference[1 : 1 + len(replay)]
            _expect_same_runs("reset_mask", expected, replay, "in the mask, seeded anew", rows=inside)


def _reward_terms(s: _Subject) -> None:
    """The weighted reward terms in the info sum up to the reward."""
    seen = False
    for t, result in enumerate(s.reference[1:], start=1):
        for row, outcome in enumerate(result.rows):
            terms = _group(outcome, "reward_terms")
            if terms:
                seen = True
                total, reward = sum(terms.values()), outcome["reward"]
                tolerance = 1e-9 if outcome["reward"].dtype == np.float64 else 1e-5
                if not np.isclose(total, reward, rtol=tolerance, atol=tolerance):
                    what = f"the terms at step {t} sum up to {total}, the reward is {reward}: {terms}"
                    raise LawViolation("reward_terms", [row], what)
    if not seen:
        raise _NotOffered('there is no "reward_terms" in the info')


def _termination(s: _Subject) -> None:
    """Every row that terminates has a reason in info["termination"], and no other row has one."""
    if not any(_group(outcome, "termination") for result in s.reference for outcome in result.rows):
        raise _NotOffered('there is no "termination" in the info')
    for t, result in enumerate(s.reference[1:], start=1):
        for row, outcome in enumerate(result.rows):
            reasons = [name for name, holds in _group(outcome, "termination").items() if holds]
            if bool(reasons) != bool(outcome["terminated"]):
                what = f"at step {t} terminated is {outcome['terminated']} and the reasons that hold are {reasons}"
                raise LawViolation("termination", [row], what)
    if not any(result.raw["terminated"].any() for result in s.reference[1:]):
        raise _NotOffered(f"no episode terminated in {s.steps} steps")


def _state(s: _Subject) -> None:
    """What get_state saved in the middle of a run, set_state continues bit for bit, in a fresh environment too."""
    if not (hasattr(s.env, "get_state") and hasattr(s.env, "set_state")):
        raise _NotOffered("there is no get_state and set_state")
    pause = s.steps // 2
    saved: Any = None
    run: list[_Result] = []
    for t, result in enumerate(s.play(s.env, s.seed, s.actions)):
        run.append(result)
        if t == pause:
            saved = s.env.get_state()  # type: ignore[attr-defined]
    _expect_same_runs("state", s.reference, run, "when the state is saved in the middle")
    fresh = [] if s.make is None else [s.make(s.num_rows)]
    for env in (s.env, *fresh):
        try:
            observation = env.set_state(copy.deepcopy(saved))  # type: ignore[attr-defined]
        except ValueError as refusal:
            raise LawViolation("state", [], f"what get_state gave is refused: {refusal}") from refusal
        if isinstance(observation, np.ndarray):
            for row, expected in enumerate(run[pause].latest):
                _expect_equal("state", row, "observation that set_state returned", expected, observation[row])
        continued = list(s.go_on(env, s.actions[pause:]))
        which = "in the same environment" if env is s.env else "in a fresh environment"
        _expect_same_runs("state", run[pause + 1 :], continued, f"when continued {which}")
    for env in fresh:
        env.close()


def _single(s: _Subject) -> None:
    """Row i of a batch seeded with s is the single environment seeded with s + i."""
    if s.single is None:
        raise _NotOffered("it needs `single`, a function that makes the single environment")
    for row in range(s.num_rows):
        env = s.single()
        observation, _ = env.reset(seed=s.seed + row)
        _expect_equal("single", row, "first observation", observation, s.reference[0].rows[row]["observation"])
        waiting = False
        for t, (action, result) in enumerate(zip(s.actions, s.reference[1:], strict=True), start=1):
            outcome = result.rows[row]
            if waiting:
                expected: dict[str, Any] = {"observation": env.reset()[0]}
            else:
                observation, reward, terminated, truncated, _ = env.step(action[row])
                # Gymnasium's TimeLimit also truncates the step that terminates; the vector environment does not.
                truncated = truncated and not terminated
                expected = {"reward": reward, "terminated": terminated, "truncated": truncated}
                last = "info.final_obs" if result.ended[row] and s.mode is AutoresetMode.SAME_STEP else "observation"
                expected[last] = observation
                if result.ended[row] and s.mode is not AutoresetMode.NEXT_STEP:
                    begin = "observation" if s.mode is AutoresetMode.SAME_STEP else "next_observation"
                    expected[begin] = env.reset()[0]
            waiting = bool(result.ended[row]) and s.mode is AutoresetMode.NEXT_STEP
            for name, value in expected.items():
                _expect_equal("single", row, f"{name} at step {t}", value, outcome[name])
        env.close()


def _bad_actions(s: _Subject) -> None:
    """An action of a wrong shape, a NaN, and a choice that does not exist raise."""
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


_CHECKS: dict[str, Callable[[_Subject], None]] = {
    "spaces": _spaces,
    "determinism": _determinism,
    "seeds": _seeds,
    "endings": _endings,
    "autoreset": _autoreset,
    "ownership": _ownership,
    "independence": _independence,
    "position": _position,
    "number": _number,
    "reset_mask": _reset_mask,
    "reward_terms": _reward_terms,
    "termination": _termination,
    "state": _state,
    "single": _single,
    "bad_actions": _bad_actions,
}

LAWS: dict[str, str] = {law: (check.__doc__ or "").strip() for law, check in _CHECKS.items()}


def _by_row(raw: Mapping[str, Any], num_rows: int) -> list[Outcome]:
    """A copy of what each row got, by name; of the info, what is known to be the same in every run."""
    compared = {name: x for name, x in raw.items() if name not in ("info", "action")}
    rows: list[Outcome] = [{} for _ in range(num_rows)]
    _collect(rows, range(num_rows), "", {**compared, "info": _reproducible(raw["info"])})
    return rows


def _reproducible(info: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an info that the laws are about; others hold times of the clock, for instance."""
    known = {name: info[name] for name in info if name.removeprefix("_") in _ROWS_OF_INFO}
    if isinstance(info.get("final_info"), Mapping):
        known |= {"final_info": _reproducible(info["final_info"]), "_final_info": info["_final_info"]}
    return known


def _collect(rows: list[Outcome], present: Sequence[int], prefix: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name.startswith("_"):
            continue
        mask = values.get(f"_{name}")
        holders = present if mask is None else [row for row in present if mask[row]]
        if isinstance(value, Mapping):
            _collect(rows, holders, f"{prefix}{name}.", value)
            continue
        if np.ndim(value) == 0 or len(value) != len(rows):
            raise LawViolation("spaces", [], f"{prefix}{name} has shape {np.shape(value)} for {len(rows)} rows")
        for row in holders:
            rows[row][f"{prefix}{name}"] = _copied(value[row])


def _group(outcome: Outcome, group: str) -> dict[str, np.ndarray]:
    """A row's values in a group of its info, or of its final info where the info is already the next episode's."""
    for prefix in (f"info.{group}.", f"info.final_info.{group}."):
        found = {name.removeprefix(prefix): x for name, x in outcome.items() if name.startswith(prefix)}
        if found:
            return found
    return {}


def _copied(x: Any) -> np.ndarray:
    return np.array(x)


def _equal(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return np.array_equal(a, b, equal_nan=bool(np.issubdtype(a.dtype, np.inexact)))


def _differences(
    expected: list[_Result],
    found: list[_Result],
    rows: np.ndarray | None = None,
    found_rows: np.ndarray | None = None,
) -> Iterator[tuple[int, int, str, Any, Any]]:
    """Where two runs differ, in order of time: step, row, name, what was expected, what was found.

    Args:
        expected: A run.
        found: Another run; it may be shorter.
        rows: The rows of `expected` that are compared; all by default.
        found_rows: The row of `found` that each row of `expected` is compared with; the same by default.
    """
    for t, (a, b) in enumerate(zip(expected, found, strict=False)):
        for row in np.arange(len(a.rows)) if rows is None else rows:
            mine, other = a.rows[row], b.rows[row if found_rows is None else found_rows[row]]
            for name in sorted(mine.keys() | other.keys()):
                if name not in mine or name not in other or not _equal(mine[name], other[name]):
                    yield t, int(row), name, mine.get(name), other.get(name)


def _expect_same_runs(
    law: str,
    expected: list[_Result],
    found: list[_Result],
    circumstance: str = "when run again",
    rows: np.ndarray | None = None,
    found_rows: np.ndarray | None = None,
) -> None:
    first: tuple[int, int, str, Any, Any] | None = None
    differing: list[int] = []
    for t, row, name, mine, other in _differences(expected, found, rows, found_rows):
        first = first or (t, row, name, mine, other)
        if t > first[0]:
            break
        differing.append(row)
    if first:
        t, row, name, mine, other = first
        what = f"{circumstance}: {name} of row {row} at step {t}: {_contrast(mine, other)}"
        raise LawViolation(law, sorted(set(differing)), what)


def _expect_equal(law: str, row: int | np.integer, what: str, expected: Any, found: Any) -> None:
    if not _equal(expected, found):
        raise LawViolation(law, [row], f"{what}: {_contrast(expected, found)}")


def _contrast(expected: Any, found: Any) -> str:
    """The two values, or the first element in which two arrays differ."""
    if expected is None or found is None:
        return "absent, and should be there" if found is None else "there, and should be absent"
    expected, found = np.asarray(expected), np.asarray(found)
    if expected.shape != found.shape or expected.ndim == 0:
        return f"{found!s}, and should be {expected!s}"
    index = tuple(int(i) for i in np.argwhere(~((expected == found) | ((expected != expected) & (found != found))))[0])
    return f"element {list(index)} is {found[index]!s}, and should be {expected[index]!s}"


def _expect_array(law: str, what: str, value: Any, shape: Any, dtype: Any, row: int | None = None) -> None:
    rows = [] if row is None else [row]
    if not isinstance(value, (np.ndarray, np.generic)) or value.shape != shape:
        described = f"shape {value.shape}" if hasattr(value, "shape") else f"type {type(value).__name__}"
        raise LawViolation(law, rows, f"{what} has {described}; it takes an array of shape {shape}")
    if dtype is not None and value.dtype != dtype:
        raise LawViolation(law, rows, f"{what} has dtype {value.dtype}; it takes {dtype}")
    if np.issubdtype(value.dtype, np.inexact) and not np.isfinite(value).all():
        if row is None:
            rows = np.unique(np.argwhere(~np.isfinite(value))[:, 0])
        raise LawViolation(law, rows, f"{what} is not finite: {value}")


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


def _raises(function: Callable[[], Any]) -> bool:
    try:
        function()
    except Exception:
        return True
    return False


def _offers_sequences(s: _Subject) -> None:
    try:
        s.env.reset(seed=[s.seed + row for row in range(s.num_rows)])  # type: ignore[arg-type]
    except (TypeError, ValueError, gym.error.Error) as error:
        raise _NotOffered(f"reset takes no sequence of seeds ({error})") from None
