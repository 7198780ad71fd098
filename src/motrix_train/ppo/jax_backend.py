"""Training and playing with JAX: the networks in flax.linen, and SKRL's PPO made from a `PPOCfg`."""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import serialization
from jax.experimental import multihost_utils
from skrl import config as skrl_config
from skrl.agents.jax import ExperimentCfg
from skrl.agents.jax.ppo import PPO, PPO_CFG
from skrl.memories.jax import RandomMemory
from skrl.models.jax import DeterministicMixin, GaussianMixin, Model
from skrl.resources.preprocessors.jax import RunningStandardScaler
from skrl.resources.schedulers.jax import KLAdaptiveLR

from motrix_train.config import Activation, PPOCfg
from motrix_train.distributed import SINGLE_PROCESS, TIMEOUT, ProcessGroup, Transport
from motrix_train.errors import RunError, UsageError
from motrix_train.launcher import ProcessInfo
from motrix_train.ppo import skrl_mapping
from motrix_train.ppo.agent import Agent, Policy, numpy_random_state, seed_skrl, set_numpy_random_state
from motrix_train.ppo.mirror import Mirror, Symmetry
from motrix_train.storage.checkpoint import Checkpoint, require_same_shapes

NAME = "jax"
SUFFIX = ".msgpack"

_ACTIVATIONS = {"elu": nn.elu, "relu": nn.relu, "tanh": nn.tanh}
_SCALER_ARRAYS = ("running_mean", "running_variance", "current_count")
_FEWEST_BYTES = 64


def has_gpu() -> bool:
    """Whether JAX can compute on a GPU here."""
    return jax.default_backend() == "gpu"


class _Transport:
    """JAX's own collectives. Lengths are rounded up to powers of two, since each new one is compiled."""

    def all_gather(self, data: np.ndarray) -> np.ndarray:
        return multihost_utils.process_allgather(_padded(data))[:, : data.size]

    def broadcast(self, data: np.ndarray, source: int) -> np.ndarray:
        is_source = jax.process_index() == source
        return np.asarray(multihost_utils.broadcast_one_to_all(_padded(data), is_source))[: data.size]


