"""The training loop: an agent acts, the environment steps, the agent learns, and what happened is written down."""

import math
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from motrix_train import beyond_gymnasium, config, environment
from motrix_train.config import BackendName, PPOCfg
from motrix_train.distributed import ALONE, Workers
from motrix_train.errors import RunError, UsageError
from motrix_train.ppo.agent import Agent, Update
from motrix_train.ppo.backend import Backend
from motrix_train.ppo.divergence import first_not_finite, is_finite, require_finite
from motrix_train.ppo.symmetry import NetworkSymmetry
from motrix_train.ppo.transfer import InitFrom, Transfer, transfer
from motrix_train.storage import checkpoint, event_log
from motrix_train.storage.checkpoint import Checkpoint, leaves, nest
from motrix_train.storage.files import atomic_write
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.versions import installed_versions
from motrix_train.training.evaluation import Evaluation, Policy, evaluate
from motrix_train.training.staggering import Staggering, with_final

SEED_WORD = 0x74726169  # keeps the rows of a training apart from those of an evaluation of the same seed
ENOUGH_EPISODES = 100
TIME_LIMIT = "time limit"  # beside the reasons for which episodes end
SET_ASIDE = "best_before_end"  # the checkpoint that was best before the evaluation at the end of the budget


@dataclass(frozen=True)
class TrainingPlan:
    """What is about to be trained."""

    env_id: str
    backend: str
    seed: int
    cfg: PPOCfg
    total_env_steps: int
    run: RunDirectory
    env_steps: int
    """Env steps that were trained before, 0 unless the run is resumed."""
    workers: int
    """How many processes train it."""
    transfer: Transfer | None
    """What came from the policy that the run starts from, None without one."""
    policy: Policy
    """The policy in training, without exploration, with the parameters of the moment."""
    resumable: bool = True
    """Whether the run can be gone on with exactly: its environment can save its state."""


@dataclass(frozen=True)
class RolloutStats:
    """What one rollout and the update after it were like; one line of ``progress.csv``."""

    env_steps: int
    total_env_steps: int
    seconds: float
    """Wall clock spent in the run, s."""
    env_steps_per_second: float
    """Over this rollout and its update."""
    seconds_env: float
    """Of this rollout, spent in the environment, s."""
    seconds_policy: float
    """Of this rollout, spent choosing actions and storing transitions, s."""
    seconds_update: float
    """Spent in the update, s."""
    seconds_evaluation: float
    """Spent evaluating the policy after it, s."""
    mean_return: float
    """Mean return of the episodes that ended last, about one per environment; NaN before the first."""
    mean_episode_length: float
    """Mean length of these episodes, env steps."""
    return_by_task: dict[str, float]
    """The same of each task, where several are joined; else empty."""
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
    """Share of the episodes that ended in this rollout for each reason, and at the time limit; NaN where none did. Of
    several workers it is the mean of their shares."""
    losses: dict[str, float]
    update: dict[str, float]
    """What the update reports beside its losses; see `motrix_train.ppo.agent.Update.diagnostics`."""
    evaluation: dict[str, float]
    """Of the policy without exploration, if it was evaluated after this update: its mean return, the standard
    error of that, the mean length of an episode and the task's metrics."""


@dataclass(frozen=True)
class TrainingSummary:
    """How a training ended."""

    env_steps: int
    seconds: float
    interrupted: bool
    mean_return: float
    best_return: float | None
    """Mean return in the evaluation that the best checkpoint was chosen for, None without one."""
    last: Path
    best: Path | None


Goal = Callable[[RolloutStats], bool]
"""Whether a training has reached what it was for; asked after every rollout."""


def never(stats: RolloutStats) -> bool:
    """The goal of a training that uses its whole budget."""
    return False


class Listener(Protocol):
    """Who is told about a training as it goes; who derives from it may leave out what is of no interest."""

    def started(self, plan: TrainingPlan) -> None:
        """Before the first step."""

    def rollout(self, stats: RolloutStats) -> None:
        """After every update."""

    def checkpoint_written(self, path: Path) -> None:
        """After every checkpoint."""

    def stop_requested(self) -> None:
        """At once, and from another thread, when Ctrl-C or SIGTERM has asked for an end."""

    def finished(self, summary: TrainingSummary) -> None:
        """After the last checkpoint, also when interrupted."""


