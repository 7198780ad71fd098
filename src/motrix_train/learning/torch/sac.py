"""Soft Actor-Critic on Torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from skrl.agents.torch import ExperimentCfg
from skrl.agents.torch.sac import SAC, SAC_CFG

from motrix_train.config import SACCfg
from motrix_train.learning.normalizer import Pooling
from motrix_train.learning.policy import Policy, standard_normal
from motrix_train.learning.skrl_mapping import sac_cfg
from motrix_train.learning.skrl_oddities import observation_normalizer
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.symmetry import NetworkSymmetry
from motrix_train.learning.torch.arrays import to_host
from motrix_train.learning.torch.normalizer import Normalizer
from motrix_train.learning.torch.optimizers import load_moments, moments, moments_to_arrays
from motrix_train.learning.torch.replay import ReplayMemory
from motrix_train.learning.torch.sac_networks import SquashedGaussianPolicy, make_models

LOG_COEFFICIENT = "log_entropy_coefficient"


class FixedNormalizer(Normalizer):
    """A normalizer that learns from nothing but `learn`: SKRL would teach it every sample of the memory, twice."""

    def forward(self, x: Any, *, train: bool = False, inverse: bool = False, no_grad: bool = True) -> Any:
        return super().forward(x, train=False, inverse=inverse, no_grad=no_grad)

    def learn(self, x: torch.Tensor) -> None:
        """Takes observations, (N, k), into its mean and variance."""
        variance = x.var(dim=0) if len(x) > 1 else torch.zeros_like(x[0])
        self._parallel_variance(x.mean(dim=0), variance, len(x))


def make_sac(
    spaces: Spaces,
    num_envs: int,
    cfg: SACCfg,
    symmetry: NetworkSymmetry | None,
    device: torch.device,
    folder: Path | None,
) -> tuple[SAC, ReplayMemory]:
    """SKRL's agent, initialised and in training mode, and its memory.

    Args:
        spaces: Of one environment; the bounds of actions are finite.
        num_envs: Environments.
        cfg: How to train.
        symmetry: Of the environment, with tensors.
        device: Of the networks.
        folder: Of the files of the memory, None for none.
    """
    slack = cfg.check_point_interval + 2 * cfg.rollouts  # vector steps from one checkpoint to the next, at most
    memory = ReplayMemory(cfg.memory_steps, slack, num_envs=num_envs, device=device, folder=folder)
    agent = SAC(
        models=make_models(spaces, cfg, symmetry, device),
        memory=memory,
        **spaces.by_argument(),
        device=device,
        cfg=sac_cfg(
            cfg,
            SAC_CFG,
            ExperimentCfg,
            FixedNormalizer,
            observation_normalizer_kwargs={
                "size": spaces.observation,
                "device": device,
                "pooling": Pooling(mirror=symmetry.observation if symmetry else None),
            },
            state_normalizer_kwargs={"size": spaces.state, "device": device} if spaces.state else None,
            num_actions=spaces.action.shape[0],
        ),
    )
    agent.init()
    agent.enable_training_mode(True)
    _follow_coefficient(agent)
    return agent, memory


def learn_normalizers(agent: SAC, observations: torch.Tensor, states: torch.Tensor | None) -> None:
    """Teaches the normalizers what was observed, (N, k) and (N, s)."""
    observation_normalizer(agent).learn(observations)
    if states is not None:
        agent.checkpoint_modules["state_preprocessor"].learn(states)


def mean_policy(agent: SAC, device: torch.device) -> Policy:
    """The policy without exploration, with the parameters of the moment."""
    normalizer, network = observation_normalizer(agent), cast(SquashedGaussianPolicy, agent.policy)

    def u(observations: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        tensor = torch.tensor(observations, device=device, dtype=torch.float32)
        mean, outputs = network.compute({"observations": normalizer(tensor)}, "policy")
        return mean, outputs["log_std"]

    def mean_action(observations: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network.scaled(u(observations)[0].tanh()).cpu().numpy()

    def sampled(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        with torch.inference_mode():
            mean, log_std = u(observations)
            noise = torch.tensor(standard_normal(mean.cpu().numpy(), rng), device=device)
            return network.scaled((mean + log_std.exp() * noise).tanh()).cpu().numpy()

    return Policy(mean_action, sampled)


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
