"""The report of a curriculum: one table and one picture of all its stages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from motrix_train.curriculum.run import Curriculum, Outcome
from motrix_train.plotting.plots import draw_learning_curve
from motrix_train.storage.files import atomic_write
from motrix_train.training.progress import clock

_ABOUT = """\
`return` is that of a whole episode without exploration, with its standard error; it and what follows are of the
policy that the stage hands on, measured in the stage's own environment while it trained.
"""


def write_report(curriculum: Curriculum) -> None:
    """Writes ``report.md`` and ``report.png``.

    Raises:
        RunError: The disk refuses.
    """
    outcomes = curriculum.outcomes()
    text = f"# {curriculum.plan.name}\n\n{report_table(outcomes)}\n{_ABOUT}\n![Curves of all stages](report.png)\n"
    atomic_write(curriculum.path / "report.md", text.encode())
    starts = [0, *accumulate(outcome.env_steps for outcome in outcomes)]
    marks = {outcome.stage.name: start for outcome, start in zip(outcomes, starts, strict=False)}
    title = f"{curriculum.plan.name}   {curriculum.plan.backend}   seed {curriculum.plan.stages[0].cfg.seed}"
    draw_learning_curve(joined_progress(outcomes), curriculum.path / "report.png", title, marks)


def report_table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table with one line for each stage, aligned as plain text."""
    measured = list(dict.fromkeys(name for outcome in outcomes for name in outcome.evaluation))
    further = [name for name in measured if name not in ("mean_return", "standard_error", "mean_length")]
    head = ["stage", "environment", "env steps", "time", "ended", "moves on when", "return", "length", *further]
    lines = [head]
    for outcome in outcomes:
        found = outcome.evaluation
        lines.append(
            [
                outcome.stage.name,
                outcome.stage.env_id,
                f"{outcome.env_steps:,}",
                clock(outcome.seconds),
                str(outcome.ending),
                outcome.stage.condition or "-",
                f"{found['mean_return']:.4g} ± {found['standard_error']:.2g}" if found else "-",
                f"{found['mean_length']:.0f}" if found else "-",
                *(f"{found[name]:.3g}" if name in found else "-" for name in further),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |\n" for line in lines
    )


def joined_progress(outcomes: Sequence[Outcome]) -> dict[str, np.ndarray]:
    """The progress tables of all stages as one, with env steps counted on; NaN where a stage lacks a column."""
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.progress)
    starts = [0, *accumulate(outcome.env_steps for outcome in outcomes)]
    whole: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for outcome, start in zip(outcomes, starts, strict=False):
        lines = len(outcome.progress.get("env_steps", ()))
        for name in names:
            column = outcome.progress.get(name, np.full(lines, np.nan))
            whole[name].append(column + start if name == "env_steps" else column)
    return {name: np.concatenate(columns) for name, columns in whole.items()}
