"""`motrix-train play`: a policy as a video."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from motrix_train import environment, video
from motrix_train.commands.options import BackendName, Device, EnvFields, Imports, NumThreads, OtherEnv, Target
from motrix_train.errors import UsageError
from motrix_train.policies import TrainedPolicy
from motrix_train.progress import share_bar


def play(
    target: Target,
    policy: Annotated[Path | None, typer.Option(help="A policy file, in place of the newest run's best.")] = None,
    video_path: Annotated[
        Path | None,
        typer.Option("--video", metavar="FILE", help="Where to: .mp4, or .png for a strip of moments."),
    ] = None,
    num_envs: Annotated[int | None, typer.Option(min=1, help="Rows shown in a grid; the preset's by default.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long, in simulated time.")] = 10.0,
    steps: Annotated[int | None, typer.Option(min=1, help="How long, in control steps; wins over --seconds.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which episodes.")] = 0,
    env_id: OtherEnv = None,
    env_fields: EnvFields = None,
    backend: BackendName = "auto",
    device: Device = None,
    num_threads: NumThreads = 0,
    imports: Imports = None,
) -> None:
    """Plays a policy into a video, with its mean actions.

    Example: motrix-train play Motrix/Go1-v0 --num-envs 4 --video go1.mp4

    Example: motrix-train play Motrix/Go1Rough-v0 --env terrain_seed=101 --video unseen.png
    """
    if video_path is None:
        raise UsageError("play shows no window: name a file for what is to be seen, for example --video play.mp4")
    if not math.isfinite(seconds):
        raise UsageError(f"--seconds {seconds} is no length of time: give a number such as 10")
    video.check_path(video_path)
    fields = environment.parse_kwargs(env_fields or ())
    trained = TrainedPolicy.open(target, policy, backend, device, env_id, fields)
    rows = num_envs or (1 if video_path.suffix == ".png" else trained.checkpoint.config.get("play_num_envs", 1))
    with share_bar(Console(stderr=True), "playing") as on_progress:
        video.film(
            trained.policy,
            trained.env_id,
            trained.env_kwargs,
            video_path,
            num_envs=rows,
            seconds=seconds,
            steps=steps,
            seed=seed,
            num_threads=num_threads,
            on_progress=on_progress,
        )
    print(f"{trained.path} -> {video_path}")
