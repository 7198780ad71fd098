"""`motrix-train curriculum`: stages that are trained one after another, begun or resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from motrix_train.commands.options import Device, Imports, NumThreads
from motrix_train.commands.program import PROGRAM, command
from motrix_train.curriculum import report as curriculum_report
from motrix_train.curriculum.plan import Plan
from motrix_train.curriculum.run import Curriculum, Ending, Outcome
from motrix_train.errors import RunError, UsageError, within
from motrix_train.launcher import ProcessInfo
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.versions import changed_versions
from motrix_train.training.progress import TrainingProgress


def curriculum(
    context: typer.Context,
    plan: Annotated[
        Path | None, typer.Argument(metavar="PLAN", help="A TOML file with the stages.", show_default=False)
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Go on with a curriculum that was stopped or killed, bit for bit."),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="The curriculum's own new directory.")] = None,
    imports: Imports = None,
    device: Device = None,
    num_threads: NumThreads = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")] = False,
) -> None:
    """Trains stage after stage, each from the policy of the one before.

    A stage ends when its condition holds or its budget is used. All stages are checked before the first is trained. The
    runs are in runs/curricula/PLAN/TIME/.

    Example: motrix-train curriculum examples/go1_curriculum.toml

    Example: motrix-train curriculum --resume runs/curricula/go1_curriculum/2026-11-22_19-30-00
    """
    console = Console(stderr=True, quiet=quiet)
    if (size := ProcessInfo.from_environ().size) > 1:
        raise UsageError(f"a curriculum is trained by one process, not by {size}: start it without a launcher")
    if resume is not None:
        if plan is not None or run_dir is not None:
            given = plan if plan is not None else f"--run-dir {run_dir}"
            raise UsageError(f"{given} does not go with --resume: a curriculum goes on as it was begun; leave it out")
        whole = Curriculum.open(resume, context.obj, device, num_threads)
        if changed := changed_versions(whole.begun_with):
            _print_line(console, f"with {', '.join(changed)} it goes on, but not bit for bit")
    elif plan is None:
        raise UsageError(f"name a plan, as in {PROGRAM} curriculum plan.toml, or a curriculum, as in --resume DIR")
    else:
        asked = Plan.read(plan)
        with within(str(plan)):
            asked.check(device)
        whole = Curriculum.create(asked, context.obj, run_dir, device, num_threads)
    try:
        final = whole.train(lambda number, run: _watch(whole, number, run, console))
        curriculum_report.write_report(whole)
    except KeyboardInterrupt:
        _print_how_to_resume(whole)
        raise
    _print_result(whole, final)


@contextmanager
def _watch(whole: Curriculum, number: int, run: RunDirectory, console: Console) -> Iterator[TrainingProgress]:
    """Prints the beginning and the end of a stage, and shows its progress between."""
    if number:
        curriculum_report.write_report(whole)
    stage = whole.plan.stages[number]
    aim = f", until {stage.condition}" if stage.advance_when else ""
    _print_line(console, f"Stage {number + 1} of {len(whole.plan.stages)}: {stage.name}{aim}")
    with TrainingProgress(run, console) as progress:
        yield progress
    if outcome := whole.outcome(number):
        _print_line(console, f"{stage.name}: {outcome.ending} after {outcome.env_steps:,} env steps")


def _print_result(whole: Curriculum, final: Outcome) -> None:
    print(curriculum_report.report_table(whole.outcomes()))
    print(f"Report:      {whole.path / 'report.md'}")
    if final.ending is Ending.OPEN:
        _print_how_to_resume(whole)
        raise typer.Exit(130)
    if final.is_dead_end:
        more = command("train", "--resume", final.run.path, "--max-env-steps", "N")
        raise RunError(
            f"stage {final.stage.name!r} used its {final.env_steps:,} env steps and never met {final.stage.condition}: "
            f"train it further with `{more}`, then go on with `{command('curriculum', '--resume', whole.path)}`"
        )
    print(f"Trained:     {whole.path}")
    print(f"Best policy: {final.run.best_policy()}")
    print(f"Measure it:  {command('evaluate', final.run.path)}")
    print(f"Watch it:    {command('play', final.run.path, '--video', 'play.mp4')}")


def _print_how_to_resume(whole: Curriculum) -> None:
    print(f"Stopped early: {whole.path}")
    print(f"Go on:       {command('curriculum', '--resume', whole.path)}")


def _print_line(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
