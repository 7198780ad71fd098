"""`motrix-train train`: one training into one run directory, begun or resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from motrix_train import environment
from motrix_train.commands.options import (
    PROGRAM,
    BackendName,
    Device,
    EnvFields,
    Imports,
    NumThreads,
    Settings,
    command,
    complete_env_id,
    count,
    split_assignments,
)
from motrix_train.distributed import ALONE, Place, Workers
from motrix_train.errors import UsageError
from motrix_train.interface import prepare
from motrix_train.plotting import seeds_report
from motrix_train.ppo.backend import select
from motrix_train.ppo.transfer import InitFrom
from motrix_train.storage.checkpoint import read
from motrix_train.storage.policies import locate
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.run_record import RunRecord
from motrix_train.storage.versions import changed_versions
from motrix_train.training.job import Job, Resumption, assist, carry_out
from motrix_train.training.loop import Listener, Listeners, TrainingSummary
from motrix_train.training.progress import TrainingProgress
from motrix_train.training.video import TrainingVideos
from motrix_train.training.weights_and_biases import WandbLog

LAUNCHERS = "torchrun starts torch, `python -m skrl.utils.distributed.jax` jax, and srun either"
# what does not change what is learned
WITH_RESUME = ("resume", "max_env_steps", "device", "num_threads", "imports", "video_every", "wandb", "quiet")


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
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped or killed, bit for bit.")
    ] = None,
    backend: BackendName = "auto",
    num_envs: Annotated[int | None, typer.Option(min=1, help="Environments stepped together, by each worker.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run; the preset's by default.")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Several seeds, one run after another, with a table and a picture."),
    ] = None,
    random_seed: Annotated[bool, typer.Option("--random-seed", help="Draw a seed.")] = False,
    max_env_steps: Annotated[
        int | None, typer.Option(parser=count, metavar="N", help="Environment steps in all, 8000000 or 8e6.")
    ] = None,
    settings: Settings = None,
    env_fields: EnvFields = None,
    init_from: Annotated[
        str | None,
        typer.Option(metavar="RUN|POLICY", help="Start from the networks of a policy, also of another task."),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="With --init-from: take the layers that fit.")] = False,
    fresh_normaliser: Annotated[
        bool, typer.Option("--fresh-normaliser", help="With --init-from: leave its standardisation behind.")
    ] = False,
    device: Device = None,
    run_dir: Annotated[Path | None, typer.Option(help="The run's own new directory.")] = None,
    num_threads: NumThreads = 0,
    imports: Imports = None,
    video_every: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="After every K-th checkpoint, film 5 s of the policy into videos/."),
    ] = None,
    wandb: Annotated[
        str | None,
        typer.Option(metavar="PROJECT", help="Log to Weights & Biases; with WANDB_MODE=offline without a network."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")] = False,
) -> None:
    """Trains a policy, into runs/ENV/TIME_BACKEND_seedN/. Ctrl-C ends it early and keeps the last policy.

    Under torchrun, SKRL's launcher for JAX or srun, all processes train it together; docs/scaling.md says how.

    Example: motrix-train train Motrix/Go1-v0 --seed 1 --set rollouts=32 --env reward_weights.torques=0

    Example: motrix-train train Motrix/CartPole-v0 --seeds 0,1,2

    Example: motrix-train train --resume runs/Motrix/Go1-v0/2026-11-22_19-30-00_torch_seed1
    """
    workers, backend = _meet(backend, resume)
    if not workers.is_main:
        with workers.together():  # while the main one prepares the run
            if env_id is not None:
                environment.find_typed(env_id)
        return assist(workers)
    console = Console(stderr=True, quiet=quiet)
    if resume is not None:
        with workers.together():
            _refuse_changes(context)
            resumption = Resumption(
                command=context.obj, max_env_steps=max_env_steps, device=device, num_threads=num_threads
            )
            run, listeners = _gone_on_with(resume, resumption, workers, backend, console, video_every, wandb)
        return _end_of(run, _watched(run, console, listeners, workers, resumption))

    def job_of(seed: int | None) -> Job:
        return prepare(
            env_id or "",
            backend=backend,
            seed=seed,
            random_seed=random_seed,
            settings=_settings(settings, num_envs, max_env_steps),
            env_kwargs=environment.parse_kwargs(env_fields or ()),
            origin=None if init_from is None else _origin(init_from, partial, fresh_normaliser),
            device=device,
            num_threads=num_threads,
            workers=workers.size,
        )

    with workers.together():
        _refuse_nothing_to_train(env_id, init_from, partial, fresh_normaliser)
        jobs = [job_of(one) for one in _seeds(seeds, seed, random_seed, workers)] if seeds else [job_of(seed)]
        _say_what_is_trained(console, max_env_steps, jobs[0])
        listeners = [_other_listeners(job, video_every, wandb) for job in jobs]
        first = jobs[0].create_run(context.obj, _path_of(jobs[0], run_dir, seeds))
    trained: list[tuple[RunDirectory, TrainingSummary]] = []
    for position, (job, others) in enumerate(zip(jobs, listeners, strict=True)):
        run = job.create_run(context.obj, _path_of(job, run_dir, seeds)) if position else first
        trained.append((run, _watched(run, console, others, workers)))
        if trained[-1][1].interrupted:
            break
    if seeds:
        seeds_report.tell(trained)
    _end_of(*trained[-1])


def _path_of(job: Job, run_dir: Path | None, seeds: str | None) -> Path | None:
    """The directory that the user gave for a run, None for one named after the time."""
    return run_dir / f"seed{job.cfg.seed}" if run_dir and seeds else run_dir


def _watched(
    run: RunDirectory,
    console: Console,
    listeners: Sequence[Listener],
    workers: Workers,
    resumption: Resumption | None = None,
) -> TrainingSummary:
    """Trains a run and shows how it goes."""
    with TrainingProgress(run, console) as progress:
        return carry_out(run, Listeners([*listeners, progress]), workers=workers, resumption=resumption)


def _end_of(run: RunDirectory, summary: TrainingSummary) -> None:
    _tell(run, summary)
    if summary.interrupted:
        raise typer.Exit(130)


def _gone_on_with(
    path: Path,
    resumption: Resumption,
    workers: Workers,
    backend: str,
    console: Console,
    video_every: int | None,
    wandb: str | None,
) -> tuple[RunDirectory, list[Listener]]:
    """The run that is gone on with, and who is told of it. Nothing is written."""
    run = RunDirectory.open(path)
    record = RunRecord.of(run)
    if workers.size > 1 and record.backend != backend:
        raise UsageError(f"{run.path} was begun with {record.backend}, not {backend}: {LAUNCHERS}")
    resumption.changes(run, workers.size)  # refused before anything is prepared
    listeners = _other_listeners(Job.of(run), video_every, wandb, record)
    if changed := changed_versions(record.versions):
        _say(console, f"with {', '.join(changed)} it goes on, but not bit for bit")
    return run, listeners


def _refuse_nothing_to_train(env_id: str | None, init_from: str | None, partial: bool, fresh_normaliser: bool) -> None:
    if env_id is None:
        raise UsageError(f"name an environment, as in {PROGRAM} train Motrix/Go1-v0, or a run, as in --resume RUN")
    if (partial or fresh_normaliser) and init_from is None:
        given = "--partial" if partial else "--fresh-normaliser"
        raise UsageError(f"{given} is about the policy to start from: give one with --init-from")


def _seeds(text: str, seed: int | None, random_seed: bool, workers: Workers) -> list[int]:
    """The seeds of ``--seeds 0,1,2``."""
    if seed is not None or random_seed:
        raise UsageError(f"--seeds {text} does not go with --seed and --random-seed: give one of them")
    if workers.size > 1:
        raise UsageError(f"--seeds {text} is for one process, which trains one after another: start without a launcher")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and len(part) < 19 for part in parts) or len(set(parts)) < len(parts):
        raise UsageError(f"--seeds {text}: give different whole numbers from 0, such as 0,1,2")
    return [int(part) for part in parts]


def _say_what_is_trained(console: Console, max_env_steps: int | None, job: Job) -> None:
    total = job.cfg.env_steps(job.workers)
    if max_env_steps not in (None, total):
        intervals = f"whole checkpoint intervals of {job.cfg.check_point_interval:,} vector steps"
        _say(console, f"{max_env_steps:,} env steps asked for, {total:,} trained: whole rollouts, {intervals}")


def _meet(backend: str, resume: Path | None) -> tuple[Workers, str]:
    """All workers that a launcher started, and the backend with which they reach each other."""
    place = Place.of()
    if place.size == 1:
        return ALONE, backend
    if place.backend is not None:
        if backend not in ("auto", place.backend):
            raise UsageError(f"--backend {backend} is not possible with this launcher: {LAUNCHERS}")
        backend = place.backend
    elif resume is not None:
        backend = Job.of(RunDirectory.open(resume)).backend
    elif backend == "auto":
        raise UsageError(f"--backend auto may mean another one to each of {place.size} workers: give torch or jax")
    return Workers(place, select(backend).connect(place)), backend


def _settings(
    settings: Sequence[str] | None, num_envs: int | None, max_env_steps: int | None
) -> dict[str, str | int | None]:
    given = {"num_envs": num_envs, "max_env_steps": max_env_steps}
    return {**split_assignments(settings), **{name: value for name, value in given.items() if value is not None}}


def _origin(target: str, partial: bool, fresh_normaliser: bool) -> InitFrom:
    _, path = locate(target, None)
    return InitFrom(read(path), partial=partial, normalizer=not fresh_normaliser)


def _other_listeners(
    job: Job, video_every: int | None, wandb: str | None, before: RunRecord | None = None
) -> list[Listener]:
    """Who is told of a training beside the terminal: whom the options name, or those that the run had `before`."""
    listeners: list[Listener] = []
    if every := video_every or (before and before.video_every):
        listeners.append(TrainingVideos(every, job.env_id, job.env_kwargs, job.num_threads))
    known = before and before.wandb
    if project := wandb or (known and known.project):
        listeners.append(WandbLog(project, known.id if known and project == known.project else None))
    return listeners


def _refuse_changes(context: typer.Context) -> None:
    """Refuses whatever would make a resumed run another one."""
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


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _tell(run: RunDirectory, summary: TrainingSummary) -> None:
    print(f"{'Stopped early' if summary.interrupted else 'Trained'}: {run.path}")
    if summary.interrupted:
        print(f"Go on:       {command('train', '--resume', run.path)}")
    print(f"Best policy: {run.best_policy()}")
    print(f"Measure it:  {command('evaluate', run.path)}")
    print(f"Watch it:    {command('play', run.path, '--video', 'play.mp4')}")
