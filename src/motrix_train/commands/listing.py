"""`motrix-train list`: the environments to train."""

from __future__ import annotations

import gymnasium
from rich.console import Console
from rich.table import Table

from motrix_gym.entry_points import imported, task_of
from motrix_train import environment, presets
from motrix_train.ppo.backend import NAMES, installed


def list_environments() -> None:
    """Lists the environments that have a preset, and those of installed packages.

    Example: motrix-train list
    """
    console = Console(markup=False)
    packages = {env_id: package for env_id, package in presets.packages().items() if env_id in gymnasium.registry}
    console.print(_table("budget", {env_id: _budget(env_id, package) for env_id, package in packages.items()}))
    others = [env_id for env_id in environment.known_ids() if env_id not in packages]
    if others:
        console.print("\nOf installed packages, without a preset:\n")
        console.print(_table("task of", {env_id: _module(env_id) for env_id in others}))
    present = [backend for backend in NAMES if installed(backend)]
    remedy = 'none; pip install "motrix-gym[torch]"'
    console.print(f"\nBackends installed here: {', '.join(present) or remedy}", highlight=False)


def _table(last: str, values: dict[str, str]) -> Table:
    """A row for each id of `values`, which has what stands in the last column."""
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "what it is", "episode", last):
        table.add_column(heading, overflow="fold", no_wrap=heading != "what it is")
    for env_id, value in values.items():
        limit = environment.find_spec(env_id).max_episode_steps
        table.add_row(env_id, _description(env_id), "no limit" if limit is None else f"{limit} steps", value)
    return table


def _budget(env_id: str, package: str) -> str:
    budgets = {presets.preset(env_id, backend).max_env_steps for backend in NAMES}
    mark = "" if package == presets.PACKAGE else f" (preset of {package})"
    return " / ".join(sorted(f"{budget / 1e6:g} M" for budget in budgets)) + mark


def _module(env_id: str) -> str:
    """The package whose task, or whose environment, an id was registered with."""
    spec = environment.find_spec(env_id)
    return (task_of(spec) or str(spec.vector_entry_point or spec.entry_point)).partition(":")[0].partition(".")[0]


def _description(env_id: str) -> str:
    """The first line of the docstring of a registered task; why there is none, if its module cannot be imported."""
    task = task_of(environment.find_spec(env_id))
    try:
        documented = "" if task is None else imported(task).__doc__ or ""
    except ValueError as error:
        return str(error)
    return documented.strip().partition("\n")[0]
