"""`motrix-train evaluate`: measures a policy."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from motrix_train import environment
from motrix_train.commands.options import (
    AsJson,
    EnvFields,
    Imports,
    NumThreads,
    OtherEnv,
    Physics,
    Pretrained,
    Target,
    with_physics,
)
from motrix_train.policies import TrainedPolicy
from motrix_train.training.evaluation import Evaluation, evaluate_policy
from motrix_train.training.progress import share_bar


def evaluate(
    target: Target,
    pretrained: Pretrained = False,
    episodes: Annotated[int, typer.Option(min=1, metavar="N", help="Whole episodes, one for each environment.")] = 256,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Which episodes; never those of a training.")] = 0,
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="With the exploration noise of training, in place of the mean.")
    ] = False,
    env_id: OtherEnv = None,
    env_fields: EnvFields = None,
    as_json: AsJson = False,
    physics: Physics = None,
    num_threads: NumThreads = 0,
    imports: Imports = None,
) -> None:
    """Measures a policy over whole fresh episodes.

    It is the first episode of each environment, so that short ones count no more.

    Example: motrix-train evaluate Motrix/Go1-v0 --episodes 256 --json

    Example: motrix-train evaluate Motrix/Go1-v0 --pretrained

    Example: motrix-train evaluate Motrix/Go1-v0 --pretrained --physics warp

    Example: motrix-train evaluate runs/my_walker --env 'command_high=[2.0, 0.8, 1.0]' --stochastic
    """
    fields = environment.parse_kwargs(with_physics(env_fields, physics))
    trained = TrainedPolicy.open(target, None, env_id, fields, ready_made=pretrained)
    checkpoint, act = trained.checkpoint, trained.acting(np.random.default_rng(seed) if stochastic else None)
    with share_bar(Console(stderr=True), "evaluating") as on_progress:
        measured = evaluate_policy(act, trained.env_id, trained.env_kwargs, episodes, seed, num_threads, on_progress)
    if as_json:
        about = {"env_id": measured.env_id, "backend": checkpoint.backend, "policy": str(trained.path)}
        about |= {"env_steps": checkpoint.env_steps, "stochastic": stochastic}
        print(json.dumps(about | dataclasses.asdict(measured), indent=2))
        return
    print(f"{trained.path}: {checkpoint.env_id}, {checkpoint.backend}, {checkpoint.env_steps:,} steps trained")
    if trained.env_id != checkpoint.env_id:
        print(f"in {trained.env_id}")
    Console().print(_evaluation_table(measured))


def _evaluation_table(measured: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("episodes", f"{measured.episodes}  (seed {measured.seed})")
    table.add_row("return", f"{measured.mean_return:.4g}{_between(measured.return_ci95, '.4g')}")
    table.add_row("standard deviation", f"{measured.std_return:.3g}")
    table.add_row("length", f"{measured.mean_length:.1f} steps")
    for reason, share in measured.termination.items():
        table.add_row(f"ended: {reason}", f"{share:.2%}{_between(measured.termination_ci95[reason], '.2%')}")
    table.add_row("reached the time limit", f"{measured.truncation:.2%}")
    if measured.success is not None:
        table.add_row("success", f"{measured.success:.2%}{_between(measured.success_ci95, '.2%')}")
    for name, value in measured.metrics.items():
        table.add_row(name, f"{value:.4g}")
    for name, task in measured.by_task.items():
        table.add_row(f"{name}: episodes", f"{task.episodes}")
        table.add_row(f"{name}: return", f"{task.mean_return:.4g}{_between(task.return_ci95, '.4g')}")
        table.add_row(f"{name}: reached the time limit", f"{task.truncation:.2%}")
        if task.success is not None:
            table.add_row(f"{name}: success", f"{task.success:.2%}")
    return table


def _between(interval: tuple[float, float] | None, form: str) -> str:
    return f"   (95 %: {interval[0]:{form}} to {interval[1]:{form}})" if interval else ""
