"""The training loop: an agent acts, the environment steps, the agent learns, and what happened is written down."""

import math
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from motrix_train import checkpoint, config, environment, run_directory
from motrix_train.agent import Agent, Update
from motrix_train.backend import Backend
from motrix_train.checkpoint import Checkpoint
from motrix_train.config import PPOCfg
from motrix_train.errors import RunError, UsageError
from motrix_train.mirror import Symmetry
from motrix_train.run_directory import RunDirectory

SEED_WORD = 0x74726169  # keeps the rows of a training apart from those of an evaluation of the same seed
ENOUGH_EPISODES = 100


@dataclass(frozen=True)
class TrainingPlan:
    """What is about to be trained."""

    env_id: str
    backend: str
    seed: int
    cfg: PPOCfg
    total_env_steps: int
    run: RunDirectory


@dataclass(frozen=True)
class RolloutStats:
    """What one rollout and the update after it were like; one line of ``progress.csv``."""

    env_steps: int
    total_env_steps: int
    seconds: float
    """Wall clock since the start, s."""
    env_steps_per_second: float
    """Over this rollout and its update."""
    seconds_env: float
    """Of this rollout, spent in the environment, s."""
    seconds_policy: float
    """Of this rollout, spent choosing actions and storing transitions, s."""
    seconds_update: float
    """Spent in the update, s."""
    mean_return: float
    """Mean return of the episodes that ended last, about one per environment; NaN before the first."""
    mean_episode_length: float
    """Mean length of these episodes, env steps."""
    episodes: int
    """Episodes that ended since the start."""
    policy_std: float
    """Mean exploration noise, in units of the action."""
    learning_rate: float
    reward_terms: dict[str, float]
    """Weighted terms, per second of episode."""
    metrics: dict[str, float]
    """The task's own metrics, mean per step."""
    losses: dict[str, float]


@dataclass(frozen=True)
class TrainingSummary:
    """How a training ended."""

    env_steps: int
    seconds: float
    interrupted: bool
    mean_return: float
    best_return: float | None
    """Mean return that the best checkpoint was chosen for, None if there were too few episodes."""
    last: Path
    best: Path | None


class Listener(Protocol):
    """Who is told about a training as it goes."""

    def started(self, plan: TrainingPlan) -> None:
        """Before the first step."""
        ...

    def rollout(self, stats: RolloutStats) -> None:
        """After every update."""
        ...

    def checkpoint_written(self, path: Path) -> None:
        """After every checkpoint."""
        ...

    def finished(self, summary: TrainingSummary) -> None:
        """After the last checkpoint, also when interrupted."""
        ...


@dataclass(frozen=True)
class Seeds:
    """The seeds of one run, far apart for neighbouring run seeds.

    Row i of the environments is seeded ``env + i``; the networks and the sampling follow ``networks``.
    """

    env: int  # 63 bits
    networks: int  # 32 bits, as much as SKRL takes

    @classmethod
    def spread(cls, seed: int) -> "Seeds":
        """The seeds that follow from the seed of the run."""
        env, networks = np.random.SeedSequence([SEED_WORD, seed]).generate_state(2, np.uint64)
        return cls(env=int(env >> np.uint64(1)), networks=int(networks >> np.uint64(32)))


def train(
    *,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    cfg: PPOCfg,
    backend: Backend,
    seed: int,
    num_envs: int,
    device: str | None,
    run: RunDirectory,
    listener: Listener,
    initial: Checkpoint | None = None,
    num_threads: int = 0,
) -> TrainingSummary:
    """Train one policy into a run directory.

    Args:
        env_id: Registered id.
        env_kwargs: Fields of the task.
        cfg: How to train.
        backend: Torch or JAX.
        seed: Seed of the run; the same seed on the same machine gives the same run.
        num_envs: Rows of the environment.
        device: Of the networks, as in ``"cpu"`` or ``"cuda"``; None takes a GPU if there is one.
        run: Where TensorBoard events, ``progress.csv`` and checkpoints go.
        listener: Told what happens.
        initial: Networks, optimizer and standardisers to start from.
        num_threads: Physics threads, 0 for all CPUs.

    Returns:
        How it ended. Ctrl-C ends it early and cleanly, with the last checkpoint written.

    Raises:
        UsageError: Something asked for does not go together.
        RunError: The disk refuses, or the training diverges.
    """
    cfg = replace(cfg, seed=seed, num_envs=num_envs)
    seeds = Seeds.spread(seed)
    with closing(environment.make(env_id, num_envs, env_kwargs, num_threads)) as env:
        backend.seed_everything(seeds.networks)
        agent = _make_agent(env, env_id, cfg, backend, device, initial)
        template = Checkpoint(
            env_id=env_id,
            env_kwargs=dict(env_kwargs),
            backend=backend.NAME,
            config=config.to_json(cfg),
            observation_shape=_box(env.single_observation_space).shape,
            action_shape=_box(env.single_action_space).shape,
            env_steps=0,
            seed=seed,
            versions=run_directory.versions(),
            state={},
        )
        total = cfg.max_batch_env_steps * num_envs
        with closing(_EventLog(run.path)) as events:
            session = _Session(env, agent, backend, cfg, template, run, listener, events, total)
            listener.started(TrainingPlan(env_id, backend.NAME, seed, cfg, total, run))
            summary = session.run(seeds.env)
        listener.finished(summary)
    return summary


