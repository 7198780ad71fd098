"""`motrix-train train`: one training into one run directory, begun or resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from motrix_train import environment
from motrix_train.commands.options import (
    MACHINE,
    Algorithm,
    BackendName,
    ConfigFile,
    Device,
    EnvFields,
    Imports,
    NumThreads,
    Physics,
    Settings,
    complete_env_id,
    complete_run,
    complete_target,
    parse_count,
    read_changes,
    with_physics,
)
from motrix_train.commands.processes import LAUNCHERS, connect_processes
from motrix_train.commands.program import PROGRAM, command
from motrix_train.distributed import ProcessGroup
from motrix_train.errors import UsageError
from motrix_train.interface import train_request
from motrix_train.learning.transfer import InitFrom
from motrix_train.policies import locate, locate_ready_made
from motrix_train.storage.checkpoint import read
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.run_record import RunRecord
from motrix_train.storage.versions import changed_versions
from motrix_train.training import seeds_report
from motrix_train.training.callbacks import Callback, CallbackList
from motrix_train.training.progress import TrainingProgress
from motrix_train.training.records import TrainingSummary
from motrix_train.training.request import TrainRequest
from motrix_train.training.resume import ResumeRequest
from motrix_train.training.run import train_as_worker, train_run
from motrix_train.training.video import TrainingVideos
from motrix_train.training.weights_and_biases import WandbLog
from motrix_train.viewer.companion import Companion

PRETRAINED = "pretrained"
ORIGIN = "Policy to start from"  # a panel of the help

# parameters that do not change what is learned
WITH_RESUME = (
    "resume",
    "max_env_steps",
    "device",
    "num_threads",
    "imports",
    "video_every",
    "wandb",
    "watch",
    "dump_diverged",
    "quiet",
)


def train(
    context: typer.Context,
    env_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ENV",
            help="Environment id, as `list` shows it.",
            show_default=False,
            autocompletion=complete_env_id,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run that was stopped or killed, bit for bit.",
            autocompletion=complete_run,
        ),
    ] = None,
    num_envs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Environments stepped together, by each worker.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Seed of the run; the preset's by default.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Several seeds, one run after another; a table and a picture."),
    ] = None,
    random_seed: Annotated[bool, typer.Option("--random-seed", help="Draw a seed.")] = False,
    max_env_steps: Annotated[
        int | None, typer.Option(parser=parse_count, metavar="N", help="Environment steps in all, 8000000 or 8e6.")
    ] = None,
    algorithm: Algorithm = None,
    config: ConfigFile = None,
    settings: Settings = None,
    env_fields: EnvFields = None,
    imports: Imports = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|POLICY",
            rich_help_panel=ORIGIN,
            help="Start from the networks of this policy, also of another task; `pretrained` is ENV's.",
            autocompletion=complete_target,
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", rich_help_panel=ORIGIN, help="With --init-from: take the layers that fit.")
    ] = False,
    fresh_normaliser: Annotated[
        bool,
        typer.Option(
            "--fresh-normaliser",
            rich_help_panel=ORIGIN,
            help="With --init-from: leave its standardisation behind.",
        ),
    ] = False,
    backend: BackendName = "auto",
    physics: Physics = None,
    device: Device = None,
    run_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's own new directory.")] = None,
    num_threads: NumThreads = 0,
    video_every: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="Film 5 s of the policy at every K-th checkpoint."),
    ] = None,
    wandb: Annotated[
        str | None,
        typer.Option(
            metavar="PROJECT",
            rich_help_panel=MACHINE,
            help="Log to this project of Weights & Biases.",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve the viewer of the newest policy meanwhile, in a process of its own.")
    ] = False,
    dump_diverged: Annotated[
        bool, typer.Option("--dump-diverged", help="Keep the last second before a divergence, for `view`.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")] = False,
) -> None:
    """Trains a policy. Ctrl-C ends the training early and keeps the policy.

    The run is in runs/ENV/TIME_BACKEND_seedN/. With several processes: docs/scaling.md.

    Example: motrix-train train Motrix/Go1-v0 --seed 1 --set rollouts=32 --env push_speed=0.5

    Example: motrix-train train Motrix/Go1-v0 --config my.toml --set rollouts=32

    Example: motrix-train train Motrix/CartPole-v0 --seeds 0,1,2

    Example: motrix-train train --resume runs/Motrix/Go1-v0/2026-11-22_19-30-00_torch_seed1
    """
    group, backend = connect_processes(backend, resume)
    console = Console(stderr=True, quiet=quiet)

    def prepare() -> _Prepared | None:
        """Checks the command line: rank 0 makes or opens the run, the other processes import its environment."""
        if not group.is_main:
            if env_id is not None:
                environment.import_and_find_spec(env_id)
            return None
        if resume is not None:
            _refuse_changes(context)
            request = ResumeRequest(
                command=context.obj, max_env_steps=max_env_steps, device=device, num_threads=num_threads
            )
            return _resumed(resume, request, group, backend, console, video_every, wandb)
        _require_environment(env_id, init_from, partial, fresh_normaliser)
        chosen_seeds = _parse_seeds(seeds, seed, random_seed, group) if seeds else [seed]
        given, env_kwargs = read_changes(env_id or "", config, settings, with_physics(env_fields, physics), algorithm)
        given |= _given(num_envs=num_envs, max_env_steps=max_env_steps)
        requests = [request_for(chosen, given, env_kwargs) for chosen in chosen_seeds]
        _print_budget(console, max_env_steps, requests[0])
        callbacks = [_callbacks(request, video_every, wandb) for request in requests]
        return _Prepared(requests, callbacks, requests[0].create_run(context.obj, path_of(requests[0])))

    def request_for(seed: int | None, given: Mapping[str, Any], env_kwargs: Mapping[str, Any]) -> TrainRequest:
        return train_request(
            env_id or "",
            backend=backend,
            seed=seed,
            random_seed=random_seed,
            settings=given,
            env_kwargs=env_kwargs,
            origin=None if init_from is None else _read_origin(init_from, env_id, partial, fresh_normaliser),
            device=device,
            num_threads=num_threads,
            workers=group.size,
        )

    def path_of(request: TrainRequest) -> Path | None:
        """The directory that the user gave for a run, None for one named after the time."""
        return run_dir / f"seed{request.cfg.seed}" if run_dir and seeds else run_dir

    prepared = group.run(prepare)
    if prepared is None:
        return train_as_worker(group)
    watching = [Companion(imports or ())] if watch else []
    trained: list[tuple[RunDirectory, TrainingSummary]] = []
    for request, callbacks in zip(prepared.requests, prepared.callbacks, strict=True):
        run = request.create_run(context.obj, path_of(request)) if trained else prepared.first_run
        with TrainingProgress(run, console) as progress:
            summary = train_run(
                run,
                CallbackList([*callbacks, *watching, progress]),
                group=group,
                resume=prepared.resume,
                dump_diverged=dump_diverged,
            )
        trained.append((run, summary))
        if summary.interrupted:
            break
    if seeds:
        seeds_report.print_report(trained)
    _print_result(*trained[-1])
    if trained[-1][1].interrupted:
        raise typer.Exit(130)


@dataclass(frozen=True)
class _Prepared:
    """The trainings of one command, one for each seed.

    Attributes:
        requests: How to train each.
        callbacks: The hooks of each.
        first_run: The run of the first.
        resume: Settings that change, if the first run is resumed.
    """

    requests: Sequence[TrainRequest]
    callbacks: Sequence[Sequence[Callback]]
    first_run: RunDirectory
    resume: ResumeRequest | None = None


def _resumed(
    path: Path,
    request: ResumeRequest,
    group: ProcessGroup,
    backend: str,
    console: Console,
    video_every: int | None,
    wandb: str | None,
) -> _Prepared:
    """Opens a run to be resumed. Writes nothing."""
    run = RunDirectory.open(path)
    record = RunRecord.of(run)
    if group.size > 1 and record.backend != backend:
        raise UsageError(f"{run.path} was begun with {record.backend}, not {backend}: {LAUNCHERS}")
    request.changes(run, group.size)  # refused before anything is prepared
    training = TrainRequest.from_run(run)
    callbacks = _callbacks(training, video_every, wandb, record)
    if changed := changed_versions(record.versions):
        _print_line(console, f"with {', '.join(changed)} it goes on, but not bit for bit")
    return _Prepared([training], [callbacks], run, request)


def _require_environment(env_id: str | None, init_from: str | None, partial: bool, fresh_normaliser: bool) -> None:
    if env_id is None:
        raise UsageError(f"name an environment, as in {PROGRAM} train Motrix/Go1-v0, or a run, as in --resume RUN")
    if (partial or fresh_normaliser) and init_from is None:
        given = "--partial" if partial else "--fresh-normaliser"
        raise UsageError(f"{given} is about the policy to start from: give one with --init-from")


def _parse_seeds(text: str, seed: int | None, random_seed: bool, group: ProcessGroup) -> list[int]:
    """The seeds of ``--seeds 0,1,2``."""
    if seed is not None or random_seed:
        raise UsageError(f"--seeds {text} does not go with --seed and --random-seed: give one of them")
    if group.size > 1:
        raise UsageError(f"--seeds {text} is for one process, which trains one after another: start without a launcher")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and len(part) < 19 for part in parts) or len(set(parts)) < len(parts):
        raise UsageError(f"--seeds {text}: give different whole numbers from 0, such as 0,1,2")
    return [int(part) for part in parts]


def _print_budget(console: Console, max_env_steps: int | None, request: TrainRequest) -> None:
    total = request.cfg.env_steps(request.workers)
    if max_env_steps not in (None, total):
        intervals = f"whole checkpoint intervals of {request.cfg.check_point_interval:,} vector steps"
        _print_line(console, f"{max_env_steps:,} env steps asked for, {total:,} trained: whole rollouts, {intervals}")


def _given(**values: int | None) -> dict[str, int]:
    return {name: value for name, value in values.items() if value is not None}


def _read_origin(target: str, env_id: str | None, partial: bool, fresh_normaliser: bool) -> InitFrom:
    _, path = locate_ready_made(env_id or "") if target == PRETRAINED else locate(target, None)
    return InitFrom(read(path), partial=partial, normalizer=not fresh_normaliser)


def _callbacks(
    request: TrainRequest, video_every: int | None, wandb: str | None, before: RunRecord | None = None
) -> list[Callback]:
    """The callbacks beside the terminal: those that the options name, or those that a resumed run had before."""
    callbacks: list[Callback] = []
    if every := video_every or (before and before.video_every):
        callbacks.append(TrainingVideos(every, request.env_id, request.env_kwargs, request.num_threads))
    known = before and before.wandb
    if project := wandb or (known and known.project):
        callbacks.append(WandbLog(project, known.id if known and project == known.project else None))
    return callbacks


def _refuse_changes(context: typer.Context) -> None:
    """Refuses options that would change what a resumed run learns."""
    given = [name for name in context.params if _is_typed(context, name)]
    changes = [name for name in given if name not in WITH_RESUME]
    if changes:
        name, value = changes[0], context.params[changes[0]]
        raise UsageError(
            f"{name} {value} does not go with --resume: a run goes on as it was begun; leave it out, or start a new "
            f"run from its policy with --init-from {context.params['resume']}"
        )


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _print_line(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_result(run: RunDirectory, summary: TrainingSummary) -> None:
    print(f"{'Stopped early' if summary.interrupted else 'Trained'}: {run.path}")
    if summary.interrupted:
        print(f"Go on:       {command('train', '--resume', run.path)}")
    print(f"Best policy: {run.best_policy()}")
    print(f"Measure it:  {command('evaluate', run.path)}")
    print(f"Watch it:    {command('play', run.path, '--video', 'play.mp4')}")