class Listeners(tuple[Listener, ...]):
    """Several listeners as one, told one after the other."""

    def started(self, plan: TrainingPlan) -> None:
        """Before the first step."""
        for listener in self:
            listener.started(plan)

    def rollout(self, stats: RolloutStats) -> None:
        """After every update."""
        for listener in self:
            listener.rollout(stats)

    def checkpoint_written(self, path: Path) -> None:
        """After every checkpoint."""
        for listener in self:
            listener.checkpoint_written(path)

    def stop_requested(self) -> None:
        """At once, and from another thread, when Ctrl-C or SIGTERM has asked for an end."""
        for listener in self:
            listener.stop_requested()

    def finished(self, summary: TrainingSummary) -> None:
        """After the last checkpoint, also when interrupted."""
        for listener in self:
            listener.finished(summary)


@dataclass(frozen=True)
class Seeds:
    """The seeds of one run, far apart for neighbouring run seeds.

    Row i of the environments is seeded ``env + i``; the networks and the sampling follow ``networks``, the
    episodes of the evaluations ``evaluation``.
    """

    env: int  # 63 bits
    networks: int  # 32 bits, as much as SKRL takes
    evaluation: int  # 63 bits

    @classmethod
    def spread(cls, seed: int) -> "Seeds":
        """The seeds that follow from the seed of the run."""
        env, networks, evaluation = np.random.SeedSequence([SEED_WORD, seed]).generate_state(3, np.uint64)
        return cls(env=int(env >> 1), networks=int(networks >> 32), evaluation=int(evaluation >> 1))

    def of_worker(self, rank: int, num_envs: int) -> "Seeds":
        """Those of one of several workers: together their rows are those of one process, each samples on its own."""
        networks = np.random.SeedSequence([self.networks, rank]).generate_state(1)[0] if rank else self.networks
        return replace(self, env=self.env + rank * num_envs, networks=int(networks))


def train(
    *,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    cfg: PPOCfg,
    backend: Backend,
    seed: int,
    num_envs: int,
    device: str | None,
    run: RunDirectory | None = None,
    listener: Listener | None = None,
    origin: InitFrom | None = None,
    resumed: Checkpoint | None = None,
    num_threads: int = 0,
    until: Goal = never,
    workers: Workers = ALONE,
) -> TrainingSummary | None:
    """Train one policy into a run directory.

    Args:
        env_id: Registered id.
        env_kwargs: Fields of the task.
        cfg: How to train.
        backend: Torch or JAX.
        seed: Seed of the run; the same seed on the same machine gives the same run.
        num_envs: Rows of the environment, for each worker.
        device: Of the networks, as in ``"cpu"`` or ``"cuda"``; None takes a GPU if there is one.
        run: Where TensorBoard events, ``progress.csv`` and checkpoints go.
        listener: Told what happens.
        origin: A policy to start from.
        resumed: The run's last checkpoint, to go on from as if the run had never stopped; wins over `origin`.
        num_threads: Physics threads, 0 for all CPUs, which workers of one machine divide.
        until: A goal that ends the training before its budget does.
        workers: Those that train together. `run`, `listener`, `origin`, `resumed` and `until` are the main one's; the
            others leave them out.

    Returns:
        How it ended, None where nothing is written. Ctrl-C or SIGTERM ends it early, with the last checkpoint
        written; a second one at once.

    Raises:
        UsageError: Something asked for does not go together.
        RunError: The disk refuses, or the training diverges.
    """
    cfg = replace(cfg, seed=seed, num_envs=num_envs)
    seeds = Seeds.spread(seed).of_worker(workers.rank, num_envs)
    transferred = None
    with ExitStack() as opened:
        with workers.together():
            if cfg.kl_threshold and workers.size > 1:
                raise UsageError(
                    f"kl_threshold {cfg.kl_threshold} is not possible with {workers.size} workers, which would stop an "
                    "epoch each at another step: give kl_threshold=0"
                )
            threads = num_threads if num_threads or workers.size == 1 else workers.cpus
            env = opened.enter_context(closing(_training_env(env_id, env_kwargs, cfg, threads)))
            backend.seed_everything(seeds.networks)
            agent = fresh_agent(env, env_id, cfg, backend, device, workers)
            if resumed is not None:
                with _taking_up():
                    backend.load_agent_state(agent, resumed.state)
            elif origin is not None:
                transferred = transfer(agent, backend, origin)
            if resumed is not None or origin is not None:
                _require_sound(backend.agent_state(agent))
            records = None
            if run is not None and listener is not None:
                template = _template(env, env_id, env_kwargs, cfg, backend.NAME)
                env_steps = resumed.env_steps if resumed else 0
                records = opened.enter_context(closing(_Records(run, listener, template, backend.SUFFIX, env_steps)))
        if workers.size > 1:
            backend.load_agent_state(agent, workers.share(backend.agent_state(agent)))
        measure = _Measure(env_id, env_kwargs, cfg.evaluation_episodes, seeds.evaluation, num_threads)
        staggering = _staggering(env, env_id, env_kwargs, cfg, num_threads, seeds.env)
        session = _Session(env, agent, backend, cfg, workers, records, measure, until, staggering)
        previous = workers.share(resumed.resume_state if resumed else {})
        with workers.together():
            if previous:
                with _taking_up():
                    session.go_on(previous)
            else:
                session.begin(seeds.env)
            if records is not None:
                records.begin(resumed, cfg, workers.size)
                records.listener.started(
                    TrainingPlan(
                        env_id=env_id,
                        backend=backend.NAME,
                        seed=seed,
                        cfg=cfg,
                        total_env_steps=session.total_env_steps,
                        run=records.run,
                        env_steps=records.env_steps,
                        workers=workers.size,
                        transfer=transferred,
                        policy=agent.policy,
                        resumable=beyond_gymnasium.saves_state(env),
                    )
                )
        summary = session.run()
    if listener is not None and summary is not None:
        listener.finished(summary)
    return summary


