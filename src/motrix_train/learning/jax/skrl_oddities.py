"""What the trainer relies on in SKRL's JAX classes: see `motrix_train.learning.skrl_oddities` for the list."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from skrl import config
from skrl.models.jax import Model
from skrl.resources.schedulers.jax import KLAdaptiveLR

from motrix_train.learning.jax.process_group import mean_of_all_workers


def noise_state(policy: Any) -> dict[str, Any]:
    """noise: the key of the exploration noise and the number of draws."""
    return {"key": np.array(policy._g_key), "draws": policy._g_i}


def set_noise_state(policy: Any, state: Mapping[str, Any]) -> None:
    """noise: restores the state that `noise_state` returned."""
    policy._g_key, policy._g_i = jnp.array(state["key"]), int(state["draws"])


@contextmanager
def uncounted_draws(policy: Any) -> Iterator[None]:
    """noise_counter: draws inside this context do not count.

    Otherwise the noise would depend on how often JAX traces an update, which is once in every process, so that a
    resumed run would differ.
    """
    draws = policy._g_i
    try:
        yield
    finally:
        policy._g_i = draws


def use_device(device: Any) -> None:
    """default_device: models are made for this device, without a warning that there is no GPU."""
    config.jax.device = device


def network_key(number: int) -> jax.Array:
    """Key of the initial parameters of one network; `seed_generators` sets the key that it follows from."""
    return jax.random.fold_in(config.jax.key, number)


class GradientNorm:
    """gradient_norm: the mean norm of the gradients of policy and value together, before clipping."""

    def __init__(self) -> None:
        self.policy: list[jax.Array] = []
        self.value: list[jax.Array] = []

    def __call__(self) -> float:
        """The mean since the last call, NaN without a step."""
        norms = np.hypot(np.array(self.policy), np.array(self.value))
        self.policy.clear()
        self.value.clear()
        return float(norms.mean()) if norms.size else math.nan


@dataclass(frozen=True)
class Optimizer:
    """optimizers: an optimizer of SKRL that records the norm of each gradient and averages it over several workers.

    SKRL can average too, but compiles anew for every mini-batch.
    """

    skrl: Any
    norms: list[jax.Array]
    average: Callable[[Any], Any] | None

    @property
    def state(self) -> Any:
        """The state of Adam."""
        return self.skrl.state

    def step(self, *, grad: Any, model: Model, lr: float | None = None) -> "Optimizer":
        """Updates the parameters of the model; returns the optimizer with its new state."""
        self.norms.append(norm(grad))
        if self.average is not None:
            grad = self.average(grad)
        return replace(self, skrl=self.skrl.step(grad=grad, model=model, lr=lr))

    def replace(self, **changes: Any) -> "Optimizer":
        """The same with other fields of SKRL's optimizer."""
        return replace(self, skrl=self.skrl.replace(**changes))


def kl_adaptive_of_all_workers(**kwargs: Any) -> Callable[..., float]:
    """kl_adaptive: SKRL's scheduler, on the mean KL divergence of the workers."""
    scheduler: Any = KLAdaptiveLR(**kwargs)

    def schedule(count: int, *, lr: float | None = None, kl: float | None = None) -> float:
        return scheduler(count, lr=lr, kl=None if kl is None else float(mean_of_all_workers(jnp.float32(kl))))

    return schedule


@jax.jit
def norm(gradient: Any) -> jax.Array:
    """gradient_norm: the Euclidean norm of all leaves together."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient)))
