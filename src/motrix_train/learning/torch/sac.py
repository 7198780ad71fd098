"""Soft Actor-Critic on Torch."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from skrl.agents.torch import sac as skrl_sac
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from motrix_train.learning.policy import Policy, SquashedGaussianPolicy
from motrix_train.learning.replay import DISCOUNTS
from motrix_train.learning.skrl_oddities import normalized_inputs, observation_normalizer
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.torch.arrays import to_host
from motrix_train.learning.torch.optimizers import all_finite, load_moments, moments, moments_to_arrays
from motrix_train.learning.torch.sac_networks import CRITICS, target_of

LOG_COEFFICIENT = "log_entropy_coefficient"


class SAC(skrl_sac.SAC):
    """sac_step: SKRL's agent with a gradient step of ours, which differentiates what it steps and no more.

    As on JAX, one optimizer steps both critics, and their gradients are clipped together.
    """

    policy: Any
    memory: Any
    cfg: Any

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        cfg = self.cfg
        start = torch.full((1,), float(cfg.initial_entropy_value), device=self.device)
        self._log_coefficient = start.log().requires_grad_(cfg.learn_entropy)
        critics, targets = (self._parameters(roles) for roles in (CRITICS, map(target_of, CRITICS)))
        stepped = {"policy": self._parameters(["policy"]), "critic": critics}
        if cfg.learn_entropy:
            stepped["entropy"] = [self._log_coefficient]
        rates = zip(stepped.items(), cfg.learning_rate, strict=False)
        self._optimizers = {name: torch.optim.Adam(of, lr=rate, fused=True) for (name, of), rate in rates}
        follow = get_ema_multi_avg_fn(1 - cfg.polyak)
        self._follow = lambda: follow(targets, critics, 0)

    def update(self, *, timestep: int, timesteps: int) -> None:
        """Makes the gradient steps of an update, and tracks what each tells."""
        told = [self._gradient_step() for _ in range(self.cfg.gradient_steps)]
        names = list(told[0])
        rows = torch.stack([torch.stack([report[name].detach().reshape(()) for name in names]) for report in told])
        for row in rows.tolist():
            for name, value in zip(names, row, strict=True):
                self.track_data(name, value)

    def optimizer_state(self) -> dict[str, Any]:
        """The optimizers and the entropy coefficient, as nested dicts of arrays and numbers."""
        states = {name: moments_to_arrays(optimizer) for name, optimizer in self._optimizers.items()}
        return {**states, LOG_COEFFICIENT: to_host(self._log_coefficient)}

    def load_optimizer_state(self, state: Mapping[str, Any]) -> None:
        """Restores what `optimizer_state` returned."""
        for name, optimizer in self._optimizers.items():
            load_moments(optimizer, state.get(name, {}))
        with torch.no_grad():
            self._log_coefficient.copy_(torch.tensor(state[LOG_COEFFICIENT]))

    def all_finite(self) -> bool:
        """Whether networks, normalizers, optimizers and the entropy coefficient are finite."""
        known = [x for optimizer in self._optimizers.values() for x in moments(optimizer)]
        return all_finite(self, [*known, self._log_coefficient.detach()])

    def _gradient_step(self) -> dict[str, torch.Tensor]:
        """What to tell of the step."""
        names = [*self._tensors_names, DISCOUNTS]
        [tensors] = self.memory.sample(names=names, batch_size=self.cfg.batch_size)
        batch = dict(zip(names, tensors, strict=True))
        inputs = normalized_inputs(self, batch["observations"], batch["states"])
        coefficient = self._log_coefficient.detach().exp()
        targets = self._targets(batch, coefficient)

        values = [self._value(role, inputs, batch["actions"]) for role in CRITICS]
        critic_loss = (torch.cat(values) - torch.cat([targets, targets])).square().mean()
        self._step("critic", critic_loss)

        actions, outputs = self.policy.act(inputs, role="policy")
        log_prob = outputs["log_prob"]
        policy_loss = (coefficient * log_prob - self._smaller_value(CRITICS, inputs, actions)).mean()
        report = {"critic": critic_loss, "policy": policy_loss, "target_mean": targets.mean()}
        report["gradient_norm"] = self._step("policy", policy_loss)
        if self.cfg.learn_entropy:
            report["entropy"] = -(self._log_coefficient * (log_prob.detach() + self._target_entropy)).mean()
            self._step("entropy", report["entropy"], clipped=False)
            report["entropy_coefficient"] = self._log_coefficient.exp()
        self._follow()
        return report

    @torch.no_grad()
    def _targets(self, batch: Mapping[str, Any], coefficient: torch.Tensor) -> torch.Tensor:  # (batch, 1)
        """What the critics are to predict: the rewards, and the value of what follows unless the episode terminated."""
        inputs = normalized_inputs(self, batch["next_observations"], batch["next_states"])
        actions, outputs = self.policy.act(inputs, role="policy")
        values = self._smaller_value(map(target_of, CRITICS), inputs, actions) - coefficient * outputs["log_prob"]
        return batch["rewards"] + batch[DISCOUNTS] * ~batch["terminated"] * values

    def _smaller_value(self, roles: Iterable[str], inputs: dict[str, Any], actions: torch.Tensor) -> torch.Tensor:
        return torch.minimum(*(self._value(role, inputs, actions) for role in roles))

    def _value(self, role: str, inputs: dict[str, Any], actions: torch.Tensor) -> torch.Tensor:
        """The return that a critic predicts, (batch, 1)."""
        values, _ = self.models[role].act({**inputs, "taken_actions": actions}, role=role)
        return values

    def _step(self, name: str, loss: torch.Tensor, clipped: bool = True) -> torch.Tensor:
        """Steps an optimizer; returns the norm of the gradients before clipping."""
        [group] = self._optimizers[name].param_groups
        gradients = torch.autograd.grad(loss, group["params"])
        for parameter, gradient in zip(group["params"], gradients, strict=True):
            parameter.grad = gradient
        if clipped and self.cfg.grad_norm_clip > 0:
            norm = clip_grad_norm_(group["params"], self.cfg.grad_norm_clip)
        else:
            norm = get_total_norm(gradients)
        self._optimizers[name].step()
        return norm

    def _parameters(self, roles: Iterable[str]) -> list[torch.Tensor]:
        return [parameter for role in roles for parameter in self.models[role].parameters()]


def mean_policy(agent: SAC, spaces: Spaces, device: torch.device) -> Policy:
    """The policy with the parameters of the moment."""
    normalizer = observation_normalizer(agent)
    network = agent.policy

    def gaussian(observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            tensor = torch.tensor(observations, device=device, dtype=torch.float32)
            mean, outputs = network.compute({"observations": normalizer(tensor)}, "policy")
            return mean.cpu().numpy(), outputs["log_std"].cpu().numpy()

    return SquashedGaussianPolicy(gaussian, spaces.action.low, spaces.action.high)
