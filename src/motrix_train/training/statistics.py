"""Statistics of a training: of the latest episodes, of one rollout, and their means over several processes."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from motrix_train import infos as step_infos
from motrix_train.distributed import ProcessGroup
from motrix_train.storage.array_tree import leaves, nest
from motrix_train.training.records import RolloutStats

MIN_EPISODES = 100  # averaged over, also with fewer environments
TIME_LIMIT = "time limit"  # beside the reasons of termination


class EpisodeStatistics:
    """Returns and lengths of the latest episodes, about one per environment.

    Args:
        num_envs: N, the number of environments.
        task_names: Names of several joined tasks.
    """

    def __init__(self, num_envs: int, task_names: Sequence[str] = ()) -> None:
        self._task_names = task_names
        self._running_returns = np.zeros(num_envs)  # (N,)
        self._running_lengths = np.zeros(num_envs, np.int64)  # (N,) env steps
        self._returns: deque[float] = deque(maxlen=max(MIN_EPISODES, num_envs))
        self._lengths: deque[int] = deque(maxlen=max(MIN_EPISODES, num_envs))
        self._tasks: deque[int] = deque(maxlen=max(MIN_EPISODES, num_envs))
        self.count = 0

    def add(self, rewards: np.ndarray, ended: np.ndarray, tasks: np.ndarray | None = None) -> None:
        """Adds one step of every environment.

        Args:
            rewards: (N,).
            ended: (N,) bool, the environments whose episode ended.
            tasks: (N,) int, the index of each environment's task, None with a single task.
        """
        self._running_returns += rewards
        self._running_lengths += 1
        if ended.any():
            self._returns.extend(self._running_returns[ended])
            self._lengths.extend(self._running_lengths[ended])
            self._tasks.extend(np.zeros(ended.sum(), int) if tasks is None else tasks[ended])
            self.count += int(ended.sum())
            self.discard(ended)

    def discard(self, envs: np.ndarray) -> None:  # (N,) bool
        """Starts new episodes in some environments, without counting those that ran."""
        self._running_returns[envs] = 0.0
        self._running_lengths[envs] = 0

    def state(self) -> dict[str, Any]:
        """The state for `restore`."""
        return {
            "running_returns": self._running_returns.copy(),
            "running_lengths": self._running_lengths.copy(),
            "returns": np.array(self._returns, float),
            "lengths": np.array(self._lengths, np.int64),
            "tasks": np.array(self._tasks, np.int64),
            "count": self.count,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that `state` returned."""
        self._running_returns = np.array(state["running_returns"])
        self._running_lengths = np.array(state["running_lengths"])
        self._returns.extend(state["returns"].tolist())
        self._lengths.extend(state["lengths"].tolist())
        self._tasks.extend(state["tasks"].tolist())
        self.count = int(state["count"])

    @property
    def mean_return(self) -> float:
        """Mean return, NaN before the first episode has ended."""
        return float(np.mean(self._returns)) if self._returns else float("nan")

    @property
    def return_by_task(self) -> dict[str, float]:
        """Mean return of each of several tasks, as far as an episode of it has ended."""
        returns, tasks = np.array(self._returns), np.array(self._tasks)
        named = [(name, returns[tasks == task]) for task, name in enumerate(self._task_names)]
        return {name: float(found.mean()) for name, found in named if found.size}

    @property
    def mean_length(self) -> float:
        """Mean length, env steps; NaN before the first episode has ended."""
        return float(np.mean(self._lengths)) if self._lengths else float("nan")


@dataclass
class RolloutStatistics:
    """Sums over the steps of one rollout, and its wall clock."""

    steps: int = 0
    """Vector steps so far."""
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Time spent in each phase, s."""
    elapsed: float = 0.0
    """Wall clock from the start to `stop`, s."""
    _sums: defaultdict[str, defaultdict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    _endings: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _start: float = field(default_factory=time.perf_counter)

    def add(self, infos: Mapping[str, Any], terminated: np.ndarray, truncated: np.ndarray) -> None:
        """Adds one step: its infos, and the environments (N,) bool that terminated or were truncated."""
        self.steps += 1
        self._endings[TIME_LIMIT] += int(truncated.sum())
        for name, envs in step_infos.reasons(infos, terminated):
            self._endings[name] += int(envs.sum())
        for group in ("reward_terms", "metrics"):
            for name, values, envs in step_infos.columns(infos, group):
                present = values if envs is None else values[envs]
                if present.size:
                    self._sums[group][name] += float(present.mean())

    def add_sums(self, sums: Mapping[tuple[str, str], float], endings: Mapping[str, int]) -> None:
        """Adds what several steps came to, which are counted already.

        Args:
            sums: By group and name, the sum over the steps of the mean over the environments.
            endings: How many episodes ended for each reason.
        """
        for (group, name), total in sums.items():
            self._sums[group][name] += total
        for reason, count in endings.items():
            self._endings[reason] += count

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        """Adds the time of the block to a phase."""
        start = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - start

    def stop(self) -> None:
        """Stops the wall clock."""
        self.elapsed = time.perf_counter() - self._start

    def endings(self) -> dict[str, float]:
        """Share of the episodes that ended for each reason, NaN without an episode."""
        ended = sum(self._endings.values())
        return {name: count / ended if ended else math.nan for name, count in self._endings.items()}

    def mean(self, group: str, per: float = 1.0) -> dict[str, float]:
        """Means of a group of infos over all environments and steps, divided by `per`."""
        return {name: total / self.steps / per for name, total in self._sums[group].items()}


def mean_over_processes(stats: RolloutStats, group: ProcessGroup) -> RolloutStats:
    """The mean of the statistics of all processes; episodes are summed."""
    if group.size == 1:
        return stats
    means = group.mean({name: float(value) for name, value in leaves(asdict(stats))})
    totals = {"env_steps": stats.env_steps, "total_env_steps": stats.total_env_steps}
    totals["episodes"] = round(means["episodes"] * group.size)
    return RolloutStats(**{**asdict(stats), **nest(means), **totals})
