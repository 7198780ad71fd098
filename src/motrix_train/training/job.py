"""A training as it is asked for: put down in a run directory, and carried out from there.

A run that starts and a run that is resumed take the same way. All that a training needs is in its directory, so a
run that was killed before its first checkpoint is resumed from its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from motrix_train import environment, records, schema
from motrix_train.config import PPOCfg, to_json
from motrix_train.distributed import ALONE, Workers
from motrix_train.errors import RunError, UsageError
from motrix_train.ppo.backend import select
from motrix_train.ppo.transfer import InitFrom
from motrix_train.storage import checkpoint
from motrix_train.storage.checkpoint import Checkpoint
from motrix_train.storage.run_directory import RUNS, RunDirectory
from motrix_train.storage.run_record import RunRecord
from motrix_train.storage.versions import installed_versions
from motrix_train.training import loop as training
from motrix_train.training.loop import Goal, Listener, Listeners, TrainingPlan, TrainingSummary, never


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one run is asked to do.

    Attributes:
        env_id: Registered id, with its ``module:`` where that has to be imported first.
        env_kwargs: Fields of the task.
        backend: "torch" or "jax".
        cfg: How to train, with its seed.
        device: Of the networks; None takes a GPU if there is one.
        num_threads: Physics threads, 0 for all CPUs.
        origin: A policy to start from.
        workers: How many train it together, each with `cfg.num_envs` environments.
    """

    env_id: str
    env_kwargs: Mapping[str, Any]
    backend: str
    cfg: PPOCfg
    device: str | None = None
    num_threads: int = 0
    origin: InitFrom | None = None
    workers: int = 1

    def create_run(self, command: str, path: Path | None = None, root: Path = RUNS) -> RunDirectory:
        """Makes the run's directory, from which `carry_out` takes everything.

        Args:
            command: The command line, for the record.
            path: The directory, in place of one named after the time.
            root: Where the runs of all environments are.

        Raises:
            UsageError: The environment cannot be made, or `path` exists.
            RunError: The disk refuses; nothing stays behind.
        """
        environment.make(self.env_id, 1, self.env_kwargs).close()
        if self.origin is not None:
            self.origin.require_backend(self.backend)
        assert self.cfg.seed is not None
        resolved = {
            "env_kwargs": dict(self.env_kwargs),
            "num_envs": self.cfg.num_envs,
            "num_threads": self.num_threads,
            "workers": self.workers,
            "device": self.device,
            "origin": _origin_to_json(self.origin),
            "config": to_json(self.cfg),
            "versions": installed_versions(),
            "command": command,
        }
        policies = {} if self.origin is None else self.origin_file(self.origin)
        return RunDirectory.create(root, self.env_id, self.backend, self.cfg.seed, resolved, path, policies)

    def origin_file(self, origin: InitFrom) -> dict[str, bytes]:
        """The checkpoint that a run keeps of the policy that it starts from, by file name."""
        name = f"origin{select(self.backend).SUFFIX}"
        return {name: checkpoint.to_bytes(name, replace(origin.checkpoint, resume_state={}))}

    @classmethod
    def of(cls, run: RunDirectory) -> Job:
        """The job of a run.

        Raises:
            RunError: Its configuration is damaged.
        """
        record = RunRecord.of(run)
        return replace(cls.of_record(record), origin=_origin_of(record, run))

    @classmethod
    def of_record(cls, record: RunRecord) -> Job:
        """The job of a run, without the policy that it starts from."""
        return cls(
            env_id=record.env_id,
            env_kwargs=record.env_kwargs,
            backend=record.backend,
            cfg=record.config,
            device=record.device,
            num_threads=record.num_threads,
            workers=record.workers,
        )


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """What a command that goes on with a run may change; nothing of it changes what is learned.

    Attributes:
        command: The command line, for the record.
        max_env_steps: A longer budget, None for the run's own.
        device: Of the networks, None for the run's own.
        num_threads: Physics threads, 0 for the run's own.
    """

    command: str
    max_env_steps: int | None = None
    device: str | None = None
    num_threads: int = 0

    def changes(self, run: RunDirectory, workers: int = 1) -> dict[str, Any]:
        """Entries of `config.json` that become others.

        Raises:
            UsageError: There is nothing left to train.
            RunError: The run is damaged.
        """
        record, resumed = RunRecord.of(run), last_checkpoint(run, workers)
        cfg = replace(record.config, max_env_steps=self.max_env_steps or record.config.max_env_steps)
        done = resumed.env_steps if resumed else 0
        if done >= cfg.env_steps(workers):
            raise UsageError(
                f"{run.path} has its {done:,} env steps: give more, as in "
                f"--max-env-steps {2 * record.config.max_env_steps}"
            )
        this = {"env_steps": done, "command": self.command, "versions": installed_versions()}
        return {
            "config": to_json(cfg),
            "device": self.device or record.device,
            "num_threads": self.num_threads or record.num_threads,
            "resumed": [*run.config().get("resumed", ()), this],
        }


