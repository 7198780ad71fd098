"""Environments, found and made through Gymnasium's registry; the user's mistakes become one line each."""

from __future__ import annotations

import difflib
import importlib
import json
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv

import motrix_gym  # noqa: F401  (registers the ids)
from motrix_train import records
from motrix_train.errors import UsageError
from motrix_train.schema import short

OPTIONS = {"num_envs": "--num-envs", "num_threads": "--num-threads", "max_env_steps": "--max-env-steps"}
SAME_STEP = {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": AutoresetMode.SAME_STEP}}
"""How single environments are stepped together: a row starts anew in the step that ends it, as a training needs it."""
GYMNASIUMS_OWN = ("phys2d", "tabular")  # namespaces that no one misspells as an id of a robot
NOT_FIELDS = (
    "task",
    "render_mode",
    "render_size",
    "render_camera",
    "autoreset_mode",
    "vectorization_mode",
    "vector_kwargs",
    "wrappers",
)


def find(env_id: str) -> EnvSpec:
    """The registration of an environment, for an id from anywhere: nothing is imported because of it.

    Args:
        env_id: Registered id; a ``module:`` before it must have been imported already.

    Raises:
        UsageError: There is none of this name; names the nearest one, or what to import.
    """
    module, _, name = env_id.rpartition(":")
    if module and module not in sys.modules:
        raise UsageError(
            f"environment {short(env_id)} is from the module {short(module)}, which is not imported because a file "
            f"names it: if you trust it, add --import {short(module)[1:-1]}"
        )
    try:
        return gymnasium.spec(name)
    except gymnasium.error.Error as unknown:
        nearest = nearest_id(name)
        hint = f"did you mean {nearest}?" if nearest else "`motrix-train list` shows the known ones"
        foreign = "" if nearest else "; one of another package needs --import PACKAGE"
        raise UsageError(f"no environment {short(env_id)}: {hint}{foreign}") from unknown


def find_typed(env_id: str) -> EnvSpec:
    """The registration of an environment whose id the user has typed: a ``module:`` before it is imported.

    Raises:
        UsageError: There is no such module, importing it fails, or it registers no such id.
    """
    module = env_id.rpartition(":")[0]
    if module:
        try:
            import_module(module)
        except UsageError as failure:
            raise UsageError(f"no environment {env_id!r}: {failure}") from failure
    return find(env_id)


def import_module(name: str) -> None:
    """Imports a module that registers environments, because the user says so.

    Raises:
        UsageError: There is none, or it fails; names its own error and the line.
    """
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever the user's own module raises
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(f"there is no module {name!r}: install it, or see that it is on PYTHONPATH") from error
        line = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{line.filename}, line {line.lineno}"
        raise UsageError(f"importing {name} fails with {type(error).__name__}: {error} ({place})") from error


def nearest_id(env_id: str) -> str | None:
    """The registered id, of this package or of an imported one, that a misspelt or shortened one may stand for."""
    names = {}
    for known in gymnasium.registry:
        namespace, slash, versioned = known.rpartition("/")
        if slash and namespace not in GYMNASIUMS_OWN:
            spellings = known.lower(), versioned.lower(), versioned.split("-v")[0].lower()
            names = dict.fromkeys(spellings, known) | names  # ours, which are registered first, before others alike
    close = difflib.get_close_matches(env_id.lower()[:80], names, n=1)
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
        UsageError: The id is unknown, the environment refuses a value, or something is no field of its task.
    """
    spec = find(env_id)
    for name in env_kwargs:
        if name in NOT_FIELDS or name in OPTIONS:
            raise UsageError(f"{spec.id}: {name} is not a field of the task: leave it out")
    if num_envs < 1:
        raise UsageError(f"num_envs is {num_envs}; it takes a whole number from 1")
    threads = {"num_threads": num_threads} if num_threads else {}  # environments of others may not know the argument
    if spec.vector_entry_point is None:
        threads |= SAME_STEP
    try:
        return gymnasium.make_vec(spec.id, num_envs=num_envs, **threads, **rendering, **env_kwargs)
    except (gymnasium.error.Error, TypeError, ValueError, OverflowError) as refusal:
        raise UsageError(f"{spec.id}: {refusal}") from refusal


def task_of(env: VectorEnv) -> Any:
    """The configured task of an environment, a frozen dataclass; None for one that has no task."""
    return getattr(env.unwrapped, "task", None)


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
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    records.require_plain(value)
    return value
