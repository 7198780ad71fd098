"""The left-right mirror image of observations and actions, as the networks use it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # NumPy, Torch or JAX


@dataclass(frozen=True)
class SignedPermutation:
    """Reorders the elements of a vector and flips their signs; applied twice it is the identity."""

    index: Array  # (k,) where each element of the image comes from
    sign: Array  # (k,) +1 or -1

    def __call__(self, vectors: Array) -> Array:  # (..., k) -> (..., k)
        return vectors[..., self.index] * self.sign

    def pool_moments(self, mean: Array, variance: Array) -> tuple[Array, Array]:  # (k,), (k,)
        """Mean and variance of some vectors together with their images, from those of the vectors."""
        image = self(mean)
        between = ((mean - image) / 2) ** 2
        return (mean + image) / 2, (variance + variance[..., self.index]) / 2 + between


@dataclass(frozen=True)
class NetworkSymmetry:
    """How the inputs and the outputs of a policy network are mirrored."""

    observation: SignedPermutation
    action: SignedPermutation

    def mean_action(self, own: Array, image: Array) -> Array:  # (..., m)
        """The mean of the actions for some observations, and of the image of those for their images."""
        return (own + self.action(image)) / 2

    def mean_log_std(self, own: Array, image: Array) -> Array:  # (..., m)
        """The same of logarithms of standard deviations, which have no sign."""
        return (own + image[..., self.action.index]) / 2

    def convert(self, index: Callable[[Any], Array], sign: Callable[[Any], Array]) -> "NetworkSymmetry":
        """The same symmetry with its arrays passed through the two functions."""
        observation, action = (
            SignedPermutation(index(mirror.index), sign(mirror.sign)) for mirror in (self.observation, self.action)
        )
        return NetworkSymmetry(observation, action)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays for a checkpoint."""
        return {
            "observation_index": np.asarray(self.observation.index, np.int64),
            "observation_sign": np.asarray(self.observation.sign, np.float32),
            "action_index": np.asarray(self.action.index, np.int64),
            "action_sign": np.asarray(self.action.sign, np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "NetworkSymmetry":
        """The symmetry that `to_arrays` wrote."""
        return cls(
            observation=SignedPermutation(arrays["observation_index"], arrays["observation_sign"]),
            action=SignedPermutation(arrays["action_index"], arrays["action_sign"]),
        )

    @classmethod
    def of(cls, env: Any) -> "NetworkSymmetry | None":
        """The symmetry that a vector environment declares as ``env.mirror``, None if it has none.

        A wrapper hides it, since it may change the observations.
        """
        declared = getattr(env, "mirror", None)
        if declared is None:
            return None
        observation, action = (
            SignedPermutation(np.asarray(mirror.index, np.int64), np.asarray(mirror.sign, np.float32))
            for mirror in (declared.observation, declared.action)
        )
        return cls(observation, action)
