"""The networks of policy and value on Torch, as models of SKRL."""

import itertools
from typing import Any

import torch
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from torch import nn

from motrix_train.config import Activation, PPOCfg
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.symmetry import NetworkSymmetry, SignedPermutation
from motrix_train.learning.torch.parts import in_parts
from motrix_train.learning.torch.skrl_oddities import SharedFeatures

ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}


def make_models(spaces: Spaces, cfg: PPOCfg, symmetry: NetworkSymmetry | None, device: torch.device) -> dict[str, Any]:
    """SKRL's models by role, ``"policy"`` and ``"value"``; one and the same if they share their features."""
    if cfg.share_policy_value_features:
        shared = PolicyAndValue(spaces, device, cfg, symmetry).to(device)
        return {"policy": shared, "value": shared}
    mirror = symmetry.observation if symmetry and cfg.mirror == "policy_and_value" else None
    return {
        "policy": GaussianPolicy(spaces, device, cfg, symmetry).to(device),
        "value": Value(spaces, device, cfg, mirror).to(device),
    }


class GaussianPolicy(GaussianMixin, Model):
    """Mean actions from the observation, one standard deviation per action.

    With a mirror the mean is ``(f(o) + M_a f(M_o o)) / 2`` and mirrored actions share their noise, so that the
    policy of the mirror image is the mirror image of the policy.
    """

    def __init__(self, spaces: Spaces, device: torch.device, cfg: PPOCfg, symmetry: NetworkSymmetry | None) -> None:
        Model.__init__(self, observation_space=spaces.observation, action_space=spaces.action, device=device)
        GaussianMixin.__init__(self, min_log_std=cfg.min_log_std, max_log_std=cfg.max_log_std)
        self._symmetry = symmetry
        self._limits = cfg.min_log_std, cfg.max_log_std
        widths = (self.num_observations, *cfg.policy_hidden_layer_sizes)
        self.hidden = hidden_layers(widths, cfg.activation)
        self.head = linear(widths[-1], self.num_actions, gain=0.01)
        self.log_std_parameter = nn.Parameter(torch.full((self.num_actions,), float(cfg.initial_log_std)))

    def log_std(self) -> torch.Tensor:  # (m,)
        parameter = self.log_std_parameter
        if self._symmetry is not None:
            parameter = self._symmetry.mean_log_std(parameter, parameter)
        return parameter.clamp(*self._limits)

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        observations = inputs["observations"]  # (N, k)
        if self._symmetry is None:
            mean = in_parts([self.hidden, self.head], observations)
        else:
            both = torch.cat([observations, self._symmetry.observation(observations)])
            own, image = in_parts([self.hidden, self.head], both).chunk(2)
            mean = self._symmetry.mean_action(own, image)
        return mean, {"log_std": self.log_std()}


class Value(DeterministicMixin, Model):
    """The value of a state, or of an observation where there is no state.

    With a mirror it is the mean of the values of the vector and of its image.
    """

    def __init__(self, spaces: Spaces, device: torch.device, cfg: PPOCfg, mirror: SignedPermutation | None) -> None:
        Model.__init__(self, **spaces.by_argument(), device=device)
        DeterministicMixin.__init__(self)
        self._mirror = mirror
        self._input = "observations" if spaces.state is None else "states"
        width = self.num_observations if spaces.state is None else self.num_states
        widths = (width, *cfg.value_hidden_layer_sizes)
        self.hidden = hidden_layers(widths, cfg.activation)
        self.head = linear(widths[-1], 1, gain=1.0)

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        vectors = inputs[self._input]  # (N, k)
        if self._mirror is None:
            return in_parts([self.hidden, self.head], vectors), {}
        own, image = in_parts([self.hidden, self.head], torch.cat([vectors, self._mirror(vectors)])).chunk(2)
        return (own + image) / 2, {}


class PolicyAndValue(GaussianPolicy):
    """Policy and value as two heads on the same hidden layers."""

    def __init__(self, spaces: Spaces, device: torch.device, cfg: PPOCfg, symmetry: NetworkSymmetry | None) -> None:
        super().__init__(spaces, device, cfg, symmetry)
        self.value_head = linear(cfg.policy_hidden_layer_sizes[-1], 1, gain=1.0)
        self._symmetric_value = cfg.mirror == "policy_and_value"
        self._features = SharedFeatures()

    def act(self, inputs: dict[str, Any], *, role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        return super().act(inputs, role=role) if role == "policy" else self.compute(inputs, role)

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        features = self._features(inputs["observations"], role, self._last_hidden_layer)
        if role == "policy":
            means = self.head(features)
            if self._symmetry is not None:
                own, image = means.chunk(2)
                means = self._symmetry.mean_action(own, image)
            return means, {"log_std": self.log_std()}
        if self._symmetry is None:
            return self.value_head(features), {}
        own, image = self.value_head(features).chunk(2)
        return ((own + image) / 2 if self._symmetric_value else own), {}

    def _last_hidden_layer(self, observations: torch.Tensor) -> torch.Tensor:
        """(N, h), or (2 N, h) with the mirror images below."""
        if self._symmetry is not None:
            observations = torch.cat([observations, self._symmetry.observation(observations)])
        return in_parts([self.hidden], observations)


def hidden_layers(widths: tuple[int, ...], activation: Activation, layer_norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        normalization = [nn.LayerNorm(outputs)] if layer_norm else []
        layers += [linear(inputs, outputs, gain=2**0.5), *normalization, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
