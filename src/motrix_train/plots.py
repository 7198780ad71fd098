"""The learning curve as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from motrix_train.run_directory import write_whole

PANELS = (
    ("mean_return", "return of an episode"),
    ("mean_episode_length", "length of an episode, steps"),
    ("metrics/", "metrics, mean of a step"),
    ("reward_terms/", "reward terms, per second"),
)


def learning_curve(progress: Mapping[str, np.ndarray], path: Path, title: str) -> None:
    """Draws return, episode length, metrics and reward terms over the environment steps, PNG.

    Args:
        progress: Columns of `progress.csv`, each (lines,); a panel without a column is left out.
        path: Where to write; replaced in one piece.
        title: Above the panels.

    Raises:
        RunError: The disk refuses.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(label, _lines(progress, column)) for column, label in PANELS]
    panels = [(label, lines) for label, lines in panels if lines]
    figure = Figure(figsize=(11, 3.4 * max(1, (len(panels) + 1) // 2)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = figure.subplots(max(1, (len(panels) + 1) // 2), 2, squeeze=False).flat
    steps = np.asarray(progress.get("env_steps", ()))
    for axis, (label, lines) in zip(axes, panels, strict=False):
        for name, values in lines.items():
            known = np.isfinite(values)
            marker = "o" if known.sum() == 1 else None
            axis.plot(
                steps[known] / 1e6, values[known], label=name, linewidth=1.2, marker=marker, markersize=3
            )
        axis.set_title(label, fontsize=10, loc="left")
        axis.set_xlabel("million environment steps", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    for axis in list(axes):
        axis.set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    write_whole(path, image.getvalue())


def _lines(progress: Mapping[str, np.ndarray], column: str) -> dict[str, np.ndarray]:
    """The columns of one panel that hold a number: the column itself, or all below it if it ends in a slash."""
    names = [
        name for name in progress if (name.startswith(column) if column.endswith("/") else name == column)
    ]
    return {
        name.removeprefix(column) or name: progress[name]
        for name in names
        if np.isfinite(progress[name]).any()
    }
