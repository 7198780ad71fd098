"""Finds and makes environments through Gymnasium's registry, with one line for each mistake of the user."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv

import motrix_gym  # noqa: F401  (registers the ids)
from motrix_gym.entry_points import task_of
from motrix_gym.fields import short
from motrix_gym.multi_task import MultiTask
from motrix_gym.physics import engine
from motrix_gym.registration import task_class
from motrix_train import schema
from motrix_train.errors import UsageError

OPTIONS = {"num_envs": "--num-envs", "num_threads": "--num-threads", "max_env_steps": "--max-env-steps"}
SAME_STEP = {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": AutoresetMode.SAME_STEP}}
"""How single environments are stepped together: in a training, each is reset in the step in which its episode ends."""
GYMNASIUM_NAMESPACES = ("phys2d", "tabular")  # Gymnasium's own, never suggested for a misspelt id
ARRAYS = "arrays"  # whether a training is on NumPy's arrays or on Torch's, where it can be on both
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


def find_spec(env_id: str) -> EnvSpec:
    """Finds the registration of an environment and imports nothing, so that the id may come from a file.

    Args:
        env_id: Registered id; a ``module:`` before it must have been imported already.

    Raises:
        UsageError: The id is not registered; names the nearest one, or the module to import.
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
        foreign = "one of another package needs --import PACKAGE"
        if nearest is None:
            hint = f"`motrix-train list` shows the known ones; {foreign}"
        elif "/" in name and name.partition("/")[0] not in {spec.namespace for spec in gymnasium.registry.values()}:
            hint = f"did you mean {nearest}? If not, {foreign}"
        else:
            hint = f"did you mean {nearest}?"
        raise UsageError(f"no environment {short(env_id)}: {hint}") from unknown


def without_module(env_id: str) -> str:
    """An id without the ``module:`` that may stand before it."""
    return env_id.rpartition(":")[2]


def import_and_find_spec(env_id: str) -> EnvSpec:
    """Finds the registration of an environment whose id the user has typed; imports a ``module:`` before it.

    Raises:
        UsageError: There is no such module, importing it fails, or it does not register the id.
    """
    module = env_id.rpartition(":")[0]
    if module:
        try:
            import_module(module)
        except UsageError as failure:
            raise UsageError(f"no environment {env_id!r}: {failure}") from failure
    return find_spec(env_id)


def import_module(name: str) -> None:
    """Imports a module that registers environments, at the user's request; the current folder is searched last.

    Raises:
        UsageError: There is no such module, or it raises: names the error and its line.
    """
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    try:
        importlib.import_module(name)
    except Exception as error:  # a user's module may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module {name!r}: install it, put it in this folder, or see that it is on PYTHONPATH"
            ) from error
        line = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{line.filename}, line {line.lineno}"
        raise UsageError(f"importing {name} fails with {type(error).__name__}: {error} ({place})") from error


def known_ids() -> list[str]:
    """The ids of this package, of installed packages and of imported ones, in the order of their registration."""
    namespaces = {known: known.rpartition("/")[0] for known in gymnasium.registry}
    return [known for known, namespace in namespaces.items() if namespace not in ("", *GYMNASIUM_NAMESPACES)]


def nearest_id(env_id: str) -> str | None:
    """The registered id, of this package or of an imported one, nearest to a misspelt or shortened id."""
    names = {}
    for known in known_ids():
        versioned = known.rpartition("/")[2]
        spellings = known.lower(), versioned.lower(), versioned.split("-v")[0].lower()
        names = dict.fromkeys(spellings, known) | names  # of equal spellings, the id registered first
    close = difflib.get_close_matches(env_id.lower()[:80], names, n=1)
    return names[close[0]] if close else None


