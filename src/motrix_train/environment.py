"""Environments, found and made through Gymnasium's registry; the user's mistakes become one line each."""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv

import motrix_gym  # noqa: F401  (registers the ids)
from motrix_train.errors import UsageError

OPTIONS = {"num_envs": "--num-envs", "num_threads": "--num-threads", "max_env_steps": "--max-env-steps"}
NOT_FIELDS = (
    "task",
    "render_mode",
    "render_size",
    "autoreset_mode",
    "vectorization_mode",
    "vector_kwargs",
    "wrappers",
)


def find(env_id: str) -> EnvSpec:
    """The registration of an environment.

    Raises:
        UsageError: There is none of this name; names the nearest one.
    """
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as unknown:
        nearest = nearest_id(name)
        hint = f"did you mean {nearest}?" if nearest else "`motrix-train list` shows the known ones"
        raise UsageError(f"no environment {env_id!r}: {hint}") from unknown


def nearest_id(env_id: str) -> str | None:
    """The registered id that a misspelt or shortened one most likely stands for."""
    names = {}
    for known in gymnasium.registry:
        if known.startswith("Motrix/"):
            versioned = known.removeprefix("Motrix/")
            names |= {known.lower(): known, versioned.lower(): known, versioned.split("-v")[0].lower(): known}
    close = difflib.get_close_matches(env_id.lower(), names, n=1)
    return names[close[0]] if close else None


def make(
    env_id: str,
    num_envs: int,
    env_kwargs: Mapping[str, Any],
    num_threads: int = 0,
    **rendering: Any,
) -> VectorEnv:
    """A vector environment.

    Args:
        env_id: Registered id.
        num_envs: Rows.
        env_kwargs: Fields of the task.
        num_threads: Physics threads, 0 for all CPUs.
        rendering: ``render_mode`` and ``render_size``, as in `motrix_gym`.

    Raises:
        UsageError: The id is unknown, or the environment refuses a value.
    """
    spec = find(env_id)
    if num_envs < 1:
        raise UsageError(f"num_envs is {num_envs}; it takes a whole number from 1")
    threads = {"num_threads": num_threads} if num_threads else {}  # environments of others may not know the argument
    try:
        return gymnasium.make_vec(spec.id, num_envs=num_envs, **threads, **rendering, **env_kwargs)
    except (gymnasium.error.Error, TypeError, ValueError) as refusal:
        raise UsageError(f"{spec.id}: {refusal}") from refusal


def task_of(env: VectorEnv) -> Any:
    """The configured task of an environment, a frozen dataclass."""
    unwrapped: Any = env.unwrapped
    return unwrapped.task


def parse_kwargs(assignments: Iterable[str]) -> dict[str, Any]:
    """Fields of the task from the command line.

    Args:
        assignments: ``name=value`` each; the value is JSON where it parses and a string otherwise, dots in
            the name reach inside: ``reward_weights.torques=0`` is ``{"reward_weights": {"torques": 0}}``.

    Raises:
        UsageError: Not of this form, a name that is both value and mapping, or one with an option of its own.
    """
    kwargs: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        *parents, last = name.split(".")
        if not equals or not all((*parents, last)):
            raise UsageError(f"--env {assignment}: write it as name=value, for example control_dt=0.02")
        if name in OPTIONS:
            raise UsageError(f"--env {assignment}: use {OPTIONS[name]} {text}")
        if name.split(".")[0] in NOT_FIELDS:
            raise UsageError(f"--env {assignment}: {name} is not a field of the task")
        inner = kwargs
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise UsageError(f"--env {assignment}: {parent} already has the value {inner!r}")
        inner[last] = _parse(text)
    return kwargs


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables of fields in one, and the tables inside them too; the second one wins."""
    both = {**first, **second}
    for key in first.keys() & second.keys():
        if isinstance(first[key], dict) and isinstance(second[key], dict):
            both[key] = merged(first[key], second[key])
    return both


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
