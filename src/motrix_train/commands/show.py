"""`motrix-train show`: the resolved configuration of a training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from motrix_train import env_protocol, environment, presets
from motrix_train.commands.options import (
    Algorithm,
    AsJson,
    BackendName,
    ConfigFile,
    EnvFields,
    EnvId,
    Settings,
    read_changes,
)
from motrix_train.config import to_json
from motrix_train.errors import UsageError
from motrix_train.learning.backend import select
from motrix_train.settings import to_toml


def show(
    env_id: EnvId,
    config: ConfigFile = None,
    settings: Settings = None,
    env_fields: EnvFields = None,
    algorithm: Algorithm = None,
    backend: BackendName = "auto",
    as_json: AsJson = False,
    as_toml: Annotated[bool, typer.Option("--toml", help="A file for --config instead of a table.")] = False,
) -> None:
    """Shows what `train` would use: every field of task and training, with your changes.

    Example: motrix-train show Motrix/Go1-v0 --set rollouts=32 --env reward_weights.torques=0

    Example: motrix-train show Motrix/Go1-v0 --toml > my.toml
    """
    if as_json and as_toml:
        raise UsageError("--json and --toml exclude each other: give one of them")
    spec = environment.import_and_find_spec(env_id)
    name = select(backend).NAME
    given, env_kwargs = read_changes(spec.id, config, settings, env_fields, algorithm)
    cfg = presets.configured(spec.id, name, given)
    default = presets.configured(spec.id, name, {"algorithm": cfg.algorithm})
    task = _task_fields(spec.id, env_kwargs)
    if as_toml:
        print(f"# {spec.id} with {name}\n{to_toml(cfg, env_kwargs)}", end="")
        return
    content = {
        "env_id": spec.id,
        "backend": name,
        "max_episode_steps": spec.max_episode_steps,
        "max_batch_env_steps": cfg.max_batch_env_steps,
        "env_kwargs": env_kwargs,
        "task": task,
        "config": to_json(cfg),
    }
    if as_json:
        print(json.dumps(content, indent=2))
        return
    console = Console()
    console.print(f"{spec.id} with {name}: {cfg.max_batch_env_steps:,} vector steps of {cfg.num_envs:,} environments")
    console.print(_fields_table(f"{cfg.algorithm.upper()} (--set)", to_json(cfg), to_json(default)))
    if task:
        console.print(_fields_table("Task (--env)", task, _default_fields(spec.id) or task))


def _task_fields(env_id: str, env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task with every reward weight, plain JSON; empty for an environment without a task."""
    env = environment.make_env(env_id, 1, env_kwargs)
    task = env_protocol.task_of(env)
    env.close()
    if not hasattr(task, "weights"):
        return dict(env_kwargs)
    return dataclasses.asdict(task) | {"reward_weights": task.weights}


def _default_fields(env_id: str) -> dict[str, Any] | None:
    """The fields of a task as registered, None if it needs further arguments."""
    try:
        return _task_fields(env_id, {})
    except UsageError:
        return None


def _fields_table(title: str, values: Mapping[str, Any], default: Mapping[str, Any]) -> Table:
    """Names, as the command line takes them, and values, those that differ from the default in bold."""
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, show_header=False)
    for name, value in values.items():
        inner = value.items() if isinstance(value, Mapping) and value else [("", value)]
        for key, leaf in inner:
            before = default[name].get(key) if key else default[name]
            style = None if leaf == before else "bold green"
            table.add_row(f"{name}.{key}" if key else name, json.dumps(leaf), style=style)
    return table