@contextmanager
def _taking_up() -> Iterator[None]:
    """A block that takes up what a checkpoint holds.

    Raises:
        RunError: It holds something else than this training needs.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as misfit:
        raise RunError(
            f"the run's last checkpoint does not fit ({type(misfit).__name__}: {str(misfit)[:200]}): it is damaged or "
            "of another version; start a new run with --init-from"
        ) from misfit


def _training_env(env_id: str, env_kwargs: Mapping[str, Any], cfg: PPOCfg, num_threads: int) -> VectorEnv:
    return environment.make(env_id, cfg.num_envs, environment.merged(cfg.training_env, env_kwargs), num_threads)


def _staggering(
    env: VectorEnv, env_id: str, env_kwargs: Mapping[str, Any], cfg: PPOCfg, num_threads: int, seed: int
) -> Staggering | None:
    """When the first episodes are cut; None where they are not to be, or cannot be."""
    limit = beyond_gymnasium.time_limit(env)
    if limit is None or not cfg.staggered_starts:
        return None

    def smaller(num_envs: int) -> VectorEnv:
        return environment.make(env_id, num_envs, environment.merged(cfg.training_env, env_kwargs), num_threads)

    return Staggering(env.num_envs, limit, seed) if beyond_gymnasium.resets_rows(env, smaller) else None


@dataclass(frozen=True)
class _Measure:
    """How the policies of a training are evaluated: always on the same episodes, which training never sees."""

    env_id: str
    env_kwargs: Mapping[str, Any]
    episodes: int
    seed: int
    num_threads: int

    def __call__(self, agent: Agent) -> Evaluation:
        return evaluate(agent.policy, self.env_id, self.env_kwargs, self.episodes, self.seed, self.num_threads)


class _Records:
    """What the main worker writes down of a training and tells of it."""

    def __init__(
        self, run: RunDirectory, listener: Listener, template: Checkpoint, suffix: str, env_steps: int
    ) -> None:
        self.run, self.listener, self.env_steps = run, listener, env_steps
        self._template, self._suffix = template, suffix
        self._events: event_log.EventLog | None = None

    def begin(self, resumed: Checkpoint | None, cfg: PPOCfg, workers: int) -> None:
        """Goes on with the run's files from where it is; before this, nothing of the run is changed."""
        _rewind(self.run, resumed, cfg, workers)
        self._events = event_log.EventLog(self.run.path)
        self._events.describe(_hyperparameters(self._template, cfg))

    def set_best_aside(self) -> None:
        """Keep the best policy until now, for a longer run, which is to forget the one that is written next."""
        best = self.run.checkpoint("best")
        if best is not None:
            atomic_write(best.with_stem(SET_ASIDE), best.read_bytes())

    def add(self, stats: RolloutStats) -> None:
        """One rollout."""
        assert self._events is not None
        self.run.append_progress(asdict(stats))
        self._events.add(scalars(stats), stats.env_steps)
        self.listener.rollout(stats)

    def write_policy(self, name: str, env_steps: int, state: dict[str, Any]) -> None:
        """A checkpoint to be used, but not to be resumed from."""
        self._write(name, replace(self._template, env_steps=env_steps, state=state))

    def write_last(self, env_steps: int, state: dict[str, Any], session: dict[str, Any]) -> Path:
        """What a resumed run goes on from. The logs are on the disk before it, so that it finds no gap in them."""
        assert self._events is not None
        self._events.flush()
        self.run.flush_progress()
        return self._write("last", replace(self._template, env_steps=env_steps, state=state, resume_state=session))

    def _write(self, name: str, content: Checkpoint) -> Path:
        path = self.run.checkpoints / f"{name}{self._suffix}"
        checkpoint.write(path, content)
        self.listener.checkpoint_written(path)
        return path

    def close(self) -> None:
        """Ends the logs."""
        if self._events is not None:
            self._events.close()


