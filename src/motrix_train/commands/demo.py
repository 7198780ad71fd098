"""`motrix-train demo`: a ready-made policy at work, in the viewer or in a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from motrix_train.commands.options import Imports, NumThreads, complete_env_id
from motrix_train.commands.program import command
from motrix_train.errors import RunError
from motrix_train.operating_system import has_display
from motrix_train.policies import TrainedPolicy
from motrix_train.storage.files import numbered
from motrix_train.training import video
from motrix_train.training.progress import share_bar
from motrix_train.viewer.show import ViewOptions, require_studio
from motrix_train.viewer.show import view as view_policy

SECONDS = 10.0
SIZE = 640, 480  # pixels


def demo(
    env_id: Annotated[
        str,
        typer.Argument(metavar="ENV", help="An id with a ready-made policy.", autocompletion=complete_env_id),
    ] = "Motrix/Go1-v0",
    video_path: Annotated[
        Path | None, typer.Option("--video", metavar="FILE", help="Film it into this .mp4 or .png, without a viewer.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Which episodes.")] = 0,
    imports: Imports = None,
    num_threads: NumThreads = 0,
) -> None:
    """Shows a ready-made policy in the browser, or films it where there is no display.

    Example: motrix-train demo

    Example: motrix-train demo Motrix/AnymalCNavigation-v0 --video anymal.mp4
    """
    trained = TrainedPolicy.open(env_id, ready_made=True)
    if video_path is None and has_display():
        try:
            require_studio()
        except RunError as missing:
            print(f"{missing}; a video instead:")
        else:
            options = ViewOptions(seed=seed, num_threads=num_threads, about=lambda: f"ready-made, {trained.env_id}")
            return view_policy(trained.env_id, trained.env_kwargs, trained.acting(), options)
    path = video_path or next(path for path in numbered(Path(f"{trained.path.stem}.mp4")) if not path.exists())
    video.check_path(path)
    with share_bar(Console(stderr=True), "filming") as on_progress:
        video.film_policy(
            trained.policy,
            trained.env_id,
            trained.env_kwargs,
            path,
            num_envs=1,
            seconds=SECONDS,
            seed=seed,
            size=SIZE,
            num_threads=num_threads,
            on_progress=on_progress,
        )
    print(f"{trained.env_id} -> {path}")
    if video_path is None:
        print(f"Drive it in a page: {command('view', env_id, '--pretrained')}")
