"""The training loop: collect a rollout, update the networks, report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motrix_train import env_protocol
from motrix_train.config import BaseRLCfg
from motrix_train.distributed import ProcessGroup
from motrix_train.learning.agent import Agent, Update
from motrix_train.learning.backend import Backend
from motrix_train.training.collector import RolloutCollector
from motrix_train.training.divergence_check import DivergenceCheck
from motrix_train.training.interrupts import stop_requests
from motrix_train.training.records import RolloutStats, TrainingSummary
from motrix_train.training.reporter import Reporter
from motrix_train.training.statistics import RolloutStatistics, mean_over_processes


class TrainingLoop:
    """One training, as one of its processes runs it; every process calls the same methods.

    Args:
        collector: Collects the rollouts of this process.
        agent: Learns from them, with those of the other processes.
        backend: Of the agent.
        cfg: How to train.
        group: The processes.
        check: Ends a training that diverges.
        reporter: Evaluates and writes, on rank 0; None in the other processes.
    """

    def __init__(
        self,
        collector: RolloutCollector,
        agent: Agent,
        backend: Backend,
        cfg: BaseRLCfg,
        group: ProcessGroup,
        check: DivergenceCheck,
        reporter: Reporter | None,
    ) -> None:
        self.collector, self.agent = collector, agent
        self.updates = 0
        self._backend, self._cfg, self._group, self._check, self._reporter = backend, cfg, group, check, reporter
        self._max_updates = cfg.for_one_of(group.size).updates
        self._env_steps_per_update = cfg.rollouts * cfg.num_envs * group.size
        self._goal_reached = False
        self._start = time.perf_counter()

    @property
    def env_steps(self) -> int:
        """Env steps trained so far, by all processes."""
        return self.updates * self._env_steps_per_update

    @property
    def is_finished(self) -> bool:
        """Whether the goal is reached or the budget used."""
        return self._goal_reached or self.updates >= self._max_updates

    def begin(self, env_seed: int) -> None:
        """Starts from new episodes."""
        self.collector.reset(env_seed)
        self._take_snapshot()

    def resume(self, resume_state: Mapping[str, Any]) -> None:
        """Continues from the resume state of a checkpoint; the agent has been loaded before."""
        self.updates = int(resume_state["updates"])
        self._start -= float(resume_state["seconds"])
        if self._reporter is not None:
            self._reporter.restore(resume_state["ranking"])
        own = resume_state["workers"][str(self._group.rank)]
        self.collector.restore(own)
        self._backend.set_random_state(self.agent, own["random"])
        self.agent.restore_session(own)
        self._take_snapshot()

    def learn(self) -> TrainingSummary | None:
        """Trains until the goal is reached, the budget is used, or a stop is requested in one of the processes.

        A rollout that a stop request cut short is dropped: a resumed run collects it again.

        Returns:
            How the training ended; None in processes other than rank 0.
        """
        group = self._group
        with stop_requests(self._on_stop_request) as stop_requested:
            while not self.is_finished:
                rollout = RolloutStatistics()
                if not group.all(self.collector.collect, rollout, self.env_steps, stop_requested):
                    break
                with rollout.clock("update"), group.connection_errors():
                    update = self.agent.learn()
                assert update is not None
                rollout.stop()
                self.updates += 1
                group.run(self._check_update, update)
                stats = mean_over_processes(self._stats(rollout, update), group)
                self._goal_reached = group.any(self._report, stats)
                self._take_snapshot()
                if self._is_checkpoint_due():
                    self._write_checkpoints(with_step=True)
        last = self._write_checkpoints(with_step=False)
        mean_return = group.mean({"return": self.collector.episodes.mean_return})["return"]
        return self._summary(last, mean_return)

    def _on_stop_request(self) -> None:
        if self._reporter is not None:
            self._reporter.recorder.callback.stop_requested()

    def _check_update(self, update: Update) -> None:
        self._check.check_update(update, *self.collector.seen(), self.env_steps)

    def _report(self, stats: RolloutStats) -> bool:
        """Reports the rollout on rank 0; returns whether the goal is reached."""
        if self._reporter is None:
            return False
        return self._reporter.report(stats, self.updates, is_last=self.updates >= self._max_updates)

    def _is_checkpoint_due(self) -> bool:
        """Whether the last rollout reached a multiple of the checkpoint interval, in vector steps."""
        steps, interval = self.updates * self._cfg.rollouts, self._cfg.check_point_interval
        return steps // interval > (steps - self._cfg.rollouts) // interval

    def _take_snapshot(self) -> None:
        """Keeps all that an exact resume needs beside the agent, as it is between two rollouts.

        `_write_checkpoints` writes it, however many steps of the next rollout were taken since. The snapshot is empty
        where the environment cannot save its state.
        """
        self._common_state: dict[str, Any] = {"updates": self.updates, "seconds": self._seconds}
        if self._reporter is not None:
            self._common_state["ranking"] = self._reporter.best.state()
        self._own_state: dict[str, Any] = {}
        if env_protocol.is_resumable(self.collector.env):
            self._own_state = {
                **self.collector.state(),
                "random": self._backend.random_state(self.agent),
                **self.agent.session_state(),
            }

    def _write_checkpoints(self, *, with_step: bool) -> Path | None:
        """Writes ``last`` on rank 0 and returns its path; before it, a checkpoint named after the env steps."""
        self._group.run(self.agent.flush)
        own_states = self._group.gather(self._own_state)

        def write() -> Path | None:
            if self._reporter is None:
                return None
            workers = {str(rank): state for rank, state in enumerate(own_states)}
            resume_state = {**self._common_state, "workers": workers} if self._own_state else {}
            agent_state, recorder = self._backend.agent_state(self.agent), self._reporter.recorder
            if with_step:
                recorder.write_step(self.env_steps, agent_state)
            return recorder.write_last(self.env_steps, agent_state, resume_state)

        return self._group.run(write)

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._start

    def _stats(self, rollout: RolloutStatistics, update: Update) -> RolloutStats:
        """The statistics of the rollout of this process."""
        episodes = self.collector.episodes
        return RolloutStats(
            env_steps=self.env_steps,
            total_env_steps=self._max_updates * self._env_steps_per_update,
            seconds=self._seconds,
            env_steps_per_second=self._env_steps_per_update / rollout.elapsed,
            seconds_env=rollout.seconds["env"],
            seconds_policy=rollout.seconds["policy"],
            seconds_update=rollout.seconds["update"],
            seconds_evaluation=0.0,
            mean_return=episodes.mean_return,
            mean_episode_length=episodes.mean_length,
            return_by_task=episodes.return_by_task,
            episodes=episodes.count,
            policy_std=update.policy_std,
            learning_rate=update.learning_rate,
            reward_terms=rollout.mean("reward_terms", per=env_protocol.step_seconds(self.collector.env) or 1.0),
            metrics=rollout.mean("metrics"),
            endings=rollout.endings(),
            losses=update.losses,
            update=update.diagnostics,
            evaluation={},
        )

    def _summary(self, last: Path | None, mean_return: float) -> TrainingSummary | None:
        if self._reporter is None or last is None:
            return None
        return TrainingSummary(
            env_steps=self.env_steps,
            seconds=self._seconds,
            interrupted=not self.is_finished,
            mean_return=mean_return,
            best_return=self._reporter.best_return,
            last=last,
            best=self._reporter.recorder.run.checkpoint("best"),
        )
