"""`motrix-train train`: one training into one run directory."""

from __future__ import annotations

import dataclasses
import secrets
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from motrix_train import environment, presets, training
from motrix_train.backend import select
from motrix_train.commands.options import (
    PROGRAM,
    BackendName,
    Device,
    EnvFields,
    EnvId,
    NumThreads,
    Settings,
    split_assignments,
)
from motrix_train.config import PPOCfg, override, to_json
from motrix_train.errors import UsageError
from motrix_train.progress import TrainingProgress
from motrix_train.run_directory import RUNS, RunDirectory, versions


def train(
    context: typer.Context,
    env_id: EnvId,
    backend: BackendName = "auto",
    num_envs: Annotated[int | None, typer.Option(min=1, help="Environments stepped together.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run; the preset's by default.")] = None,
    random_seed: Annotated[bool, typer.Option("--random-seed", help="Draw a seed.")] = False,
    max_env_steps: Annotated[int | None, typer.Option(min=1, help="Environment steps in all.")] = None,
    settings: Settings = None,
    env_fields: EnvFields = None,
    device: Device = None,
    run_dir: Annotated[Path | None, typer.Option(help="The run's own new directory.")] = None,
    num_threads: NumThreads = 0,
) -> None:
    """Trains a policy, into runs/ENV/TIME_BACKEND_seedN/. Ctrl-C ends it early and keeps the last policy.

    Example: motrix-train train Motrix/Go1-v0 --seed 1 --set rollouts=32 --env reward_weights.torques=0
    """
    spec = environment.find(env_id)
    assignments = split_assignments(settings)
    assignments |= {"num_envs": str(num_envs)} if num_envs is not None else {}
    assignments |= {"max_env_steps": str(max_env_steps)} if max_env_steps is not None else {}
    chosen = select(backend)
    cfg = override(presets.preset(spec.id, chosen.NAME), assignments)
    env_kwargs = environment.parse_kwargs(env_fields or ())
    run_seed = _run_seed(seed, random_seed, cfg)
    cfg = dataclasses.replace(cfg, seed=run_seed)
    environment.make(spec.id, 1, env_kwargs).close()

    resolved = {
        "env_kwargs": env_kwargs,
        "num_envs": cfg.num_envs,
        "num_threads": num_threads,
        "device": device,
        "config": to_json(cfg),
        "versions": versions(),
        "command": context.obj,
    }
    run = RunDirectory.create(RUNS, spec.id, chosen.NAME, run_seed, resolved, run_dir)
    try:
        with TrainingProgress(run, Console(stderr=True)) as progress:
            summary = training.train(
                env_id=spec.id,
                env_kwargs=env_kwargs,
                cfg=cfg,
                backend=chosen,
                seed=run_seed,
                num_envs=cfg.num_envs,
                device=device,
                run=run,
                listener=progress,
                num_threads=num_threads,
            )
    except BaseException:
        if not run.has_trained():
            run.discard()
        raise
    print(f"{'Stopped early' if summary.interrupted else 'Trained'}: {run.path}")
    print(f"Best policy: {run.best_policy()}")
    print(f"Measure it:  {shlex.join([PROGRAM, 'evaluate', str(run.path)])}")
    print(f"Watch it:    {shlex.join([PROGRAM, 'play', str(run.path), '--video', 'play.mp4'])}")
    if summary.interrupted:
        raise typer.Exit(130)


def _run_seed(seed: int | None, random_seed: bool, cfg: PPOCfg) -> int:
    if random_seed and seed is not None:
        raise UsageError(f"--seed {seed} and --random-seed exclude each other: give one of them")
    if seed is not None:
        return seed
    return secrets.randbits(31) if random_seed or cfg.seed is None else cfg.seed
