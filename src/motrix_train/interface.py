"""Training and evaluation from Python, with the defaults of the `motrix-train` command.

import motrix_train

run = motrix_train.train("Motrix/CartPole-v0", seed=1, settings={"rollouts": 32})
run.progress["mean_return"]
motrix_train.evaluate(run.path, episodes=64).mean_return
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from motrix_train import environment, presets
from motrix_train.errors import UsageError
from motrix_train.learning.backend import select
from motrix_train.learning.transfer import InitFrom
from motrix_train.policies import TrainedPolicy, locate
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.callbacks import Callback, CallbackList
from motrix_train.training.evaluation import Evaluation, evaluate_policy
from motrix_train.training.progress import TrainingProgress
from motrix_train.training.records import TrainingSummary
from motrix_train.training.request import TrainRequest
from motrix_train.training.run import train_run


@dataclass(frozen=True)
class TrainedRun:
    """A finished training.

    Attributes:
        path: The run's directory.
        summary: How it ended.
    """

    path: Path
    summary: TrainingSummary

    @property
    def best_policy(self) -> Path:
        """The checkpoint that was best in the evaluations; the last one without evaluations."""
        return RunDirectory.open(self.path).best_policy()

    @property
    def progress(self) -> dict[str, np.ndarray]:
        """Columns of `progress.csv` by name, each (updates,) float, NaN where nothing is known."""
        return RunDirectory.open(self.path).progress()


def train(
    env_id: str,
    *,
    backend: str = "auto",
    seed: int | None = None,
    num_envs: int | None = None,
    max_env_steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    init_from: str | Path | None = None,
    device: str | None = None,
    run_dir: str | Path | None = None,
    num_threads: int = 0,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
) -> TrainedRun:
    """Trains a policy into a run directory, as `motrix-train train` does.

    Args:
        env_id: Registered id; a ``module:`` before it is imported.
        backend: "torch", "jax", or "auto" for one that finds a GPU, else one that is installed.
        seed: Seed of the run, None for the preset's.
        num_envs: Environments stepped together, None for the preset's.
        max_env_steps: Budget in env steps, None for the preset's.
        settings: Fields of the configuration that differ from the preset; ``{"algorithm": "sac"}`` trains with SAC.
        env_kwargs: Fields of the task.
        init_from: A run, or a policy file, whose networks the training starts from.
        device: Of the networks, as in ``"cpu"``; None takes a GPU if there is one.
        run_dir: The run's own new directory, None for one below ``runs/``.
        num_threads: Physics threads, 0 for all CPUs.
        quiet: Whether to print no progress.
        callbacks: Hooks of the training; see `motrix_train.training.callbacks.Callback`.

    Returns:
        The run. Ctrl-C ends the training early with its last policy written: ``summary.interrupted``.

    Raises:
        UsageError: A setting is wrong: names the value and the remedy.
        RunError: The disk refuses, or the training diverges.
    """
    request = train_request(
        env_id,
        backend=backend,
        seed=seed,
        settings={**(settings or {}), **_given(num_envs=num_envs, max_env_steps=max_env_steps)},
        env_kwargs=env_kwargs or {},
        origin=None if init_from is None else InitFrom(checkpoint.read(locate(str(init_from), None)[1])),
        device=device,
        num_threads=num_threads,
    )
    run = request.create_run(f"motrix_train.train({env_id!r}, ...)", None if run_dir is None else Path(run_dir))
    with TrainingProgress(run, Console(stderr=True, quiet=quiet)) as progress:
        summary = train_run(run, CallbackList([*callbacks, progress]))
    return TrainedRun(run.path, summary)


def evaluate(
    target: str | Path,
    *,
    episodes: int = 256,
    seed: int = 0,
    stochastic: bool = False,
    pretrained: bool = False,
    env_id: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    num_threads: int = 0,
) -> Evaluation:
    """Measures a policy over whole fresh episodes, as `motrix-train evaluate` does.

    Args:
        target: An environment id (its newest run), a run directory (its best policy) or a policy file.
        episodes: How many episodes.
        seed: Which episodes; never those of a training.
        stochastic: Whether to act with the exploration noise of training.
        pretrained: Whether to take the ready-made policy of the environment that `target` names.
        env_id: Another environment with the same spaces.
        env_kwargs: Fields of the task beside those that it was trained with.
        num_threads: Physics threads, 0 for all CPUs.

    Raises:
        UsageError: There is no such policy, or it does not fit the environment.
        RunError: The file is damaged.
    """
    trained = TrainedPolicy.open(str(target), None, env_id, env_kwargs, ready_made=pretrained)
    act = trained.acting(np.random.default_rng(seed) if stochastic else None)
    return evaluate_policy(act, trained.env_id, trained.env_kwargs, episodes, seed, num_threads)


def train_request(
    env_id: str,
    *,
    backend: str = "auto",
    seed: int | None = None,
    random_seed: bool = False,
    settings: Mapping[str, Any],
    env_kwargs: Mapping[str, Any],
    origin: InitFrom | None = None,
    device: str | None = None,
    num_threads: int = 0,
    workers: int = 1,
) -> TrainRequest:
    """Makes a request from the preset of an environment and the settings that differ from it.

    Args:
        env_id: Registered id, as the user has typed it; a ``module:`` before it is imported.
        backend: "torch", "jax" or "auto".
        seed: Of the run, None for the preset's.
        random_seed: Whether to draw a seed.
        settings: Fields of the configuration, as values or as text.
        env_kwargs: Fields of the task.
        origin: A policy to start from.
        device: Of the networks.
        num_threads: Physics threads.
        workers: How many processes train it.

    Raises:
        UsageError: One of the settings is wrong.
    """
    spec = environment.import_and_find_spec(env_id)
    chosen = select(backend)
    cfg = presets.configured(spec.id, chosen.NAME, settings)
    if random_seed and seed is not None:
        raise UsageError(f"--seed {seed} and --random-seed exclude each other: give one of them")
    if seed is None:
        seed = secrets.randbits(31) if random_seed or cfg.seed is None else cfg.seed
    return TrainRequest(
        env_id=env_id if ":" in env_id else spec.id,
        env_kwargs=env_kwargs,
        backend=chosen.NAME,
        cfg=dataclasses.replace(cfg, seed=seed),
        device=device,
        num_threads=num_threads,
        origin=origin,
        workers=workers,
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