def make_env(
    env_id: str,
    num_envs: int,
    env_kwargs: Mapping[str, Any],
    num_threads: int = 0,
    arrays: str = "numpy",
    **rendering: Any,
) -> VectorEnv:
    """Makes a vector environment.

    The field ``arrays`` of a task is one of its training: wherever else a policy is evaluated or shown, it acts on
    NumPy's arrays.

    Args:
        env_id: Registered id.
        num_envs: Number of environments.
        env_kwargs: Fields of the task.
        num_threads: Physics threads, 0 for all CPUs; MuJoCo Warp has none.
        arrays: What an environment of ours takes and gives: "torch" for tensors on the device of MuJoCo Warp.
        rendering: ``render_mode`` and ``render_size``, as in `motrix_gym`.

    Raises:
        UsageError: The id is unknown, the environment refuses a value, or a name is not a field of its task.
    """
    spec = find_spec(env_id)
    for name in env_kwargs:
        if name in NOT_FIELDS or name in OPTIONS:
            raise UsageError(f"{spec.id}: {name} is not a field of the task: leave it out")
    if num_envs < 1:
        raise UsageError(f"num_envs is {num_envs}; it takes a whole number from 1")
    has_threads = num_threads and env_kwargs.get("physics") != "warp"
    threads = {"num_threads": num_threads} if has_threads else {}  # environments of others may not know the argument
    if spec.vector_entry_point is None:
        threads |= SAME_STEP
    if task_of(spec) is not None:
        env_kwargs = {name: value for name, value in env_kwargs.items() if name != ARRAYS}
        threads |= {} if arrays == "numpy" else {ARRAYS: arrays}
    try:
        return gymnasium.make_vec(spec.id, num_envs=num_envs, **threads, **rendering, **env_kwargs)
    except (gymnasium.error.Error, TypeError, ValueError, OverflowError) as refusal:
        raise UsageError(f"{spec.id}: {refusal}") from refusal


def training_arrays(env_id: str, env_kwargs: Mapping[str, Any], can_take_tensors: bool) -> str:
    """What the environments of a training take and give: "torch" where both they and the agent can, or else "numpy".

    Those of one task with MuJoCo Warp can. The field ``arrays`` counts where it is given.

    Args:
        env_id: Registered id.
        env_kwargs: Fields of the task.
        can_take_tensors: Whether the agent can.

    Raises:
        UsageError: The id is unknown, or the field asks for what the agent cannot.
    """
    task = task_of(find_spec(env_id))
    if task is None:
        return "numpy"
    asked = env_kwargs.get(ARRAYS)
    if asked == "torch" and not can_take_tensors:
        raise UsageError("arrays 'torch' is for PPO, and needs Torch: leave it out")
    can = can_take_tensors and env_kwargs.get("physics") == "warp" and not issubclass(task_class(task), MultiTask)
    return asked or ("torch" if can else "numpy")


def fields_of_worker(env_kwargs: Mapping[str, Any], worker: int, workers: int) -> dict[str, Any]:
    """Fields of the task for one of several workers: with MuJoCo Warp, its environments are on a GPU of its own.

    Where there are fewer GPUs than workers they are shared; a GPU with a number, or the CPU, is that of all workers.

    Args:
        env_kwargs: The fields for all workers.
        worker: Its number among the workers that see the same GPUs, from 0.
        workers: How many workers there are in all.
    """
    shared = env_kwargs.get("physics") != "warp" or env_kwargs.get("device", "cuda") != "cuda"
    if workers == 1 or shared or not (gpus := engine.warp_gpus()):
        return dict(env_kwargs)
    return {**env_kwargs, "device": f"cuda:{worker % gpus}"}


def action_space(env_id: str, env_kwargs: Mapping[str, Any]) -> Any:
    """The action space of one environment.

    Raises:
        UsageError: As `make_env`.
    """
    env = make_env(env_id, 1, env_kwargs, num_threads=1)
    env.close()
    return env.single_action_space


def parse_kwargs(assignments: Iterable[str]) -> dict[str, Any]:
    """Parses fields of the task from the command line.

    Args:
        assignments: ``name=value`` each. The value is JSON where it parses, else a string. Dots in the name separate
            nested names: ``reward_weights.torques=0`` is ``{"reward_weights": {"torques": 0}}``.

    Raises:
        UsageError: An assignment has another form, gives a value and names inside it, or names a field that has its
            own option.
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


def require_task_fields(names: Iterable[str]) -> None:
    """Refuses names that the table `env` of a file cannot have.

    Raises:
        UsageError: A name is an argument of the environment that is no field of a task.
    """
    for name in names:
        if name in OPTIONS or name in NOT_FIELDS:
            raise UsageError(f"env.{name}: {name} is not a field of the task")


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Merges two mappings of fields, and the mappings inside them; values of the second one win."""
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
    schema.require_plain(value)
    return value
