"""Trained policies, found and made ready to act: those of runs, files, and the ready-made ones."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motrix_train import environment, pretrained
from motrix_train.errors import UsageError
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.storage.array_file import SUFFIX
from motrix_train.storage.checkpoint import Checkpoint, read
from motrix_train.storage.run_directory import RUNS, NoTrainedRun, RunDirectory
from motrix_train.storage.run_record import RunRecord


@dataclasses.dataclass(frozen=True)
class TrainedPolicy:
    """A policy that is ready to act, the file it is from, what that file says, and where it is to act."""

    path: Path
    checkpoint: Checkpoint
    policy: NumpyPolicy
    env_id: str
    env_kwargs: Mapping[str, Any]

    @classmethod
    def open(
        cls,
        target: str,
        policy: Path | None = None,
        env_id: str | None = None,
        env_fields: Mapping[str, Any] | None = None,
        *,
        ready_made: bool = False,
    ) -> TrainedPolicy:
        """Reads the policy that the command line means, for the environment that it means.

        Args:
            target: An environment id, a run directory or a policy file.
            policy: A policy file for the environment of `target`, None for its best.
            env_id: Another environment that it is to act in, with the same spaces; None for its own.
            env_fields: Fields of the task beside those that it was trained with, or of the other environment.
            ready_made: Whether `target` is an id whose ready-made policy is meant.

        Raises:
            UsageError: There is none, or it does not fit the environment.
            RunError: The file is damaged.
        """
        wanted, path = locate_ready_made(target, policy) if ready_made else _locate_trained(target, policy)
        checkpoint = read(path)
        checkpoint.require_environment(wanted or checkpoint.env_id)
        env_kwargs = environment.merged(checkpoint.env_kwargs if env_id is None else {}, env_fields or {})
        env_id = checkpoint.env_id if env_id is None else environment.import_and_find_spec(env_id).id
        env = environment.make_env(env_id, 1, env_kwargs)
        spaces = env.single_observation_space, env.single_action_space
        env.close()
        checkpoint.require_spaces(env_id, *spaces, "give an environment of the same spaces, or another policy")
        checkpoint.require_observed(env_id, env_kwargs, env.single_observation_space)
        return cls(path, checkpoint, NumpyPolicy(checkpoint, path), env_id, env_kwargs)

    @property
    def about(self) -> str:
        """Which policy it is, for people."""
        return f"{self.path}, {self.checkpoint.env_steps:,} env steps"

    def acting(self, rng: np.random.Generator | None = None) -> Callable[[np.ndarray], np.ndarray]:
        """Actions (N, m) for observations (N, k): the mean ones, or with the noise of training from `rng`."""
        return self.policy if rng is None else functools.partial(self.policy.stochastic, rng=rng)


def locate(target: str, policy: Path | None) -> tuple[str | None, Path]:
    """The environment that the policy must be for, None for the policy's own, and the policy's file."""
    path = Path(target)
    run = RunDirectory(path)
    if run.config_path.is_file():
        run.config()  # a damaged one is told before a missing policy
        path = policy or run.best_policy()
        return RunRecord.of(run).env_id, path
    if path.is_dir() and policy is None:
        return None, RunDirectory.newest_below(path).best_policy()
    if path.is_file() or path.suffix:
        if policy is not None:
            raise UsageError(f"{target} and --policy {policy} are two policies: give one of them")
        return None, path
    try:
        spec = environment.import_and_find_spec(target)
    except UsageError as unknown:
        raise UsageError(f"there is no run directory {target}, and {unknown}") from unknown
    named = target if ":" in target else spec.id
    return spec.id, policy or RunDirectory.find_newest(RUNS, named).best_policy()


def _locate_trained(target: str, policy: Path | None) -> tuple[str | None, Path]:
    """As `locate`; where there is no run, the refusal says whether there is a ready-made policy."""
    try:
        return locate(target, policy)
    except NoTrainedRun as refusal:
        if not pretrained.has_policy(target):
            raise
        raise NoTrainedRun(f"{refusal}; or add --pretrained, for the ready-made policy") from refusal


def locate_ready_made(target: str, policy: Path | None = None) -> tuple[str, Path]:
    """The environment, by its id, and the file of its ready-made policy."""
    if policy is not None:
        raise UsageError(f"--pretrained and --policy {policy} are two policies: give one of them")
    if Path(target).exists() or Path(target).suffix == SUFFIX:
        raise UsageError(f"--pretrained is about an environment, not about {target}: give an id, or leave it out")
    env_id = environment.import_and_find_spec(target).id
    return env_id, pretrained.policy_file(env_id)


def load_policy(source: str | Path) -> NumpyPolicy:
    """Loads a policy that acts with NumPy alone.

    ```python
    policy = motrix_train.load_policy("Motrix/Go1-v0")
    actions = policy(observations)  # (N, k) -> (N, m)
    ```

    Args:
        source: A policy file, a run directory (its best policy), or the id of an environment: its ready-made policy.

    Returns:
        The policy. It returns mean actions, which the environments clip to their bounds; its `checkpoint` says how it
        was trained, with which environment and which fields.

    Raises:
        UsageError: There is no such policy.
        RunError: The file is damaged.
    """
    known = pretrained.has_policy(str(source)) and not Path(source).exists()
    _, path = locate_ready_made(str(source)) if known else locate(str(source), None)
    return NumpyPolicy(read(path), path)
