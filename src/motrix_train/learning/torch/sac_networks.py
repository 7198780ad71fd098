"""The networks of Soft Actor-Critic on Torch, as models of SKRL."""

import math
from typing import Any

import torch
from skrl.models.torch import DeterministicMixin, Model
from torch.nn import functional

from motrix_train.config import SACCfg
from motrix_train.learning.policy import center_and_half
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.symmetry import NetworkSymmetry
from motrix_train.learning.torch.networks import hidden_layers, linear

CRITICS = ("critic_1", "critic_2")


def make_models(spaces: Spaces, cfg: SACCfg, symmetry: NetworkSymmetry | None, device: torch.device) -> dict[str, Any]:
    """SKRL's models by role: the policy, two critics and their targets."""
    policy = SquashedGaussianPolicy(spaces, device, cfg, symmetry).to(device)
    roles = (*CRITICS, *map(target_of, CRITICS))
    return {"policy": policy} | {role: Critic(spaces, device, cfg).to(device) for role in roles}


def target_of(critic: str) -> str:
    """The role of the target network of a critic."""
    return f"target_{critic}"


class SquashedGaussianPolicy(Model):
    """Actions ``center + half * tanh(u)`` within their bounds, u from a Gaussian that the observation gives.

    With a mirror the Gaussian of the mirror image is the mirror image of the Gaussian.
    """

    def __init__(self, spaces: Spaces, device: torch.device, cfg: SACCfg, symmetry: NetworkSymmetry | None) -> None:
        super().__init__(observation_space=spaces.observation, action_space=spaces.action, device=device)
        self._symmetry = symmetry
        self._limits = cfg.min_log_std, cfg.max_log_std
        self._center, self._half = _center_and_half(spaces, device)
        widths = (self.num_observations, *cfg.policy_hidden_layer_sizes)
        self.hidden = hidden_layers(widths, cfg.activation)
        self.head = linear(widths[-1], 2 * self.num_actions, gain=0.01)

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        """Mean and logarithm of the standard deviation of u, (N, m) each."""
        observations = inputs["observations"]  # (N, k)
        if self._symmetry is None:
            mean, log_std = self.head(self.hidden(observations)).chunk(2, dim=-1)
        else:
            both = torch.cat([observations, self._symmetry.observation(observations)])
            own, image = self.head(self.hidden(both)).chunk(2)
            (mean, log_std), (image_mean, image_log_std) = own.chunk(2, dim=-1), image.chunk(2, dim=-1)
            mean = self._symmetry.mean_action(mean, image_mean)
            log_std = self._symmetry.mean_log_std(log_std, image_log_std)
        return mean, {"log_std": log_std.clamp(*self._limits)}

    def act(self, inputs: dict[str, Any], *, role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        """Actions with noise, and ``log_prob``, (N, 1), the logarithm of their density in units of ``tanh(u)``."""
        mean, outputs = self.compute(inputs, role)
        log_std = outputs["log_std"]
        noise = torch.randn_like(mean)
        u = mean + log_std.exp() * noise
        gaussian = -(noise.square() / 2 + log_std + math.log(2 * math.pi) / 2)
        slope = 2 * (math.log(2) - u - functional.softplus(-2 * u))  # logarithm of 1 - tanh(u)^2
        log_prob = (gaussian - slope).sum(dim=-1, keepdim=True)
        return self.scaled(u.tanh()), {**outputs, "log_prob": log_prob, "mean_actions": self.scaled(mean.tanh())}

    def random_act(self, inputs: dict[str, Any], *, role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        """Actions that are uniform within their bounds."""
        uniform = torch.rand(len(inputs["observations"]), self.num_actions, device=self.device)
        return self.scaled(2 * uniform - 1), {}

    def scaled(self, actions: torch.Tensor) -> torch.Tensor:
        """Actions in units of the environment, from those between -1 and 1."""
        return self._center + self._half * actions


class Critic(DeterministicMixin, Model):
    """The return of an action in a state, or after an observation where there is no state."""

    def __init__(self, spaces: Spaces, device: torch.device, cfg: SACCfg) -> None:
        Model.__init__(self, **spaces.by_argument(), device=device)
        DeterministicMixin.__init__(self)
        self._center, self._half = _center_and_half(spaces, device)
        self._input = "observations" if spaces.state is None else "states"
        width = self.num_observations if spaces.state is None else self.num_states
        widths = (width + self.num_actions, *cfg.value_hidden_layer_sizes)
        self.hidden = hidden_layers(widths, cfg.activation, cfg.layer_norm)
        self.head = linear(widths[-1], 1, gain=1.0)

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        actions = (inputs["taken_actions"] - self._center) / self._half
        return self.head(self.hidden(torch.cat([inputs[self._input], actions], dim=-1))), {}


def _center_and_half(spaces: Spaces, device: torch.device) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(x, device=device) for x in center_and_half(spaces.action.low, spaces.action.high))
