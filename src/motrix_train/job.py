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

from motrix_train import checkpoint, environment, run_directory, training
from motrix_train.backend import select
from motrix_train.checkpoint import Checkpoint
from motrix_train.config import PPOCfg, from_json, to_json
from motrix_train.distributed import ALONE, Workers
from motrix_train.errors import RunError, UsageError
from motrix_train.run_directory import RUNS, RunDirectory
from motrix_train.training import Goal, Listener, TrainingSummary, never
from motrix_train.transfer import Origin


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
    origin: Origin | None = None
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
            "versions": run_directory.versions(),
            "command": command,
        }
        run = RunDirectory.create(root, self.env_id, self.backend, self.cfg.seed, resolved, path)
        if self.origin is not None:
            try:
                policy = replace(self.origin.checkpoint, session={})
                checkpoint.write(run.checkpoints / f"origin{select(self.backend).SUFFIX}", policy)
            except BaseException:
                run.discard()
                raise
        return run

    @classmethod
    def of(cls, run: RunDirectory) -> Job:
        """The job of a run.

        Raises:
            RunError: Its configuration is damaged.
        """
        asked = run.config()
        try:
            return replace(cls.from_json(asked), origin=_origin_from_json(asked["origin"], run))
        except (KeyError, TypeError, UsageError) as damage:
            raise RunError(f"{run.config_path} is damaged or of another version ({damage}): train anew") from damage

    @classmethod
    def from_json(cls, asked: Mapping[str, Any]) -> Job:
        """The job of a run, without the policy that it starts from, from the run's configuration."""
        return cls(
            env_id=asked["env_id"],
            env_kwargs=asked["env_kwargs"],
            backend=asked["backend"],
            cfg=from_json(asked["config"]),
            device=asked["device"],
            num_threads=asked["num_threads"],
            workers=asked["workers"],
        )


def resumption(run: RunDirectory, workers: int = 1) -> Checkpoint | None:
    """The checkpoint that a run goes on from with so many workers, None if it was stopped before its first.

    Raises:
        UsageError: The run cannot be resumed exactly.
        RunError: The checkpoint is damaged.
    """
    begun_with = Job.of(run).workers
    if workers != begun_with:
        raise UsageError(
            f"{run.path} was begun with {begun_with} worker(s) and goes on with as many, not with {workers}: start "
            f"{begun_with}, or begin a new run with --init-from {run.path}"
        )
    last = run.checkpoint("last")
    if last is None:
        return None
    resumed = checkpoint.read(last)
    if not resumed.session:
        raise UsageError(
            f"{run.path} cannot be resumed exactly, since {resumed.env_id} cannot save its state: "
            f"start a new run with --init-from {last}"
        )
    return resumed


def carry_out(run: RunDirectory, listener: Listener, until: Goal = never, workers: Workers = ALONE) -> TrainingSummary:
    """Trains a run from where it is to its end; a run that was refused before it learned anything is removed.

    Args:
        run: The run.
        listener: Told what happens.
        until: A goal that ends it before its budget does.
        workers: Those that train it: the main one calls this and the others `assist`.

    Raises:
        UsageError: Something asked for does not go together, or another process trains the run.
        RunError: The disk refuses, or the training diverges.
    """
    with ExitStack() as opened:
        with workers.together():
            opened.enter_context(run.exclusive())
            job, resumed = Job.of(run), resumption(run, workers.size)
        workers.share({"job": json.dumps(run.config())})
        try:
            summary = _train(job, workers, run=run, listener=listener, resumed=resumed, until=until)
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
    job = Job.from_json(json.loads(str(workers.share({})["job"])))
    _train(job, workers)


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


def _origin_to_json(origin: Origin | None) -> dict[str, Any] | None:
    if origin is None:
        return None
    first = {"env_id": origin.checkpoint.env_id, "env_steps": origin.checkpoint.env_steps}
    return {**first, "partial": origin.partial, "normaliser": origin.normaliser}


def _origin_from_json(asked: Mapping[str, Any] | None, run: RunDirectory) -> Origin | None:
    if asked is None:
        return None
    policy = run.checkpoint("origin")
    if policy is None:
        raise RunError(f"{run.path} has lost the policy that it started from: train anew")
    return Origin(checkpoint.read(policy), partial=asked["partial"], normaliser=asked["normaliser"])
