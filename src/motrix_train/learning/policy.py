"""A trained policy that acts: in NumPy from a checkpoint, or as a view of networks that are being trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motrix_train.errors import UsageError
from motrix_train.learning.symmetry import NetworkSymmetry
from motrix_train.storage.checkpoint import Checkpoint

EPSILON, CLIP_THRESHOLD = 1e-8, 5.0
"""Of the normalizers: added to the standard deviation; greatest normalized value."""


class Policy:
    """A policy: observations in, mean actions out.

    Args:
        mean: Maps observations (N, k) float32 to mean actions (N, m) float32.
        noisy: Maps observations, and the generator of the noise, to the actions of exploration, (N, m).
    """

    def __init__(
        self, mean: Callable[[np.ndarray], np.ndarray], noisy: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    ) -> None:
        self._mean = mean
        self._noisy = noisy

    def __call__(self, observations: np.ndarray) -> np.ndarray:  # (N, k) -> (N, m)
        return self._mean(observations)

    def stochastic(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # (N, k) -> (N, m)
        """Actions with the exploration noise of training."""
        return self._noisy(observations, rng)


class GaussianPolicy(Policy):
    """A policy whose noise does not depend on the observation.

    Args:
        mean: As in `Policy`.
        standard_deviation: Returns the exploration noise of each action, (m,).
    """

    def __init__(self, mean: Callable[[np.ndarray], np.ndarray], standard_deviation: Callable[[], np.ndarray]) -> None:
        super().__init__(mean, self._noisy_action)
        self._standard_deviation = standard_deviation

    def _noisy_action(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mean = self(observations)
        return mean + standard_normal(mean, rng) * self.standard_deviation

    @property
    def standard_deviation(self) -> np.ndarray:
        """Exploration noise of each action, (m,)."""
        return self._standard_deviation()


class SquashedGaussianPolicy(Policy):
    """A policy whose actions are within their bounds, ``center + half * tanh(u)`` with u from a Gaussian.

    Args:
        gaussian: Maps observations (N, k) to mean and logarithm of the standard deviation of u, (N, m) float32 each.
        low: Lower bounds of the actions, (m,).
        high: Upper bounds.
    """

    def __init__(
        self, gaussian: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], low: np.ndarray, high: np.ndarray
    ) -> None:
        bounds = center_and_half(low, high)

        def noisy(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            mean, log_std = gaussian(observations)
            return _squashed(mean + np.exp(log_std) * standard_normal(mean, rng), *bounds)

        super().__init__(lambda observations: _squashed(gaussian(observations)[0], *bounds), noisy)


class NumpyPolicy(Policy):
    """The policy of a checkpoint, computed by NumPy in float32; it needs neither Torch nor JAX.

    With a mirror the output of the network is ``(f(o) + M_a f(M_o o)) / 2``, as in training. Actions of PPO are
    the network's: the environments clip them to their bounds, `checkpoint.action_low` and `checkpoint.action_high`.
    Those of SAC are within these bounds, ``center + half * tanh(u)``.

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
        self._limits = np.float32(cfg.min_log_std), np.float32(cfg.max_log_std)
        bounds = checkpoint.action_low, checkpoint.action_high
        self._bounds = center_and_half(*bounds) if checkpoint.is_squashed else None
        super().__init__(
            lambda observations: self._action(self._gaussian(observations)[0]),
            self._noisy_action,
        )

    @property
    def standard_deviation(self) -> np.ndarray:
        """Exploration noise of each action of a policy of PPO, (m,).

        Raises:
            UsageError: It is a policy of SAC, whose noise depends on the observation.
        """
        if self._bounds is not None:
            raise UsageError("the noise of a policy of SAC depends on the observation: use stochastic()")
        return np.exp(self._gaussian(np.zeros((1, len(self._center))))[1])

    def _noisy_action(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mean, log_std = self._gaussian(observations)
        return self._action(mean + np.exp(log_std) * standard_normal(mean, rng))

    def _action(self, u: np.ndarray) -> np.ndarray:
        """The actions of samples of the Gaussian, (N, m)."""
        return u if self._bounds is None else _squashed(u, *self._bounds)

    def _gaussian(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (N, m) and logarithm of the standard deviation, (m,) for PPO and (N, m) for SAC."""
        rows = np.asarray(observations, np.float32, order="C")  # in another order, products would round otherwise
        scaled = (rows - self._center) / self._spread
        inputs = np.clip(scaled, -CLIP_THRESHOLD, CLIP_THRESHOLD)
        if self._symmetry is None:
            mean, log_std = self._parts(self._perceptron(inputs))
        else:
            both = self._perceptron(np.concatenate([inputs, self._symmetry.observation(inputs)]))
            (mean, log_std), (image_mean, image_log_std) = map(self._parts, np.split(both, 2))
            mean = self._symmetry.mean_action(mean, image_mean)
            log_std = self._symmetry.mean_log_std(log_std, image_log_std)
        return mean, np.clip(log_std, *self._limits)

    def _parts(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and logarithm of the standard deviation in the outputs of the network; that of PPO is a parameter."""
        if self._bounds is None:
            return outputs, _float32(self.checkpoint.state["policy"]["log_std"])
        mean, log_std = np.split(outputs, 2, axis=-1)
        return mean, log_std

    def _perceptron(self, x: np.ndarray) -> np.ndarray:  # (N, k) -> (N, m), or (N, 2 m)
        for weight, bias in self._hidden:
            x = self._activation(x @ weight + bias)
        weight, bias = self._output
        return x @ weight + bias


def standard_normal(like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise for actions (N, m), float32."""
    return rng.standard_normal(like.shape, dtype=np.float32)


def center_and_half(low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    """The middle between the bounds of an action, and half of their distance, (m,) float32 each."""
    low, high = _float32(low), _float32(high)
    return (low + high) / 2, (high - low) / 2


def layers(network: Mapping[str, Any], hidden: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight (inputs, outputs) and bias (outputs,) of each layer of a network in a checkpoint, float32.

    Args:
        network: Its arrays.
        hidden: Number of hidden layers; the output layer follows them.
    """
    parts = [*(network["hidden"][str(i)] for i in range(hidden)), network["output"]]
    return [(_float32(part["weight"]), _float32(part["bias"])) for part in parts]


def _squashed(u: np.ndarray, center: np.ndarray, half: np.ndarray) -> np.ndarray:
    return center + half * np.tanh(u)


def _float32(array: Any) -> np.ndarray:
    return np.asarray(array, np.float32)


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0))))


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, np.float32(0))


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"elu": _elu, "relu": _relu, "tanh": np.tanh}
