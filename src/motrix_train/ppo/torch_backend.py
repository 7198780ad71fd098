"""Training and playing with Torch: the networks, and SKRL's PPO made from a `PPOCfg`."""

import atexit
import contextlib
import itertools
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from skrl import config as skrl_config
from skrl.agents.torch import ExperimentCfg
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.resources.schedulers.torch import KLAdaptiveLR
from torch import distributed, nn

from motrix_train.config import Activation, PPOCfg
from motrix_train.distributed import SINGLE_PROCESS, TIMEOUT, ProcessGroup, Transport
from motrix_train.errors import RunError, UsageError
from motrix_train.launcher import ProcessInfo
from motrix_train.ppo import skrl_mapping
from motrix_train.ppo.agent import Agent, Policy, numpy_random_state, seed_skrl, set_numpy_random_state
from motrix_train.ppo.mirror import Mirror, Symmetry
from motrix_train.storage.checkpoint import Checkpoint, require_same_shapes

NAME = "torch"
SUFFIX = ".pt"
SMALL_LAYER = 512  # neurons

_ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}


def has_gpu() -> bool:
    """Whether Torch can compute on a GPU here."""
    return torch.cuda.is_available()


class _Transport:
    """Torch's own collectives, on the CPU."""

    def all_gather(self, data: np.ndarray) -> np.ndarray:
        gathered = torch.empty(distributed.get_world_size(), data.size, dtype=torch.uint8)
        distributed.all_gather(list(gathered), torch.tensor(data))
        return gathered.numpy()

    def broadcast(self, data: np.ndarray, source: int) -> np.ndarray:
        tensor = torch.tensor(data)
        distributed.broadcast(tensor, source)
        return tensor.numpy()


def connect(process: ProcessInfo) -> Transport:
    """Meet the other workers, before anything is computed: with Gloo, and NCCL for what is on GPUs.

    Raises:
        RunError: They cannot be reached.
    """
    try:
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if has_gpu() and distributed.is_nccl_available() else "gloo",
            init_method=f"tcp://{process.address}",
            rank=process.rank,
            world_size=process.size,
            timeout=TIMEOUT,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"worker {process.rank} cannot meet the others at {process.address} ({reason})") from None
    atexit.register(distributed.destroy_process_group)
    return _Transport()


def seed_everything(seed: int) -> None:
    """Seed every generator that SKRL draws from; below 2**32."""
    seed_skrl(seed)


def make_agent(
    observation_space: gymnasium.spaces.Box,
    action_space: gymnasium.spaces.Box,
    num_envs: int,
    cfg: PPOCfg,
    symmetry: Symmetry | None,
    device: str | None,
    workers: ProcessGroup = SINGLE_PROCESS,
    state_space: gymnasium.spaces.Box | None = None,
) -> Agent:
    """A fresh agent for one row's spaces; what it learns from is the rollouts of all workers. Its value network sees
    the state, or the observation where there is no state."""
    where = _device(device, workers)
    symmetry = None if cfg.mirror == "none" else symmetry
    mirrors = _on_device(symmetry, where)
    models = _models(observation_space, state_space, action_space, cfg, mirrors, where)
    ppo = PPO(
        models=models,
        memory=RandomMemory(memory_size=cfg.rollouts, num_envs=num_envs, device=where),
        observation_space=observation_space,
        state_space=state_space,
        action_space=action_space,
        device=where,
        cfg=skrl_mapping.ppo_cfg(
            cfg,
            skrl_mapping.SkrlClasses(PPO_CFG, ExperimentCfg, ObservationScaler, KLAdaptiveLR),
            observation_scaler_kwargs={
                "size": observation_space,
                "device": where,
                "mirror": mirrors.observation if mirrors else None,
                "workers": workers,
            },
            value_scaler_kwargs={"size": 1, "device": where, "workers": workers},
            state_scaler_kwargs={"size": state_space, "device": where, "workers": workers} if state_space else None,
        ),
    )
    ppo.init()
    ppo.enable_training_mode(True)
    _choose_threads(cfg, workers)

    def to_device(array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, device=where, dtype=torch.bool if array.dtype == bool else torch.float32)

    return Agent(
        ppo,
        policy=_policy(models["policy"], ppo.checkpoint_modules["observation_preprocessor"], where),
        to_device=to_device,
        to_host=_to_host,
        inference=torch.no_grad,
        gradient_norm=_GradientNorm(ppo.optimizer),
        all_finite=lambda: _all_finite(ppo),
        symmetry=symmetry,
        learning=lambda: _averaging_over(workers),
    )


