"""Groups runs that differ by their seed alone, and averages their curves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motrix_train import environment, schema
from motrix_train.config import from_json, to_json
from motrix_train.errors import RunError, UsageError
from motrix_train.storage.progress_table import measured
from motrix_train.storage.run_directory import RUNS, RunDirectory
from motrix_train.storage.run_record import RunRecord

# entries of a run's configuration that do not change what it learns
RECORDS = ("env_id", "created", "command", "versions", "resumed", "device", "num_threads", "wandb", "video_every")
REPEATED = ("seed", "num_envs")  # also in the PPO configuration
NOT_LEARNT_WITH = (  # fields of the PPO configuration that do not change what a run learns
    "seed",
    "max_env_steps",
    "check_point_interval",
    "check_points_kept",
    "evaluation_interval",
    "evaluation_episodes",
    "play_num_envs",
)

Settings = Mapping[tuple[str, str], str]  # section of the configuration and name in it -> value, JSON


@dataclass(frozen=True)
class Run:
    """The settings and the progress of one run.

    Attributes:
        path: Its directory.
        env_id: Registered id.
        settings: The settings that change what it learns.
        progress: Columns of ``progress.csv``, (lines,) each.
    """

    path: Path
    env_id: str
    settings: Settings
    progress: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, directory: RunDirectory) -> Run:
        """Reads a run, also one that is still in training.

        Raises:
            RunError: The run is damaged, or has no progress yet.
        """
        config = directory.config()
        try:
            schema.check_known(RunRecord, config)
            for name in ("env_id", "backend", "config"):
                if name not in config:
                    raise UsageError(f"{name} is missing")
            env_id, settings = config["env_id"], dict(_settings(config))
        except UsageError as damage:
            raise RunError(f"{directory.config_path} is damaged or of another version ({damage})") from damage
        progress = directory.progress()
        if not progress:
            raise RunError(f"{directory.path} has no progress yet: its first rollout is not over")
        return cls(directory.path, env_id, settings, progress)


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone, labelled with the settings that differ from other groups."""

    label: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Curve:
    """A column over another one, where both are finite: (k,) each, k >= 1, the abscissa ascending."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, run: Run, x: str, column: str) -> Curve | None:
        """The curve of a run, None without a finite point."""
        nothing = np.full(len(next(iter(run.progress.values()))), np.nan)
        xs, ys = run.progress.get(x, nothing), measured(run.progress, column) if column in run.progress else nothing
        known = np.isfinite(xs) & np.isfinite(ys)
        order = np.argsort(xs[known], kind="stable")
        return cls(xs[known][order], ys[known][order]) if known.any() else None


@dataclass(frozen=True)
class Band:
    """The mean of several curves and their range, where all of them are known: (k,) each."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> Band | None:
        """Interpolates the curves linearly; None if they share no abscissa."""
        grid = np.unique(np.concatenate([curve.x for curve in curves]))
        grid = grid[(grid >= max(curve.x[0] for curve in curves)) & (grid <= min(curve.x[-1] for curve in curves))]
        if not len(grid):
            return None
        values = np.stack([np.interp(grid, curve.x, curve.y) for curve in curves])  # (runs, k)
        return cls(grid, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


def find_runs(targets: Iterable[str], root: Path = RUNS) -> list[RunDirectory]:
    """Finds the runs that are named on the command line, each once.

    Args:
        targets: Each a run, a directory with runs somewhere below it, or an environment id.
        root: Parent directory of the runs of all environments.

    Raises:
        UsageError: One of the targets has no run.
    """
    found = {run.path.resolve(): run for target in targets for run in _runs_of(target, root)}
    return list(found.values())


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Groups one or more runs by their settings, in their order."""
    by_settings: dict[frozenset[Any], list[Run]] = {}
    for run in runs:
        by_settings.setdefault(frozenset(run.settings.items()), []).append(run)
    if len(by_settings) == 1:
        (alike,) = by_settings.values()
        return [Group(json.loads(alike[0].settings["backend", ""]), (*alike,))]
    shared = frozenset.intersection(*by_settings)
    return [Group(_label(settings - shared), (*alike,)) for settings, alike in by_settings.items()]


def _runs_of(target: str, root: Path) -> list[RunDirectory]:
    path = Path(target)
    if not path.is_dir():
        try:
            path = root / environment.import_and_find_spec(target).id
        except UsageError as unknown:
            raise UsageError(f"there is no run directory {target}, and {unknown}") from unknown
    runs = list(_below(path))
    if not runs:
        raise UsageError(f"there is no run under {path}/: give what `motrix-train train` made")
    return runs


def _below(path: Path) -> Iterator[RunDirectory]:
    """The run at a path, or those in the directories below it, by name."""
    for directory, names, _ in os.walk(path):
        run = RunDirectory(Path(directory))
        if run.config_path.is_file():
            names.clear()
            yield run
        names[:] = sorted(name for name in names if not name.startswith("."))


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """The settings that change what a run learns; fields that are newer than the run have their default."""
    fields = to_json(from_json(config["config"]))
    yield from _flat("config", {name: value for name, value in fields.items() if name not in NOT_LEARNT_WITH})
    for section, value in config.items():
        if section not in ("config", *RECORDS, *REPEATED):
            yield from _flat(section, value)


def _flat(section: str, value: Any, prefix: str = "") -> Iterator[tuple[tuple[str, str], str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(section, inner, f"{prefix}.{name}" if prefix else name)
    elif prefix or value is not None:
        yield (section, prefix), json.dumps(value)


def _label(settings: Iterable[tuple[tuple[str, str], str]]) -> str:
    """The settings as the command line takes them, the backend first."""
    words = []
    for (section, name), value in sorted(settings):
        match section:
            case "backend":
                words.append(json.loads(value))
            case "config" | "env_kwargs":
                words.append(f"{name}={value}")
            case _:
                words.append(f"{section}.{name}={value}" if name else f"{section}={value}")
    return ", ".join(words) or "defaults"
