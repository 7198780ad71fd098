"""The networks of policy and value on JAX, in flax.linen, as models of SKRL."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from skrl.models.jax import DeterministicMixin, GaussianMixin, Model

from motrix_train.config import Activation, PPOCfg
from motrix_train.errors import UsageError
from motrix_train.learning.jax import skrl_oddities
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.symmetry import NetworkSymmetry, SignedPermutation

_ACTIVATIONS = {"elu": nn.elu, "relu": nn.relu, "tanh": nn.tanh}


def make_models(spaces: Spaces, cfg: PPOCfg, symmetry: NetworkSymmetry | None, device: Any) -> dict[str, Any]:
    """SKRL's models by role, ``"policy"`` and ``"value"``, with initial parameters.

    Raises:
        UsageError: The two are to share their features.
    """
    if cfg.share_policy_value_features:
        raise UsageError("share_policy_value_features is not possible with JAX: give false, or --backend torch")
    skrl_oddities.use_device(device)
    mirror = symmetry.observation if symmetry and cfg.mirror == "policy_and_value" else None
    models = {
        "policy": GaussianPolicy(
            cfg, symmetry, observation_space=spaces.observation, action_space=spaces.action, device=device
        ),
        "value": Value(cfg, mirror, **spaces.by_argument(), device=device),
    }
    initialize(models, spaces)
    return models


def initialize(models: dict[str, Any], spaces: Spaces, **inputs: jax.Array) -> None:
    """Gives models their initial parameters, each from a key of its own, for these inputs beside what is observed."""
    example = {"observations": jnp.zeros((1, *spaces.observation.shape)), **inputs}
    if spaces.state is not None:
        example["states"] = jnp.zeros((1, *spaces.state.shape))
    for number, (role, model) in enumerate(models.items()):
        model.init_state_dict(example, role=role, key=skrl_oddities.network_key(number))


def perceptron(
    hidden: tuple[int, ...], outputs: int, activation: Activation, *, head_gain: float, layer_norm: bool = False
) -> nn.Module:
    """Hidden layers, normalized over their neurons or not, and a linear head: (N, k) to (N, outputs)."""
    return _Mlp(hidden, outputs, activation, head_gain, layer_norm)


class _Mlp(nn.Module):
    """Hidden layers and a linear head. The names of saved parameters contain the name of this class."""

    hidden: tuple[int, ...]
    outputs: int
    activation: Activation
    head_gain: float
    layer_norm: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # (N, k) -> (N, outputs)
        for width in self.hidden:
            x = nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))(x)
            if self.layer_norm:
                x = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False)(x)  # as Torch's
            x = _ACTIVATIONS[self.activation](x)
        return nn.Dense(self.outputs, kernel_init=nn.initializers.orthogonal(self.head_gain))(x)


class GaussianPolicy(GaussianMixin, Model):
    """Mean actions from the observation, one standard deviation per action.

    With a mirror the mean is ``(f(o) + M_a f(M_o o)) / 2`` and mirrored actions share their noise, so that the
    policy of the mirror image is the mirror image of the policy.
    """

    cfg: PPOCfg = PPOCfg()
    symmetry: NetworkSymmetry | None = None

    def __init__(self, cfg: PPOCfg, symmetry: NetworkSymmetry | None, **model: Any) -> None:
        Model.__init__(self, **model)
        self.cfg = cfg
        self.symmetry = symmetry
        GaussianMixin.__init__(self, min_log_std=cfg.min_log_std, max_log_std=cfg.max_log_std)

    def act(self, inputs: dict[str, Any], *, role: str = "", params: Any = None) -> tuple[Any, dict[str, Any]]:
        """Sample actions, or the log-probabilities of given ones, which take no part in the exploration noise."""
        if "taken_actions" not in inputs:
            return super().act(inputs, role=role, params=params)
        with skrl_oddities.uncounted_draws(self):
            return super().act(inputs, role=role, params=params)

    @nn.compact
    def __call__(self, inputs: dict[str, Any], role: str) -> tuple[jax.Array, dict[str, Any]]:
        cfg, symmetry = self.cfg, self.symmetry
        observations = inputs["observations"]  # (N, k)
        network = perceptron(cfg.policy_hidden_layer_sizes, self.num_actions, cfg.activation, head_gain=0.01)
        log_std = self.param("log_std", nn.initializers.constant(cfg.initial_log_std), (self.num_actions,))
        if symmetry is None:
            mean = network(observations)
        else:
            both = jnp.concatenate([observations, symmetry.observation(observations)])
            own, image = jnp.split(network(both), 2)
            mean = symmetry.mean_action(own, image)
            log_std = symmetry.mean_log_std(log_std, log_std)
        return mean, {"log_std": jnp.clip(log_std, cfg.min_log_std, cfg.max_log_std)}


class Value(DeterministicMixin, Model):
    """The value of a state, or of an observation where there is no state.

    With a mirror it is the mean of the values of the vector and of its image.
    """

    cfg: PPOCfg = PPOCfg()
    mirror: SignedPermutation | None = None

    def __init__(self, cfg: PPOCfg, mirror: SignedPermutation | None, **model: Any) -> None:
        Model.__init__(self, **model)
        self.cfg = cfg
        self.mirror = mirror
        DeterministicMixin.__init__(self)

    @nn.compact
    def __call__(self, inputs: dict[str, Any], role: str) -> tuple[jax.Array, dict[str, Any]]:
        vectors = inputs["observations" if self.state_space is None else "states"]  # (N, k)
        network = perceptron(self.cfg.value_hidden_layer_sizes, 1, self.cfg.activation, head_gain=1.0)
        if self.mirror is None:
            return network(vectors), {}
        own, image = jnp.split(network(jnp.concatenate([vectors, self.mirror(vectors)])), 2)
        return (own + image) / 2, {}