def _choose_threads(cfg: PPOCfg, workers: ProcessGroup = SINGLE_PROCESS) -> None:
    """Computes in one thread where layers are small; ``OMP_NUM_THREADS``, where it is set, counts instead.

    The threads of Torch wait for each other by spinning. Where another program has one of the CPUs, each matrix product
    then waits for the thread that is not running: an update takes many times as long.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    small = max((*cfg.policy_hidden_layer_sizes, *cfg.value_hidden_layer_sizes)) <= SMALL_LAYER
    torch.set_num_threads(1 if small else workers.cpus)


class _GradientNorm:
    """The mean norm of the gradients of an optimizer's steps, as they are before they are clipped.

    SKRL computes it and does not give it. So each gradient is measured when it is there, and a step adds them up.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._squares: list[torch.Tensor] = []  # of one step, an element a parameter
        self._norms: list[torch.Tensor] = []
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.register_post_accumulate_grad_hook(self._measure)
        optimizer.register_step_pre_hook(self._add_up)

    def __call__(self) -> float:
        """The mean since it was last called."""
        norms, self._norms = self._norms, []
        return float(torch.stack(norms).mean()) if norms else math.nan

    def _measure(self, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        self._squares.append(parameter.grad.square().sum())

    def _add_up(self, *step: Any) -> None:
        self._norms.append(torch.stack(self._squares).sum().sqrt())
        self._squares = []


def _all_finite(ppo: PPO) -> bool:
    """Whether all that was learned is finite: one sum an array, in double precision, which float32 cannot exceed."""
    modules = [module for module in ppo.checkpoint_modules.values() if isinstance(module, nn.Module)]
    learned = [tensor for module in modules for tensor in module.state_dict().values()]
    moments = [x for state in ppo.optimizer.state.values() for name, x in state.items() if name != "step"]
    return bool(torch.stack([x.sum(dtype=torch.float64) for x in (*learned, *moments)]).isfinite().all())


def network_state(agent: Agent) -> dict[str, Any]:
    """Networks and standardisers, by name, as dicts of NumPy arrays; a shared network appears once."""
    modules = dict(agent.ppo.checkpoint_modules)
    del modules["optimizer"]
    if modules["policy"] is modules["value"]:
        del modules["value"]
    return {name: _to_numpy(module.state_dict()) for name, module in modules.items()}


def load_network_state(agent: Agent, state: Mapping[str, Any]) -> None:
    """Put back what `network_state` gave."""
    expected = network_state(agent)
    require_same_shapes(expected, {name: state.get(name, {}) for name in expected}, "networks")
    for name in expected:
        agent.ppo.checkpoint_modules[name].load_state_dict(_to_torch(state[name]))


def agent_state(agent: Agent) -> dict[str, Any]:
    """Networks, optimizer and standardisers as nested dicts of NumPy arrays and numbers."""
    optimizer = agent.ppo.optimizer.state_dict()
    state = {
        **network_state(agent),
        "optimizer": {str(i): _to_numpy(moments) for i, moments in optimizer["state"].items()},
        "learning_rate": float(optimizer["param_groups"][0]["lr"]),
    }
    if agent.symmetry is not None:
        state["mirror"] = agent.symmetry.to_arrays()
    return state


def load_agent_state(agent: Agent, state: Mapping[str, Any]) -> None:
    """Put back what `agent_state` gave."""
    load_network_state(agent, state)
    optimizer = agent.ppo.optimizer.state_dict()
    optimizer["state"] = {int(i): _to_torch(moments) for i, moments in state.get("optimizer", {}).items()}
    for group in optimizer["param_groups"]:
        group["lr"] = float(state["learning_rate"])
    agent.ppo.optimizer.load_state_dict(optimizer)


def random_state(agent: Agent) -> dict[str, Any]:
    """The generators that SKRL draws from, as nested dicts of NumPy arrays and numbers."""
    state = {"numpy": numpy_random_state(), "torch": torch.get_rng_state().numpy()}
    if agent.ppo.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(agent.ppo.device).numpy()
    return state


def set_random_state(agent: Agent, state: Mapping[str, Any]) -> None:
    """Put back what `random_state` gave."""
    set_numpy_random_state(state["numpy"])
    torch.set_rng_state(torch.tensor(state["torch"]))
    if "cuda" in state and agent.ppo.device.type == "cuda":
        torch.cuda.set_rng_state(torch.tensor(state["cuda"]), agent.ppo.device)


def policy(checkpoint: Checkpoint, device: str | None = None) -> Policy:
    """The trained policy of a checkpoint."""
    checkpoint.require_networks("the policy")
    where = _device(device)
    cfg = checkpoint.cfg.for_acting()
    _choose_threads(cfg)
    symmetry = Symmetry.from_arrays(checkpoint.state["mirror"]) if cfg.mirror != "none" else None
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, checkpoint.observation_shape)
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, checkpoint.action_shape)
    network = _models(observation_space, None, action_space, cfg, _on_device(symmetry, where), where)["policy"].to(
        where
    )
    scaler = RunningStandardScaler(observation_space, device=where)
    for name, module in (("policy", network), ("observation_preprocessor", scaler)):
        saved = checkpoint.state[name]
        require_same_shapes(_to_numpy(module.state_dict()), saved, name)
        module.load_state_dict(_to_torch(saved))
    return _policy(network, scaler, where)