def connect(process: ProcessInfo) -> Transport:
    """Meet the other workers, before anything is computed.

    Raises:
        RunError: They cannot be reached.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    try:
        jax.distributed.initialize(
            process.address,
            process.size,
            process.rank,
            local_device_ids=0 if len(visible) == 1 and visible[0] else process.local_rank,
            initialization_timeout=int(TIMEOUT.total_seconds()),
            shutdown_timeout_seconds=60,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"worker {process.rank} cannot meet the others at {process.address} ({reason})") from None
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
    where = _device(device)
    symmetry = None if cfg.mirror == "none" else symmetry
    kl_adaptive = KLAdaptiveLR if workers.size == 1 else _kl_adaptive_of_all_workers
    ppo = PPO(
        models=_models(observation_space, state_space, action_space, cfg, symmetry, where),
        memory=RandomMemory(memory_size=cfg.rollouts, num_envs=num_envs, device=where),
        observation_space=observation_space,
        state_space=state_space,
        action_space=action_space,
        device=where,
        cfg=skrl_mapping.ppo_cfg(
            cfg,
            skrl_mapping.SkrlClasses(PPO_CFG, ExperimentCfg, ObservationScaler, kl_adaptive),
            observation_scaler_kwargs={
                "size": observation_space,
                "device": where,
                "mirror": symmetry.observation if symmetry else None,
                "workers": workers,
            },
            value_scaler_kwargs={"size": 1, "device": where, "workers": workers},
            state_scaler_kwargs={"size": state_space, "device": where, "workers": workers} if state_space else None,
        ),
    )
    ppo.init()
    ppo.enable_training_mode(True)
    gradient_norm = _GradientNorm()
    average = _mean_of_all_workers if workers.size > 1 else None
    ppo.policy_optimizer = _Optimizer(ppo.policy_optimizer, gradient_norm.policy, average)
    ppo.value_optimizer = _Optimizer(ppo.value_optimizer, gradient_norm.value, average)

    def to_device(array: np.ndarray) -> jax.Array:
        # A copy of our own: JAX may otherwise go on looking into the buffer of the environment.
        own = np.array(array, dtype=np.int8 if array.dtype == bool else np.float32)
        return jax.device_put(own, where)

    return Agent(
        ppo,
        policy=_policy(ppo.policy, ppo.checkpoint_modules["observation_preprocessor"], where),
        to_device=to_device,
        to_host=np.array,
        inference=contextlib.nullcontext,
        gradient_norm=gradient_norm,
        all_finite=lambda: bool(_all_finite(_learned(ppo))),
        symmetry=symmetry,
    )


def _learned(ppo: Any) -> list[Any]:
    """Networks, optimizers and standardisers, as pytrees."""
    networks = [ppo.policy.state_dict.params, ppo.value.state_dict.params]
    scalers = [_scaler_state(scaler) for scaler in _scalers(ppo).values()]
    return [*networks, ppo.policy_optimizer.state, ppo.value_optimizer.state, *scalers]


@jax.jit
def _all_finite(tree: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def network_state(agent: Agent) -> dict[str, Any]:
    """Networks and standardisers, by name, as nested dicts of arrays."""
    return {
        "policy": serialization.to_state_dict(agent.ppo.policy.state_dict.params),
        "value": serialization.to_state_dict(agent.ppo.value.state_dict.params),
        **{name: _scaler_state(scaler) for name, scaler in _scalers(agent.ppo).items()},
    }


def load_network_state(agent: Agent, state: Mapping[str, Any]) -> None:
    """Put back what `network_state` gave."""
    ppo = agent.ppo
    expected = network_state(agent)
    require_same_shapes(expected, {name: state.get(name, {}) for name in expected}, "networks")
    for role, model in (("policy", ppo.policy), ("value", ppo.value)):
        _load_parameters(model, state[role])
    for name, scaler in _scalers(agent.ppo).items():
        scaler.state_dict = _on_default_device(state[name])


def agent_state(agent: Agent) -> dict[str, Any]:
    """Networks, optimizers and standardisers as nested dicts of NumPy arrays and numbers."""
    state = {
        **network_state(agent),
        "policy_optimizer": serialization.to_state_dict(agent.ppo.policy_optimizer.state),
        "value_optimizer": serialization.to_state_dict(agent.ppo.value_optimizer.state),
        "policy_learning_rate": float(agent.ppo.policy_learning_rate),
        "value_learning_rate": float(agent.ppo.value_learning_rate),
    }
    if agent.symmetry is not None:
        state["mirror"] = agent.symmetry.to_arrays()
    return jax.tree.map(np.array, state)


def load_agent_state(agent: Agent, state: Mapping[str, Any]) -> None:
    """Put back what `agent_state` gave."""
    load_network_state(agent, state)
    ppo = agent.ppo
    ppo.policy_optimizer = _with_state(ppo.policy_optimizer, state["policy_optimizer"])
    ppo.value_optimizer = _with_state(ppo.value_optimizer, state["value_optimizer"])
    ppo.policy_learning_rate = float(state["policy_learning_rate"])
    ppo.value_learning_rate = float(state["value_learning_rate"])


def random_state(agent: Agent) -> dict[str, Any]:
    """The generators that SKRL draws from, as nested dicts of NumPy arrays and numbers."""
    policy = agent.ppo.policy
    noise = {"key": np.array(policy._g_key), "draws": policy._g_i}
    return {"numpy": numpy_random_state(), "noise": noise}


def set_random_state(agent: Agent, state: Mapping[str, Any]) -> None:
    """Put back what `random_state` gave."""
    set_numpy_random_state(state["numpy"])
    policy = agent.ppo.policy
    policy._g_key, policy._g_i = jnp.array(state["noise"]["key"]), int(state["noise"]["draws"])


def policy(checkpoint: Checkpoint, device: str | None = None) -> Policy:
    """The trained policy of a checkpoint."""
    checkpoint.require_networks("the policy")
    where = _device(device)
    cfg = checkpoint.cfg.for_acting()
    symmetry = Symmetry.from_arrays(checkpoint.state["mirror"]) if cfg.mirror != "none" else None
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, checkpoint.observation_shape)
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, checkpoint.action_shape)
    network = _models(observation_space, None, action_space, cfg, symmetry, where)["policy"]
    scaler = RunningStandardScaler(observation_space, device=where)
    for name, expected in (
        ("policy", serialization.to_state_dict(network.state_dict.params)),
        ("observation_preprocessor", _scaler_state(scaler)),
    ):
        require_same_shapes(expected, checkpoint.state[name], name)
    _load_parameters(network, checkpoint.state["policy"])
    scaler.state_dict = _on_default_device(checkpoint.state["observation_preprocessor"])
    return _policy(network, scaler, where)


def _policy(network: Any, scaler: RunningStandardScaler, where: Any) -> Policy:
    """Acts with the parameters that the network has at the moment."""
    apply = jax.jit(lambda parameters, inputs: network.apply(parameters, {"observations": inputs}, "policy"))

    def mean(observations: np.ndarray) -> np.ndarray:
        inputs = jax.device_put(np.array(observations, dtype=np.float32), where)
        return np.array(apply(network.state_dict.params, scaler(inputs))[0])

    def standard_deviation() -> np.ndarray:
        _, outputs = apply(network.state_dict.params, jnp.zeros((1, *network.observation_space.shape)))
        return np.array(jnp.exp(outputs["log_std"]))

    return Policy(mean, standard_deviation)


class ObservationScaler(RunningStandardScaler):
    """SKRL's running standardiser, of the rows of all workers; with a mirror, of the inputs and their images."""

    def __init__(
        self, size: Any, *, mirror: Mirror | None = None, workers: ProcessGroup = SINGLE_PROCESS, **kwargs: Any
    ) -> None:
        super().__init__(size, **kwargs)
        self._mirror = mirror
        self._workers = workers

    def __call__(self, x: jax.Array | None, *, train: bool = False, inverse: bool = False) -> jax.Array | None:
        if train and x is not None and (self._mirror is not None or self._workers.size > 1):
            mean, variance = _moments(x)
            count = x.size // mean.size
            if self._workers.size > 1:
                *pooled, count = self._workers.pool_moments(np.array(mean), np.array(variance), count)
                mean, variance = (jnp.asarray(moment, jnp.float32) for moment in pooled)
            if self._mirror is not None:
                mean, variance = self._mirror.pool_moments(mean, variance)
            self._parallel_variance(mean, variance, count)
            train = False
        return super().__call__(x, train=train, inverse=inverse)


