"""Which framework trains: Torch or JAX. Neither is imported before it is chosen."""

import importlib
import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from gymnasium.spaces import Box

from motrix_train.config import BackendName, BaseRLCfg, PPOCfg, SACCfg
from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup, Transport
from motrix_train.errors import RunError, UsageError
from motrix_train.launcher import ProcessInfo, hidden_launcher
from motrix_train.learning import skrl_oddities
from motrix_train.learning.agent import Agent
from motrix_train.learning.normalizer import Pooling
from motrix_train.learning.policy import Policy
from motrix_train.learning.replay import ReplayMemory
from motrix_train.learning.sac import SACAgent
from motrix_train.learning.skrl_mapping import SacClasses, SkrlClasses, ppo_cfg, sac_cfg
from motrix_train.learning.spaces import Spaces
from motrix_train.learning.symmetry import NetworkSymmetry
from motrix_train.storage.array_tree import require_same_shapes
from motrix_train.storage.checkpoint import OPTIMIZER

NAMES = ("torch", "jax")

Device = Any  # of Torch or of JAX


class Backend(ABC):
    """PPO and SAC on one framework. Public methods are alike on both; a framework adds those with an underscore."""

    NAME: ClassVar[BackendName]

    @abstractmethod
    def has_gpu(self) -> bool:
        """Whether it can compute on a GPU here."""

    def connect(self, place: ProcessInfo) -> Transport:
        """Meet the other workers, before anything is computed.

        Raises:
            RunError: They cannot be reached.
        """
        try:
            return self._connect(place)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"worker {place.rank} cannot meet the others at {place.address} ({reason})") from None

    def seed_everything(self, seed: int) -> None:
        """Seed every generator that SKRL draws from; below 2**32."""
        skrl_oddities.seed_generators(seed)

    def make_agent(
        self,
        observation_space: Box,
        action_space: Box,
        num_envs: int,
        cfg: BaseRLCfg,
        symmetry: NetworkSymmetry | None,
        device: str | None,
        workers: ProcessGroup = SINGLE_PROCESS,
        state_space: Box | None = None,
        replay: Path | None = None,
    ) -> Agent:
        """A fresh agent, which learns from the rollouts of all workers.

        Args:
            observation_space: Of one environment, as the other spaces.
            action_space: Unbounded for the networks of PPO; the environment clips.
            num_envs: Environments of this worker.
            cfg: How to train.
            symmetry: Of the environment; unused if ``cfg.mirror`` is ``"none"``.
            device: Name of a device of the framework, None for its own choice.
            workers: All workers of the training.
            state_space: Of the value network's input, None if it sees the observation.
            replay: Folder of the files of a replay memory, None for none.
        """
        target = self._device(device, workers)
        symmetry = None if cfg.mirror == "none" else symmetry
        spaces = Spaces(observation_space, action_space, state_space)
        if isinstance(cfg, SACCfg):
            agent = self._make_sac(spaces, num_envs, cfg, symmetry, target, replay)
        else:
            assert isinstance(cfg, PPOCfg)
            agent = self._make_ppo(spaces, num_envs, cfg, symmetry, target, workers)
        self._set_threads(cfg, workers)
        return agent

    def _make_ppo(
        self,
        spaces: Spaces,
        num_envs: int,
        cfg: PPOCfg,
        symmetry: NetworkSymmetry | None,
        target: Device,
        workers: ProcessGroup,
    ) -> Agent:
        mirrors = self._on_device(symmetry, target)
        skrl = self._skrl_classes(workers)
        of_workers = {"device": target, "pooling": Pooling(workers)}
        ppo = skrl.ppo(
            models=self._models(spaces, cfg, mirrors, target),
            memory=skrl.memory(memory_size=cfg.rollouts, num_envs=num_envs, device=target),
            **spaces.by_argument(),
            device=target,
            cfg=ppo_cfg(
                cfg,
                skrl,
                observation_normalizer_kwargs={
                    "size": spaces.observation,
                    "device": target,
                    "pooling": Pooling(workers, mirrors.observation if mirrors else None),
                },
                value_normalizer_kwargs={"size": 1, **of_workers},
                state_normalizer_kwargs={"size": spaces.state, **of_workers} if spaces.state else None,
            ),
        )
        ppo.init()
        ppo.enable_training_mode(True)
        return self._agent(ppo, cfg, symmetry, target, workers)

    def _make_sac(
        self,
        spaces: Spaces,
        num_envs: int,
        cfg: SACCfg,
        symmetry: NetworkSymmetry | None,
        target: Device,
        replay: Path | None,
    ) -> Agent:
        mirrors = self._on_device(symmetry, target)
        skrl, conversions = self._sac_classes(), self._conversions(target)
        memory = ReplayMemory(
            cfg.memory_steps,
            cfg.check_point_interval + 2 * cfg.rollouts,  # vector steps from one checkpoint to the next, at most
            num_envs=num_envs,
            to_device=conversions["to_device"],
            to_host=conversions["to_host"],
            n_steps=cfg.n_steps,
            discount_factor=cfg.discount_factor,
            folder=replay,
        )
        sac = skrl.sac(
            models=skrl.models(spaces, cfg, mirrors, target),
            memory=memory,
            **spaces.by_argument(),
            device=target,
            cfg=sac_cfg(
                cfg,
                skrl,
                num_actions=spaces.action.shape[0],
                observation_normalizer_kwargs={
                    "size": spaces.observation,
                    "device": target,
                    "pooling": Pooling(mirror=mirrors.observation if mirrors else None),
                },
                state_normalizer_kwargs={"size": spaces.state, "device": target} if spaces.state else None,
            ),
        )
        sac.init()
        sac.enable_training_mode(True)
        return SACAgent(
            sac,
            cfg,
            memory=memory,
            bootstraps_at_time_limit=cfg.time_limit_bootstrap,
            symmetry=symmetry,
            policy=skrl.policy(sac, spaces, target),
            all_finite=sac.all_finite,
            optimizer_state=sac.optimizer_state,
            load_optimizer_state=sac.load_optimizer_state,
            **conversions,
        )

    def network_state(self, agent: Agent) -> dict[str, Any]:
        """Networks and normalizers, by name, as nested dicts of NumPy arrays; a shared network appears once."""
        return {name: self._arrays(module) for name, module in skrl_oddities.saved_modules(agent.skrl).items()}

    def load_network_state(self, agent: Agent, state: Mapping[str, Any]) -> None:
        """Restore what `network_state` returned.

        Raises:
            UsageError: An array is missing, is too many, or has another shape.
        """
        expected = self.network_state(agent)
        require_same_shapes(expected, {name: state.get(name, {}) for name in expected}, "networks")
        for name, module in skrl_oddities.saved_modules(agent.skrl).items():
            self._load_arrays(module, state[name])

    def agent_state(self, agent: Agent) -> dict[str, Any]:
        """All that a checkpoint has of an agent, its optimizers included, as nested dicts of arrays and numbers."""
        state = {**self.network_state(agent), OPTIMIZER: agent.optimizer_state()}
        if agent.symmetry is not None:
            state["mirror"] = agent.symmetry.to_arrays()
        return state

    def load_agent_state(self, agent: Agent, state: Mapping[str, Any]) -> None:
        """Restore what `agent_state` returned.

        Raises:
            UsageError: As `load_network_state`.
        """
        self.load_network_state(agent, state)
        agent.load_optimizer_state(state[OPTIMIZER])

    def random_state(self, agent: Agent) -> dict[str, Any]:
        """The generators that SKRL draws from, as nested dicts of NumPy arrays and numbers."""
        return {"numpy": skrl_oddities.numpy_random_state(), **self._random_state(agent.skrl)}

    def set_random_state(self, agent: Agent, state: Mapping[str, Any]) -> None:
        """Restore what `random_state` returned."""
        skrl_oddities.set_numpy_random_state(state["numpy"])
        self._set_random_state(agent.skrl, state)

    @abstractmethod
    def _connect(self, place: ProcessInfo) -> Transport:
        """Joins the process group; raises RuntimeError or ValueError if it cannot be reached."""

    @abstractmethod
    def _device(self, name: str | None, workers: ProcessGroup) -> Device:
        """The named device, or the framework's choice."""

    @abstractmethod
    def _set_threads(self, cfg: BaseRLCfg, workers: ProcessGroup) -> None:
        """Chooses the number of threads to compute in."""

    @abstractmethod
    def _on_device(self, symmetry: NetworkSymmetry | None, device: Device) -> NetworkSymmetry | None:
        """The symmetry with arrays that the networks can use."""

    @abstractmethod
    def _skrl_classes(self, workers: ProcessGroup) -> SkrlClasses:
        """SKRL's classes for this framework."""

    @abstractmethod
    def _models(self, spaces: Spaces, cfg: PPOCfg, symmetry: NetworkSymmetry | None, device: Device) -> dict[str, Any]:
        """SKRL's models by role, ``"policy"`` and ``"value"``, with initial parameters."""

    @abstractmethod
    def _agent(
        self, ppo: Any, cfg: PPOCfg, symmetry: NetworkSymmetry | None, device: Device, workers: ProcessGroup
    ) -> Agent:
        """The agent around SKRL's PPO."""

    @abstractmethod
    def _conversions(self, device: Device) -> dict[str, Any]:
        """How arrays come to a device and back: `to_device`, `to_host`, `to_torch` and `inference` of an `Agent`."""

    @abstractmethod
    def _sac_classes(self) -> SacClasses:
        """What makes SAC on this framework."""

    @abstractmethod
    def _policy(self, network: Any, normalizer: Any, device: Device) -> Policy:
        """Acts with the parameters that the network has at the moment of the call."""

    @abstractmethod
    def _arrays(self, module: Any) -> dict[str, Any]:
        """A network or a normalizer as nested dicts of NumPy arrays, named alike on all frameworks."""

    @abstractmethod
    def _load_arrays(self, module: Any, arrays: Mapping[str, Any]) -> None:
        """Restores what `_arrays` returned."""

    @abstractmethod
    def _random_state(self, ppo: Any) -> dict[str, Any]:
        """The framework's own generators as nested dicts of NumPy arrays and numbers."""

    @abstractmethod
    def _set_random_state(self, ppo: Any, state: Mapping[str, Any]) -> None:
        """Restores what `_random_state` returned."""


def select(name: str = "auto") -> Backend:
    """Choose the backend.

    Args:
        name: ``"torch"``, ``"jax"`` or ``"auto"``: the first that has a GPU, else the first installed.

    Raises:
        UsageError: There is no such backend, or it is not installed.
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
    backends = (_load(candidate) for candidate in present if _may_have_gpu(candidate))
    return next((backend for backend in backends if backend.has_gpu()), None) or _load(present[0])


def installed(name: str) -> bool:
    """Whether everything that a backend needs can be imported."""
    needs = {"torch": ("torch", "skrl"), "jax": ("jax", "flax", "skrl")}[name]
    return all(importlib.util.find_spec(module) is not None for module in needs)


def _may_have_gpu(name: str) -> bool:
    """Whether a backend is worth importing to look for a GPU: JAX has one through a plugin alone."""
    has_plugin = importlib.util.find_spec("jax_plugins") or importlib.metadata.entry_points(group="jax_plugins")
    return name != "jax" or bool(has_plugin)


def _load(name: str) -> Backend:
    skrl_oddities.initialize_warp()
    with hidden_launcher():
        return importlib.import_module(f"motrix_train.learning.{name}.backend").BACKEND
