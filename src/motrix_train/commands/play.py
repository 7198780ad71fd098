"""`motrix-train play`: a policy as a video, or live."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from motrix_train import environment
from motrix_train.commands.options import EnvFields, Imports, NumThreads, OtherEnv, Pretrained, Target
from motrix_train.errors import UsageError
from motrix_train.policies import TrainedPolicy
from motrix_train.training import video
from motrix_train.training.progress import share_bar
from motrix_train.viewer.show import ViewOptions
from motrix_train.viewer.show import view as view_policy


def play(
    target: Target,
    pretrained: Pretrained = False,
    policy: Annotated[Path | None, typer.Option(help="A policy file, in place of the newest run's best.")] = None,
    video_path: Annotated[
        Path | None,
        typer.Option(
            "--video", metavar="FILE", help="Where to: .mp4, or .png for a strip of moments; without it, the viewer."
        ),
    ] = None,
    num_envs: Annotated[
        int | None, typer.Option(min=1, help="Environments shown in a grid; the preset's by default.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long, in simulated time.")] = 10.0,
    steps: Annotated[int | None, typer.Option(min=1, help="How long, in control steps; wins over --seconds.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which episodes.")] = 0,
    camera: Annotated[str | None, typer.Option(help="A camera of the model, by name.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Size of each environment's picture in pixels, as in 640x480.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(metavar="VX,VY,YAW", help="For a velocity task: m/s ahead and to the left, rad/s.")
    ] = None,
    env_id: OtherEnv = None,
    env_fields: EnvFields = None,
    num_threads: NumThreads = 0,
    imports: Imports = None,
) -> None:
    """Plays a policy into a video, or in the viewer, with its mean actions.

    Example: motrix-train play Motrix/Go1-v0 --num-envs 4 --video go1.mp4

    Example: motrix-train play Motrix/Go1-v0 --pretrained --video go1.mp4

    Example: motrix-train play Motrix/Go1-v0 --command 1.0,0,0.5 --camera track --video turn.mp4

    Example: motrix-train play Motrix/Go1Rough-v0 --env terrain_seed=101 --video unseen.png
    """
    if not math.isfinite(seconds):
        raise UsageError(f"--seconds {seconds} is no length of time: give a number such as 10")
    if video_path is not None:
        video.check_path(video_path)
    fields = environment.parse_kwargs(env_fields or ()) | _commanded(command)
    trained = TrainedPolicy.open(target, policy, env_id, fields, ready_made=pretrained)
    if video_path is None:
        options = ViewOptions(num_envs=num_envs or 1, seed=seed, num_threads=num_threads, about=lambda: trained.about)
        return view_policy(trained.env_id, trained.env_kwargs, trained.acting(), options)
    shown = num_envs or (1 if video_path.suffix == ".png" else trained.checkpoint.config.get("play_num_envs", 1))
    with share_bar(Console(stderr=True), "playing") as on_progress:
        video.film_policy(
            trained.policy,
            trained.env_id,
            trained.env_kwargs,
            video_path,
            num_envs=shown,
            seconds=seconds,
            steps=steps,
            seed=seed,
            size=_pixels(size),
            camera=camera,
            num_threads=num_threads,
            on_progress=on_progress,
        )
    print(f"{trained.path} -> {video_path}")


def _commanded(command: str | None) -> dict[str, Any]:
    """The fields of a velocity task that always asks for one velocity."""
    if command is None:
        return {}
    try:
        velocity = [float(part) for part in command.split(",")]
    except ValueError:
        velocity = []
    if len(velocity) != 3 or not all(map(math.isfinite, velocity)):
        raise UsageError(f"--command {command}: give m/s ahead, m/s to the left and rad/s, such as 1.0,0,0.5")
    return {"command_low": velocity, "command_high": velocity, "still_probability": 0.0}


def _pixels(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 16 <= int(width) <= 4096 and 16 <= int(height) <= 4096):
        raise UsageError(f"--size {size}: give a width and a height of 16 to 4096 pixels, such as 640x480")
    return int(width), int(height)
