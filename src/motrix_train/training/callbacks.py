"""Hooks into a training: for progress, videos, logs, or whatever a user adds."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from motrix_train.training.records import RolloutStats, TrainingPlan, TrainingSummary


class Callback(Protocol):
    """Hooks of a training run, called on rank 0. Derive from it and override only the hooks you need."""

    def started(self, plan: TrainingPlan) -> None:
        """Called before the first step."""

    def rollout(self, stats: RolloutStats) -> None:
        """Called after every rollout and its update."""

    def checkpoint_written(self, path: Path) -> None:
        """Called after every checkpoint."""

    def stop_requested(self) -> None:
        """Called at once, in another thread, when Ctrl-C or SIGTERM has requested a stop."""

    def finished(self, summary: TrainingSummary) -> None:
        """Called after the last checkpoint, also when the training was interrupted."""


class CallbackList(tuple[Callback, ...]):
    """Several callbacks as one, called in their order."""

    def started(self, plan: TrainingPlan) -> None:
        """Called before the first step."""
        for callback in self:
            callback.started(plan)

    def rollout(self, stats: RolloutStats) -> None:
        """Called after every rollout and its update."""
        for callback in self:
            callback.rollout(stats)

    def checkpoint_written(self, path: Path) -> None:
        """Called after every checkpoint."""
        for callback in self:
            callback.checkpoint_written(path)

    def stop_requested(self) -> None:
        """Called at once, in another thread, when Ctrl-C or SIGTERM has requested a stop."""
        for callback in self:
            callback.stop_requested()

    def finished(self, summary: TrainingSummary) -> None:
        """Called after the last checkpoint, also when the training was interrupted."""
        for callback in self:
            callback.finished(summary)
