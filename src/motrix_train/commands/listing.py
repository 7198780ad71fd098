"""`motrix-train list`: the environments to train."""

from __future__ import annotations

import pkgutil

from rich.console import Console
from rich.table import Table

from motrix_gym.entry_points import task_of
from motrix_train import environment, presets
from motrix_train.ppo.backend import NAMES, installed


def list_environments() -> None:
    """Lists the environments that have a preset.

    Example: motrix-train list
    """
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "what it is", "episode", "budget"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "what it is")
    for env_id in presets.preset_ids():
        spec = environment.find_spec(env_id)
        budgets = {backend: presets.preset(env_id, backend).max_env_steps for backend in NAMES}
        table.add_row(
            env_id,
            _description(task_of(spec)),
            f"{spec.max_episode_steps} steps",
            " / ".join(sorted({f"{budget / 1e6:g} M" for budget in budgets.values()})),
        )
    console = Console()
    console.print(table)
    present = [backend for backend in NAMES if installed(backend)]
    remedy = 'none; pip install "motrix-gym[torch]"'
    console.print(f"\nBackends installed here: {', '.join(present) or remedy}", markup=False, highlight=False)


def _description(task: str | None) -> str:
    """The first line of the docstring of a registered task, ``module:Class``."""
    documented = "" if task is None else pkgutil.resolve_name(task).__doc__ or ""
    return documented.strip().partition("\n")[0]
