"""PPO and SAC on Torch."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skrl.agents.torch import ExperimentCfg
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.agents.torch.sac import SAC_CFG
from skrl.memories.torch import RandomMemory
from skrl.resources.schedulers.torch import KLAdaptiveLR

from motrix_train.config import BaseRLCfg, PPOCfg
from motrix_train.distributed import ProcessGroup, Transport
from motrix_train.errors import UsageError
from motrix_train.launcher import ProcessInfo
from motrix_train.learning.agent import Agent
from motrix_train.learning.backend import Backend
from motrix_train.learning.policy import GaussianPolicy, Policy
from motrix_train.learning.ppo import PPOAgent
from motrix_train.learning.skrl_mapping import SacClasses, SkrlClasses
from motrix_train.learning.skrl_oddities import observation_normalizer
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.symmetry import NetworkSymmetry
from motrix_train.learning.torch import sac, sac_networks
from motrix_train.learning.torch.arrays import load_arrays, to_arrays, to_host
from motrix_train.learning.torch.freed_memory import keep_freed_memory
from motrix_train.learning.torch.matrix_products import float32_with_onednn
from motrix_train.learning.torch.networks import make_models
from motrix_train.learning.torch.normalizer import Normalizer
from motrix_train.learning.torch.optimizers import all_finite, fuse, load_moments, moments, moments_to_arrays
from motrix_train.learning.torch.parts import THREADS
from motrix_train.learning.torch.process_group import connect
from motrix_train.learning.torch.skrl_oddities import GradientNorm, averaging_over

SMALL_LAYER = 512  # neurons


class TorchBackend(Backend):
    """SKRL's PPO and SAC for Torch."""

    NAME = "torch"

    def has_gpu(self) -> bool:
        return torch.cuda.is_available()

    def _connect(self, place: ProcessInfo) -> Transport:
        return connect(place)

    def _device(self, name: str | None, workers: ProcessGroup) -> torch.device:
        """The named device; by default the GPU if there is one, and its own for each worker."""
        if name is None:
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if workers.size > 1 and name.startswith("cuda") and torch.cuda.is_available():
            return _gpu_of_worker(name, workers)
        try:
            device = torch.device(name)
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"device {name!r} is not usable with Torch ({reason}): give cpu or cuda") from None
        return device

    def _set_threads(self, cfg: BaseRLCfg, workers: ProcessGroup) -> None:
        """Parts of the rows are computed in all CPUs, each matrix product in one where layers are small.

        The threads of Torch wait for each other by spinning. If another program uses one of the CPUs, each matrix
        product waits for the thread that is not running, and an update takes many times as long.
        ``OMP_NUM_THREADS``, where it is set, counts instead.
        """
        if "OMP_NUM_THREADS" in os.environ:
            THREADS.set(1)
            return
        small = max((*cfg.policy_hidden_layer_sizes, *cfg.value_hidden_layer_sizes)) <= SMALL_LAYER
        torch.set_num_threads(1 if small else workers.cpus)
        THREADS.set(workers.cpus if small else 1)

    def _on_device(self, symmetry: NetworkSymmetry | None, device: torch.device) -> NetworkSymmetry | None:
        if symmetry is None:
            return None
        return symmetry.convert(
            index=lambda index: torch.tensor(np.asarray(index), device=device, dtype=torch.int64),
            sign=lambda sign: torch.tensor(np.asarray(sign), device=device, dtype=torch.float32),
        )

    def _skrl_classes(self, workers: ProcessGroup) -> SkrlClasses:
        return SkrlClasses(PPO, RandomMemory, PPO_CFG, ExperimentCfg, Normalizer, KLAdaptiveLR)

    def _models(
        self, spaces: Spaces, cfg: PPOCfg, symmetry: NetworkSymmetry | None, device: torch.device
    ) -> dict[str, Any]:
        return make_models(spaces, cfg, symmetry, device)

    def _agent(
        self, ppo: PPO, cfg: PPOCfg, symmetry: NetworkSymmetry | None, device: torch.device, workers: ProcessGroup
    ) -> Agent:
        fuse(ppo.optimizer)
        keep_freed_memory()
        return PPOAgent(
            ppo,
            cfg.rollouts,
            policy=self._policy(ppo.policy, observation_normalizer(ppo), device),
            gradient_norm=GradientNorm(ppo.optimizer),
            all_finite=lambda: all_finite(ppo, moments(ppo.optimizer)),
            optimizer_state=lambda: _optimizer_state(ppo),
            load_optimizer_state=lambda state: _load_optimizer_state(ppo, state),
            bootstraps_at_time_limit=cfg.time_limit_bootstrap,
            symmetry=symmetry,
            averaging=lambda: averaging_over(workers),
            **self._conversions(device),
        )

    def _conversions(self, device: torch.device) -> dict[str, Any]:
        def to_device(array: np.ndarray | torch.Tensor) -> torch.Tensor:
            if isinstance(array, torch.Tensor):
                return array.to(device, torch.bool if array.dtype == torch.bool else torch.float32, copy=True)
            return torch.tensor(array, device=device, dtype=torch.bool if array.dtype == bool else torch.float32)

        return {
            "to_device": to_device,
            "to_host": to_host,
            "to_torch": lambda tensor, other: tensor.to(other.device),
            "inference": torch.no_grad,
            "learning": float32_with_onednn,
        }

    def _sac_classes(self) -> SacClasses:
        models, policy = sac_networks.make_models, sac.mean_policy
        return SacClasses(sac.SAC, SAC_CFG, ExperimentCfg, Normalizer, models, policy)

    def _policy(self, network: Any, normalizer: Normalizer, device: torch.device) -> Policy:
        def mean(observations: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                tensor = torch.tensor(observations, device=device, dtype=torch.float32)
                return network.compute({"observations": normalizer(tensor)}, "policy")[0].cpu().numpy()

        return GaussianPolicy(mean, lambda: network.log_std().detach().exp().cpu().numpy())

    def _arrays(self, module: Any) -> dict[str, Any]:
        return to_arrays(module)

    def _load_arrays(self, module: Any, arrays: Mapping[str, Any]) -> None:
        load_arrays(module, arrays)

    def _random_state(self, ppo: Any) -> dict[str, Any]:
        state = {"torch": torch.get_rng_state().numpy()}
        if ppo.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(ppo.device).numpy()
        return state

    def _set_random_state(self, ppo: Any, state: Mapping[str, Any]) -> None:
        torch.set_rng_state(torch.tensor(state["torch"]))
        if "cuda" in state and ppo.device.type == "cuda":
            torch.cuda.set_rng_state(torch.tensor(state["cuda"]), ppo.device)


def _gpu_of_worker(name: str, workers: ProcessGroup) -> torch.device:
    if name != "cuda":
        raise UsageError(f"device {name!r} would be that of every worker: give cuda, and each takes its own GPU")
    if workers.gpu >= torch.cuda.device_count():
        raise UsageError(
            f"{workers.gpu + 1} workers or more share {torch.cuda.device_count()} GPU(s): start one worker for "
            "each GPU, or give --device cpu"
        )
    return torch.device("cuda", workers.gpu)


def _optimizer_state(ppo: PPO) -> dict[str, Any]:
    """The optimizer and its learning rate as nested dicts of NumPy arrays and numbers."""
    return {
        "moments": moments_to_arrays(ppo.optimizer),
        "learning_rate": float(ppo.optimizer.param_groups[0]["lr"]),
    }


def _load_optimizer_state(ppo: PPO, state: Mapping[str, Any]) -> None:
    load_moments(ppo.optimizer, state.get("moments", {}), lr=float(state["learning_rate"]))


BACKEND = TorchBackend()
