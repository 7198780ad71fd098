"""A training as it is requested, and as a run directory stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from motrix_train import environment
from motrix_train.config import BaseRLCfg, PPOCfg, to_json
from motrix_train.errors import RunError
from motrix_train.learning import backend
from motrix_train.learning.transfer import InitFrom
from motrix_train.storage import checkpoint
from motrix_train.storage.array_file import SUFFIX
from motrix_train.storage.run_directory import RUNS, RunDirectory
from motrix_train.storage.run_record import RunRecord
from motrix_train.storage.versions import installed_versions


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """All settings of one training run.

    Attributes:
        env_id: Registered id, with its ``module:`` where that has to be imported first.
        env_kwargs: Fields of the task.
        backend: "torch" or "jax".
        cfg: How to train, with its seed and the number of environments of each worker.
        device: Of the networks; None takes a GPU if there is one.
        num_threads: Physics threads; 0 for all CPUs, which the workers of one machine divide.
        origin: A policy to start from.
        workers: Number of processes that train it together, each with `cfg.num_envs` environments.
    """

    env_id: str
    env_kwargs: Mapping[str, Any]
    backend: str
    cfg: BaseRLCfg
    device: str | None = None
    num_threads: int = 0
    origin: InitFrom | None = None
    workers: int = 1

    @property
    def training_fields(self) -> dict[str, Any]:
        """The fields of the task in training, which may differ from those of an evaluation."""
        return environment.merged(self.cfg.training_env, self.env_kwargs)

    @property
    def arrays(self) -> str:
        """What the environments of the training take and give: see `environment.training_arrays`."""
        can = isinstance(self.cfg, PPOCfg) and backend.installed("torch")
        return environment.training_arrays(self.env_id, self.training_fields, can)

    def create_run(self, command: str, path: Path | None = None, root: Path = RUNS) -> RunDirectory:
        """Makes the run directory, which stores the request; `motrix_train.training.run.train_run` trains it.

        Args:
            command: The command line, for the record.
            path: The directory; None for one named after the time.
            root: Parent directory of the runs of all environments.

        Raises:
            UsageError: The environment cannot be made, or `path` exists.
            RunError: The disk refuses; nothing stays behind.
        """
        environment.make_env(self.env_id, 1, self.env_kwargs, arrays=self.arrays).close()
        assert self.cfg.seed is not None
        record = {
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
        return RunDirectory.create(root, self.env_id, self.backend, self.cfg.seed, record, path, policies)

    def origin_file(self, origin: InitFrom) -> dict[str, bytes]:
        """The checkpoint that a run keeps of the policy that it starts from, by file name."""
        return {f"origin{SUFFIX}": checkpoint.to_bytes(origin.checkpoint.policy_alone())}

    @classmethod
    def from_run(cls, run: RunDirectory) -> TrainRequest:
        """Reads the request of a run.

        Raises:
            RunError: Its configuration is damaged.
        """
        record = RunRecord.of(run)
        return replace(cls.from_record(record), origin=read_origin(record, run))

    @classmethod
    def from_record(cls, record: RunRecord) -> TrainRequest:
        """The request of a run, without the policy that it starts from."""
        return cls(
            env_id=record.env_id,
            env_kwargs=record.env_kwargs,
            backend=record.backend,
            cfg=record.config,
            device=record.device,
            num_threads=record.num_threads,
            workers=record.workers,
        )


def read_origin(record: RunRecord, run: RunDirectory) -> InitFrom | None:
    """Reads the policy that a run starts from, None without one.

    Raises:
        RunError: Its file is missing or damaged.
    """
    if record.origin is None:
        return None
    policy = run.checkpoint("origin")
    if policy is None:
        raise RunError(f"{run.path} has lost the policy that it started from: train anew")
    return InitFrom(checkpoint.read(policy), partial=record.origin.partial, normalizer=record.origin.normaliser)


def _origin_to_json(origin: InitFrom | None) -> dict[str, Any] | None:
    if origin is None:
        return None
    trained = {"env_id": origin.checkpoint.env_id, "env_steps": origin.checkpoint.env_steps}
    return {**trained, "partial": origin.partial, "normaliser": origin.normalizer}
