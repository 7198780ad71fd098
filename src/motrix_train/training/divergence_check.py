"""Ends a training whose networks have diverged, before any of it is written."""

from __future__ import annotations

import math

import numpy as np

from motrix_train.config import BaseRLCfg
from motrix_train.errors import RunError
from motrix_train.learning.agent import Agent, Update
from motrix_train.learning.backend import Backend
from motrix_train.learning.divergence import first_not_finite, is_finite
from motrix_train.storage.run_directory import RunDirectory


class DivergenceCheck:
    """Checks that what an agent computes is finite.

    Args:
        agent: The agent in training.
        backend: Its backend.
        cfg: Names the learning rate to lower.
        run: Names the last good checkpoint; None in a process that does not write.
    """

    def __init__(self, agent: Agent, backend: Backend, cfg: BaseRLCfg, run: RunDirectory | None) -> None:
        self._agent, self._backend, self._cfg, self._run = agent, backend, cfg, run

    def check_actions(self, actions: np.ndarray, env_steps: int) -> None:
        """Raises RunError if the actions (N, m) of a step are not finite."""
        if not np.isfinite(actions).all():
            raise self._error("actions are not finite", env_steps)

    def check_update(self, update: Update, observations: np.ndarray, states: np.ndarray | None, env_steps: int) -> None:
        """Checks the losses of an update, all that it has learned, and the new networks' outputs.

        Parameters may be so large that only the outputs are not finite.

        Raises:
            RunError: Something is not finite.
        """
        for name, loss in update.losses.items():
            if not math.isfinite(loss):
                raise self._error(f"the {name} loss is {loss}", env_steps)
        if not self._agent.all_finite():
            name = first_not_finite(self._backend.agent_state(self._agent))
            raise self._error(f"{name} is not finite", env_steps)
        if not is_finite(self._agent.policy(observations)):
            raise self._error("the actions of the new policy are not finite", env_steps)
        if not is_finite(self._agent.values(observations, states)):
            raise self._error("the values of the new value network are not finite", env_steps)

    def _error(self, what: str, env_steps: int) -> RunError:
        rate = min(self._cfg.learning_rate / 3, type(self._cfg).learning_rate)
        last = None if self._run is None else self._run.checkpoint("last")
        remedy = "" if last is None else f", with --init-from {last}, its last good checkpoint"
        return RunError(
            f"training diverged: {what} after {env_steps:,} env steps; lower the learning rate, as in "
            f"--set learning_rate={rate:.1g}{remedy}"
        )
