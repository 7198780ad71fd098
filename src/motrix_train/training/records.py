"""What a training reports: its plan, the statistics of each rollout, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motrix_train.config import BaseRLCfg
from motrix_train.learning.transfer import Transfer
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.evaluation import PolicyFunction


@dataclass(frozen=True)
class TrainingPlan:
    """A training before its first step."""

    env_id: str
    backend: str
    seed: int
    cfg: BaseRLCfg
    total_env_steps: int
    run: RunDirectory
    env_steps: int
    """Env steps trained so far; 0 unless the run is resumed."""
    workers: int
    """Number of processes that train the policy together."""
    transfer: Transfer | None
    """The arrays taken from the policy that the run starts from; None without one."""
    policy: PolicyFunction
    """The mean action of the policy in training, always with its latest parameters."""
    resumable: bool = True
    """Whether the environment can save its state, so that the run can be resumed exactly."""


@dataclass(frozen=True)
class RolloutStats:
    """Statistics of one rollout and the update after it; one line of ``progress.csv``."""

    env_steps: int
    total_env_steps: int
    seconds: float
    """Wall clock of the run so far, s."""
    env_steps_per_second: float
    """Over this rollout and its update."""
    seconds_env: float
    """Time of this rollout in the environment, s."""
    seconds_policy: float
    """Time of this rollout for choosing actions and storing transitions, s."""
    seconds_update: float
    """Time of the update, s."""
    seconds_evaluation: float
    """Time of the evaluation after the update, s."""
    mean_return: float
    """Mean return of the latest episodes, about one per environment; NaN before the first."""
    mean_episode_length: float
    """Mean length of these episodes, env steps."""
    return_by_task: dict[str, float]
    """Mean return of each of several joined tasks; empty for a single task."""
    episodes: int
    """Episodes that ended since the start."""
    policy_std: float
    """Mean exploration noise, in units of the action."""
    learning_rate: float
    reward_terms: dict[str, float]
    """Weighted terms, per second of episode."""
    metrics: dict[str, float]
    """The task's own metrics, mean per step."""
    endings: dict[str, float]
    """Share of the episodes of this rollout that ended for each reason, and at the time limit; NaN without an episode.
    With several workers, the mean of their shares."""
    losses: dict[str, float]
    update: dict[str, float]
    """Diagnostics of the update beside its losses; see `motrix_train.learning.agent.Update.diagnostics`."""
    evaluation: dict[str, float]
    """Evaluation of the policy without exploration after this update: its mean return with standard error, mean
    episode length and the task's metrics; empty if there was none."""


@dataclass(frozen=True)
class TrainingSummary:
    """How a training ended."""

    env_steps: int
    seconds: float
    interrupted: bool
    mean_return: float
    best_return: float | None
    """Mean return of the best checkpoint in its evaluation; None without evaluations."""
    last: Path
    best: Path | None


Goal = Callable[[RolloutStats], bool]
"""Returns whether the goal of a training is reached; called after every rollout."""


def never(stats: RolloutStats) -> bool:
    """The goal of a training that uses its whole budget."""
    return False


def tensorboard_scalars(stats: RolloutStats) -> dict[str, float]:
    """The statistics of a rollout by TensorBoard's tags."""
    return {
        "Episode/return": stats.mean_return,
        "Episode/length": stats.mean_episode_length,
        **{f"Episode/return of {name}": value for name, value in stats.return_by_task.items()},
        "Episode/count": stats.episodes,
        "Policy/standard deviation": stats.policy_std,
        "Policy/learning rate": stats.learning_rate,
        "Throughput/env steps per second": stats.env_steps_per_second,
        "Throughput/environment seconds": stats.seconds_env,
        "Throughput/policy seconds": stats.seconds_policy,
        "Throughput/update seconds": stats.seconds_update,
        **{f"Reward/{name}": value for name, value in stats.reward_terms.items()},
        **{f"Metrics/{name}": value for name, value in stats.metrics.items()},
        **{f"Endings/{name}": value for name, value in stats.endings.items()},
        **{f"Loss/{name}": value for name, value in stats.losses.items()},
        **{f"Update/{name}": value for name, value in stats.update.items()},
        **{f"Evaluation/{name}": value for name, value in stats.evaluation.items()},
    }
