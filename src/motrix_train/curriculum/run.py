"""Trains a curriculum: a directory of ordinary runs, one for each stage.

```
runs/curricula/<plan>/<time>/
  curriculum.json   the resolved plan, written once; it marks the directory as a curriculum
  01_<stage>/       the run of a stage
  report.md         how each stage went
  report.png        the curves of all stages, one after another
```

The position of a curriculum is read from its runs, so the two agree even after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from motrix_gym.fields import Bound
from motrix_train import schema
from motrix_train.curriculum.plan import STOP, Plan, Stage
from motrix_train.errors import RunError, UsageError
from motrix_train.learning.transfer import InitFrom
from motrix_train.storage import checkpoint
from motrix_train.storage.files import atomic_write, numbered
from motrix_train.storage.json_file import json_bytes, read_json_object
from motrix_train.storage.run_directory import RUNS, RunDirectory
from motrix_train.storage.versions import installed_versions
from motrix_train.training.callbacks import Callback
from motrix_train.training.request import TrainRequest
from motrix_train.training.resume import ResumeRequest, read_resume_file
from motrix_train.training.run import train_run

CURRICULA = RUNS / "curricula"
RECORD = "curriculum.json"


Watch = Callable[[int, RunDirectory], AbstractContextManager[Callback]]
"""Returns the callback of a stage, by its number from 0 and its run; the context is entered around its training."""


class Ending(StrEnum):
    """How a stage ended."""

    PASSED = "condition met"
    SPENT = "budget used"
    OPEN = "not ended"


@dataclass(frozen=True)
class Outcome:
    """The progress of a stage.

    Attributes:
        stage: The stage.
        run: Its run.
        ending: How it ended.
        env_steps: Env steps trained.
        seconds: Wall clock of its training, s.
        progress: Columns of its progress table up to there, (lines,) each.
        evaluation: Of the policy that the next stage starts from, measured during training; empty without evaluations.
    """

    stage: Stage
    run: RunDirectory
    ending: Ending
    env_steps: int
    seconds: float
    progress: dict[str, np.ndarray]
    evaluation: dict[str, float]

    @property
    def is_dead_end(self) -> bool:
        """Whether the plan stops the curriculum after this stage."""
        return self.ending is Ending.SPENT and bool(self.stage.advance_when) and self.stage.otherwise == STOP


@dataclass(frozen=True, kw_only=True)
class CurriculumRecord:
    """The content of `curriculum.json`: the fields of `Curriculum`, and the time when it was created."""

    plan: Plan
    device: str | None
    num_threads: Annotated[int, Bound(0, 4096)]
    created: str
    versions: dict[str, str]
    command: str


@dataclass(frozen=True)
class Curriculum:
    """A curriculum in its directory.

    Attributes:
        path: The directory.
        plan: The stages.
        device: Of the networks; None takes a GPU if there is one.
        num_threads: Physics threads, 0 for all CPUs.
        command: The command line, for the record of the runs.
        begun_with: The versions, by package, with which it was begun.
    """

    path: Path
    plan: Plan
    device: str | None
    num_threads: int
    command: str
    begun_with: Mapping[str, str]

    @classmethod
    def create(
        cls, plan: Plan, command: str, path: Path | None = None, device: str | None = None, num_threads: int = 0
    ) -> Curriculum:
        """Makes the directory of a checked plan.

        Args:
            plan: The stages.
            command: The command line, for the record.
            path: The directory, in place of one named after the time.
            device: Of the networks.
            num_threads: Physics threads.

        Raises:
            UsageError: `path` exists.
            RunError: The disk refuses.
        """
        created = datetime.now(UTC)
        content = {
            "plan": plan.to_json(),
            "device": device,
            "num_threads": num_threads,
            "created": created.isoformat(),
            "versions": installed_versions(),
            "command": command,
        }
        wanted = CURRICULA / plan.name / f"{created.astimezone():%Y-%m-%d_%H-%M-%S}"
        free = _make_first(numbered(wanted)) if path is None else _make_first([path])
        if free is None:
            raise UsageError(f"curriculum directory {path} exists: name a new one, or remove it")
        try:
            atomic_write(free / RECORD, json_bytes(content))
        except BaseException:
            free.rmdir()
            raise
        return cls(free, plan, device, num_threads, command, content["versions"])

    @classmethod
    def open(cls, path: Path, command: str, device: str | None = None, num_threads: int = 0) -> Curriculum:
        """Opens the curriculum in a directory, to resume it.

        Args:
            path: The directory.
            command: The command line, for the record.
            device: Of the networks, None for the one that it was begun with.
            num_threads: Physics threads, 0 for the number that it was begun with.

        Raises:
            UsageError: There is none in the directory.
            RunError: Its plan is damaged.
        """
        record = path / RECORD
        if not record.is_file():
            raise UsageError(f"{path} is no curriculum: give a directory that `motrix-train curriculum` made")
        content = read_json_object(record)
        try:
            asked = schema.build(CurriculumRecord, content)
        except UsageError as mistake:
            raise RunError(
                f"{record} is damaged or of another version ({mistake}): put it back, or train anew"
            ) from mistake
        device, num_threads = device or asked.device, num_threads or asked.num_threads
        return cls(path, asked.plan, device, num_threads, command, asked.versions)

    def train(self, watch: Watch) -> Outcome:
        """Trains the curriculum from where it is to its end.

        Args:
            watch: Returns the callback of a stage.

        Returns:
            The outcome of the final stage: the last one, one that Ctrl-C or SIGTERM interrupted, or one that missed
            its condition and stops the curriculum.

        Raises:
            UsageError: Another process trains it, or a stage is refused.
            RunError: The disk refuses, or the training diverges.
        """
        with RunDirectory(self.path).exclusive():
            number = 0
            while True:
                outcome = self._train_stage(number, watch)
                is_last = number + 1 == len(self.plan.stages)
                if is_last or outcome.is_dead_end or outcome.ending is Ending.OPEN:
                    return outcome
                number += 1

    def outcomes(self) -> list[Outcome]:
        """The outcomes of the stages that have a checkpoint, in their order."""
        every = (self.outcome(number) for number in range(len(self.plan.stages)))
        return [outcome for outcome in every if outcome is not None]

    def outcome(self, number: int) -> Outcome | None:
        """The outcome of a stage at its last checkpoint, None before its first."""
        stage, run = self.plan.stages[number], self.run(number)
        resumed = read_resume_file(run)
        if resumed is None:
            return None
        cfg, env_steps = TrainRequest.from_run(run).cfg, resumed.env_steps
        table = run.progress()
        known = table.get("env_steps", np.zeros(0)) <= env_steps
        progress = {name: column[known] for name, column in table.items()}
        final = _line(progress, env_steps)
        if stage.is_passed(final):
            ending = Ending.PASSED
        else:
            ending = Ending.SPENT if env_steps >= cfg.env_steps() else Ending.OPEN
        of_policy = _line(progress, checkpoint.read(run.best_policy()).env_steps)
        return Outcome(
            stage=stage,
            run=run,
            ending=ending,
            env_steps=env_steps,
            seconds=final.get("seconds", 0.0),
            progress=progress,
            evaluation={
                name.removeprefix("evaluation/"): value
                for name, value in of_policy.items()
                if name.startswith("evaluation/") and np.isfinite(value)
            },
        )

    def run(self, number: int) -> RunDirectory:
        """The run of a stage, by its number from 0; it may not exist yet."""
        return RunDirectory(self.path / f"{number + 1:02}_{self.plan.stages[number].name}")

    def _train_stage(self, number: int, watch: Watch) -> Outcome:
        """Trains a stage to its end, if it has not ended before."""
        outcome = self.outcome(number)
        if outcome is None or outcome.ending is Ending.OPEN:
            run = self._prepare_run(number)
            resume = ResumeRequest(command=self.command, device=self.device, num_threads=self.num_threads)
            with watch(number, run) as callback:
                train_run(run, callback, self.plan.stages[number].goal, resume=None if run.is_new else resume)
            outcome = self.outcome(number)
        assert outcome is not None
        return outcome

    def _prepare_run(self, number: int) -> RunDirectory:
        """The run of a stage, ready to be trained: the existing one, or a new one."""
        run, stage = self.run(number), self.plan.stages[number]
        if run.checkpoint("last") is not None:
            return run
        origin = None
        if number > 0:
            origin = InitFrom(checkpoint.read(self.run(number - 1).best_policy()), partial=stage.partial)
        request = TrainRequest(
            env_id=stage.env_id,
            env_kwargs=stage.env_kwargs,
            backend=self.plan.backend,
            cfg=stage.cfg,
            device=self.device,
            num_threads=self.num_threads,
            origin=origin,
        )
        if not run.config_path.exists():
            return request.create_run(self.command, run.path)
        run.checkpoints.mkdir(exist_ok=True)
        if origin is not None and run.checkpoint("origin") is None:
            for name, data in request.origin_file(origin).items():
                atomic_write(run.checkpoints / name, data)
        return run


def _make_first(candidates: Iterable[Path]) -> Path | None:
    """Makes the first directory that does not exist yet; None if all exist.

    Raises:
        RunError: The disk refuses.
    """
    for path in candidates:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError as refusal:
            raise RunError(f"cannot write {path}: {refusal.strerror or refusal}") from refusal
    return None


def _line(progress: dict[str, Any], env_steps: int) -> dict[str, float]:
    """The line of a progress table at a number of env steps; empty without one."""
    at = np.flatnonzero(progress.get("env_steps", np.zeros(0)) == env_steps)
    return {name: float(column[at[-1]]) for name, column in progress.items()} if at.size else {}
