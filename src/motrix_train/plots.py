"""The learning curve as a picture."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from motrix_train.run_directory import write_whole

PANELS = {  # column of progress.csv, or a group of columns -> heading
    "mean_return": "return of an episode",
    "mean_episode_length": "length of an episode, steps",
    "metrics/": "metrics, mean of a step",
    "reward_terms/": "reward terms, per second",
}


def learning_curve(
    progress: Mapping[str, np.ndarray], path: Path, title: str, marks: Mapping[str, float] = MappingProxyType({})
) -> None:
    """Draws return, episode length, metrics and reward terms over the environment steps, PNG.

    Args:
        progress: Columns of `progress.csv`, each (lines,); a panel without a column is left out.
        path: Where to write; replaced in one piece.
        title: Above the panels.
        marks: Env steps of events that get a line across every panel, by name.

    Raises:
        RunError: The disk refuses.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    panels = {column: lines for column in PANELS if (lines := _lines(progress, column))}
    rows = max(1, math.ceil(len(panels) / 2))
    figure = Figure(figsize=(12, 3.4 * rows), layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(rows, 2, squeeze=False).flat)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    steps = np.asarray(progress.get("env_steps", ()))
    for axis, (column, lines) in zip(axes, panels.items(), strict=False):
        axis.set_prop_cycle(color=colormaps["tab10" if len(lines) <= 10 else "tab20"](range(len(lines))))
        for name, values in lines.items():
            known = np.isfinite(values)
            marker = "o" if known.sum() == 1 else None
            axis.plot(steps[known], values[known], label=name, linewidth=1.2, marker=marker)
        for name, place in marks.items():
            axis.axvline(place, color="0.5", linewidth=0.8, linestyle="--")
            corner = {"xy": (place, 1.0), "xycoords": axis.get_xaxis_transform(), "textcoords": "offset points"}
            axis.annotate(name, **corner, xytext=(3, -2), va="top", rotation=90, fontsize=7, color="0.3")
        axis.set_title(PANELS[column], fontsize=10, loc="left")
        axis.set_xlabel("environment steps", fontsize=8)
        axis.xaxis.set_major_formatter(EngFormatter())
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if column.endswith("/"):
            axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    write_whole(path, image.getvalue())


def _lines(progress: Mapping[str, np.ndarray], column: str) -> dict[str, np.ndarray]:
    """The columns of one panel that hold a number: `column`, or all of its group if it ends in a slash."""
    names = [name for name in progress if (name.startswith(column) if column.endswith("/") else name == column)]
    return {name.removeprefix(column) or name: progress[name] for name in names if np.isfinite(progress[name]).any()}
