"""The order of a reset and of a step, for N environments of one task. No other module knows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rows
from motrix_gym.observation import first_past, next_past
from motrix_gym.outcome import Outcome
from motrix_gym.physics.base import Physics
from motrix_gym.random_streams import RandomStreams
from motrix_gym.state import Array, State, Transition, in_dtype_of, put, take, where
from motrix_gym.task import Task

MAX_RESET_ATTEMPTS = 1000  # rejected start states before giving up


def first_state(task: Task, physics: Physics, num_envs: int) -> State:
    """The state of environments that have not been seeded: sampled with a key of zeros, for the shapes of its arrays.

    The environments are to be seeded and reset before a step.
    """
    example = physics.example
    everywhere, nowhere = (xp.full((num_envs,), value, example) for value in (True, False))
    rng = RandomStreams(np.zeros((num_envs, 2), dtype=np.uint64)).beside(example)
    unknown: Any = None
    blank = State(
        unknown,
        unknown,
        rng,
        elapsed=xp.full((num_envs,), 0, example),
        has_past=nowhere,
        ended=nowhere,
        past_observations=xp.single(xp.zeros((num_envs, 0, 0), example)),
    )
    state = _sampled(task, physics, blank, everywhere)
    return replace(state, past_observations=first_past(task, state))


def reset(task: Task, physics: Physics, state: State, mask: Array) -> tuple[State, State]:
    """Starts new episodes.

    A start state is sampled from the environment's own random stream, again and again until the task says that it is
    valid. Then the physics settles, for a task that asks for it.

    Args:
        task: The task.
        physics: Its physics.
        state: The state of all N environments.
        mask: The environments that are reset, (N,) bool; M is their number.

    Returns:
        The next state of all environments, and that of the M which were reset.

    Raises:
        ValueError: The task finds no valid start state, or one that cannot be simulated.
    """
    envs = rows.indices(mask)
    past = take(state, envs)
    new = _sampled(task, physics, past, mask)
    for _ in range(MAX_RESET_ATTEMPTS):
        invalid = rows.indices(~task.is_valid_start(new.physics))
        if not len(invalid):
            break
        retried = replace(take(past, invalid), rng=take(new.rng, invalid))
        new = put(new, invalid, _sampled(task, physics, retried, rows.marked(envs[invalid], len(mask))))
    else:
        raise ValueError(
            f"{task.__class__.__name__} accepts none of {MAX_RESET_ATTEMPTS} start states: look at its reset(), "
            "is_valid_start() and fields"
        )
    if task.SETTLING_TIME > 0:
        new = replace(new, physics=physics.settle(mask, task.SETTLING_TIME))
    new = replace(new, has_past=xp.full((len(envs),), True, envs), past_observations=first_past(task, new))
    return (new if len(envs) == len(mask) else put(state, envs, new)), new


def step(
    task: Task, physics: Physics, state: State, action: Array, max_episode_steps: int | None, active: Array | None
) -> tuple[State, Outcome]:
    """One control step.

    Args:
        task: The task.
        physics: Its physics.
        state: The state of all N environments.
        action: The clipped action, (N, m).
        max_episode_steps: The time limit in control steps, None for none.
        active: The environments that take the step, (N,) bool, None for all; the others stay as they are.

    Returns:
        The next state, and what the step came to.
    """
    ctrl = task.control(state.physics, state.task, action)
    next_physics, failures = physics.step(ctrl, task.external_force(state.task), active)
    failed = rows.one_of(list(failures.values()))
    if not rows.surely_none(failed):
        next_physics = where(failed, state.physics, next_physics)  # an environment keeps its last good state

    none = xp.full((len(action),), False, action)
    t = Transition(state.physics, state.task, action, ctrl, next_physics, none)
    reasons = {**{name: ended & ~failed for name, ended in task.terminated(t).items()}, **failures}
    terminated = rows.one_of(list(reasons.values()))
    elapsed = state.elapsed + 1
    truncated = ~terminated & _out_of_time(elapsed, max_episode_steps)

    t = replace(t, terminated=terminated)
    weights = task.weights
    terms = {name: weights[name] * term for name, term in task.reward(t).items()}
    success = task.success(t)
    # Copies, because the caller may write to what it gets, and the state may have the same arrays.
    outcome = Outcome(
        took_step=~none,
        terminated=rows.copied(terminated),
        truncated=truncated,
        rewards=sum(terms.values(), xp.zeros((len(action),), next_physics.qpos)),
        reward_terms=terms,
        termination=reasons,
        metrics={name: rows.copied(x) for name, x in task.metrics(t).items()},
        success=None if success is None else rows.copied(success),
    )
    rng = RandomStreams(state.rng.key, state.rng.counter)
    task_state = in_dtype_of(task.next_state(t, rng), next_physics.qpos)
    next_state = State(
        next_physics,
        task_state,
        rng,
        elapsed,
        state.has_past,
        ended=terminated | truncated,
        past_observations=next_past(task, state),
    )
    if active is None:
        return next_state, outcome
    return where(active, next_state, state), outcome.only(active)


def _sampled(task: Task, physics: Physics, past: State, mask: Array) -> State:
    """Samples one start state for each of the M environments that `mask`, (N,) bool, marks.

    Args:
        task: The task.
        physics: Its physics.
        past: Their state until now, of the M environments alone. `reset_after` starts those that had an episode
            (`has_past`), `reset` the others.
        mask: Which of all environments they are.
    """
    all_have_past = bool(past.has_past.all())
    if not all_have_past and past.has_past.any():
        new, envs = past, rows.indices(mask)
        for chosen in (rows.indices(~past.has_past), rows.indices(past.has_past)):
            own_mask = rows.marked(envs[chosen], len(mask))
            new = put(new, chosen, _sampled(task, physics, take(past, chosen), own_mask))
        return new
    rng = RandomStreams(past.rng.key, past.rng.counter)
    qpos, qvel, task_state = task.reset_after(rng, past.task) if all_have_past else task.reset(rng)
    task_state = in_dtype_of(task_state, physics.example)
    return State(
        physics.reset(mask, qpos, qvel, task.model_overrides(task_state)),
        task_state,
        rng,
        elapsed=xp.full((len(rng),), 0, rng.key),
        has_past=past.has_past,
        ended=xp.full((len(rng),), False, rng.key),
        past_observations=past.past_observations,
    )


def _out_of_time(elapsed: Array, max_episode_steps: int | None) -> Array:
    if max_episode_steps is None:
        return xp.full((len(elapsed),), False, elapsed)
    return elapsed >= max_episode_steps
