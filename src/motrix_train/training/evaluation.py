"""Evaluates a policy over whole episodes: the first one of each of many fresh environments."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from motrix_train import env_protocol, environment
from motrix_train import infos as step_infos
from motrix_train.errors import RunError, UsageError
from motrix_train.learning.divergence import require_finite

PolicyFunction = Callable[[np.ndarray], np.ndarray]  # observations (N, k) float32 -> actions (N, m) float32

MAX_ENVS = 1024
SEED_WORD = 0x6576616C  # the environments of an evaluation differ from those of a training of the same seed


@dataclass(frozen=True)
class TaskEvaluation:
    """Measurements over the episodes of one of several joined tasks; the fields are those of `Evaluation`."""

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
    """Measurements over whole episodes.

    Attributes:
        env_id: Registered id.
        episodes: Number of episodes.
        seed: Seed of the environments.
        mean_return: Mean sum of the rewards of an episode.
        std_return: Standard deviation of the return over the episodes.
        return_ci95: 95 % confidence interval of the mean return: the mean plus and minus Student's t times the standard
            error. None for a single episode.
        mean_length: Mean length of an episode, control steps.
        termination: Share of the episodes that ended for each reason; with `truncation` they sum to 1.
        termination_ci95: 95 % confidence interval of each of these shares, Wilson's score interval
            (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953).
        truncation: Share of the episodes that reached the time limit.
        success: Share of the episodes that ended in success; None for a task that cannot be solved.
        success_ci95: 95 % confidence interval of this share, Wilson's score interval.
        metrics: The task's own metrics, each averaged over all steps that have it, in the task's units.
        by_task: Measurements of each of several joined tasks; empty for a single task.
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
class _FirstEpisodes:
    """Sums over the first episode of each of N environments.

    Attributes:
        returns: (N,) sum of rewards.
        lengths: (N,) control steps.
        reasons: Environments that terminated, by reason, (N,) bool each, an environment under its first reason only.
        truncated: (N,) bool.
        succeeded: (N,) bool, whether the last step was a success.
        solvable: (N,) bool, environments whose task can be solved.
        metrics: Sums of each metric, (N,) each.
        measured: Steps that have each metric, (N,) int each.
        task: (N,) int, the index of the environment's task where several are joined, else 0.
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


def evaluate_policy(
    policy: PolicyFunction,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    episodes: int = 256,
    seed: int = 0,
    num_threads: int = 0,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Evaluation:
    """Measures a policy.

    Each environment plays one episode, so that short episodes count no more often than long ones. Environment i follows
    `first_env_seed(seed)` + i, however many environments step together.

    Args:
        policy: Returns the actions for observations.
        env_id: Registered id.
        env_kwargs: Fields of the task.
        episodes: Number of episodes, at least 1.
        seed: Of the episodes.
        num_threads: Physics threads, 0 for all CPUs.
        on_progress: Called at every step with the share of the longest possible evaluation that is done.

    Raises:
        UsageError: The environment cannot be made, or its episodes may never end.
        RunError: An action of the policy or a number of the environment is not finite.
    """
    if episodes < 1:
        raise UsageError(f"episodes is {episodes}; it takes a whole number from 1")
    parts: list[_FirstEpisodes] = []
    task_names: tuple[str, ...] = ()
    for done in range(0, episodes, MAX_ENVS):
        num_envs = min(MAX_ENVS, episodes - done)
        env = environment.make_env(env_id, num_envs, env_kwargs, num_threads)
        task_names = env_protocol.task_names(env)
        try:
            parts.append(
                _first_episodes(
                    policy,
                    env,
                    first_env_seed(seed) + done,
                    lambda share, done=done, num_envs=num_envs: on_progress((done + share * num_envs) / episodes),
                )
            )
        finally:
            env.close()
    found = _joined(parts)
    ended = {name: int(envs.sum()) for name, envs in found.reasons.items()}
    return Evaluation(
        env_id=environment.find_spec(env_id).id,
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
            name: _summary(found, envs)
            for name, envs in ((name, found.task == k) for k, name in enumerate(task_names))
            if envs.any()
        },
    )


def _summary(found: _FirstEpisodes, envs: np.ndarray) -> TaskEvaluation:
    """Measurements over the episodes of some environments, (N,) bool."""
    returns = found.returns[envs]
    solvable = envs & found.solvable
    return TaskEvaluation(
        episodes=len(returns),
        mean_return=float(returns.mean()),
        std_return=float(returns.std()),
        return_ci95=mean_interval(returns),
        mean_length=float(found.lengths[envs].mean()),
        termination={name: float(applies[envs].mean()) for name, applies in found.reasons.items()},
        truncation=float(found.truncated[envs].mean()),
        success=float(found.succeeded[solvable].mean()) if solvable.any() else None,
    )


def first_env_seed(seed: int) -> int:
    """The seed of an evaluation's first environment, 63 bits, far from those of a training of the same seed."""
    return int(np.random.SeedSequence([SEED_WORD, seed]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def act(policy: PolicyFunction, observations: np.ndarray) -> np.ndarray:
    """The policy's actions, (N, m), checked.

    Raises:
        RunError: An action is not finite, or an observation is not.
    """
    actions = policy(observations)
    if not np.isfinite(actions).all():
        require_finite("observation", observations, "to the policy")
        raise RunError("the actions of the policy are not finite: its training diverged, take an older checkpoint")
    return actions


def _first_episodes(
    policy: PolicyFunction, env: VectorEnv, seed: int, on_progress: Callable[[float], None]
) -> _FirstEpisodes:
    limit = env_protocol.time_limit(env)
    if limit is None:
        raise UsageError("this environment has no time limit: its episodes may never end")
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
        task = task if (named := env_protocol.env_tasks(env, info)) is None else named
        for name, values, envs in step_infos.columns(info, "metrics"):
            having = running if envs is None else running & envs
            metrics[name] = metrics.get(name, np.zeros(n)) + np.where(having, values, 0.0)
            measured[name] = measured.get(name, np.zeros(n, dtype=np.int64)) + having
        for name, applies in step_infos.reasons(info, running & terminated):
            reasons[name] = reasons.get(name, np.zeros(n, dtype=bool)) | applies
        truncations |= running & truncated
        if (success := step_infos.column(info, "success")) is not None:
            values, envs = success
            having = running if envs is None else running & envs
            solvable |= having
            succeeded = np.where(having, values.astype(bool), succeeded)
        running &= ~(terminated | truncated)
        on_progress(step / limit if running.any() else 1.0)
    return _FirstEpisodes(returns, lengths, reasons, truncations, succeeded, solvable, metrics, measured, task)


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """95 % confidence interval of the mean, None for a single value."""
    from scipy import stats  # here, since it takes half a second to import

    n = len(values)
    if n == 1:
        return None
    reach = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
    return float(values.mean() - reach), float(values.mean() + reach)


def share_interval(count: float, n: int) -> tuple[float, float]:
    """95 % confidence interval of a share of which `count` of `n` were observed."""
    from scipy import stats

    interval = stats.binomtest(round(count), n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _joined(parts: list[_FirstEpisodes]) -> _FirstEpisodes:
    """All episodes in the order of the parts; a reason or metric that a part lacks is 0 there."""

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

    return _FirstEpisodes(**{field.name: joined(field.name) for field in dataclasses.fields(_FirstEpisodes)})
