"""SKRL's SAC behind NumPy arrays, alike on Torch and on JAX: act, record a transition, learn from the replay memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from motrix_train.config import SACCfg
from motrix_train.learning.agent import Agent, Update
from motrix_train.learning.replay import ReplayMemory
from motrix_train.learning.skrl_oddities import SAC_DIAGNOSTICS, SAC_LOSSES, normalized_inputs, saved_modules


class SACAgent(Agent):
    """An agent that learns by SAC after each rollout.

    Its normalizers learn from each observation once, when it is recorded. What is sampled from the memory teaches them
    nothing.

    Args:
        skrl: As in `Agent`.
        cfg: How to train.
        memory: Where `skrl` keeps its transitions.
        parts: Further arguments of `Agent`.
    """

    def __init__(
        self,
        skrl: Any,
        cfg: SACCfg,
        *,
        memory: ReplayMemory,
        **parts: Any,
    ) -> None:
        super().__init__(skrl, cfg.rollouts, **parts)
        self._cfg, self._memory = cfg, memory
        self._vector_steps = 0

    @property
    def _timestep(self) -> int:
        return self._vector_steps

    def record(
        self,
        rewards: np.ndarray,
        observations: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        infos: Mapping[str, Any],
        states: np.ndarray | None = None,
    ) -> None:
        with self._inference():
            self._learn_normalizers()
        self._memory.note_truncated(truncated)
        super().record(rewards, observations, terminated, truncated, infos, states)
        self._vector_steps += 1

    def _learn_normalizers(self) -> None:
        """Teaches the normalizers what the last `act` saw."""
        modules = saved_modules(self.skrl)
        modules["observation_normalizer"].learn(self._observations)
        if self._states is not None:
            modules["state_normalizer"].learn(self._states)

    def _update(self) -> Update:
        if self._vector_steps >= self._cfg.learning_starts:
            self.skrl.enable_models_training_mode(True)
            self.skrl.update(timestep=self._vector_steps, timesteps=0)
            self.skrl.enable_models_training_mode(False)
        means = {name: float(np.mean(values)) for name, values in self.skrl.tracking_data.items()}
        return Update(
            losses={name: means[name] for name in SAC_LOSSES if name in means},
            policy_std=self._policy_std(),
            learning_rate=self._cfg.learning_rate,
            diagnostics={name: means[name] for name in SAC_DIAGNOSTICS if name in means},
        )

    def _policy_std(self) -> float:
        """The mean standard deviation of the noise after the last observations, before the tanh."""
        with self._inference():
            inputs = normalized_inputs(self.skrl, self._observations, self._states)
            _, outputs = self.skrl.policy.compute(inputs, "policy")
        return float(np.exp(self._to_host(outputs["log_std"])).mean())

    def values(self, observations: np.ndarray, states: np.ndarray | None = None) -> np.ndarray:  # (N, k) -> (N,)
        """The smaller of the two returns that the critics predict for the mean action."""
        with self._inference():
            actions = self._to_device(self.policy(observations))
            inputs = {**self._normalized(observations, states), "taken_actions": actions}
            both = [
                self._to_host(self.skrl.models[role].act(inputs, role=role)[0]) for role in ("critic_1", "critic_2")
            ]
        return np.minimum(*both)[:, 0]

    def session_state(self) -> dict[str, Any]:
        return {"replay": {**self._memory.state(), "vector_steps": self._vector_steps}}

    def restore_session(self, state: Mapping[str, Any]) -> None:
        self._memory.restore(state["replay"])
        self._vector_steps = int(state["replay"]["vector_steps"])

    def flush(self) -> None:
        self._memory.flush()
