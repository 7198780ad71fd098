"""The networks of Soft Actor-Critic on JAX, in flax.linen, as models of SKRL."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from skrl import config
from skrl.models.jax import DeterministicMixin, Model

from motrix_train.config import SACCfg
from motrix_train.learning.jax import skrl_oddities
from motrix_train.learning.jax.networks import initialize, perceptron
from motrix_train.learning.policy import center_and_half
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.symmetry import NetworkSymmetry

CRITICS = ("critic_1", "critic_2")


def make_models(spaces: Spaces, cfg: SACCfg, symmetry: NetworkSymmetry | None, device: Any) -> dict[str, Any]:
    """SKRL's models by role: the policy, two critics and their targets, with initial parameters."""
    skrl_oddities.use_device(device)
    roles = (*CRITICS, *map(target_of, CRITICS))
    models: dict[str, Any] = {
        "policy": SquashedGaussianPolicy(
            cfg, symmetry, observation_space=spaces.observation, action_space=spaces.action, device=device
        ),
        **{role: Critic(cfg, **spaces.by_argument(), device=device) for role in roles},
    }
    initialize(models, spaces, taken_actions=jnp.zeros((1, *spaces.action.shape)))
    return models


def target_of(critic: str) -> str:
    """The role of the target network of a critic."""
    return f"target_{critic}"


class SquashedGaussianPolicy(Model):
    """Actions ``center + half * tanh(u)`` within their bounds, u from a Gaussian that the observation gives.

    With a mirror the Gaussian of the mirror image is the mirror image of the Gaussian.
    """

    cfg: SACCfg = SACCfg()
    symmetry: NetworkSymmetry | None = None

    def __init__(self, cfg: SACCfg, symmetry: NetworkSymmetry | None, **model: Any) -> None:
        Model.__init__(self, **model)
        self.cfg = cfg
        self.symmetry = symmetry
        self._bounds = center_and_half(model["action_space"].low, model["action_space"].high)
        self._g_key, self._g_i = config.jax.key, 0  # as in SKRL's policies, see noise in skrl_oddities
        nn.Module.__post_init__(self)

    @nn.compact
    def __call__(self, inputs: dict[str, Any], role: str) -> tuple[jax.Array, dict[str, Any]]:
        """Mean and logarithm of the standard deviation of u, (N, m) each."""
        cfg, symmetry = self.cfg, self.symmetry
        observations = inputs["observations"]  # (N, k)
        network = perceptron(cfg.policy_hidden_layer_sizes, 2 * self.num_actions, cfg.activation, head_gain=0.01)
        if symmetry is None:
            mean, log_std = jnp.split(network(observations), 2, axis=-1)
        else:
            both = jnp.concatenate([observations, symmetry.observation(observations)])
            own, image = jnp.split(network(both), 2)
            (mean, log_std), (image_mean, image_log_std) = (jnp.split(x, 2, axis=-1) for x in (own, image))
            mean = symmetry.mean_action(mean, image_mean)
            log_std = symmetry.mean_log_std(log_std, image_log_std)
        return mean, {"log_std": jnp.clip(log_std, cfg.min_log_std, cfg.max_log_std)}

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[jax.Array, dict[str, Any]]:
        """The same with the parameters of the moment."""
        outputs: Any = self.apply(self.state_dict.params, inputs, role)
        return outputs

    def act(self, inputs: dict[str, Any], *, role: str = "", params: Any = None) -> tuple[Any, dict[str, Any]]:
        """Actions with noise, and ``log_prob``, (N, 1), the logarithm of their density in units of ``tanh(u)``."""
        actions, log_prob = self.sampled(self.state_dict.params if params is None else params, inputs, self.next_key())
        return actions, {"log_prob": log_prob}

    def random_act(self, inputs: dict[str, Any], *, role: str = "", params: Any = None) -> tuple[Any, dict[str, Any]]:
        """Actions that are uniform within their bounds."""
        shape = len(inputs["observations"]), self.num_actions
        return _uniform(self.next_key(), shape, *self._bounds), {}

    def sampled(self, parameters: Any, inputs: dict[str, Any], key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The actions of `act` and the logarithm of their density, from parameters and the key of the noise."""
        mean, outputs = self.apply(parameters, inputs, "policy")
        return _sampled(key, mean, outputs["log_std"], *self._bounds)

    def next_key(self) -> jax.Array:
        """A key of the noise that was not used before."""
        self._g_i += 1
        with jax.default_device(self.device):
            return jax.random.fold_in(self._g_key, self._g_i)


class Critic(DeterministicMixin, Model):
    """The return of an action in a state, or after an observation where there is no state."""

    cfg: SACCfg = SACCfg()

    def __init__(self, cfg: SACCfg, **model: Any) -> None:
        Model.__init__(self, **model)
        self.cfg = cfg
        self._bounds = center_and_half(model["action_space"].low, model["action_space"].high)
        DeterministicMixin.__init__(self)

    @nn.compact
    def __call__(self, inputs: dict[str, Any], role: str) -> tuple[jax.Array, dict[str, Any]]:
        cfg, (center, half) = self.cfg, self._bounds
        vectors = inputs["observations" if self.state_space is None else "states"]  # (N, k)
        network = perceptron(cfg.value_hidden_layer_sizes, 1, cfg.activation, head_gain=1.0, layer_norm=cfg.layer_norm)
        return network(jnp.concatenate([vectors, (inputs["taken_actions"] - center) / half], axis=-1)), {}


@jax.jit
def _sampled(
    key: jax.Array, mean: jax.Array, log_std: jax.Array, center: jax.Array, half: jax.Array
) -> tuple[jax.Array, jax.Array]:
    noise = jax.random.normal(key, mean.shape)
    u = mean + jnp.exp(log_std) * noise
    gaussian = -(jnp.square(noise) / 2 + log_std + math.log(2 * math.pi) / 2)
    slope = 2 * (math.log(2) - u - jax.nn.softplus(-2 * u))  # logarithm of 1 - tanh(u)^2
    return center + half * jnp.tanh(u), (gaussian - slope).sum(axis=-1, keepdims=True)


@functools.partial(jax.jit, static_argnames="shape")
def _uniform(key: jax.Array, shape: tuple[int, int], center: jax.Array, half: jax.Array) -> jax.Array:
    return center + half * jax.random.uniform(key, shape, minval=-1, maxval=1)
