"""Progress of a training on the terminal: a live line, or a plain line now and then where the output is a file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from motrix_train.plotting.plots import draw_learning_curve
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.callbacks import Callback
from motrix_train.training.records import RolloutStats, TrainingPlan, TrainingSummary

PLAIN_INTERVAL = 15.0  # s between two lines where the output is no terminal
CURVE_INTERVAL = 60.0  # s between two drawings of the learning curve, each of which takes about half a second


class TrainingProgress(Callback):
    """Shows the progress of a training and redraws its learning curve. Enter it around the training.

    Args:
        run: Directory of the curve.
        console: Prints the lines.
    """

    def __init__(self, run: RunDirectory, console: Console):
        self._run = run
        self._title = ""
        self._console = console
        self._next_line = self._next_curve = 0.0
        self._episodes = self._episodes_at = 0
        self._latest = "ended before the first rollout was full"
        self._bar = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.description}", markup=False),
            console=console,
            expand=True,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("first rollout ...", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def started(self, plan: TrainingPlan) -> None:
        """Prints the environment, the budget and the run directory."""
        together = f"   {plan.workers} workers" if plan.workers > 1 else ""
        self._title = f"{plan.env_id}   {plan.backend}   seed {plan.seed}{together}"
        self._print(f"{self._title}   {plan.total_env_steps:,} steps -> {self._run.path}")
        if not plan.resumable:
            self._print("it cannot be resumed, since the environment, or a wrapper around it, has no get_state()")
        if plan.env_steps:
            self._print(f"goes on after {plan.env_steps:,} steps")
        if plan.transfer is not None and plan.transfer.skipped:
            self._print(f"left as they were drawn: {', '.join(plan.transfer.skipped)}")

    def rollout(self, stats: RolloutStats) -> None:
        """Updates the live line, or prints a plain one."""
        if stats.episodes > self._episodes:
            self._episodes, self._episodes_at = stats.episodes, stats.env_steps
        self._latest = line = describe(stats, stats.env_steps - self._episodes_at)
        self._bar.update(self._task, description=line, completed=stats.env_steps, total=stats.total_env_steps)
        if not self._console.is_terminal and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_INTERVAL
            self._print(line)

    def checkpoint_written(self, path: Path) -> None:
        """Redraws the curve now and then."""
        if time.monotonic() >= self._next_curve:
            self._draw()

    def stop_requested(self) -> None:
        """Confirms the stop request."""
        self._print("stopping after this step; again to stop now")

    def finished(self, summary: TrainingSummary) -> None:
        """Draws the whole curve and prints the last line."""
        self._draw()
        self._print(self._latest)
        if summary.interrupted:
            self._print(f"the last policy, from which it goes on: {summary.last}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        draw_learning_curve(self._run.progress(), self._run.curve_path, self._title)
        self._next_curve = time.monotonic() + CURVE_INTERVAL


def describe(stats: RolloutStats, age: int = 0) -> str:
    """One line of progress: steps, rate, time left, return and length of the last episodes.

    Args:
        stats: Of the last rollout.
        age: Env steps since the last episode ended.
    """
    share = stats.env_steps / stats.total_env_steps
    left = stats.seconds * (1 / share - 1) if share > 0 else math.nan
    return (
        f"{share:4.0%}  {stats.env_steps:,}/{stats.total_env_steps:,} steps"
        f"  {stats.env_steps_per_second:,.0f}/s  {clock(left)} left"
        f"  return {_known(stats.mean_return, '.4g')}  length {_known(stats.mean_episode_length, '.0f')}"
        f"{f'  ({age:,} steps ago)' if age and stats.episodes else ''}"
    )


def clock(seconds: float) -> str:
    """A duration as h:mm:ss or m:ss, ``-`` if it is not finite."""
    if not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def share_bar(console: Console, label: str) -> Iterator[Callable[[float], None]]:
    """Shows a bar on a terminal, else prints a line now and then; yields a function that takes the share done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    started = last = time.monotonic()

    def show(share: float) -> None:
        nonlocal last
        bar.update(task, completed=share)
        now = time.monotonic()
        if not console.is_terminal and now >= last + PLAIN_INTERVAL:
            last = now
            left = (now - started) * (1 / share - 1) if share > 0 else math.nan
            console.print(f"{label}: {share:.0%}, {clock(left)} left", markup=False, highlight=False, soft_wrap=True)

    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=1.0)
        yield show


def _known(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)
