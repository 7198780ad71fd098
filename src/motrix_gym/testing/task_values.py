"""The laws about the numbers that a task gives: rewards, observations, metrics and reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from motrix_gym.state import Array, Transition
from motrix_gym.testing.altered import altered
from motrix_gym.testing.docstring_tables import optional_blocks
from motrix_gym.testing.task_report import Finding, TermRange, error, remark
from motrix_gym.testing.task_run import TaskSubject

HUGE = 1e3  # magnitude of an observation that a network learns from with difficulty
_ALTERATIONS = 50  # transitions
_WEIGHED = 8  # transitions of each run that the weights are tried on


def finite(s: TaskSubject) -> Iterator[Finding]:
    """All numbers are finite."""
    for method in s.random.answers:
        for name, x in s.values(method).items():
            bad = ~np.isfinite(x)
            if bad.any():
                count = bad.any(axis=tuple(range(2, x.ndim))).sum()
                what = f"is {x[bad][0]} in {count} of {x.shape[0] * x.shape[1]} answers"
                remedy = "look for a division by zero, a root or a logarithm of a negative number, or an overflow"
                yield error(f"{method} {name!r}", what, remedy)


def weights(s: TaskSubject) -> Iterator[Finding]:
    """A weight does not change the unweighted terms, and `reward_weights` sets it."""
    transitions = [t for run in s.runs for t in run.transitions[:: max(1, len(run.transitions) // _WEIGHED)]]
    plain = [s.task.reward(t) for t in transitions]
    for name, weight in s.task.weights.items():
        where = f"reward term {name!r}"
        if weight == 0:
            yield remark(where, "has a weight of 0", "give it a weight, or remove it")
        another = 2 * weight + 1
        changed = replace(s.task, reward_weights={**s.task.reward_weights, name: another})
        if changed.weights != {**s.task.weights, name: another}:
            what = f"has a weight of {changed.weights.get(name)} where reward_weights asks for {another}"
            yield error(where, what, "have `weights` read reward_weights, as Task does")
        moved = {
            term
            for t, terms in zip(transitions, plain, strict=True)
            for term, x in changed.reward(t).items()
            if not np.array_equal(x, terms[term], equal_nan=True)
        }
        for term in sorted(moved):
            what = f"is not the same before it is weighted, when the weight of {name!r} is another"
            yield error(f"reward term {term!r}", what, "return it unweighted: the environment weights it")


def terms(s: TaskSubject) -> Iterator[Finding]:
    """No reward term is constant."""
    found = s.values("reward")
    fixed = _fixed(found, s, lambda t: s.task.reward(t))
    for name, x in found.items():
        where, value = f"reward term {name!r}", x.flat[0]
        if not _constant(x):
            continue
        if fixed[name]:
            what = f"is always {value:g}, whatever the states and actions are"
            yield error(where, what, "correct its formula, or remove it: it rewards nothing")
        else:
            what = f"is {value:g} in all {x.size} steps"
            yield remark(where, what, "see that a policy that learns comes to where it changes")


def observations(s: TaskSubject) -> Iterator[Finding]:
    """No element of the observation is constant, and none is huge."""
    found = {name: x.astype(np.float32) for name, x in s.values("observe").items()}
    fixed = _fixed(found, s, lambda t: s.task.observe(t.physics, t.state))
    optional = optional_blocks(type(s.task))
    for name, x in found.items():
        constant, first = _constant(x), x[0, 0]
        for value in np.unique(first[constant]):
            same = constant & (first == value)
            if never := [] if name in optional else np.flatnonzero(same & fixed[name]).tolist():
                what = f"is always {value:g}, whatever the state is"
                remedy = "remove it, or correct what it reads: it tells a policy nothing"
                yield error(f"observation {name}{never}", what, remedy)
            if elements := [i for i in np.flatnonzero(same).tolist() if i not in never]:
                what = f"is {value + 0.0:g} in all {x.shape[0] * x.shape[1]} observations"  # 0 for -0
                remedy = "see that it changes in training, or leave it out"
                yield remark(f"observation {name}{elements}", what, remedy)
        greatest = abs(x).max(axis=(0, 1), initial=0.0)
        if huge := np.flatnonzero(greatest > HUGE).tolist():
            what = f"has a magnitude of {greatest.max():.3g}"
            yield remark(f"observation {name}{huge}", what, "scale it to about 1, or clip it")


def reasons(s: TaskSubject) -> Iterator[Finding]:
    """Reasons for which episodes end occur; simulations do not diverge."""
    found = {name: np.concat([run.reasons[name] for run in s.runs]) for name in s.random.reasons}
    diverged = int(found.pop("diverged").sum())
    if diverged:
        what = f"the physics diverged in {diverged} steps"
        yield remark("model", what, "take a smaller timestep, weaker actuators, or more damping and armature")
    if not found:
        yield remark("terminated", "gives no reason to end an episode", "register the task with max_episode_steps")
    for name, x in found.items():
        if not x.any():
            yield remark(f"terminated {name!r}", f"holds in none of {x.size} steps", "see that it can occur")
        elif x.all():
            yield error(f"terminated {name!r}", "holds in every step", "correct its condition")


def ranges(s: TaskSubject) -> tuple[TermRange, ...]:
    """The weighted values of each reward term."""
    found, by_name = s.values("reward"), s.task.weights
    weighted = {name: by_name[name] * x for name, x in found.items()}
    return tuple(
        TermRange(name, by_name[name], float(x.min()), float(x.max()), float(x.mean())) for name, x in weighted.items()
    )


def _constant(x: Array) -> Array:
    """Which elements of (T, N, ...) are the same in all steps of all environments, (...) bool."""
    return (x == x[0, 0]).all(axis=(0, 1))


def _fixed(
    found: Mapping[str, Array], s: TaskSubject, method: Callable[[Transition], Mapping[str, Array]]
) -> dict[str, Array]:
    """Which elements of values (T, N, ...) keep their first value in altered states too, by name, each (...) bool."""
    fixed = {name: np.zeros(x.shape[2:], dtype=bool) for name, x in found.items()}
    if not any(_constant(x).any() for x in found.values()):
        return fixed
    rng, answers = np.random.default_rng(s.seed), []
    for t in s.random.transitions[-_ALTERATIONS:]:
        try:
            with np.errstate(all="ignore"):
                answers.append(method(altered(t, rng)))
        except Exception:  # no task need have an answer to a state that no simulation comes upon
            return fixed
    for name, x in found.items():
        values = np.concat([answer[name] for answer in answers]).astype(x.dtype)
        fixed[name] = ((values == x[0, 0]) | np.isnan(values)).all(axis=0)
    return fixed
