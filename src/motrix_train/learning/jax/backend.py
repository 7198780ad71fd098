"""PPO and SAC on JAX."""

import contextlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from skrl.agents.jax import ExperimentCfg
from skrl.agents.jax.ppo import PPO, PPO_CFG
from skrl.agents.jax.sac import SAC_CFG
from skrl.memories.jax import RandomMemory
from skrl.resources.schedulers.jax import KLAdaptiveLR

from motrix_train.config import BaseRLCfg, PPOCfg
from motrix_train.distributed import ProcessGroup, Transport
from motrix_train.errors import UsageError
from motrix_train.launcher import ProcessInfo
from motrix_train.learning.agent import Agent
from motrix_train.learning.backend import Backend, Device
from motrix_train.learning.jax import sac, sac_networks
from motrix_train.learning.jax.arrays import load_arrays, to_arrays, to_numpy
from motrix_train.learning.jax.exchange import own_copy, to_torch
from motrix_train.learning.jax.networks import make_models
from motrix_train.learning.jax.normalizer import Normalizer
from motrix_train.learning.jax.optimizers import all_finite, with_state
from motrix_train.learning.jax.process_group import connect, mean_of_all_workers
from motrix_train.learning.jax.skrl_oddities import (
    GradientNorm,
    Optimizer,
    kl_adaptive_of_all_workers,
    noise_state,
    set_noise_state,
)
from motrix_train.learning.policy import GaussianPolicy, Policy
from motrix_train.learning.ppo import PPOAgent
from motrix_train.learning.skrl_mapping import SacClasses, SkrlClasses
from motrix_train.learning.skrl_oddities import observation_normalizer
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.symmetry import NetworkSymmetry


class JaxBackend(Backend):
    """SKRL's PPO and SAC for JAX."""

    NAME = "jax"

    def has_gpu(self) -> bool:
        return jax.default_backend() == "gpu"

    def _connect(self, place: ProcessInfo) -> Transport:
        return connect(place)

    def _device(self, name: str | None, workers: ProcessGroup) -> Device:
        """The named device; by default the first of JAX's own choice, which is the worker's own."""
        if name is None:
            return jax.local_devices()[0]
        kind, _, index = name.partition(":")
        try:
            return jax.local_devices(backend=kind)[int(index or 0)]
        except (RuntimeError, IndexError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"device {name!r} is not usable with JAX ({reason}): give cpu or cuda") from None

    def _set_threads(self, cfg: BaseRLCfg, workers: ProcessGroup) -> None:
        """Leaves the choice to JAX, which makes it when it is imported."""

    def _on_device(self, symmetry: NetworkSymmetry | None, device: Device) -> NetworkSymmetry | None:
        return symmetry  # compiled into the networks as constants

    def _skrl_classes(self, workers: ProcessGroup) -> SkrlClasses:
        kl_adaptive = KLAdaptiveLR if workers.size == 1 else kl_adaptive_of_all_workers
        return SkrlClasses(PPO, RandomMemory, PPO_CFG, ExperimentCfg, Normalizer, kl_adaptive)

    def _models(self, spaces: Spaces, cfg: PPOCfg, symmetry: NetworkSymmetry | None, device: Device) -> dict[str, Any]:
        return make_models(spaces, cfg, symmetry, device)

    def _agent(
        self, ppo: Any, cfg: PPOCfg, symmetry: NetworkSymmetry | None, device: Device, workers: ProcessGroup
    ) -> Agent:
        gradient_norm = GradientNorm()
        average = mean_of_all_workers if workers.size > 1 else None
        ppo.policy_optimizer = Optimizer(ppo.policy_optimizer, gradient_norm.policy, average)
        ppo.value_optimizer = Optimizer(ppo.value_optimizer, gradient_norm.value, average)
        return PPOAgent(
            ppo,
            cfg.rollouts,
            policy=self._policy(ppo.policy, observation_normalizer(ppo), device),
            gradient_norm=gradient_norm,
            all_finite=lambda: all_finite(ppo, [ppo.policy_optimizer.state, ppo.value_optimizer.state]),
            optimizer_state=lambda: _optimizer_state(ppo),
            load_optimizer_state=lambda state: _load_optimizer_state(ppo, state),
            bootstraps_at_time_limit=cfg.time_limit_bootstrap,
            symmetry=symmetry,
            **self._conversions(device),
        )

    def _conversions(self, device: Device) -> dict[str, Any]:
        def to_device(array: Any) -> jax.Array:
            return jax.device_put(own_copy(array), device)

        return {
            "to_device": to_device,
            "to_host": np.array,
            "to_torch": to_torch,
            "inference": contextlib.nullcontext,
        }

    def _sac_classes(self) -> SacClasses:
        models, policy = sac_networks.make_models, sac.mean_policy
        return SacClasses(sac.SAC, SAC_CFG, ExperimentCfg, Normalizer, models, policy)

    def _policy(self, network: Any, normalizer: Normalizer, device: Device) -> Policy:
        apply = jax.jit(lambda parameters, inputs: network.apply(parameters, {"observations": inputs}, "policy"))

        def mean(observations: np.ndarray) -> np.ndarray:
            inputs = jax.device_put(np.array(observations, dtype=np.float32), device)
            return np.array(apply(network.state_dict.params, normalizer(inputs))[0])

        def standard_deviation() -> np.ndarray:
            _, outputs = apply(network.state_dict.params, jnp.zeros((1, *network.observation_space.shape)))
            return np.array(jnp.exp(outputs["log_std"]))

        return GaussianPolicy(mean, standard_deviation)

    def _arrays(self, module: Any) -> dict[str, Any]:
        return to_arrays(module)

    def _load_arrays(self, module: Any, arrays: Mapping[str, Any]) -> None:
        load_arrays(module, arrays)

    def _random_state(self, ppo: Any) -> dict[str, Any]:
        return {"noise": noise_state(ppo.policy)}

    def _set_random_state(self, ppo: Any, state: Mapping[str, Any]) -> None:
        set_noise_state(ppo.policy, state["noise"])


def _optimizer_state(ppo: Any) -> dict[str, Any]:
    """The optimizers and their learning rates as nested dicts of NumPy arrays and numbers."""
    return {
        "policy_optimizer": to_numpy(ppo.policy_optimizer.state),
        "value_optimizer": to_numpy(ppo.value_optimizer.state),
        "policy_learning_rate": np.array(float(ppo.policy_learning_rate)),
        "value_learning_rate": np.array(float(ppo.value_learning_rate)),
    }


def _load_optimizer_state(ppo: Any, state: Mapping[str, Any]) -> None:
    ppo.policy_optimizer = with_state(ppo.policy_optimizer, state["policy_optimizer"])
    ppo.value_optimizer = with_state(ppo.value_optimizer, state["value_optimizer"])
    ppo.policy_learning_rate = float(state["policy_learning_rate"])
    ppo.value_learning_rate = float(state["value_learning_rate"])


BACKEND = JaxBackend()