class _Mlp(nn.Module):
    """Hidden layers and a linear head."""

    hidden: tuple[int, ...]
    outputs: int
    activation: Activation
    head_gain: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # (N, k) -> (N, outputs)
        for width in self.hidden:
            layer = nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))
            x = _ACTIVATIONS[self.activation](layer(x))
        return nn.Dense(self.outputs, kernel_init=nn.initializers.orthogonal(self.head_gain))(x)


class _GaussianPolicy(GaussianMixin, Model):
    """Mean actions from the observation, one standard deviation per action.

    With a mirror the mean is ``(f(o) + M_a f(M_o o)) / 2`` and mirrored actions share their noise, so that the
    policy of the mirror image is the mirror image of the policy.
    """

    cfg: PPOCfg = PPOCfg()
    symmetry: Symmetry | None = None

    def __init__(
        self, observation_space, action_space, device, cfg: PPOCfg, symmetry: Symmetry | None, **kwargs: Any
    ) -> None:
        Model.__init__(self, observation_space=observation_space, action_space=action_space, device=device, **kwargs)
        self.cfg = cfg
        self.symmetry = symmetry
        GaussianMixin.__init__(self, min_log_std=cfg.min_log_std, max_log_std=cfg.max_log_std)

    def act(self, inputs: dict[str, Any], *, role: str = "", params: Any = None) -> tuple[Any, dict[str, Any]]:
        """Sample actions. The noise follows the number of samples alone, also in a run that was resumed.

        SKRL counts one more whenever JAX traces an update, which is once in every process.
        """
        draws = self._g_i
        result = super().act(inputs, role=role, params=params)
        if "taken_actions" in inputs:
            self._g_i = draws
        return result

    @nn.compact
    def __call__(self, inputs: dict[str, Any], role: str) -> tuple[jax.Array, dict[str, Any]]:
        cfg, symmetry = self.cfg, self.symmetry
        observations = inputs["observations"]  # (N, k)
        network = _Mlp(cfg.policy_hidden_layer_sizes, self.num_actions, cfg.activation, head_gain=0.01)
        log_std = self.param("log_std", nn.initializers.constant(cfg.initial_log_std), (self.num_actions,))
        if symmetry is None:
            mean = network(observations)
        else:
            both = jnp.concatenate([observations, symmetry.observation(observations)])
            own, image = jnp.split(network(both), 2)
            mean = (own + symmetry.action(image)) / 2
            log_std = (log_std + log_std[symmetry.action.index]) / 2
        return mean, {"log_std": jnp.clip(log_std, cfg.min_log_std, cfg.max_log_std)}


