"""SKRL's PPO behind NumPy arrays, alike on Torch and on JAX: act, record a transition, learn from a rollout."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from motrix_train.learning.agent import Agent, Update
from motrix_train.learning.policy import GaussianPolicy
from motrix_train.learning.skrl_oddities import (
    LEARNING_RATES,
    LOSSES,
    NO_TIMESTEPS,
    STANDARD_DEVIATION,
    denormalized_values,
    rollout_tensor,
)

_SAMPLED = ("observations", "actions", "log_prob")
MAX_COMPARED = 2048  # transitions of a rollout, evenly spread, that two policies are compared on


class PPOAgent(Agent):
    """An agent that learns by PPO from each rollout.

    Args:
        skrl: As in `Agent`.
        rollouts: As in `Agent`.
        gradient_norm: Mean norm of the gradients since its last call.
        averaging: A context in which gradients are averaged over the workers.
        parts: Further arguments of `Agent`.
    """

    policy: GaussianPolicy

    def __init__(
        self,
        skrl: Any,
        rollouts: int,
        *,
        gradient_norm: Callable[[], float],
        averaging: Callable[[], AbstractContextManager[Any]] = nullcontext,
        **parts: Any,
    ) -> None:
        super().__init__(skrl, rollouts, **parts)
        self._averaging = averaging
        self._gradient_norm = gradient_norm

    def _update(self) -> Update:
        predicted = self._to_host(rollout_tensor(self.skrl, "values"))
        self.skrl.enable_models_training_mode(True)
        with self._averaging():
            self.skrl.update(**NO_TIMESTEPS)
        self.skrl.enable_models_training_mode(False)
        tracked = {tag: float(np.mean(values)) for tag, values in self.skrl.tracking_data.items()}
        rates = [tracked[tag] for tag in LEARNING_RATES if tag in tracked]
        return Update(
            losses={name: tracked[tag] for tag, name in LOSSES.items() if tag in tracked},
            policy_std=tracked[STANDARD_DEVIATION],
            learning_rate=rates[0] if rates else float(self.skrl.cfg.learning_rate[0]),
            diagnostics={
                **self._change_of_policy(),
                "explained_variance": explained_variance(predicted, self._returns()),
                "gradient_norm": self._gradient_norm(),
            },
        )

    def _change_of_policy(self) -> dict[str, float]:
        """The distance of the policy from the one that acted in the rollout."""
        samples = [rollout_tensor(self.skrl, name) for name in _SAMPLED]
        every = -(-math.prod(samples[0].shape[:-1]) // MAX_COMPARED)
        observations, actions, before = (self._to_host(x.reshape(-1, x.shape[-1])[::every]) for x in samples)
        after = log_probability(actions, self.policy(observations), self.policy.standard_deviation)
        log_ratio = (after - before[:, 0]).astype(float)
        with np.errstate(over="ignore"):
            ratio = np.exp(log_ratio)
        return {
            "approximate_kl": float(np.mean(ratio - 1 - log_ratio)),
            "clip_fraction": float(np.mean(abs(ratio - 1) > self.skrl.cfg.ratio_clip)),
        }

    def _returns(self) -> np.ndarray:  # (T, N, 1)
        """The returns of the rollout that the value network has just learned, in units of the return."""
        with self._inference():
            return self._to_host(denormalized_values(self.skrl, rollout_tensor(self.skrl, "returns")))

    def values(self, observations: np.ndarray, states: np.ndarray | None = None) -> np.ndarray:  # (N, k) -> (N,)
        """The normalized values that the value network predicts."""
        with self._inference():
            values, _ = self.skrl.value.act(self._normalized(observations, states), role="value")
        return self._to_host(values)[:, 0]

    def session_state(self) -> dict[str, Any]:
        return {}

    def restore_session(self, state: Mapping[str, Any]) -> None:
        """Nothing: a rollout is not kept."""

    def flush(self) -> None:
        """Nothing is on the disk."""


def log_probability(actions: np.ndarray, mean: np.ndarray, standard_deviation: np.ndarray) -> np.ndarray:
    """Logarithm of a Gaussian policy's probability density, (N,), at actions (N, m), with mean (N, m) and standard
    deviation (m,)."""
    scaled = (actions - mean) / standard_deviation
    return -np.sum(scaled**2 / 2 + np.log(standard_deviation) + math.log(2 * math.pi) / 2, axis=-1)


def explained_variance(predicted: np.ndarray, returns: np.ndarray) -> float:
    """The part of the variance of the returns that the predictions explain.

    1 if they are exact, 0 if they are no better than a constant, NaN if all returns are equal.
    """
    variance = float(np.var(returns, dtype=float))
    return 1 - float(np.var(returns - predicted, dtype=float)) / variance if variance else math.nan
