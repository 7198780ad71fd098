"""`motrix-train evaluate`: how good a policy is."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from motrix_train import evaluation
from motrix_train.commands.options import AsJson, BackendName, Device, NumThreads, Target
from motrix_train.policies import TrainedPolicy
from motrix_train.progress import share_bar


def evaluate(
    target: Target,
    episodes: Annotated[int, typer.Option(min=1, help="Whole episodes, one a row.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Which episodes; never those of a training.")] = 0,
    as_json: AsJson = False,
    backend: BackendName = "auto",
    device: Device = None,
    num_threads: NumThreads = 0,
) -> None:
    """Measures a policy over whole fresh episodes, with its mean actions.

    Example: motrix-train evaluate Motrix/Go1-v0 --episodes 256 --json
    """
    trained = TrainedPolicy.open(target, None, backend, device)
    checkpoint = trained.checkpoint
    with share_bar(Console(stderr=True), "evaluating") as on_progress:
        measured = evaluation.evaluate(
            trained.policy, checkpoint.env_id, checkpoint.env_kwargs, episodes, seed, num_threads, on_progress
        )
    if as_json:
        origin = {"env_id": measured.env_id, "backend": checkpoint.backend, "policy": str(trained.path)}
        trained = {"env_steps": checkpoint.env_steps}
        print(json.dumps(origin | trained | dataclasses.asdict(measured), indent=2))
        return
    print(f"{trained.path}: {checkpoint.env_id}, {checkpoint.backend}, {checkpoint.env_steps:,} steps trained")
    Console().print(_evaluation_table(measured))


def _evaluation_table(measured: evaluation.Evaluation) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("episodes", f"{measured.episodes}  (seed {measured.seed})")
    table.add_row("return", f"{measured.mean_return:.4g} +- {measured.std_return:.3g}")
    table.add_row("length", f"{measured.mean_length:.1f} steps")
    for reason, share in measured.termination.items():
        table.add_row(f"ended: {reason}", f"{share:.2%}")
    table.add_row("reached the time limit", f"{measured.truncation:.2%}")
    for name, value in measured.metrics.items():
        table.add_row(name, f"{value:.4g}")
    return table
