"""The order of a reset and of a step, for N environments of one task. No other module knows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from motrix_gym.outcome import Outcome
from motrix_gym.physics.base import Physics
from motrix_gym.random_streams import RandomStreams
from motrix_gym.state import Array, State, Transition, put, take, where
from motrix_gym.task import Task

MAX_RESET_ATTEMPTS = 1000  # rejected start states before giving up


def first_state(task: Task, physics: Physics, num_envs: int) -> State:
    """The state of environments that have not been seeded yet; they are to be seeded and reset before a step."""
    everywhere, nowhere = np.ones(num_envs, dtype=bool), np.zeros(num_envs, dtype=bool)
    rng = RandomStreams(np.zeros((num_envs, 2), dtype=np.uint64))
    elapsed = np.zeros(num_envs, dtype=np.int64)
    unknown: Any = None
    return _sampled(task, physics, State(unknown, unknown, rng, elapsed, nowhere, nowhere), everywhere)


def reset(task: Task, physics: Physics, state: State, mask: Array) -> State:
    """Starts new episodes.

    A start state is sampled from the environment's own random stream, again and again until the task says that it is
    valid. Then the physics settles, for a task that asks for it.

    Args:
        task: The task.
        physics: Its physics.
        state: The state of all N environments.
        mask: The environments that are reset, (N,) bool.

    Raises:
        ValueError: The task finds no valid start state, or one that cannot be simulated.
    """
    new = _sampled(task, physics, state, mask)
    for _ in range(MAX_RESET_ATTEMPTS):
        invalid = mask.copy()
        invalid[mask] = ~task.is_valid_start(take(new.physics, mask))
        if not invalid.any():
            break
        again = _sampled(task, physics, replace(new, task=state.task), invalid)
        new = where(invalid, again, new)
    else:
        raise ValueError(
            f"{task.__class__.__name__} accepts none of {MAX_RESET_ATTEMPTS} start states: look at its reset(), "
            "is_valid_start() and fields"
        )
    if task.SETTLING_TIME > 0:
        new = replace(new, physics=put(new.physics, mask, physics.settle(mask, task.SETTLING_TIME)))
    return replace(new, has_past=state.has_past | mask)


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
    next_physics, diverged = physics.step(ctrl, task.external_force(state.task), active)
    if diverged.any():
        next_physics = where(diverged, state.physics, next_physics)  # an environment keeps its last finite state

    t = Transition(state.physics, state.task, action, ctrl, next_physics, np.zeros(len(action), dtype=bool))
    reasons = {name: ended & ~diverged for name, ended in task.terminated(t).items()}
    reasons["diverged"] = diverged
    terminated = np.any(list(reasons.values()), axis=0)
    elapsed = state.elapsed + 1
    truncated = ~terminated & _out_of_time(elapsed, max_episode_steps)

    t = replace(t, terminated=terminated)
    weights = task.weights
    terms = {name: weights[name] * term for name, term in task.reward(t).items()}
    outcome = Outcome(
        took_step=np.ones(len(action), dtype=bool),
        terminated=terminated,
        truncated=truncated,
        rewards=sum(terms.values(), np.zeros(len(action))),
        reward_terms=terms,
        termination=reasons,
        metrics=task.metrics(t),
        success=task.success(t),
    )
    rng = RandomStreams(state.rng.key, state.rng.counter)
    task_state = task.next_state(t, rng)
    next_state = State(next_physics, task_state, rng, elapsed, state.has_past, ended=terminated | truncated)
    if active is None:
        return next_state, outcome
    return where(active, next_state, state), outcome.only(active)


def _sampled(task: Task, physics: Physics, state: State, mask: Array) -> State:
    """Samples one start state for each marked environment; those that had an episode may go on from how it ended."""
    for envs, had_episode in ((mask & ~state.has_past, False), (mask & state.has_past, True)):
        if not envs.any():
            continue
        rng = take(state.rng, envs)
        qpos, qvel, task_state = task.reset_after(rng, take(state.task, envs)) if had_episode else task.reset(rng)
        started = State(
            physics.reset(envs, qpos, qvel, task.model_overrides(task_state)),
            task_state,
            rng,
            elapsed=np.zeros(len(rng), dtype=np.int64),
            has_past=state.has_past[envs],
            ended=np.zeros(len(rng), dtype=bool),
        )
        state = started if envs.all() else put(state, envs, started)
    return state


def _out_of_time(elapsed: Array, max_episode_steps: int | None) -> Array:
    if max_episode_steps is None:
        return np.zeros(len(elapsed), dtype=bool)
    return elapsed >= max_episode_steps
