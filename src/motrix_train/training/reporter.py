"""The work of rank 0 after an update: evaluates the policy, chooses the best one, checks the goal, writes progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any

from motrix_train.training.best_policy import BestPolicy
from motrix_train.training.evaluation import Evaluation
from motrix_train.training.recorder import Recorder
from motrix_train.training.records import Goal, RolloutStats


class Reporter:
    """Reports the rollouts of a training.

    Args:
        recorder: Writes the files.
        evaluation_interval: Updates from one evaluation to the next, 0 for none.
        evaluate: Evaluates the policy in training.
        agent_state: Returns the content of a checkpoint of it.
        goal: Ends the training before its budget does.
    """

    def __init__(
        self,
        recorder: Recorder,
        evaluation_interval: int,
        evaluate: Callable[[], Evaluation],
        agent_state: Callable[[], dict[str, Any]],
        goal: Goal,
    ) -> None:
        self.recorder, self.best = recorder, BestPolicy()
        self.best_return: float | None = (
            None  # of the best checkpoint, even if it was chosen at the end of a budget, which a longer run undoes
        )
        self._interval, self._evaluate = evaluation_interval, evaluate
        self._agent_state, self._goal = agent_state, goal

    def restore(self, best: dict[str, Any]) -> None:
        """Continues from a state of `best`."""
        self.best.restore(best)
        self.best_return = self.best.mean_return

    def report(self, stats: RolloutStats, updates: int, is_last: bool) -> bool:
        """Evaluates the policy if it is time to, always when the training ends, and records the rollout.

        Args:
            stats: Of the rollout.
            updates: Updates so far.
            is_last: Whether the budget is used.

        Returns:
            Whether the goal is reached.
        """
        if self._interval and updates % self._interval == 0:
            stats = self._evaluated(stats, self.best)
        goal_reached = self._goal(stats)
        if self._interval and (goal_reached or is_last) and not stats.evaluation:
            stats = self._evaluated(stats, copy(self.best), at_end=True)
        self.recorder.add(stats)
        return goal_reached

    def _evaluated(self, stats: RolloutStats, best: BestPolicy, at_end: bool = False) -> RolloutStats:
        """The statistics with an evaluation; writes the policy if it is the best.

        An evaluation at the end of the budget does not count in a longer run, so `best` is a copy then.
        """
        start = time.perf_counter()
        evaluation = self._evaluate()
        if best.is_improved_by(evaluation.mean_return, evaluation.standard_error):
            if at_end:
                self.recorder.keep_best_before_end()
            self.recorder.write_policy("best", stats.env_steps, self._agent_state())
        self.best_return = best.mean_return
        seconds = time.perf_counter() - start
        return replace(
            stats, evaluation=_columns(evaluation), seconds_evaluation=seconds, seconds=stats.seconds + seconds
        )


def _columns(evaluation: Evaluation) -> dict[str, float]:
    """The numbers of an evaluation that a line of progress contains."""
    return {
        "mean_return": evaluation.mean_return,
        "standard_error": evaluation.standard_error,
        "mean_length": evaluation.mean_length,
        **({} if evaluation.success is None else {"success": evaluation.success}),
        **evaluation.metrics,
        **{f"{name}/mean_return": task.mean_return for name, task in evaluation.by_task.items()},
    }
