"""SKRL's PPO behind NumPy arrays: what a training loop does with it, alike on Torch and on JAX."""

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from motrix_train.infos import final

_LOSSES = {"Loss / Policy loss": "policy", "Loss / Value loss": "value", "Loss / Entropy loss": "entropy"}
_STANDARD_DEVIATION = "Policy / Standard deviation"
_LEARNING_RATES = ("Learning / Learning rate", "Learning / Policy learning rate")
_SAMPLED = ("observations", "actions", "log_prob")
MAX_COMPARED = 8192  # transitions of a rollout, evenly spread, that two policies are compared on


@dataclass(frozen=True)
class Update:
    """What one update of the networks reports."""

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
        gradient_norm: Mean norm of the gradients since it was last asked for.
        all_finite: Whether all that it has learned is finite: networks, optimizers and standardisers.
        symmetry: The mirrors that the networks use, None without.
        learning: A context to learn in.
    """

    def __init__(
        self,
        ppo: Any,
        *,
        policy: "Policy",
        to_device: Callable[[np.ndarray], Any],
        to_host: Callable[[Any], np.ndarray],
        inference: Callable[[], AbstractContextManager[Any]],
        gradient_norm: Callable[[], float],
        all_finite: Callable[[], bool],
        symmetry: Any = None,
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
            self._actions, _ = self.ppo.act(self._observations, self._states, timestep=0, timesteps=0)
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
        """Store the transition that the last `act` led to."""
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
                timestep=0,
                timesteps=0,
            )
        self._steps += 1

    def learn(self) -> Update | None:
        """Learn if the rollout is full."""
        if self._steps < self.ppo.cfg.rollouts:
            return None
        self._steps = 0
        self.ppo.tracking_data.clear()
        predicted = self._to_host(self.ppo.memory.get_tensor_by_name("values"))
        self.ppo.enable_models_training_mode(True)
        with self._learning():
            self.ppo.update(timestep=0, timesteps=0)
        self.ppo.enable_models_training_mode(False)
        tracked = {tag: float(np.mean(values)) for tag, values in self.ppo.tracking_data.items()}
        rates = [tracked[tag] for tag in _LEARNING_RATES if tag in tracked]
        return Update(
            losses={name: tracked[tag] for tag, name in _LOSSES.items() if tag in tracked},
            policy_std=tracked[_STANDARD_DEVIATION],
            learning_rate=rates[0] if rates else float(self.ppo.cfg.learning_rate[0]),
            diagnostics={
                **self._change_of_policy(),
                "explained_variance": explained_variance(predicted, self._returns()),
                "gradient_norm": self._gradient_norm(),
            },
        )

    def _change_of_policy(self) -> dict[str, float]:
        """How far the policy is from the one that acted in the rollout."""
        samples = {name: self._to_host(self.ppo.memory.get_tensor_by_name(name)) for name in _SAMPLED}
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
        """The returns of the rollout that the value network has just learned, no longer standardised."""
        with self._inference():
            standardised = self.ppo.memory.get_tensor_by_name("returns")
            return self._to_host(self.ppo._value_preprocessor(standardised, inverse=True))

    def values(self, observations: np.ndarray, states: np.ndarray | None = None) -> np.ndarray:  # (N, k) -> (N,)
        """What the value network gives, standardised as it learns it."""
        with self._inference():
            inputs = {
                "observations": self.ppo._observation_preprocessor(self._to_device(observations)),
                "states": self.ppo._state_preprocessor(None if states is None else self._to_device(states)),
            }
            values, _ = self.ppo.value.act(inputs, role="value")
        return self._to_host(values)[:, 0]


def log_probability(actions: np.ndarray, mean: np.ndarray, standard_deviation: np.ndarray) -> np.ndarray:
    """Logarithm of a Gaussian policy's probability density, (N,), at actions (N, m), with mean (N, m) and standard
    deviation (m,)."""
    scaled = (actions - mean) / standard_deviation
    return -np.sum(scaled**2 / 2 + np.log(standard_deviation) + math.log(2 * math.pi) / 2, axis=-1)


def explained_variance(predicted: np.ndarray, returns: np.ndarray) -> float:
    """How much of the variance of the returns the predictions explain: 1 all of it, 0 no more than a constant does;
    NaN where all returns are equal."""
    variance = float(np.var(returns, dtype=float))
    return 1 - float(np.var(returns - predicted, dtype=float)) / variance if variance else math.nan


def successors(present: np.ndarray, infos: Mapping[str, Any], last: str = "final_obs") -> np.ndarray:  # (N, k)
    """What each row saw right after its action: the last observation, or state, of an episode where one ended.

    With SAME_STEP autoreset what is there after a step already belongs to the next episode, and SKRL would take its
    value for the value of the state in which the episode was cut off.

    Args:
        present: The observations or the states after the step.
        infos: Of the step.
        last: Where these have the last ones.
    """
    found = final(infos, last)
    if found is None:
        return present
    rows, values = found
    after = present.copy()
    after[rows] = values
    return after


def seed_skrl(seed: int) -> None:
    """Seed the generators that SKRL draws from, which are those of the process; below 2**32."""
    from skrl import logger
    from skrl.utils import set_seed

    level = logger.level
    logger.setLevel(logging.WARNING)  # it announces the seed on the terminal
    try:
        set_seed(seed)
    finally:
        logger.setLevel(level)


def numpy_random_state() -> dict[str, Any]:
    """NumPy's process-wide generator, which SKRL shuffles with on JAX, as arrays and numbers."""
    _, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {"keys": keys, "position": position, "has_gauss": has_gauss, "gauss": gauss}


def set_numpy_random_state(state: Mapping[str, Any]) -> None:
    """Put back what `numpy_random_state` gave."""
    numbers = int(state["position"]), int(state["has_gauss"]), float(state["gauss"])
    np.random.set_state(("MT19937", np.asarray(state["keys"]), *numbers))  # noqa: NPY002


class Policy:
    """A trained policy: observations in, mean actions out.

    Args:
        mean: Maps observations (N, k) float32 to mean actions (N, m) float32.
        standard_deviation: Gives the exploration noise of each action, (m,).
    """

    def __init__(self, mean: Callable[[np.ndarray], np.ndarray], standard_deviation: Callable[[], np.ndarray]) -> None:
        self._mean = mean
        self._standard_deviation = standard_deviation

    @property
    def standard_deviation(self) -> np.ndarray:
        """Exploration noise of each action, (m,)."""
        return self._standard_deviation()

    def __call__(self, observations: np.ndarray) -> np.ndarray:  # (N, k) -> (N, m)
        return self._mean(observations)

    def stochastic(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # (N, k) -> (N, m)
        """Actions with the exploration noise of training."""
        mean = self._mean(observations)
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        return mean + noise * self.standard_deviation
