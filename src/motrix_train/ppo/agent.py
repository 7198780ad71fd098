"""SKRL's PPO behind NumPy arrays, alike on Torch and on JAX: act, record a transition, learn from a rollout."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from motrix_train.infos import final
from motrix_train.ppo.policy import Policy
from motrix_train.ppo.skrl_oddities import (
    LEARNING_RATES,
    LOSSES,
    NO_TIMESTEPS,
    STANDARD_DEVIATION,
    denormalized_values,
    normalized_inputs,
    rollout_tensor,
)
from motrix_train.ppo.symmetry import NetworkSymmetry

_SAMPLED = ("observations", "actions", "log_prob")
MAX_COMPARED = 8192  # transitions of a rollout, evenly spread, that two policies are compared on


@dataclass(frozen=True)
class Update:
    """The report of one update of the networks."""

    losses: dict[str, float]
    policy_std: float
    """Mean standard deviation of the exploration noise, in units of the action."""
    learning_rate: float
    diagnostics: dict[str, float]
    """`approximate_kl` and `clip_fraction` of the new policy against the one that acted in the rollout,
    `explained_variance` of the values that were predicted while acting, and `gradient_norm`, the mean over the
    mini-batches, before clipping."""


class Agent:
    """One SKRL PPO agent that collects transitions and learns whenever a rollout is full.

    Args:
        ppo: The agent of SKRL, initialised and in training mode.
        policy: Its policy without exploration, with the parameters of the moment.
        to_device: Copies a NumPy array to a tensor of the backend, floats as float32.
        to_host: Copies a tensor to NumPy.
        inference: A context in which no gradients are recorded.
        gradient_norm: Mean norm of the gradients since its last call.
        all_finite: Whether everything that it has learned is finite: networks, optimizers and normalizers.
        symmetry: The symmetry of the networks, None without.
        learning: A context in which the networks are updated.
    """

    def __init__(
        self,
        ppo: Any,
        *,
        policy: Policy,
        to_device: Callable[[np.ndarray], Any],
        to_host: Callable[[Any], np.ndarray],
        inference: Callable[[], AbstractContextManager[Any]],
        gradient_norm: Callable[[], float],
        all_finite: Callable[[], bool],
        symmetry: NetworkSymmetry | None = None,
        learning: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.ppo = ppo
        self.policy = policy
        self.all_finite = all_finite
        self.symmetry = symmetry
        self._to_device = to_device
        self._to_host = to_host
        self._inference = inference
        self._learning = learning
        self._gradient_norm = gradient_norm
        self._observations: Any = None
        self._states: Any = None
        self._actions: Any = None
        self._steps = 0  # in the rollout

    def act(
        self,
        observations: np.ndarray,  # (N, k)
        states: np.ndarray | None = None,  # (N, s) where the critic sees them
    ) -> np.ndarray:  # (N, m)
        """Sample actions with exploration noise."""
        self._observations = self._to_device(observations)
        self._states = None if states is None else self._to_device(states)
        with self._inference():
            self._actions, _ = self.ppo.act(self._observations, self._states, **NO_TIMESTEPS)
        return self._to_host(self._actions)

    def record(
        self,
        rewards: np.ndarray,  # (N,)
        observations: np.ndarray,  # (N, k) after the step
        terminated: np.ndarray,  # (N,) bool
        truncated: np.ndarray,  # (N,) bool
        infos: Mapping[str, Any],
        states: np.ndarray | None = None,  # (N, s) after the step, where the critic sees them
    ) -> None:
        """Store the transition that the last `act` led to in SKRL's memory.

        Without `time_limit_bootstrap`, a truncation is stored as a termination.
        """
        next_observations = successors(observations, infos)
        next_states = None if states is None else successors(states, infos, last="final_state")
        if not self.ppo.cfg.time_limit_bootstrap:
            terminated, truncated = terminated | truncated, np.zeros_like(truncated)
        with self._inference():
            self.ppo.record_transition(
                observations=self._observations,
                states=self._states,
                actions=self._actions,
                rewards=self._to_device(rewards[:, None]),
                next_observations=self._to_device(next_observations),
                next_states=None if next_states is None else self._to_device(next_states),
                terminated=self._to_device(terminated[:, None]),
                truncated=self._to_device(truncated[:, None]),
                infos=infos,
                **NO_TIMESTEPS,
            )
        self._steps += 1

    def learn(self) -> Update | None:
        """Learn if the rollout is full; None if it is not."""
        if self._steps < self.ppo.cfg.rollouts:
            return None
        self._steps = 0
        self.ppo.tracking_data.clear()
        predicted = self._to_host(rollout_tensor(self.ppo, "values"))
        self.ppo.enable_models_training_mode(True)
        with self._learning():
            self.ppo.update(**NO_TIMESTEPS)
        self.ppo.enable_models_training_mode(False)
        tracked = {tag: float(np.mean(values)) for tag, values in self.ppo.tracking_data.items()}
        rates = [tracked[tag] for tag in LEARNING_RATES if tag in tracked]
        return Update(
            losses={name: tracked[tag] for tag, name in LOSSES.items() if tag in tracked},
            policy_std=tracked[STANDARD_DEVIATION],
            learning_rate=rates[0] if rates else float(self.ppo.cfg.learning_rate[0]),
            diagnostics={
                **self._change_of_policy(),
                "explained_variance": explained_variance(predicted, self._returns()),
                "gradient_norm": self._gradient_norm(),
            },
        )

    def _change_of_policy(self) -> dict[str, float]:
        """The distance of the policy from the one that acted in the rollout."""
        samples = {name: self._to_host(rollout_tensor(self.ppo, name)) for name in _SAMPLED}
        every = -(-samples["log_prob"].size // MAX_COMPARED)
        observations, actions, before = (x.reshape(-1, x.shape[-1])[::every] for x in samples.values())
        after = log_probability(actions, self.policy(observations), self.policy.standard_deviation)
        log_ratio = (after - before[:, 0]).astype(float)
        with np.errstate(over="ignore"):
            ratio = np.exp(log_ratio)
        return {
            "approximate_kl": float(np.mean(ratio - 1 - log_ratio)),
            "clip_fraction": float(np.mean(abs(ratio - 1) > self.ppo.cfg.ratio_clip)),
        }

    def _returns(self) -> np.ndarray:  # (T, N, 1)
        """The returns of the rollout that the value network has just learned, in units of the return."""
        with self._inference():
            return self._to_host(denormalized_values(self.ppo, rollout_tensor(self.ppo, "returns")))

    def values(self, observations: np.ndarray, states: np.ndarray | None = None) -> np.ndarray:  # (N, k) -> (N,)
        """The normalized values that the value network predicts."""
        with self._inference():
            on_device = self._to_device(observations), None if states is None else self._to_device(states)
            inputs = normalized_inputs(self.ppo, *on_device)
            values, _ = self.ppo.value.act(inputs, role="value")
        return self._to_host(values)[:, 0]


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


def successors(present: np.ndarray, infos: Mapping[str, Any], last: str = "final_obs") -> np.ndarray:  # (N, k)
    """The observation, or state, of each environment right after its action, the last one of an episode included.

    With SAME_STEP autoreset the observation after a step already belongs to the next episode, and SKRL would use its
    value for the state in which the episode was truncated.

    Args:
        present: The observations or the states after the step.
        infos: Of the step.
        last: The key of the last ones in `infos`.
    """
    found = final(infos, last)
    if found is None:
        return present
    envs, values = found
    after = present.copy()
    after[envs] = values
    return after