class _Session:
    """One training as it goes: the loop, what it measures and what it writes."""

    def __init__(
        self,
        env: VectorEnv,
        agent: Agent,
        backend: Backend,
        cfg: PPOCfg,
        template: Checkpoint,
        run: RunDirectory,
        listener: Listener,
        events: "_EventLog",
        total_env_steps: int,
    ) -> None:
        self._env, self._agent, self._backend, self._cfg = env, agent, backend, cfg
        self._template, self._directory, self._listener, self._events = template, run, listener, events
        self._total_env_steps = total_env_steps
        self._episodes = _Episodes(env.num_envs)
        self._rollout = _Rollout()
        self._env_steps = 0
        self._start = time.perf_counter()
        self._ranking = Ranking()
        self._best_return: float | None = None
        self._best: Path | None = None

    def run(self, env_seed: int) -> TrainingSummary:
        """Train to the end of the budget, or until Ctrl-C."""
        interrupted = False
        try:
            observations, _ = self._env.reset(seed=env_seed)
            for step in range(1, self._cfg.max_batch_env_steps + 1):
                observations = self._step(observations)
                if step % self._cfg.check_point_interval == 0:
                    self._write_checkpoints()
        except KeyboardInterrupt:
            interrupted = True
        return TrainingSummary(
            env_steps=self._env_steps,
            seconds=time.perf_counter() - self._start,
            interrupted=interrupted,
            mean_return=self._episodes.mean_return,
            best_return=self._best_return,
            last=self._write("last"),
            best=self._best,
        )

    def _step(self, observations: np.ndarray) -> np.ndarray:  # (N, k) -> (N, k)
        """One vector step, and the update if the rollout is full."""
        rollout = self._rollout
        with rollout.clock("policy"):
            actions = self._agent.act(observations)
        if not np.isfinite(actions).all():
            raise RunError(
                f"training diverged: actions are not finite after {self._env_steps} env steps; "
                f"lower the learning rate, as in --set learning_rate={self._cfg.learning_rate / 3:.1g}"
            )
        with rollout.clock("env"):
            observations, rewards, terminated, truncated, infos = self._env.step(actions)
        with rollout.clock("policy"):
            self._agent.record(rewards, observations, terminated, truncated, infos)
        self._env_steps += len(rewards)
        self._episodes.add(rewards, terminated | truncated)
        rollout.add(infos)
        with rollout.clock("update"):
            update = self._agent.learn()
        if update is not None:
            self._report(update)
        return observations

    def _report(self, update: Update) -> None:
        rollout, self._rollout = self._rollout, _Rollout()
        stats = RolloutStats(
            env_steps=self._env_steps,
            total_env_steps=self._total_env_steps,
            seconds=time.perf_counter() - self._start,
            env_steps_per_second=rollout.steps * self._env.num_envs / rollout.elapsed,
            seconds_env=rollout.seconds["env"],
            seconds_policy=rollout.seconds["policy"],
            seconds_update=rollout.seconds["update"],
            mean_return=self._episodes.mean_return,
            mean_episode_length=self._episodes.mean_length,
            episodes=self._episodes.count,
            policy_std=update.policy_std,
            learning_rate=update.learning_rate,
            reward_terms=rollout.mean("reward_terms", per=_seconds_per_step(self._env)),
            metrics=rollout.mean("metrics"),
            losses=update.losses,
        )
        self._directory.append_progress(asdict(stats))
        self._events.add(stats)
        self._listener.rollout(stats)

    def _write_checkpoints(self) -> None:
        self._write(f"step_{self._env_steps}")
        mean_return = self._episodes.mean_return
        if self._episodes.enough and self._ranking.admits(mean_return, self._episodes.standard_error):
            self._best_return, self._best = mean_return, self._write("best")

    def _write(self, name: str) -> Path:
        path = self._directory.checkpoints / f"{name}{self._backend.SUFFIX}"
        state = self._backend.agent_state(self._agent)
        checkpoint.write(path, replace(self._template, env_steps=self._env_steps, state=state))
        self._listener.checkpoint_written(path)
        return path


class Ranking:
    """Which of a training's policies counts as its best: the last one that is not measurably worse than any before.

    Mean returns are measured with noise, so the greatest of many is mostly the luckiest. Of policies whose means
    differ by less than the standard error of that difference, the one that trained longest is taken.
    """

    def __init__(self) -> None:
        self._top: tuple[float, float] | None = None  # greatest mean return so far, its standard error

    def admits(self, mean: float, standard_error: float) -> bool:
        """Whether the policy with this mean return, measured so precisely, is the best so far."""
        if self._top is None or mean >= self._top[0]:
            self._top = mean, standard_error
        top, error_of_top = self._top
        return mean >= top - math.hypot(standard_error, error_of_top)


