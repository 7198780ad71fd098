"""`motrix-train plot`: several runs in one picture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from motrix_gym.fields import nearest
from motrix_train.commands.options import complete_target
from motrix_train.errors import RunError, UsageError
from motrix_train.plotting import comparison, plots
from motrix_train.plotting.comparison import Run


def plot(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Runs of one environment, directories of runs, or an environment id for all its runs.",
            show_default=False,
            autocompletion=complete_target,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to, .png.")] = Path("comparison.png"),
    x: Annotated[Literal["env_steps", "seconds"], typer.Option(help="What the curves are drawn over.")] = "env_steps",
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Columns of progress.csv, a panel each; losses/ is all of its group. By default the main ones.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draws learning curves of several runs in one picture.

    Runs that differ only by their seed are one curve: their mean, and how far they spread.

    Example: motrix-train plot Motrix/CartPole-v0 --columns mean_return,losses/ --out cartpole.png

    Example: motrix-train plot runs/small runs/large --x seconds
    """
    if out.suffix != ".png":
        raise UsageError(f"--out {out}: the name must end in .png")
    runs, problems = _read(targets)
    panels = _panels(runs, columns)
    groups = comparison.group_runs(runs)
    plots.draw_comparison(groups, x, panels, out, runs[0].env_id)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    print(f"{_count(runs, 'run')} in {_count(groups, 'group')} -> {out}")


def _read(targets: Sequence[str]) -> tuple[list[Run], list[RunError]]:
    """The runs of one environment that can be drawn, and the errors of the others."""
    runs, problems = [], []
    for directory in comparison.find_runs(targets):
        try:
            runs.append(Run.read(directory))
        except RunError as problem:
            problems.append(problem)
    if not runs:
        raise problems[0]
    env_ids = list(dict.fromkeys(run.env_id for run in runs))
    if len(env_ids) > 1:
        raise UsageError(f"these are runs of {', '.join(env_ids)}: give those of one environment, as in {env_ids[0]}")
    return runs, problems


def _panels(runs: Sequence[Run], columns: str | None) -> list[str]:
    """The columns to draw, with every column of a group."""
    known = list(dict.fromkeys(name for run in runs for name in run.progress))
    wanted = plots.COMPARED if columns is None else [name.strip() for name in columns.split(",") if name.strip()]
    panels: dict[str, None] = {}
    for name in wanted:
        found = [column for column in known if column == name or (name.endswith("/") and column.startswith(name))]
        if not found and columns is not None:
            raise UsageError(f"--columns: there is no column {name}{nearest(name, known)}")
        panels |= dict.fromkeys(found)
    if not panels:
        raise UsageError(f"--columns {columns}: name at least one, for example mean_return")
    return list(panels)


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