def _policy(network: "_GaussianPolicy", scaler: RunningStandardScaler, where: torch.device) -> Policy:
    """Acts with the parameters that the network has at the moment."""

    def mean(observations: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            tensor = torch.tensor(observations, device=where, dtype=torch.float32)
            return network.compute({"observations": scaler(tensor)}, "policy")[0].cpu().numpy()

    return Policy(mean, lambda: network.log_std().detach().exp().cpu().numpy())


class ObservationScaler(RunningStandardScaler):
    """SKRL's running standardiser, of the rows of all workers; with a mirror, of the inputs and their images."""

    def __init__(
        self, size: Any, *, mirror: Mirror | None = None, workers: ProcessGroup = SINGLE_PROCESS, **kwargs: Any
    ) -> None:
        super().__init__(size, **kwargs)
        self._mirror = mirror
        self._workers = workers

    def _parallel_variance(self, input_mean: torch.Tensor, input_var: torch.Tensor, input_count: int) -> None:
        if self._workers.size > 1:
            own = _to_host(input_mean), _to_host(input_var)
            mean, variance, input_count = self._workers.pool_moments(*own, input_count)
            input_mean, input_var = (torch.tensor(moment, device=self.device) for moment in (mean, variance))
        if self._mirror is not None:
            input_mean, input_var = self._mirror.pool_moments(input_mean, input_var)
        super()._parallel_variance(input_mean, input_var, input_count)


class _GaussianPolicy(GaussianMixin, Model):
    """Mean actions from the observation, one standard deviation per action.

    With a mirror the mean is ``(f(o) + M_a f(M_o o)) / 2`` and mirrored actions share their noise, so that the
    policy of the mirror image is the mirror image of the policy.
    """

    def __init__(self, observation_space, action_space, device, cfg: PPOCfg, symmetry: Symmetry | None) -> None:
        Model.__init__(self, observation_space=observation_space, action_space=action_space, device=device)
        GaussianMixin.__init__(self, min_log_std=cfg.min_log_std, max_log_std=cfg.max_log_std)
        self._symmetry = symmetry
        self._limits = cfg.min_log_std, cfg.max_log_std
        widths = (self.num_observations, *cfg.policy_hidden_layer_sizes)
        self.hidden = _hidden_layers(widths, cfg.activation)
        self.head = _linear(widths[-1], self.num_actions, gain=0.01)
        self.log_std_parameter = nn.Parameter(torch.full((self.num_actions,), float(cfg.initial_log_std)))

    def log_std(self) -> torch.Tensor:  # (m,)
        parameter = self.log_std_parameter
        if self._symmetry is not None:
            parameter = (parameter + parameter[self._symmetry.action.index]) / 2
        return parameter.clamp(*self._limits)

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        observations = inputs["observations"]  # (N, k)
        if self._symmetry is None:
            mean = self.head(self.hidden(observations))
        else:
            both = torch.cat([observations, self._symmetry.observation(observations)])
            own, image = self.head(self.hidden(both)).chunk(2)
            mean = (own + self._symmetry.action(image)) / 2
        return mean, {"log_std": self.log_std()}


class _Value(DeterministicMixin, Model):
    """The value of a state, or of an observation where there is no state; with a mirror, the mean of its own and its
    image's."""

    def __init__(
        self, observation_space, state_space, action_space, device, cfg: PPOCfg, mirror: Mirror | None
    ) -> None:
        spaces = {"observation_space": observation_space, "state_space": state_space, "action_space": action_space}
        Model.__init__(self, **spaces, device=device)
        DeterministicMixin.__init__(self)
        self._mirror = mirror
        self._seen = "observations" if state_space is None else "states"
        width = self.num_observations if state_space is None else self.num_states
        widths = (width, *cfg.value_hidden_layer_sizes)
        self.hidden = _hidden_layers(widths, cfg.activation)
        self.head = _linear(widths[-1], 1, gain=1.0)

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        seen = inputs[self._seen]  # (N, k)
        if self._mirror is None:
            return self.head(self.hidden(seen)), {}
        own, image = self.head(self.hidden(torch.cat([seen, self._mirror(seen)]))).chunk(2)
        return (own + image) / 2, {}


class _PolicyAndValue(_GaussianPolicy):
    """Policy and value as two heads on the same hidden layers."""

    def __init__(self, observation_space, action_space, device, cfg: PPOCfg, symmetry: Symmetry | None) -> None:
        super().__init__(observation_space, action_space, device, cfg, symmetry)
        self.value_head = _linear(cfg.policy_hidden_layer_sizes[-1], 1, gain=1.0)
        self._symmetric_value = cfg.mirror == "policy_and_value"
        self._features_of: tuple[Any, torch.Tensor] = (None, torch.empty(0))

    def act(self, inputs: dict[str, Any], *, role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        return super().act(inputs, role=role) if role == "policy" else self.compute(inputs, role)

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        features = self._features(inputs["observations"], keep=role == "policy")
        if role == "policy":
            means = self.head(features)
            if self._symmetry is not None:
                own, image = means.chunk(2)
                means = (own + self._symmetry.action(image)) / 2
            return means, {"log_std": self.log_std()}
        if self._symmetry is None:
            return self.value_head(features), {}
        own, image = self.value_head(features).chunk(2)
        return ((own + image) / 2 if self._symmetric_value else own), {}

    def _features(self, observations: torch.Tensor, *, keep: bool) -> torch.Tensor:
        """Last hidden layer, (N, h), or (2 N, h) with the mirror images below.

        SKRL asks for the policy and then for the value of the same tensor; the second finds the features of
        the first. Any other tensor is computed afresh.
        """
        tensor, features = self._features_of
        if tensor is not observations:
            inputs = observations
            if self._symmetry is not None:
                inputs = torch.cat([observations, self._symmetry.observation(observations)])
            features = self.hidden(inputs)
        self._features_of = (observations, features) if keep else (None, torch.empty(0))
        return features


def _models(
    observation_space: gymnasium.spaces.Box,
    state_space: gymnasium.spaces.Box | None,
    action_space: gymnasium.spaces.Box,
    cfg: PPOCfg,
    symmetry: Symmetry | None,
    device: torch.device,
) -> dict[str, Any]:
    """SKRL's models by role."""
    if cfg.share_policy_value_features:
        shared = _PolicyAndValue(observation_space, action_space, device, cfg, symmetry)
        return {"policy": shared, "value": shared}
    mirror = symmetry.observation if symmetry and cfg.mirror == "policy_and_value" else None
    return {
        "policy": _GaussianPolicy(observation_space, action_space, device, cfg, symmetry),
        "value": _Value(observation_space, state_space, action_space, device, cfg, mirror),
    }


def _hidden_layers(widths: tuple[int, ...], activation: Activation) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [_linear(inputs, outputs, gain=2**0.5), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def _to_numpy(tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: _to_host(torch.as_tensor(tensor)) for name, tensor in tensors.items()}


def _to_host(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _to_torch(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(np.asarray(array)) for name, array in arrays.items()}


def _on_device(symmetry: Symmetry | None, device: torch.device) -> Symmetry | None:
    if symmetry is None:
        return None
    return symmetry.convert(
        index=lambda index: torch.tensor(np.asarray(index), device=device, dtype=torch.int64),
        sign=lambda sign: torch.tensor(np.asarray(sign), device=device, dtype=torch.float32),
    )


@contextlib.contextmanager
def _averaging_over(workers: ProcessGroup) -> Iterator[None]:
    """Has SKRL average gradients and the KL divergence over the workers.

    SKRL has no function for it: it looks at the environment when it is imported, and insists on NCCL. For good, it
    would also send every new network around and shift every seed.
    """
    alone = skrl_config.torch._world_size, skrl_config.torch._is_distributed
    skrl_config.torch._world_size, skrl_config.torch._is_distributed = workers.size, workers.size > 1
    try:
        yield
    finally:
        skrl_config.torch._world_size, skrl_config.torch._is_distributed = alone


def _device(name: str | None, workers: ProcessGroup = SINGLE_PROCESS) -> torch.device:
    """The named device; by default the GPU if there is one, and its own for each worker."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if workers.size > 1 and name.startswith("cuda") and torch.cuda.is_available():
        if name != "cuda":
            raise UsageError(f"device {name!r} would be that of every worker: give cuda, and each takes its own GPU")
        if workers.gpu >= torch.cuda.device_count():
            raise UsageError(
                f"{workers.gpu + 1} workers or more share {torch.cuda.device_count()} GPU(s): start one worker for "
                "each GPU, or give --device cpu"
            )
        return torch.device("cuda", workers.gpu)
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {name!r} is not usable with Torch ({reason}): give cpu or cuda") from None
    return device