class _Episodes:
    """Returns and lengths of the episodes that ended last, about one per row."""

    def __init__(self, num_envs: int) -> None:
        self._running_returns = np.zeros(num_envs)  # (N,)
        self._running_lengths = np.zeros(num_envs, np.int64)  # (N,) env steps
        self._returns: deque[float] = deque(maxlen=max(ENOUGH_EPISODES, num_envs))
        self._lengths: deque[int] = deque(maxlen=max(ENOUGH_EPISODES, num_envs))
        self._enough = min(ENOUGH_EPISODES, num_envs)
        self.count = 0

    def add(self, rewards: np.ndarray, ended: np.ndarray) -> None:  # (N,), (N,) bool
        self._running_returns += rewards
        self._running_lengths += 1
        if ended.any():
            self._returns.extend(self._running_returns[ended])
            self._lengths.extend(self._running_lengths[ended])
            self._running_returns[ended] = 0.0
            self._running_lengths[ended] = 0
            self.count += int(ended.sum())

    @property
    def enough(self) -> bool:
        """Whether the mean says something about the policy."""
        return len(self._returns) >= self._enough

    @property
    def mean_return(self) -> float:
        return float(np.mean(self._returns)) if self._returns else float("nan")

    @property
    def standard_error(self) -> float:
        """Of the mean return."""
        return float(np.std(self._returns)) / math.sqrt(len(self._returns)) if self._returns else float("nan")

    @property
    def mean_length(self) -> float:
        return float(np.mean(self._lengths)) if self._lengths else float("nan")


@dataclass
class _Rollout:
    """Sums over the vector steps since the last update."""

    steps: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _sums: defaultdict[str, defaultdict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    _start: float = field(default_factory=time.perf_counter)

    def add(self, infos: Mapping[str, Any]) -> None:
        self.steps += 1
        for kind in ("reward_terms", "metrics"):
            for name, values in infos.get(kind, {}).items():
                if not name.startswith("_"):
                    self._sums[kind][name] += float(np.mean(values))

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        """Count the time of the block for a phase."""
        start = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - start

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._start

    def mean(self, kind: str, per: float = 1.0) -> dict[str, float]:
        """Means over all rows and steps, divided by `per`."""
        return {name: total / self.steps / per for name, total in self._sums[kind].items()}


class _EventLog:
    """TensorBoard events, over env steps."""

    def __init__(self, directory: Path) -> None:
        from skrl.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(log_dir=str(directory))
        except OSError as error:
            raise RunError(f"cannot write to {directory}: {error.strerror or error}") from error

    def add(self, stats: RolloutStats) -> None:
        scalars = {
            "Episode/return": stats.mean_return,
            "Episode/length": stats.mean_episode_length,
            "Episode/count": stats.episodes,
            "Policy/standard deviation": stats.policy_std,
            "Policy/learning rate": stats.learning_rate,
            "Throughput/env steps per second": stats.env_steps_per_second,
            "Throughput/environment seconds": stats.seconds_env,
            "Throughput/policy seconds": stats.seconds_policy,
            "Throughput/update seconds": stats.seconds_update,
            **{f"Reward/{name}": value for name, value in stats.reward_terms.items()},
            **{f"Metrics/{name}": value for name, value in stats.metrics.items()},
            **{f"Loss/{name}": value for name, value in stats.losses.items()},
        }
        for tag, value in scalars.items():
            if np.isfinite(value):
                self._writer.add_scalar(tag=tag, value=value, timestep=stats.env_steps)

    def close(self) -> None:
        self._writer.close()


def _make_agent(
    env: VectorEnv, env_id: str, cfg: PPOCfg, backend: Backend, device: str | None, initial: Checkpoint | None
) -> Agent:
    if env.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
        raise UsageError(f"{env_id} does not reset its rows in the step in which they end: make it with SAME_STEP")
    symmetry = Symmetry.of(env) if cfg.mirror != "none" else None
    if cfg.mirror != "none" and symmetry is None:
        raise UsageError(f"mirror {cfg.mirror!r} is not possible: {env_id} has no mirror image; give mirror=none")
    observation_space, action_space = _box(env.single_observation_space), _box(env.single_action_space)
    agent = backend.make_agent(observation_space, action_space, env.num_envs, cfg, symmetry, device)
    if initial is not None:
        initial.require_fit(env_id, observation_space.shape, action_space.shape)
        if initial.backend != backend.NAME:
            raise UsageError(
                f"the policy was trained with {initial.backend}: give --backend {initial.backend} to train on"
            )
        backend.load_agent_state(agent, initial.state)
    return agent


def _box(space: gymnasium.Space[Any]) -> gymnasium.spaces.Box:
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise UsageError(f"{space} cannot be trained: observations and actions must be vectors, Box(k,)")
    return space


def _seconds_per_step(env: VectorEnv) -> float:
    """Length of a step, s; 1 for environments that have no such notion."""
    return getattr(getattr(env.unwrapped, "task", None), "control_dt", 1.0)