class _Value(DeterministicMixin, Model):
    """The value of a state, or of an observation where there is no state; with a mirror, the mean of its own and its
    image's."""

    cfg: PPOCfg = PPOCfg()
    mirror: Mirror | None = None

    def __init__(
        self, observation_space, state_space, action_space, device, cfg: PPOCfg, mirror: Mirror | None, **kwargs: Any
    ) -> None:
        spaces = {"observation_space": observation_space, "state_space": state_space, "action_space": action_space}
        Model.__init__(self, **spaces, device=device, **kwargs)
        self.cfg = cfg
        self.mirror = mirror
        DeterministicMixin.__init__(self)

    @nn.compact
    def __call__(self, inputs: dict[str, Any], role: str) -> tuple[jax.Array, dict[str, Any]]:
        seen = inputs["observations" if self.state_space is None else "states"]  # (N, k)
        network = _Mlp(self.cfg.value_hidden_layer_sizes, 1, self.cfg.activation, head_gain=1.0)
        if self.mirror is None:
            return network(seen), {}
        own, image = jnp.split(network(jnp.concatenate([seen, self.mirror(seen)])), 2)
        return (own + image) / 2, {}


def _models(
    observation_space: gymnasium.spaces.Box,
    state_space: gymnasium.spaces.Box | None,
    action_space: gymnasium.spaces.Box,
    cfg: PPOCfg,
    symmetry: Symmetry | None,
    device: Any,
) -> dict[str, Any]:
    """SKRL's models by role, with parameters."""
    if cfg.share_policy_value_features:
        raise UsageError("share_policy_value_features is not possible with JAX: give false, or --backend torch")
    skrl_config.jax.device = device  # else SKRL warns that there is no GPU
    mirror = symmetry.observation if symmetry and cfg.mirror == "policy_and_value" else None
    models = {
        "policy": _GaussianPolicy(observation_space, action_space, device, cfg, symmetry),
        "value": _Value(observation_space, state_space, action_space, device, cfg, mirror),
    }
    example = {"observations": jnp.zeros((1, *observation_space.shape))}
    if state_space is not None:
        example["states"] = jnp.zeros((1, *state_space.shape))
    for number, (role, model) in enumerate(models.items()):
        model.init_state_dict(example, role=role, key=jax.random.fold_in(skrl_config.jax.key, number))
    return models


def _scalers(ppo: Any) -> dict[str, Any]:
    """The standardisers by name."""
    return {name: module for name, module in ppo.checkpoint_modules.items() if name.endswith("_preprocessor")}


def _scaler_state(scaler: RunningStandardScaler) -> dict[str, Any]:
    return {name: getattr(scaler, name) for name in _SCALER_ARRAYS}


def _load_parameters(model: Any, saved: Mapping[str, Any]) -> None:
    parameters = serialization.from_state_dict(model.state_dict.params, _on_default_device(saved))
    model.state_dict = model.state_dict.replace(params=parameters)


