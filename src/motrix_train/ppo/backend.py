"""Which framework trains: Torch or JAX. Neither is imported before it is chosen."""

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, Protocol, cast

import gymnasium

from motrix_train.config import BackendName, PPOCfg
from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup, Transport
from motrix_train.errors import UsageError
from motrix_train.launcher import ProcessInfo, hidden_launcher
from motrix_train.ppo.agent import Agent, Policy
from motrix_train.ppo.mirror import Symmetry
from motrix_train.storage.checkpoint import Checkpoint

NAMES = ("torch", "jax")


class Backend(Protocol):
    """What `motrix_train.ppo.torch_backend` and `motrix_train.ppo.jax_backend` offer as modules."""

    NAME: BackendName
    SUFFIX: str
    """Suffix of its checkpoint files."""

    def has_gpu(self) -> bool:
        """Whether it can compute on a GPU here."""
        ...

    def connect(self, process: ProcessInfo) -> Transport:
        """Meet the other workers, before anything is computed."""
        ...

    def seed_everything(self, seed: int) -> None:
        """Seed every generator that SKRL draws from; below 2**32."""
        ...

    def make_agent(
        self,
        observation_space: gymnasium.spaces.Box,
        action_space: gymnasium.spaces.Box,
        num_envs: int,
        cfg: PPOCfg,
        symmetry: Symmetry | None,
        device: str | None,
        workers: ProcessGroup = SINGLE_PROCESS,
        state_space: gymnasium.spaces.Box | None = None,
    ) -> Agent:
        """A fresh agent for one row's spaces; what it learns from is the rollouts of all workers. Its value network
        sees the state, or the observation where there is no state."""
        ...

    def network_state(self, agent: Agent) -> dict[str, Any]:
        """Networks and standardisers, by name, as nested dicts of arrays."""
        ...

    def load_network_state(self, agent: Agent, state: Mapping[str, Any]) -> None:
        """Put back what `network_state` gave."""
        ...

    def agent_state(self, agent: Agent) -> dict[str, Any]:
        """Networks, optimizers and standardisers as nested dicts of NumPy arrays and numbers."""
        ...

    def load_agent_state(self, agent: Agent, state: Mapping[str, Any]) -> None:
        """Put back what `agent_state` gave."""
        ...

    def random_state(self, agent: Agent) -> dict[str, Any]:
        """The generators that SKRL draws from, as nested dicts of NumPy arrays and numbers."""
        ...

    def set_random_state(self, agent: Agent, state: Mapping[str, Any]) -> None:
        """Put back what `random_state` gave."""
        ...

    def policy(self, checkpoint: Checkpoint, device: str | None = None) -> Policy:
        """The trained policy of a checkpoint."""
        ...


def select(name: str = "auto") -> Backend:
    """Choose the backend.

    Args:
        name: ``"torch"``, ``"jax"`` or ``"auto"``: the first that has a GPU, else the first installed.
    """
    if name not in ("auto", *NAMES):
        raise UsageError(f"unknown backend {name!r}: give auto, {' or '.join(NAMES)}")
    if name != "auto":
        if not installed(name):
            raise UsageError(f"backend {name!r} is not installed: pip install 'motrix-gym[{name}]'")
        return _load(name)
    present = [candidate for candidate in NAMES if installed(candidate)]
    if not present:
        raise UsageError("no training backend is installed: pip install 'motrix-gym[torch]' (or 'motrix-gym[jax]')")
    backends = [_load(candidate) for candidate in present]
    return next((backend for backend in backends if backend.has_gpu()), backends[0])


def installed(name: str) -> bool:
    """Whether everything that a backend needs can be imported."""
    needs = {"torch": ("torch", "skrl"), "jax": ("jax", "flax", "skrl")}[name]
    return all(importlib.util.find_spec(module) is not None for module in needs)


def _load(name: str) -> Backend:
    with hidden_launcher():
        return cast(Backend, importlib.import_module(f"motrix_train.ppo.{name}_backend"))
