"""Soft Actor-Critic on JAX."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from skrl.agents.jax import sac as skrl_sac
from skrl.resources.optimizers.jax import Adam

from motrix_train.learning.jax.arrays import to_numpy
from motrix_train.learning.jax.optimizers import all_finite, with_state
from motrix_train.learning.jax.sac_networks import CRITICS, target_of
from motrix_train.learning.jax.skrl_oddities import norm
from motrix_train.learning.policy import Policy, SquashedGaussianPolicy
from motrix_train.learning.replay import DISCOUNTS
from motrix_train.learning.skrl_oddities import normalized_inputs, observation_normalizer
from motrix_train.learning.spaces import Spaces

LOG_COEFFICIENT = "log_entropy_coefficient"

Learned = dict[str, Any]
"""What a gradient step changes: pytrees of parameters by role, with the logarithm of the entropy coefficient, (1,),
and the state of each optimizer by ``"optimizer of policy"`` and so on."""


class SAC(skrl_sac.SAC):
    """sac_noise: SKRL's agent with a gradient step of ours, which is compiled as a whole.

    As on Torch, one optimizer steps both critics, and their gradients are clipped together.
    """

    policy: Any
    memory: Any

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        cfg, device = self.cfg, self.device
        rates: Any = cfg.learning_rate  # of policy, critics and entropy coefficient
        self._log_coefficient = jax.device_put(np.log(np.full(1, cfg.initial_entropy_value, np.float32)), device)
        self._optimized = {"policy": ("policy",), "critic": CRITICS}
        if cfg.learn_entropy:
            self._optimized["entropy"] = (LOG_COEFFICIENT,)
        self._compiled_step = jax.jit(self._gradient_step)
        parameters = self._parameters()
        self._optimizers = {
            name: _adam(_part(parameters, roles), rate, 0 if name == "entropy" else cfg.grad_norm_clip, device)
            for (name, roles), rate in zip(self._optimized.items(), rates, strict=False)
        }

    def update(self, *, timestep: int, timesteps: int) -> None:
        """Makes the gradient steps of an update, and tracks what each tells."""
        learned, told = self._learned(), []
        for _ in range(self.cfg.gradient_steps):
            learned, report = self._compiled_step(learned, self._batch(), self.policy.next_key())
            told.append(report)
        self._take(learned)
        for report in jax.device_get(told):
            for name, value in report.items():
                self.track_data(name, float(value))

    def _learned(self) -> Learned:
        """What was learned, on the device of the agent: any other placement would compile anew."""
        states = {_state_of(name): optimizer.state for name, optimizer in self._optimizers.items()}
        return jax.device_put(self._parameters() | states, self.device)

    def optimizer_state(self) -> dict[str, Any]:
        """The optimizers and the entropy coefficient, as nested dicts of arrays and numbers."""
        states = {name: to_numpy(optimizer.state) for name, optimizer in self._optimizers.items()}
        return {**states, LOG_COEFFICIENT: np.array(self._log_coefficient)}

    def load_optimizer_state(self, state: Mapping[str, Any]) -> None:
        """Restores what `optimizer_state` returned."""
        for name, optimizer in self._optimizers.items():
            self._optimizers[name] = with_state(optimizer, state[name])
        self._log_coefficient = jnp.array(state[LOG_COEFFICIENT])

    def all_finite(self) -> bool:
        """Whether networks, normalizers, optimizers and the entropy coefficient are finite."""
        return all_finite(self, self._learned())

    def _parameters(self) -> dict[str, Any]:
        networks = {role: model.state_dict.params for role, model in self.models.items()}
        return {**networks, LOG_COEFFICIENT: self._log_coefficient}

    def _take(self, learned: Learned) -> None:
        for role, model in self.models.items():
            model.state_dict = model.state_dict.replace(params=learned[role])
        for name, optimizer in self._optimizers.items():
            self._optimizers[name] = optimizer.replace(state=learned[_state_of(name)])
        self._log_coefficient = learned[LOG_COEFFICIENT]

    def _batch(self) -> dict[str, Any]:
        """Transitions from the memory, normalized."""
        names = [*self._tensors_names, DISCOUNTS]
        [tensors] = self.memory.sample(names=names, batch_size=self.cfg.batch_size)
        found = dict(zip(names, tensors, strict=True))
        return {
            "inputs": normalized_inputs(self, found["observations"], found["states"]),
            "next_inputs": normalized_inputs(self, found["next_observations"], found["next_states"]),
            **{name: found[name] for name in ("actions", "rewards", "terminated", DISCOUNTS)},
        }

    def _gradient_step(
        self, learned: Learned, batch: dict[str, Any], key: jax.Array
    ) -> tuple[Learned, dict[str, jax.Array]]:
        """What was learned after the step, and what to tell of it."""
        next_key, own_key = jax.random.split(key)
        coefficient = jnp.exp(learned[LOG_COEFFICIENT])
        targets = self._targets(learned, batch, coefficient, next_key)

        def critic_loss(critics: dict[str, Any]) -> jax.Array:
            errors = [self._value(critics, role, batch["inputs"], batch["actions"]) - targets for role in CRITICS]
            return jnp.mean(jnp.square(jnp.stack(errors)))

        loss, gradient = jax.value_and_grad(critic_loss)(_part(learned, CRITICS))
        learned = self._step("critic", gradient, learned)
        report = {"critic": loss, "target_mean": jnp.mean(targets)}

        def policy_loss(policy: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
            actions, log_prob = self.policy.sampled(policy["policy"], batch["inputs"], own_key)
            values = self._smaller_value(learned, CRITICS, batch["inputs"], actions)
            return jnp.mean(coefficient * log_prob - values), log_prob

        (loss, log_prob), gradient = jax.value_and_grad(policy_loss, has_aux=True)(_part(learned, ["policy"]))
        learned = self._step("policy", gradient, learned)
        report |= {"policy": loss, "gradient_norm": norm(gradient)}

        def entropy_loss(entropy: dict[str, Any]) -> jax.Array:
            return -jnp.mean(entropy[LOG_COEFFICIENT] * (log_prob + self._target_entropy))

        if self.cfg.learn_entropy:
            loss, gradient = jax.value_and_grad(entropy_loss)(_part(learned, [LOG_COEFFICIENT]))
            learned = self._step("entropy", gradient, learned)
            report |= {"entropy": loss, "entropy_coefficient": jnp.exp(learned[LOG_COEFFICIENT])[0]}
        return self._with_followed_targets(learned), report

    def _targets(
        self, learned: Learned, batch: dict[str, Any], coefficient: jax.Array, key: jax.Array
    ) -> jax.Array:  # (batch, 1)
        """What the critics are to predict: the rewards, and the value of what follows unless the episode terminated."""
        actions, log_prob = self.policy.sampled(learned["policy"], batch["next_inputs"], key)
        values = self._smaller_value(learned, map(target_of, CRITICS), batch["next_inputs"], actions)
        goes_on = jnp.logical_not(batch["terminated"])
        return batch["rewards"] + batch[DISCOUNTS] * goes_on * (values - coefficient * log_prob)

    def _smaller_value(self, parameters: Mapping[str, Any], roles: Any, inputs: Any, actions: jax.Array) -> jax.Array:
        return jnp.minimum(*(self._value(parameters, role, inputs, actions) for role in roles))

    def _value(self, parameters: Mapping[str, Any], role: str, inputs: Any, actions: jax.Array) -> jax.Array:
        """The return that a critic predicts, (batch, 1)."""
        values, _ = self.models[role].act({**inputs, "taken_actions": actions}, role=role, params=parameters[role])
        return values

    def _step(self, name: str, gradient: dict[str, Any], learned: Learned) -> Learned:
        """What was learned after a step of an optimizer."""
        before, state = _part(learned, self._optimized[name]), learned[_state_of(name)]
        change, state = self._optimizers[name].transformation.update(gradient, state, before)
        return {**learned, **jax.tree.map(jnp.add, before, change), _state_of(name): state}

    def _with_followed_targets(self, learned: Learned) -> Learned:
        """The target networks take over their share of the critics."""
        share = self.cfg.polyak
        followed = {
            target_of(role): jax.tree.map(
                lambda own, critic: share * critic + (1 - share) * own, learned[target_of(role)], learned[role]
            )
            for role in CRITICS
        }
        return learned | followed


def mean_policy(agent: SAC, spaces: Spaces, device: Any) -> Policy:
    """The policy with the parameters of the moment."""
    normalizer, network = observation_normalizer(agent), agent.policy

    def gaussian(observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = jax.device_put(np.array(observations, dtype=np.float32), device)
        mean, outputs = network.compute({"observations": normalizer(inputs)}, "policy")
        return np.array(mean), np.array(outputs["log_std"])

    return SquashedGaussianPolicy(gaussian, spaces.action.low, spaces.action.high)


def _part(tree: Mapping[str, Any], roles: Any) -> dict[str, Any]:
    return {role: tree[role] for role in roles}


def _state_of(optimizer: str) -> str:
    return f"optimizer of {optimizer}"


def _adam(parameters: dict[str, Any], learning_rate: float, grad_norm_clip: float, device: Any) -> Any:
    """SKRL's optimizer of some parameters, which it takes as those of a model."""
    model: Any = SimpleNamespace(state_dict=SimpleNamespace(params=parameters))
    with jax.default_device(device):
        return Adam(model=model, lr=learning_rate, grad_norm_clip=grad_norm_clip)
