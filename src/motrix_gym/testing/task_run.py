"""Runs of the task under test: what it answered in each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from motrix_gym.batch import TaskBatch
from motrix_gym.observation import with_noise
from motrix_gym.physics.engine import Engine
from motrix_gym.random_streams import RandomStreams, stream_keys
from motrix_gym.state import Array, PhysicsState, State, Transition
from motrix_gym.task import Task
from motrix_gym.task_check import CheckedTask


@dataclass(frozen=True)
class TaskRun:
    """What a task answered in T steps of N environments.

    Attributes:
        transitions: The T transitions, with what `terminated` decided.
        elapsed: Steps of each episode after each step, (T, N) int.
        answers: The numbers that a method gave, by method and name. Those about a step are (T, N, ...). Those about a
            state are (S, N, ...), of the S states after a reset or a step.
        reasons: The reasons of `terminated` and ``diverged``, by name, each (T, N) bool.
    """

    transitions: tuple[Transition, ...]
    elapsed: Array
    answers: Mapping[str, Mapping[str, Array]]
    reasons: Mapping[str, Array]


@dataclass(frozen=True)
class TaskSubject:
    """The task under test and its runs.

    Attributes:
        task: The task.
        model: Its model.
        seed: The seed of the first environment.
        random: A run with random actions; each episode is cut off after half of the steps.
        zero: A run with zero actions.
        depths: The deepest contact of each of 2 N start states, (2 N,) m; 0 without a contact.
    """

    task: Task
    model: mujoco.MjModel
    seed: int
    random: TaskRun
    zero: TaskRun
    depths: Array

    @property
    def runs(self) -> tuple[TaskRun, TaskRun]:
        """Both runs."""
        return self.random, self.zero

    def values(self, method: str) -> dict[str, Array]:
        """The numbers that a method gave in both runs, by name, each (T, N, ...) or (S, N, ...) of both."""
        return {
            name: np.concat([run.answers[method][name] for run in self.runs]) for name in self.random.answers[method]
        }


def subject_of(task: Task, num_envs: int, steps: int, seed: int) -> TaskSubject:
    """Runs a task.

    Raises:
        ValueError: A method gives what no environment can use, or a start state that cannot be simulated.
    """
    space = task.action_space()
    unit = np.random.default_rng(seed).uniform(size=(steps, num_envs, *space.shape))
    random = space.low + (space.high - space.low) * unit
    zero = np.clip(np.zeros_like(random), space.low, space.high)
    cut = max(1, steps // 2)
    batches = [TaskBatch(task, num_envs, limit, engine=Engine(num_threads=1)) for limit in (cut, None)]
    depths = [_begun(batch, first) for batch, first in zip(batches, (seed, seed + num_envs), strict=True)]
    # An environment asks for it too late to look at the answer.
    CheckedTask(task, batches[0].models[0]).reset_after(streams(seed, num_envs), batches[0].state.task)
    first, second = _run(batches[0], random), _run(batches[1], zero)
    return TaskSubject(task, batches[0].models[0], seed, first, second, np.concat(depths))


def streams(seed: int, num_envs: int) -> RandomStreams:
    """The random streams of environments that are seeded with seed, seed + 1 ..."""
    return RandomStreams(stream_keys(range(seed, seed + num_envs)))


def _begun(batch: TaskBatch, seed: int) -> Array:
    """Begins episodes in all environments, and gives how deep the deepest contact of each is, (N,) m."""
    envs = range(batch.num_envs)
    batch.seed({env: seed + env for env in envs})
    batch.reset(np.full(batch.num_envs, True))
    contacts = [batch.physics.view(env)[1].contact.dist.copy() for env in envs]
    return np.array([max(0.0, -float(distance.min(initial=0.0))) for distance in contacts])


def _run(batch: TaskBatch, actions: Array) -> TaskRun:
    """Takes actions, (T, N, m)."""
    task, transitions, elapsed, reasons = batch.task, [], [], []
    answers: dict[str, list[dict[str, Array]]] = {method: [] for method in (*_OF_STEPS, *_OF_STATES)}

    def look_at(state: State) -> None:
        for method, answer in _OF_STATES.items():
            answers[method].append(answer(task, state.physics, state.task))

    look_at(batch.state)
    for action in actions:
        before = batch.state
        outcome = batch.step(action)
        look_at(batch.state)
        ctrl = task.control(before.physics, before.task, action)
        t = Transition(before.physics, before.task, action, ctrl, batch.state.physics, outcome.terminated)
        for method, answer in _OF_STEPS.items():
            answers[method].append(answer(task, t))
        transitions.append(t)
        elapsed.append(batch.state.elapsed)
        reasons.append(outcome.termination)
        if batch.ended.any():
            batch.reset(batch.ended)
            look_at(batch.state)
    stacked = {method: _stacked(method, given) for method, given in answers.items()}
    return TaskRun(tuple(transitions), np.stack(elapsed), stacked, _stacked("terminated", reasons))


_OF_STEPS: dict[str, Callable[[Task, Transition], dict[str, Array]]] = {
    "control": lambda task, t: {"ctrl": t.ctrl},
    "reward": lambda task, t: task.reward(t),
    "metrics": lambda task, t: task.metrics(t),
}
_OF_STATES: dict[str, Callable[[Task, PhysicsState, Any], dict[str, Array]]] = {
    "observe": with_noise,
    "privileged": lambda task, physics, state: task.privileged(physics, state),
    "external_force": lambda task, physics, state: task.external_force(state),
    "model_overrides": lambda task, physics, state: {
        name: override.values for name, override in task.model_overrides(state).items()
    },
    "task state": lambda task, physics, state: {f.name: getattr(state, f.name) for f in dataclasses.fields(state)},
}


def _stacked(method: str, answers: list[dict[str, Array]]) -> dict[str, Array]:
    """All answers of a method, by name, each (their number, N, ...)."""
    first = {name: x.shape for name, x in answers[0].items()}
    for later in answers:
        if {name: x.shape for name, x in later.items()} != first:
            raise ValueError(f"{method} gives {', '.join(first)} in one step, and {', '.join(later)} in another")
    return {name: np.stack([answer[name] for answer in answers]) for name in first}
