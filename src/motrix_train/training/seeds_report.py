"""The results of several seeds of one training: a table, and their curves in one picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from motrix_train.errors import RunError
from motrix_train.plotting import comparison, plots
from motrix_train.plotting.comparison import Run
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.run_record import RunRecord
from motrix_train.training.progress import clock
from motrix_train.training.records import TrainingSummary


def print_report(trained: Sequence[tuple[RunDirectory, TrainingSummary]]) -> None:
    """Prints a table with a line for each run, and draws all curves in a picture beside the first run."""
    Console().print(_table(trained))
    try:
        runs = [Run.read(run) for run, _ in trained]
    except RunError:
        return  # a run was stopped before its first update
    panels = [name for name in plots.COMPARED if any(name in run.progress for run in runs)]
    first = trained[0][0].path
    picture = first.with_name(f"{first.name}_seeds.png")
    plots.draw_comparison(comparison.group_runs(runs), "env_steps", panels, picture, runs[0].env_id)
    print(f"Curves:      {picture}")


def _table(trained: Sequence[tuple[RunDirectory, TrainingSummary]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("seed", "env steps", "time", "return of best", "run"):
        table.add_column(heading, justify="left" if heading == "run" else "right", overflow="fold")
    for run, summary in trained:
        seed, best = str(RunRecord.of(run).seed), summary.best_return
        shown = "-" if best is None else f"{best:.4g}"
        table.add_row(seed, f"{summary.env_steps:,}", clock(summary.seconds), shown, str(run.path))
    best = [summary.best_return for _, summary in trained if summary.best_return is not None]
    if len(best) > 1:
        spread = f"{statistics.mean(best):.4g} +- {statistics.stdev(best):.2g}"
        table.add_row("", "", "", spread, "mean and standard deviation")
    return table