def _hyperparameters(template: Checkpoint, cfg: PPOCfg) -> dict[str, Any]:
    """All that a run is made from, by name."""
    return {
        "env_id": template.env_id,
        "backend": template.backend,
        **{f"env/{name}": value for name, value in template.env_kwargs.items()},
        **{name: value for name, value in config.to_json(cfg).items() if value is not None},
    }


def _rewind(run: RunDirectory, resumed: Checkpoint | None, cfg: PPOCfg, workers: int) -> None:
    """Take a run's files back to a checkpoint, as a run that is planned with this budget comes by it.

    An evaluation that was made only because a budget ended is taken back, and the best policy that it chose.
    """
    env_steps = resumed.env_steps if resumed else 0
    period = cfg.evaluation_interval * cfg.rollouts * cfg.num_envs * workers  # env steps
    at_end = bool(period and env_steps % period)
    run.rewind(env_steps)
    run.lengthen_progress(cfg.env_steps(workers), "evaluation/" if at_end else None)
    event_log.rewind(run.path, env_steps, "Evaluation/" if at_end else None)
    best, before = run.checkpoint("best"), run.checkpoint(SET_ASIDE)
    if best is not None and period and _env_steps_of(best) % period:
        if before is not None:
            before.replace(best)
        elif resumed is None or not resumed.resume_state["ranking"]["chosen"].size:
            best.unlink()
    elif before is not None:
        before.unlink()


def _env_steps_of(policy: Path) -> int:
    """Env steps that a policy was trained, 0 if it is damaged: a resumed run needs it for nothing else."""
    try:
        return checkpoint.read(policy).env_steps
    except (RunError, UsageError):
        return 0


