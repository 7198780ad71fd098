"""A trained policy that acts: in NumPy from a checkpoint, or as a view of networks that are being trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motrix_train.ppo.symmetry import NetworkSymmetry
from motrix_train.storage.checkpoint import Checkpoint

EPSILON, CLIP_THRESHOLD = 1e-8, 5.0
"""Of the normalizers: added to the standard deviation; greatest normalized value."""


class Policy:
    """A policy: observations in, mean actions out.

    Args:
        mean: Maps observations (N, k) float32 to mean actions (N, m) float32.
        standard_deviation: Returns the exploration noise of each action, (m,).
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
        mean = self(observations)
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        return mean + noise * self.standard_deviation


class NumpyPolicy(Policy):
    """The policy of a checkpoint, computed by NumPy in float32; it needs neither Torch nor JAX.

    With a mirror the mean action is ``(f(o) + M_a f(M_o o)) / 2``, as in training. Actions are those of the network:
    the environments clip them to their bounds, `checkpoint.action_low` and `checkpoint.action_high`.

    Args:
        checkpoint: The policy.
        place: Where it is from, for messages.

    Raises:
        UsageError: Its arrays are not of the sizes that it declares.
    """

    def __init__(self, checkpoint: Checkpoint, place: str | Path = "the policy") -> None:
        checkpoint.require_networks(place)
        cfg, state = checkpoint.cfg, checkpoint.state
        self.checkpoint = checkpoint
        self._symmetry = NetworkSymmetry.from_arrays(state["mirror"]) if cfg.mirror != "none" else None
        normalizer = state["observation_normalizer"]
        self._center = _float32(normalizer["mean"])
        self._spread = np.sqrt(_float32(normalizer["variance"])) + np.float32(EPSILON)
        self._activation = _ACTIVATIONS[cfg.activation]
        *self._hidden, self._output = layers(state["policy"], len(cfg.policy_hidden_layer_sizes))
        super().__init__(self._mean_action, self._noise)

    def _mean_action(self, observations: np.ndarray) -> np.ndarray:
        scaled = (np.asarray(observations, np.float32) - self._center) / self._spread
        inputs = np.clip(scaled, -CLIP_THRESHOLD, CLIP_THRESHOLD)
        if self._symmetry is None:
            return self._perceptron(inputs)
        both = np.concatenate([inputs, self._symmetry.observation(inputs)])
        own, image = np.split(self._perceptron(both), 2)
        return (own + self._symmetry.action(image)) / np.float32(2)

    def _perceptron(self, x: np.ndarray) -> np.ndarray:  # (N, k) -> (N, m)
        for weight, bias in self._hidden:
            x = self._activation(x @ weight + bias)
        weight, bias = self._output
        return x @ weight + bias

    def _noise(self) -> np.ndarray:
        cfg, log_std = self.checkpoint.cfg, _float32(self.checkpoint.state["policy"]["log_std"])
        if self._symmetry is not None:
            log_std = (log_std + log_std[self._symmetry.action.index]) / np.float32(2)
        return np.exp(np.clip(log_std, cfg.min_log_std, cfg.max_log_std))


def layers(network: Mapping[str, Any], hidden: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight (inputs, outputs) and bias (outputs,) of each layer of a network in a checkpoint, float32.

    Args:
        network: Its arrays.
        hidden: Number of hidden layers; the output layer follows them.
    """
    parts = [*(network["hidden"][str(i)] for i in range(hidden)), network["output"]]
    return [(_float32(part["weight"]), _float32(part["bias"])) for part in parts]


def _float32(array: Any) -> np.ndarray:
    return np.asarray(array, np.float32)


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0))))


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, np.float32(0))


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"elu": _elu, "relu": _relu, "tanh": np.tanh}
