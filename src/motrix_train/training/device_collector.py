"""Collects rollouts of environments of `motrix_gym` on tensors, without leaving their device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rows
from motrix_train.learning.divergence import require_finite
from motrix_train.training.collector import RolloutCollector
from motrix_train.training.device_statistics import DeviceRollout
from motrix_train.training.statistics import RolloutStatistics


class DeviceCollector(RolloutCollector):
    """Steps an environment on tensors with the agent's actions, and records the transitions where they are.

    Observations, actions and rewards are copied to the host at no step. What statistics need is summed on the device,
    and fetched once a rollout; then too it is looked whether all was finite, before the agent learns from it.
    """

    def reset(self, seed: int) -> None:
        self.observations, _ = self.env.reset(seed=seed)
        self.states = self._read_states()
        require_finite("observation", self.seen()[0], "at the reset")

    def seen(self) -> tuple[np.ndarray, np.ndarray | None]:
        return rows.to_host(self.observations), None if self.states is None else rows.to_host(self.states)

    def collect(self, rollout: RolloutStatistics, env_steps: int, stop_requested: Callable[[], bool]) -> bool:
        self._device = DeviceRollout()
        if not super().collect(rollout, env_steps, stop_requested):
            return False
        with rollout.clock("env"):
            first = env_steps // self._vector_size + 1
            self._device.require_finite(lambda step: f"in env step {(first + step) * self._vector_size:,}")
            self._device.fetch(rollout, self.episodes)
        return True

    def _step(self, rollout: RolloutStatistics, env_steps: int) -> None:
        with rollout.clock("policy"):
            actions = self._agent.act(self.observations, self.states)
        with rollout.clock("env"):
            self.observations, rewards, terminated, truncated, infos = self._stepped(actions, env_steps)
            self.states = self._read_states()
            self._device.add(rewards, terminated, truncated, infos)
            cut = xp.full(terminated.shape, False, terminated)
            planned = self._cut_envs(env_steps // self._vector_size + rollout.steps + 1)
            if planned.any():
                cut = rows.from_host(planned, terminated) & ~(terminated | truncated)
                infos = self._reset_envs(cut, infos) if cut.any() else infos
            self._device.see(self.observations, self.states, cut, infos)
        with rollout.clock("policy"):
            self._agent.record(rewards, self.observations, terminated, truncated | cut, infos, self.states)
        rollout.steps += 1

    def _stepped(self, actions: Any, env_steps: int) -> tuple[Any, Any, Any, Any, Mapping[str, Any]]:
        """A step of the environment.

        Raises:
            RunError: The actions are not finite.
        """
        try:
            return self.env.step(actions)
        except ValueError:  # it refuses actions that are NaN
            require_finite("observation", self.seen()[0], "before its last step")
            self._check.check_actions(rows.to_host(actions), env_steps)
            raise