class _Session:
    """One training as it goes: the loop, what it measures and what it gives to be written."""

    def __init__(
        self,
        env: VectorEnv,
        agent: Agent,
        backend: Backend,
        cfg: PPOCfg,
        workers: Workers,
        records: _Records | None,
        measure: _Measure,
        until: Goal,
        staggering: Staggering | None,
    ) -> None:
        self._env, self._agent, self._backend, self._workers = env, agent, backend, workers
        self._resumable: Any = env  # has more than Gymnasium's methods where `beyond_gymnasium.saves_state`
        self._cfg = cfg.for_one_of(workers.size)
        self._records, self._measure, self._until, self._staggering = records, measure, until, staggering
        self._env_steps_per_update = cfg.rollouts * env.num_envs * workers.size
        self.total_env_steps = cfg.env_steps(workers.size)
        self._updates = 0
        self._goal_reached = False
        self._episodes = _Episodes(env.num_envs, beyond_gymnasium.task_names(env))
        self._ranking = Ranking()
        self._best_return: float | None = None
        self._start = time.perf_counter()

    @property
    def _env_steps(self) -> int:
        return self._updates * self._env_steps_per_update

    @property
    def _ended(self) -> bool:
        return self._goal_reached or self._updates >= self._cfg.updates

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._start

    def begin(self, env_seed: int) -> None:
        """Start new episodes."""
        self._observations, _ = self._env.reset(seed=env_seed)
        self._states = self._state()
        require_finite("observation", self._observations, "at the reset")
        self._boundary = self._snapshot()

    def go_on(self, session: Mapping[str, Any]) -> None:
        """Take up everything but the agent where it was when the checkpoint was written."""
        self._updates = int(session["updates"])
        self._start -= float(session["seconds"])
        self._ranking.restore(session["ranking"])
        self._best_return = self._ranking.chosen
        own = session["workers"][str(self._workers.rank)]
        self._episodes.restore(own["episodes"])
        self._observations = self._resumable.set_state(own["environment"])
        self._states = self._state()
        self._backend.set_random_state(self._agent, own["random"])
        self._boundary = self._snapshot()

    def run(self) -> TrainingSummary | None:
        """Train to the goal or the end of the budget, or until Ctrl-C."""
        told = None if self._records is None else self._records.listener.stop_requested
        with _stop_requests(told) as stop_requested:
            while not self._ended and self._rollout(stop_requested):
                if self._reached(self._cfg.check_point_interval):
                    self._write_checkpoints()
        last = self._write_last()
        mean_return = self._workers.mean({"return": self._episodes.mean_return})["return"]
        if self._records is None or last is None:
            return None
        return TrainingSummary(
            env_steps=self._env_steps,
            seconds=self._seconds,
            interrupted=not self._ended,
            mean_return=mean_return,
            best_return=self._best_return,
            last=last,
            best=self._records.run.checkpoint("best"),
        )

    def _rollout(self, stop_requested: Callable[[], bool]) -> bool:
        """Collect a rollout, learn from it and report; False if asked to stop."""
        rollout = _Rollout()
        with self._workers.together():
            full = self._collect(rollout, stop_requested)
        if self._workers.any(not full):
            return False
        with rollout.clock("update"), self._workers.reaching():
            update = self._agent.learn()
        assert update is not None
        rollout.end()
        self._updates += 1
        with self._workers.together():
            self._require_convergence(update)
        stats = _of_all(self._stats(rollout, update), self._workers)
        with self._workers.together():
            if self._records is not None:
                self._records.add(self._judge(stats, self._records))
        self._goal_reached = self._workers.any(self._goal_reached)
        self._boundary = self._snapshot()
        return True

    def _collect(self, rollout: "_Rollout", stop_requested: Callable[[], bool]) -> bool:
        """Step until the rollout is full; False if asked to stop before."""
        for _ in range(self._cfg.rollouts):
            if stop_requested():
                return False
            self._step(rollout)
        return True

    def _step(self, rollout: "_Rollout") -> None:
        """One vector step."""
        with rollout.clock("policy"):
            actions = self._agent.act(self._observations, self._states)
        if not np.isfinite(actions).all():
            raise self._divergence("actions are not finite")
        with rollout.clock("env"):
            self._observations, rewards, terminated, truncated, infos = self._env.step(actions)
            self._states = self._state()
            ended = terminated | truncated
            infos = beyond_gymnasium.masked(infos, ended)
            self._require_last(infos, ended, truncated)
            cut = self._cuts(rollout) & ~ended
            if cut.any():
                infos = with_final(infos, cut, "final_obs", self._observations)
                if self._states is not None:
                    infos = with_final(infos, cut, "final_state", self._states)
                self._observations, _ = self._env.reset(options={"reset_mask": cut})
                self._states = self._state()
            self._require_finite(rewards, infos, rollout)
        with rollout.clock("policy"):
            self._agent.record(rewards, self._observations, terminated, truncated | cut, infos, self._states)
        self._episodes.add(rewards, ended, beyond_gymnasium.row_tasks(self._env, infos))
        self._episodes.forget(cut)
        rollout.add(infos, terminated, truncated)

    def _require_last(self, infos: Mapping[str, Any], ended: np.ndarray, truncated: np.ndarray) -> None:
        """Refuse an environment that keeps to itself what was last in an episode, where that is needed."""
        if self._states is not None and ended.any() and "final_state" not in infos:
            raise UsageError(
                "critic 'state' is not possible: the environment does not give the last state of an episode as "
                "info['final_state']; give critic=observation"
            )
        if self._cfg.time_limit_bootstrap and truncated.any() and "final_obs" not in infos:
            raise UsageError(
                "time_limit_bootstrap is not possible: the environment does not give the last observation of an "
                "episode as info['final_obs']; give time_limit_bootstrap=false"
            )

    def _require_finite(self, rewards: np.ndarray, infos: Mapping[str, Any], rollout: "_Rollout") -> None:
        """Refuse what the environment gave in a step if it is not finite, before any of it is learned from."""
        taken = (rollout.steps + 1) * self._env.num_envs * self._workers.size
        when = f"in env step {self._env_steps + taken:,}"
        require_finite("reward", rewards, when, infos=infos)
        for seen, last, name in (
            (self._observations, "final_obs", "observation"),
            (self._states, "final_state", "state"),
        ):
            if seen is None:
                continue
            require_finite(name, seen, when)
            if (found := beyond_gymnasium.final(infos, last)) is not None:
                require_finite(f"last {name} of an episode", found[1], when, rows=found[0])

    def _require_convergence(self, update: Update) -> None:
        """Refuse what was learned if it is not finite, before any of it is written.

        Parameters may be so great that only what they give is not finite; so that is looked at too.
        """
        for name, loss in update.losses.items():
            if not math.isfinite(loss):
                raise self._divergence(f"the {name} loss is {loss}")
        if not self._agent.all_finite():
            name = first_not_finite(self._backend.agent_state(self._agent))
            raise self._divergence(f"{name} is not finite")
        if not is_finite(self._agent.policy(self._observations)):
            raise self._divergence("the actions of the new policy are not finite")
        if not is_finite(self._agent.values(self._observations, self._states)):
            raise self._divergence("the values of the new value network are not finite")

    def _divergence(self, what: str) -> RunError:
        """What to tell of a training that diverged."""
        rate = min(self._cfg.learning_rate / 3, PPOCfg.learning_rate)
        last = None if self._records is None else self._records.run.checkpoint("last")
        good = "" if last is None else f", with --init-from {last}, its last good checkpoint"
        return RunError(
            f"training diverged: {what} after {self._env_steps:,} env steps; lower the learning rate, as in "
            f"--set learning_rate={rate:.1g}{good}"
        )

    def _state(self) -> np.ndarray | None:  # (N, s)
        """What the critic sees at the moment, None where that is the observation."""
        return self._resumable.state() if self._cfg.critic == "state" else None

    def _cuts(self, rollout: "_Rollout") -> np.ndarray:  # (N,) bool
        """The rows whose first episode is cut after the step at hand."""
        if self._staggering is None:
            return np.zeros(self._env.num_envs, dtype=bool)
        return self._staggering.due(self._updates * self._cfg.rollouts + rollout.steps + 1)

    def _stats(self, rollout: "_Rollout", update: Update) -> RolloutStats:
        """What the rollout of this worker was like."""
        return RolloutStats(
            env_steps=self._env_steps,
            total_env_steps=self.total_env_steps,
            seconds=self._seconds,
            env_steps_per_second=self._env_steps_per_update / rollout.elapsed,
            seconds_env=rollout.seconds["env"],
            seconds_policy=rollout.seconds["policy"],
            seconds_update=rollout.seconds["update"],
            seconds_evaluation=0.0,
            mean_return=self._episodes.mean_return,
            mean_episode_length=self._episodes.mean_length,
            return_by_task=self._episodes.return_by_task,
            episodes=self._episodes.count,
            policy_std=update.policy_std,
            learning_rate=update.learning_rate,
            reward_terms=rollout.mean("reward_terms", per=beyond_gymnasium.step_seconds(self._env) or 1.0),
            metrics=rollout.mean("metrics"),
            endings=rollout.endings(),
            losses=update.losses,
            update=update.diagnostics,
            evaluation={},
        )

    def _judge(self, stats: RolloutStats, records: _Records) -> RolloutStats:
        """Ask whether the goal is reached, and evaluate the policy if it is time to: always when the training ends."""
        interval = self._cfg.evaluation_interval
        if interval and self._updates % interval == 0:
            stats = self._evaluate(stats, records, self._ranking)
        self._goal_reached = self._until(stats)
        if interval and self._ended and not stats.evaluation:
            stats = self._evaluate(stats, records, copy(self._ranking), at_end=True)
        return stats

    def _evaluate(
        self, stats: RolloutStats, records: _Records, ranking: "Ranking", at_end: bool = False
    ) -> RolloutStats:
        """Evaluate the policy, and keep it if it is the best; at the end in such a way that it can be taken back."""
        start = time.perf_counter()
        found = self._measure(self._agent)
        if ranking.admits(found.mean_return, found.standard_error):
            if at_end:
                records.set_best_aside()
            records.write_policy("best", self._env_steps, self._backend.agent_state(self._agent))
        self._best_return = ranking.chosen
        taken = time.perf_counter() - start
        return replace(stats, evaluation=_columns(found), seconds_evaluation=taken, seconds=stats.seconds + taken)

    def _reached(self, interval: int) -> bool:
        """Whether the last rollout reached a multiple of `interval` vector steps."""
        steps = self._updates * self._cfg.rollouts
        return steps // interval > (steps - self._cfg.rollouts) // interval

    def _write_checkpoints(self) -> None:
        with self._workers.together():
            if self._records is not None:
                state = self._backend.agent_state(self._agent)
                self._records.write_policy(f"step_{self._env_steps}", self._env_steps, state)
                self._records.run.keep_newest(self._cfg.check_points_kept)
        self._write_last()

    def _write_last(self) -> Path | None:
        common, own = self._boundary
        every = self._workers.gather(own)
        with self._workers.together():
            if self._records is None:
                return None
            session = {**common, "workers": {str(rank): part for rank, part in enumerate(every)}} if own else {}
            return self._records.write_last(self._env_steps, self._backend.agent_state(self._agent), session)

    def _snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """All that a training needs to go on exactly, beside the agent, taken between two rollouts: what the workers
        have in common, and what is this one's own; both empty for an environment that cannot be resumed."""
        if not beyond_gymnasium.saves_state(self._env):
            return {}, {}  # an environment of others: its policies are as good
        common = {"updates": self._updates, "seconds": self._seconds, "ranking": self._ranking.state()}
        own = {
            "environment": self._resumable.get_state(),
            "random": self._backend.random_state(self._agent),
            "episodes": self._episodes.state(),
        }
        return common, own


