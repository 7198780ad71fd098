"""Draws learning curves, of one run and of several in comparison."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from motrix_train.plotting.comparison import Band, Curve, Group
from motrix_train.storage.files import atomic_write
from motrix_train.storage.progress_table import measured

PANELS = {  # column of progress.csv, or a group of columns -> heading
    "mean_return": "return of an episode",
    "mean_episode_length": "length of an episode, steps",
    "metrics/": "metrics, mean of a step",
    "reward_terms/": "reward terms, per second",
}
COMPARED = ("mean_return", "evaluation/mean_return", "return_by_task/", "mean_episode_length", "metrics/")
ABSCISSAS = {"env_steps": "environment steps", "seconds": "seconds of training"}
LEGEND_WIDTH = 70  # characters


def draw_learning_curve(
    progress: Mapping[str, np.ndarray], path: Path, title: str, marks: Mapping[str, float] = MappingProxyType({})
) -> None:
    """Draws return, episode length, metrics and reward terms over the environment steps, PNG.

    Args:
        progress: Columns of `progress.csv`, each (lines,); a panel without a column is left out.
        path: The file, replaced atomically.
        title: Above the panels.
        marks: Env steps of events that get a line across every panel, by name.

    Raises:
        RunError: The disk refuses.
    """
    panels = {column: lines for column in PANELS if (lines := _lines(progress, column))}
    figure, axes = _figure(len(panels), title)
    steps = np.asarray(progress.get("env_steps", ()))
    for axis, (column, lines) in zip(axes, panels.items(), strict=True):
        axis.set_prop_cycle(color=_colours(len(lines)))
        for name, values in lines.items():
            known = np.isfinite(values)
            _plot(axis, steps[known], values[known], label=name, linewidth=1.2)
        for name, place in marks.items():
            axis.axvline(place, color="0.5", linewidth=0.8, linestyle="--")
            corner = {"xy": (place, 1.0), "xycoords": axis.get_xaxis_transform(), "textcoords": "offset points"}
            axis.annotate(name, **corner, xytext=(3, -2), va="top", rotation=90, fontsize=7, color="0.3")
        _finish(axis, PANELS[column], "env_steps")
        if column.endswith("/"):
            axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _write(figure, path)


def draw_comparison(groups: Sequence[Group], x: str, columns: Sequence[str], path: Path, title: str) -> None:
    """Draws columns of several runs, PNG: for each group the mean, the range of its runs, and each of them.

    Args:
        groups: The runs, grouped by their settings.
        x: Column to draw over, "env_steps" or "seconds".
        columns: The columns to draw, a panel each.
        path: The file, replaced atomically.
        title: Above the panels.

    Raises:
        RunError: The disk refuses.
    """
    figure, axes = _figure(len(columns), f"{title}\nmean of the runs, band from the lowest to the highest of them")
    for axis, column in zip(axes, columns, strict=True):
        for group, colour in zip(groups, _colours(len(groups)), strict=True):
            curves = [curve for run in group.runs if (curve := Curve.of(run, x, column))]
            for curve in curves if len(curves) > 1 else ():
                _plot(axis, curve.x, curve.y, color=colour, linewidth=0.6, alpha=0.5)
            if curves and (band := Band.of(curves)):
                _plot(axis, band.x, band.mean, color=colour, linewidth=1.8)
                axis.fill_between(band.x, band.low, band.high, color=colour, alpha=0.15, linewidth=0)
        heading = "return of an episode in evaluation" if column == "evaluation/mean_return" else column
        _finish(axis, PANELS.get(column, heading), x)
    _add_legend(figure, groups)
    _write(figure, path)


def _figure(panels: int, title: str) -> tuple[Any, list[Any]]:
    """A figure and the axes of its panels, two in a row."""
    from matplotlib.figure import Figure

    rows = max(1, math.ceil(panels / 2))
    figure = Figure(figsize=(12, 3.4 * rows), layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(rows, 2, squeeze=False).flat)
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, axes[:panels]


def _plot(axis: Any, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
    """Draws a line, or a dot for a single point."""
    axis.plot(x, y, marker="o" if len(x) == 1 else None, **style)


def _finish(axis: Any, heading: str, x: str) -> None:
    from matplotlib.ticker import EngFormatter

    axis.set_title(heading, fontsize=10, loc="left")
    axis.set_xlabel(ABSCISSAS[x], fontsize=8)
    axis.xaxis.set_major_formatter(EngFormatter())
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _add_legend(figure: Any, groups: Sequence[Group]) -> None:
    from matplotlib.lines import Line2D

    lines = []
    for group, colour in zip(groups, _colours(len(groups)), strict=True):
        label = f"{group.label} ({len(group.runs)} {'run' if len(group.runs) == 1 else 'runs'})"
        lines.append(Line2D([], [], color=colour, linewidth=1.8, label=textwrap.fill(label, LEGEND_WIDTH)))
    figure.legend(handles=lines, loc="outside lower center", ncols=min(2, len(lines)), fontsize=8, frameon=False)


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    palette = colormaps["tab10" if count <= 10 else "tab20"]
    return [palette(number % palette.N) for number in range(count)]


def _write(figure: Any, path: Path) -> None:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    atomic_write(path, image.getvalue())


def _lines(progress: Mapping[str, np.ndarray], column: str) -> dict[str, np.ndarray]:
    """The columns of one panel that hold a number: `column`, or all of its group if it ends in a slash."""
    names = [name for name in progress if (name.startswith(column) if column.endswith("/") else name == column)]
    lines = {name.removeprefix(column) or name: measured(progress, name) for name in names}
    return {name: values for name, values in lines.items() if np.isfinite(values).any()}
