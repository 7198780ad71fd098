"""Logs a training to Weights & Biases, with the same scalars as TensorBoard's event files."""

from __future__ import annotations

import importlib
import secrets
from typing import Any

import numpy as np

from motrix_train.errors import RunError, UsageError
from motrix_train.training.callbacks import Callback
from motrix_train.training.records import RolloutStats, TrainingPlan, TrainingSummary, tensorboard_scalars


class WandbLog(Callback):
    """Logs a training to a project, and stores the project and the id there in the run's configuration.

    Weights & Biases is configured with its own environment variables: with ``WANDB_MODE=offline`` everything stays in
    the run directory until ``wandb sync``.

    Args:
        project: Name of the project.
        run_id: The run there that is resumed; None starts a new one.

    Raises:
        UsageError: The package is not installed.
    """

    def __init__(self, project: str, run_id: str | None = None) -> None:
        try:
            self._wandb: Any = importlib.import_module("wandb")
        except ImportError:
            raise UsageError('--wandb needs another package: pip install "motrix-gym[wandb]"') from None
        self._project = project
        self._run_id = run_id or secrets.token_hex(4)

    def started(self, plan: TrainingPlan) -> None:
        """Starts or resumes the run there."""
        plan.run.update_config(wandb={"project": self._project, "id": self._run_id})
        try:
            self._run = self._wandb.init(
                project=self._project,
                id=self._run_id,
                name=plan.run.path.name,
                dir=plan.run.path.absolute(),
                config=plan.run.config(),
                resume="allow",
                settings=self._wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
            )
        except self._wandb.Error as refusal:
            remedy = "WANDB_MODE=offline needs neither an account nor a network"
            raise RunError(f"Weights & Biases refuses: {refusal}; {remedy}") from refusal

    def rollout(self, stats: RolloutStats) -> None:
        """Logs the finite scalars, unless a killed process has logged them before."""
        if stats.env_steps >= self._run.starting_step:
            self._run.log(
                {tag: value for tag, value in tensorboard_scalars(stats).items() if np.isfinite(value)}, stats.env_steps
            )

    def finished(self, summary: TrainingSummary) -> None:
        """Waits until everything is uploaded or stored."""
        self._run.finish()