def _with_state(optimizer: Any, saved: Mapping[str, Any]) -> Any:
    template = serialization.to_state_dict(optimizer.state)
    require_same_shapes(template, saved, "optimizer")
    filled = _filled(template, saved)
    return optimizer.replace(state=serialization.from_state_dict(optimizer.state, filled))


def _filled(template: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """The saved leaves in the place of the template's; a checkpoint has no empty branches, optax does."""
    return {
        name: _filled(value, saved.get(name, {})) if isinstance(value, Mapping) else jnp.array(saved[name])
        for name, value in template.items()
    }


def _on_default_device(tree: Any) -> Any:
    return jax.tree.map(jnp.array, tree)


@jax.jit
def _moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:  # (..., k) -> (k,), (k,)
    rows = x.reshape(-1, x.shape[-1])
    return jnp.mean(rows, axis=0), jnp.var(rows, axis=0, ddof=1)


class _GradientNorm:
    """The mean norm of the gradients of both optimizers' steps together, as they are before they are clipped."""

    def __init__(self) -> None:
        self.policy: list[jax.Array] = []
        self.value: list[jax.Array] = []

    def __call__(self) -> float:
        """The mean since it was last called."""
        norms = np.hypot(np.array(self.policy), np.array(self.value))
        self.policy.clear()
        self.value.clear()
        return float(norms.mean()) if norms.size else math.nan


@dataclass(frozen=True)
class _Optimizer:
    """SKRL's optimizer, with the norm of each gradient kept, and on the mean gradients of several workers.

    SKRL can average them too, but compiles anew for every mini-batch.
    """

    own: Any
    norms: list[jax.Array]
    average: Callable[[Any], Any] | None

    @property
    def state(self) -> Any:
        return self.own.state

    def step(self, *, grad: Any, model: Model, lr: float | None = None) -> "_Optimizer":
        self.norms.append(_norm(grad))
        if self.average is not None:
            grad = self.average(grad)
        return replace(self, own=self.own.step(grad=grad, model=model, lr=lr))

    def replace(self, **changes: Any) -> "_Optimizer":
        return replace(self, own=self.own.replace(**changes))


@jax.jit
def _norm(gradient: Any) -> jax.Array:
    """Euclidean norm of all leaves together."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient)))


def _kl_adaptive_of_all_workers(**kwargs: Any) -> Callable[..., float]:  # SKRL knows it by `kl_adaptive` in its name
    """SKRL's scheduler on the mean KL divergence of the workers."""
    adapted: Any = KLAdaptiveLR(**kwargs)

    def schedule(count: int, *, lr: float | None = None, kl: float | None = None) -> float:
        return adapted(count, lr=lr, kl=None if kl is None else float(_mean_of_all_workers(jnp.float32(kl))))

    return schedule


def _mean_of_all_workers(tree: Any) -> Any:
    return _compiled_mean()(tree)


@functools.cache
def _compiled_mean() -> Callable[[Any], Any]:
    """The mean of a pytree over the workers, on the device on which it is: any other placement compiles anew."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    enclosed = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf[None], tree))
    mean = jax.pmap(lambda tree: jax.lax.pmean(tree, "workers"), axis_name="workers")
    opened = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), out_shardings=here)
    return lambda tree: opened(mean(enclosed(tree)))


def _padded(data: np.ndarray) -> np.ndarray:  # (n,) uint8 -> (2**k,)
    padded = np.zeros(max(_FEWEST_BYTES, 1 << (data.size - 1).bit_length()), np.uint8)
    padded[: data.size] = data
    return padded


def _device(name: str | None) -> Any:
    """The named device; by default the first of JAX's own choice."""
    if name is None:
        return jax.local_devices()[0]
    kind, _, index = name.partition(":")
    try:
        return jax.local_devices(backend=kind)[int(index or 0)]
    except (RuntimeError, IndexError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {name!r} is not usable with JAX ({reason}): give cpu or cuda") from None
