"""Soft Actor-Critic on Torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skrl.agents.torch.sac import SAC

from motrix_train.learning.policy import Policy, SquashedGaussianPolicy
from motrix_train.learning.skrl_oddities import observation_normalizer
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.torch.arrays import to_host
from motrix_train.learning.torch.normalizer import Normalizer
from motrix_train.learning.torch.optimizers import load_moments, moments, moments_to_arrays

LOG_COEFFICIENT = "log_entropy_coefficient"


class FixedNormalizer(Normalizer):
    """A normalizer that learns from nothing but `learn`: SKRL would teach it every sample of the memory, twice."""

    def forward(self, x: Any, *, train: bool = False, inverse: bool = False, no_grad: bool = True) -> Any:
        return super().forward(x, train=False, inverse=inverse, no_grad=no_grad)

    def learn(self, x: torch.Tensor) -> None:
        """Takes observations, (N, k), into its mean and variance."""
        variance = x.var(dim=0) if len(x) > 1 else torch.zeros_like(x[0])
        self._parallel_variance(x.mean(dim=0), variance, len(x))


def make_sac(**parts: Any) -> SAC:
    """SKRL's agent, from the arguments that it takes."""
    agent = SAC(**parts)
    _follow_coefficient(agent)
    return agent


def mean_policy(agent: SAC, spaces: Spaces, device: torch.device) -> Policy:
    """The policy with the parameters of the moment."""
    normalizer = observation_normalizer(agent)
    network: Any = agent.policy

    def gaussian(observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            tensor = torch.tensor(observations, device=device, dtype=torch.float32)
            mean, outputs = network.compute({"observations": normalizer(tensor)}, "policy")
            return mean.cpu().numpy(), outputs["log_std"].cpu().numpy()

    return SquashedGaussianPolicy(gaussian, spaces.action.low, spaces.action.high)


def optimizer_state(agent: SAC) -> dict[str, Any]:
    """The optimizers and the entropy coefficient, as nested dicts of arrays and numbers."""
    state: dict[str, Any] = {name: moments_to_arrays(optimizer) for name, optimizer in _optimizers(agent).items()}
    if agent.cfg.learn_entropy:
        state[LOG_COEFFICIENT] = to_host(agent.log_entropy_coefficient)
    return state


def load_optimizer_state(agent: SAC, state: Mapping[str, Any]) -> None:
    """Restores what `optimizer_state` returned."""
    for name, optimizer in _optimizers(agent).items():
        load_moments(optimizer, state.get(name, {}))
    if agent.cfg.learn_entropy:
        with torch.no_grad():
            agent.log_entropy_coefficient.copy_(torch.tensor(state[LOG_COEFFICIENT]))
    _follow_coefficient(agent)


def _follow_coefficient(agent: SAC) -> None:
    """sac_coefficient: the coefficient in use is that of the learned logarithm, from the first update on."""
    if agent.cfg.learn_entropy:
        agent._entropy_coefficient = torch.exp(agent.log_entropy_coefficient.detach())


def learned_moments(agent: SAC) -> list[torch.Tensor]:
    """The tensors of the optimizers and the entropy coefficient."""
    known = [x for optimizer in _optimizers(agent).values() for x in moments(optimizer)]
    return [*known, agent.log_entropy_coefficient.detach()] if agent.cfg.learn_entropy else known


def _optimizers(agent: SAC) -> dict[str, torch.optim.Optimizer]:
    named: dict[str, torch.optim.Optimizer] = {"policy": agent.policy_optimizer, "critic": agent.critic_optimizer}
    return named | ({"entropy": agent.entropy_optimizer} if agent.cfg.learn_entropy else {})