class _Amendment(Listener):
    """Once nothing is refused any more: clears what killed processes left, and changes the run's `config.json`."""

    def __init__(self, run: RunDirectory, changes: Mapping[str, Any]) -> None:
        self._run, self._changes = run, changes

    def started(self, plan: TrainingPlan) -> None:
        self._run.remove_unfinished()
        if self._changes:
            self._run.update_config(**self._changes)


def last_checkpoint(run: RunDirectory, workers: int = 1) -> Checkpoint | None:
    """The checkpoint that a run goes on from with so many workers, None if it was stopped before its first.

    Raises:
        UsageError: The run cannot be resumed exactly.
        RunError: The checkpoint is damaged, or is not the run's own.
    """
    record = RunRecord.of(run)
    if workers != record.workers:
        raise UsageError(
            f"{run.path} was begun with {record.workers} worker(s) and goes on with as many, not with {workers}: start "
            f"{record.workers}, or begin a new run with --init-from {run.path}"
        )
    last = run.checkpoint("last")
    if last is None:
        return None
    resumed = checkpoint.read(last)
    resumed.require_networks(last)
    _require_same_run(run.config_path, record, last, resumed)
    if not resumed.resume_state:
        raise UsageError(
            f"{run.path} cannot be resumed exactly, since {resumed.env_id} cannot save its state: "
            f"start a new run with --init-from {last}"
        )
    return resumed


def _require_same_run(config_path: Path, record: RunRecord, last: Path, resumed: Checkpoint) -> None:
    """Refuses a configuration that is not the one that the checkpoint was trained with."""
    said, trained = to_json(record.config), to_json(resumed.cfg)
    said |= {"env_id": record.env_id, "env_kwargs": record.env_kwargs, "backend": record.backend}
    trained |= {"env_id": resumed.env_id, "env_kwargs": resumed.env_kwargs, "backend": resumed.backend}
    for name in said:
        if said[name] != trained[name] and name != "max_env_steps":
            raise RunError(
                f"{config_path} says {name} {schema.short(said[name])}, {last} was trained with "
                f"{schema.short(trained[name])}: put it back"
            )


def carry_out(
    run: RunDirectory,
    listener: Listener,
    until: Goal = never,
    workers: Workers = ALONE,
    resumption: Resumption | None = None,
) -> TrainingSummary:
    """Trains a run from where it is to its end. A new run that is refused before it learned anything is removed; of a
    run that was there before, a refused command changes nothing.

    Args:
        run: The run.
        listener: Told what happens.
        until: A goal that ends it before its budget does.
        workers: Those that train it: the main one calls this and the others `assist`.
        resumption: What changes from here on.

    Raises:
        UsageError: Something asked for does not go together, or another process trains the run.
        RunError: The disk refuses, or the training diverges.
    """
    with ExitStack() as opened:
        with workers.together():
            opened.enter_context(run.exclusive())
            resumed = last_checkpoint(run, workers.size)
            changes = resumption.changes(run, workers.size) if resumption else {}
            asked = {**run.config(), **changes}
            job = replace(_job(asked), origin=_origin_of(RunRecord.of(run), run))
            told = Listeners([_Amendment(run, changes), listener])
        workers.share({"job": json.dumps(asked)})
        try:
            summary = _train(job, workers, run=run, listener=told, resumed=resumed, until=until)
        except BaseException:
            if not run.has_trained():
                run.discard()
            raise
    assert summary is not None
    return summary


def assist(workers: Workers) -> None:
    """Trains along with the main worker, which carries out a run. Needs no disk.

    Raises:
        EndedElsewhere: The training ended with an error, which the main worker tells.
    """
    with workers.together():
        pass  # the main one opens the run
    _train(_job(json.loads(str(workers.share({})["job"]))), workers)


def _job(asked: Mapping[str, Any]) -> Job:
    return Job.of_record(records.build(RunRecord, asked))


def _train(job: Job, workers: Workers, **of_the_main_one: Any) -> TrainingSummary | None:
    assert job.cfg.seed is not None
    return training.train(
        env_id=job.env_id,
        env_kwargs=job.env_kwargs,
        cfg=job.cfg,
        backend=select(job.backend),
        seed=job.cfg.seed,
        num_envs=job.cfg.num_envs,
        device=job.device,
        origin=job.origin,
        num_threads=job.num_threads,
        workers=workers,
        **of_the_main_one,
    )


def _origin_to_json(origin: InitFrom | None) -> dict[str, Any] | None:
    if origin is None:
        return None
    first = {"env_id": origin.checkpoint.env_id, "env_steps": origin.checkpoint.env_steps}
    return {**first, "partial": origin.partial, "normaliser": origin.normalizer}


def _origin_of(record: RunRecord, run: RunDirectory) -> InitFrom | None:
    if record.origin is None:
        return None
    policy = run.checkpoint("origin")
    if policy is None:
        raise RunError(f"{run.path} has lost the policy that it started from: train anew")
    return InitFrom(checkpoint.read(policy), partial=record.origin.partial, normalizer=record.origin.normaliser)
