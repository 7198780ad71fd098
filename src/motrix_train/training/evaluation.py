"""How good a policy is: the first whole episode of each of many fresh rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from motrix_train import beyond_gymnasium, environment
from motrix_train.errors import RunError, UsageError
from motrix_train.ppo.divergence import require_finite

Policy = Callable[[np.ndarray], np.ndarray]  # observations (N, k) float32 -> actions (N, m) float32

MAX_ROWS = 1024
SEED_WORD = 0x6576616C  # keeps the rows of an evaluation apart from those of a training of the same seed


@dataclass(frozen=True)
class TaskEvaluation:
    """What was measured over the episodes of one of several joined tasks; the fields are those of `Evaluation`."""

    episodes: int
    mean_return: float
    std_return: float
    return_ci95: tuple[float, float] | None
    mean_length: float
    termination: dict[str, float]
    truncation: float
    success: float | None


@dataclass(frozen=True)
class Evaluation:
    """What was measured over whole episodes.

    Attributes:
        env_id: Registered id.
        episodes: How many episodes.
        seed: Seed of the rows.
        mean_return: Mean sum of the rewards of an episode.
        std_return: Its standard deviation over the episodes.
        return_ci95: Where the mean return of all possible episodes lies with 95 % confidence: the mean plus and
            minus Student's t times the standard error. None for a single episode.
        mean_length: Mean length of an episode, control steps.
        termination: Share of the episodes that ended for each reason; with `truncation` they sum to 1.
        termination_ci95: Where each of these shares lies with 95 % confidence, by Wilson's score interval
            (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953).
        truncation: Share of the episodes that reached the time limit.
        success: Share of the episodes that ended in success; None for a task that is never solved.
        success_ci95: Where this share lies with 95 % confidence, by Wilson's score interval.
        metrics: The task's own metrics, each averaged over all steps that have it, in the task's units.
        by_task: The same of each task's episodes, where several are joined; else empty.
    """

    env_id: str
    episodes: int
    seed: int
    mean_return: float
    std_return: float
    return_ci95: tuple[float, float] | None
    mean_length: float
    termination: dict[str, float]
    termination_ci95: dict[str, tuple[float, float]]
    truncation: float
    success: float | None
    success_ci95: tuple[float, float] | None
    metrics: dict[str, float]
    by_task: dict[str, TaskEvaluation]

    @property
    def standard_error(self) -> float:
        """Of the mean return."""
        return self.std_return / math.sqrt(max(1, self.episodes - 1))


@dataclass(frozen=True)
class _Episodes:
    """Sums over the first episode of each of N rows.

    Attributes:
        returns: (N,) sum of rewards.
        lengths: (N,) control steps.
        reasons: Rows that terminated, by reason, (N,) bool each, a row under its first reason only.
        truncated: (N,) bool.
        succeeded: (N,) bool, whether the last step was a success.
        solvable: (N,) bool, rows whose task can be solved.
        metrics: Sums of each metric, (N,) each.
        measured: Steps that have each metric, (N,) int each.
        task: (N,) int, the index of the row's task where several are joined, else 0.
    """

    returns: np.ndarray
    lengths: np.ndarray
    reasons: dict[str, np.ndarray]
    truncated: np.ndarray
    succeeded: np.ndarray
    solvable: np.ndarray
    metrics: dict[str, np.ndarray]
    measured: dict[str, np.ndarray]
    task: np.ndarray


def evaluate(
    policy: Policy,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    episodes: int = 256,
    seed: int = 0,
    num_threads: int = 0,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Evaluation:
    """Measures a policy.

    Each row plays one episode, so that short episodes count no more often than long ones. Row i follows
    `first_row_seed(seed)` + i, however many rows step together.

    Args:
        policy: Actions for observations.
        env_id: Registered id.
        env_kwargs: Fields of the task.
        episodes: How many, at least 1.
        seed: Which episodes.
        num_threads: Physics threads, 0 for all CPUs.
        on_progress: Told, at every step, the share that is done for certain or has become superfluous.

    Raises:
        UsageError: The environment cannot be made, or its episodes need not end.
        RunError: The policy gives an action that is not finite, or the environment a number.
    """
    if episodes < 1:
        raise UsageError(f"episodes is {episodes}; it takes a whole number from 1")
    parts: list[_Episodes] = []
    task_names: tuple[str, ...] = ()
    for done in range(0, episodes, MAX_ROWS):
        rows = min(MAX_ROWS, episodes - done)
        env = environment.make(env_id, rows, env_kwargs, num_threads)
        task_names = beyond_gymnasium.task_names(env)
        try:
            parts.append(
                _first_episodes(
                    policy,
                    env,
                    first_row_seed(seed) + done,
                    lambda share, done=done, rows=rows: on_progress((done + share * rows) / episodes),
                )
            )
        finally:
            env.close()
    found = _joined(parts)
    ended = {name: int(rows.sum()) for name, rows in found.reasons.items()}
    return Evaluation(
        env_id=environment.find(env_id).id,
        seed=seed,
        **vars(_summary(found, np.ones(episodes, dtype=bool))),
        termination_ci95={name: share_interval(count, episodes) for name, count in ended.items()},
        success_ci95=(
            share_interval(int(found.succeeded.sum()), int(found.solvable.sum())) if found.solvable.any() else None
        ),
        metrics={
            name: float(found.metrics[name].sum() / steps.sum())
            for name, steps in found.measured.items()
            if steps.any()
        },
        by_task={
            name: _summary(found, rows)
            for name, rows in ((name, found.task == k) for k, name in enumerate(task_names))
            if rows.any()
        },
    )


def _summary(found: _Episodes, rows: np.ndarray) -> TaskEvaluation:
    """What the episodes of some rows, (N,) bool, were like."""
    returns = found.returns[rows]
    solvable = rows & found.solvable
    return TaskEvaluation(
        episodes=len(returns),
        mean_return=float(returns.mean()),
        std_return=float(returns.std()),
        return_ci95=mean_interval(returns),
        mean_length=float(found.lengths[rows].mean()),
        termination={name: float(applies[rows].mean()) for name, applies in found.reasons.items()},
        truncation=float(found.truncated[rows].mean()),
        success=float(found.succeeded[solvable].mean()) if solvable.any() else None,
    )


def first_row_seed(seed: int) -> int:
    """The seed of an evaluation's first row, 63 bits, far from those of a training of the same seed."""
    return int(np.random.SeedSequence([SEED_WORD, seed]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def act(policy: Policy, observations: np.ndarray) -> np.ndarray:
    """The policy's actions, (N, m), checked.

    Raises:
        RunError: One of them is not finite, or was an observation.
    """
    actions = policy(observations)
    if not np.isfinite(actions).all():
        require_finite("observation", observations, "to the policy")
        raise RunError("the policy gives actions that are not finite: its training diverged, take an older checkpoint")
    return actions


def _first_episodes(policy: Policy, env: VectorEnv, seed: int, on_progress: Callable[[float], None]) -> _Episodes:
    limit = beyond_gymnasium.time_limit(env)
    if limit is None:
        raise UsageError("this environment has no time limit: its episodes need not end, so none can be awaited")
    n = env.num_envs
    running = np.ones(n, dtype=bool)
    returns, lengths = np.zeros(n), np.zeros(n, dtype=np.int64)
    truncations, succeeded, solvable = np.zeros((3, n), dtype=bool)
    reasons: dict[str, np.ndarray] = {}
    metrics: dict[str, np.ndarray] = {}
    measured: dict[str, np.ndarray] = {}
    task = np.zeros(n, dtype=np.int64)
    observations, _ = env.reset(seed=seed)
    step = 0
    while running.any():
        observations, rewards, terminated, truncated, info = env.step(act(policy, observations))
        step += 1
        require_finite("reward", np.where(running, rewards, 0.0), f"in step {step} of an evaluation", infos=info)
        truncated = truncated | (step >= limit) & ~terminated  # also where only the registration knows the limit
        returns += np.where(running, rewards, 0.0)
        lengths += running
        task = task if (named := beyond_gymnasium.row_tasks(env, info)) is None else named
        for name, values, rows in beyond_gymnasium.columns(info, "metrics"):
            having = running if rows is None else running & rows
            metrics[name] = metrics.get(name, np.zeros(n)) + np.where(having, values, 0.0)
            measured[name] = measured.get(name, np.zeros(n, dtype=np.int64)) + having
        for name, applies in beyond_gymnasium.reasons(info, running & terminated):
            reasons[name] = reasons.get(name, np.zeros(n, dtype=bool)) | applies
        truncations |= running & truncated
        if (success := beyond_gymnasium.column(info, "success")) is not None:
            values, rows = success
            having = running if rows is None else running & rows
            solvable |= having
            succeeded = np.where(having, values.astype(bool), succeeded)
        running &= ~(terminated | truncated)
        on_progress(step / limit if running.any() else 1.0)
    return _Episodes(returns, lengths, reasons, truncations, succeeded, solvable, metrics, measured, task)


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Where the mean lies with 95 % confidence."""
    from scipy import stats  # here, since it takes half a second to import

    n = len(values)
    if n == 1:
        return None
    reach = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
    return float(values.mean() - reach), float(values.mean() + reach)


def share_interval(count: float, n: int) -> tuple[float, float]:
    """Where a share of which `count` of `n` were seen lies with 95 % confidence."""
    from scipy import stats

    interval = stats.binomtest(round(count), n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _joined(parts: list[_Episodes]) -> _Episodes:
    """All episodes, one part after another; what is known of some parts only is 0 in the others."""

    def joined(name: str) -> Any:
        every = [getattr(part, name) for part in parts]
        if not isinstance(every[0], dict):
            return np.concatenate(every)
        kinds = {key: values.dtype for table in every for key, values in table.items()}
        return {
            key: np.concatenate(
                [table.get(key, np.zeros(len(part.returns), kind)) for table, part in zip(every, parts, strict=True)]
            )
            for key, kind in kinds.items()
        }

    return _Episodes(**{field.name: joined(field.name) for field in dataclasses.fields(_Episodes)})