class Ranking:
    """Which of a training's policies counts as its best: the last one that is not measurably worse than any before.

    Mean returns are measured with noise, so the greatest of many is mostly the luckiest. Of policies whose means
    differ by less than the standard error of that difference, the one that trained longest is taken.
    """

    def __init__(self) -> None:
        self._top: tuple[float, float] | None = None  # greatest mean return so far, its standard error
        self.chosen: float | None = None
        """Mean return of the policy that is the best so far."""

    def admits(self, mean: float, standard_error: float) -> bool:
        """Whether the policy with this mean return, measured so precisely, is the best so far."""
        if self._top is None or mean >= self._top[0]:
            self._top = mean, standard_error
        top, error_of_top = self._top
        admitted = mean >= top - math.hypot(standard_error, error_of_top)
        if admitted:
            self.chosen = mean
        return admitted

    def state(self) -> dict[str, Any]:
        """What `restore` goes on from."""
        return {"top": np.array(self._top or ()), "chosen": np.array([] if self.chosen is None else [self.chosen])}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        top, chosen = state["top"].tolist(), state["chosen"].tolist()
        self._top = (top[0], top[1]) if top else None
        self.chosen = chosen[0] if chosen else None


class _Episodes:
    """Returns and lengths of the episodes that ended last, about one per row."""

    def __init__(self, num_envs: int, task_names: Sequence[str] = ()) -> None:
        self._task_names = task_names
        self._running_returns = np.zeros(num_envs)  # (N,)
        self._running_lengths = np.zeros(num_envs, np.int64)  # (N,) env steps
        self._returns: deque[float] = deque(maxlen=max(ENOUGH_EPISODES, num_envs))
        self._lengths: deque[int] = deque(maxlen=max(ENOUGH_EPISODES, num_envs))
        self._tasks: deque[int] = deque(maxlen=max(ENOUGH_EPISODES, num_envs))
        self.count = 0

    def add(self, rewards: np.ndarray, ended: np.ndarray, tasks: np.ndarray | None = None) -> None:
        """One step of every row: its reward (N,), whether its episode ended (N,), which of several tasks it has."""
        self._running_returns += rewards
        self._running_lengths += 1
        if ended.any():
            self._returns.extend(self._running_returns[ended])
            self._lengths.extend(self._running_lengths[ended])
            self._tasks.extend(np.zeros(ended.sum(), int) if tasks is None else tasks[ended])
            self.count += int(ended.sum())
            self.forget(ended)

    def forget(self, rows: np.ndarray) -> None:  # (N,) bool
        """Begin anew in some rows."""
        self._running_returns[rows] = 0.0
        self._running_lengths[rows] = 0

    def state(self) -> dict[str, Any]:
        """What `restore` goes on from."""
        return {
            "running_returns": self._running_returns.copy(),
            "running_lengths": self._running_lengths.copy(),
            "returns": np.array(self._returns, float),
            "lengths": np.array(self._lengths, np.int64),
            "tasks": np.array(self._tasks, np.int64),
            "count": self.count,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._running_returns = np.array(state["running_returns"])
        self._running_lengths = np.array(state["running_lengths"])
        self._returns.extend(state["returns"].tolist())
        self._lengths.extend(state["lengths"].tolist())
        self._tasks.extend(state["tasks"].tolist())
        self.count = int(state["count"])

    @property
    def mean_return(self) -> float:
        return float(np.mean(self._returns)) if self._returns else float("nan")

    @property
    def return_by_task(self) -> dict[str, float]:
        """Mean return of each of several tasks, of those of which an episode has ended."""
        returns, tasks = np.array(self._returns), np.array(self._tasks)
        named = [(name, returns[tasks == task]) for task, name in enumerate(self._task_names)]
        return {name: float(found.mean()) for name, found in named if found.size}

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
    _endings: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    elapsed: float = 0.0
    """Wall clock from the start to the end, s."""
    _start: float = field(default_factory=time.perf_counter)

    def add(self, infos: Mapping[str, Any], terminated: np.ndarray, truncated: np.ndarray) -> None:
        """One step: its infos, and the rows (N,) bool that ended in it."""
        self.steps += 1
        self._endings[TIME_LIMIT] += int(truncated.sum())
        for name, rows in beyond_gymnasium.reasons(infos, terminated):
            self._endings[name] += int(rows.sum())
        for kind in ("reward_terms", "metrics"):
            for name, every, rows in beyond_gymnasium.columns(infos, kind):
                values = every if rows is None else every[rows]
                if values.size:
                    self._sums[kind][name] += float(values.mean())

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        """Count the time of the block for a phase."""
        start = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - start

    def end(self) -> None:
        """Stop the wall clock."""
        self.elapsed = time.perf_counter() - self._start

    def endings(self) -> dict[str, float]:
        """Share of the episodes that ended for each reason."""
        ended = sum(self._endings.values())
        return {name: count / ended if ended else math.nan for name, count in self._endings.items()}

    def mean(self, kind: str, per: float = 1.0) -> dict[str, float]:
        """Means over all rows and steps, divided by `per`."""
        return {name: total / self.steps / per for name, total in self._sums[kind].items()}


@contextmanager
def _stop_requests(told: Callable[[], None] | None) -> Iterator[Callable[[], bool]]:
    """Yields whether Ctrl-C or SIGTERM has asked for an end; a second Ctrl-C interrupts at once, as without this.

    A training may only stop between two steps: what it writes in the middle of an update could not be resumed. So
    `told` is called at once, in a thread, since the signal may have come in the middle of a line to the terminal.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return

    def request(number: int, frame: Any) -> None:
        requested.set()
        signal.signal(number, before[number])
        if told is not None:
            threading.Thread(target=told, daemon=True).start()

    heeded = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before: dict[int, Any] = {number: signal.signal(number, request) for number in heeded}
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _columns(found: Evaluation) -> dict[str, float]:
    return {
        "mean_return": found.mean_return,
        "standard_error": found.standard_error,
        "mean_length": found.mean_length,
        **({} if found.success is None else {"success": found.success}),
        **found.metrics,
        **{f"{name}/mean_return": task.mean_return for name, task in found.by_task.items()},
    }


def scalars(stats: RolloutStats) -> dict[str, float]:
    """The line of progress under TensorBoard's tags."""
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


def _of_all(stats: RolloutStats, workers: Workers) -> RolloutStats:
    """The statistics of all workers, from those of one: means, and the sum of what is counted."""
    if workers.size == 1:
        return stats
    means = workers.mean({name: float(value) for name, value in leaves(asdict(stats))})
    whole = {"env_steps": stats.env_steps, "total_env_steps": stats.total_env_steps}
    whole["episodes"] = round(means["episodes"] * workers.size)
    return RolloutStats(**{**asdict(stats), **nest(means), **whole})


def _require_sound(state: Mapping[str, Any]) -> None:
    """Refuse to go on from a policy that is not finite."""
    name = first_not_finite(state)
    if name is not None:
        raise RunError(
            f"the policy to go on from is no good: its {name} is not finite, since its training diverged; begin a new "
            "run from an older one with --init-from POLICY"
        )


def _template(
    env: VectorEnv, env_id: str, env_kwargs: Mapping[str, Any], cfg: PPOCfg, backend: BackendName
) -> Checkpoint:
    """What every checkpoint of a training says."""
    observation_space, action_space = _box(env.single_observation_space), _box(env.single_action_space)
    assert cfg.seed is not None
    return Checkpoint(
        env_id=env_id,
        env_kwargs=dict(env_kwargs),
        backend=backend,
        config=config.to_json(cfg),
        observation_shape=observation_space.shape,
        action_shape=action_space.shape,
        action_low=tuple(map(float, action_space.low)),
        action_high=tuple(map(float, action_space.high)),
        env_steps=0,
        seed=cfg.seed,
        versions=installed_versions(),
        state={},
    )


def fresh_agent(
    env: VectorEnv, env_id: str, cfg: PPOCfg, backend: Backend, device: str | None, workers: Workers = ALONE
) -> Agent:
    """An agent that has learned nothing yet, for an environment that it can be trained and evaluated in.

    Raises:
        UsageError: Environment, configuration and device do not go together.
    """
    if cfg.evaluation_interval and beyond_gymnasium.time_limit(env) is None:
        raise UsageError(f"{env_id} has no time limit, so it cannot be evaluated: give evaluation_interval=0")
    if env.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
        raise UsageError(f"{env_id} does not reset its rows in the step in which they end: make it with SAME_STEP")
    symmetry = NetworkSymmetry.of(env) if cfg.mirror != "none" else None
    if cfg.mirror != "none" and symmetry is None:
        raise UsageError(f"mirror {cfg.mirror!r} is not possible: {env_id} has no mirror image; give mirror=none")
    state_space = beyond_gymnasium.state_space(env) if cfg.critic == "state" else None
    if cfg.critic == "state" and state_space is None:
        raise UsageError(
            f"critic 'state' is not possible: {env_id} has no state beside its observations; give critic=observation"
        )
    return backend.make_agent(
        _box(env.single_observation_space),
        _box(env.single_action_space),
        env.num_envs,
        cfg,
        symmetry,
        device,
        workers,
        None if state_space is None else _box(state_space),
    )


def _box(space: gymnasium.Space[Any]) -> gymnasium.spaces.Box:
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise UsageError(f"{space} cannot be trained: observations, actions and states must be vectors, Box(k,)")
    return space
