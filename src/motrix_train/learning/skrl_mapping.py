"""From a `PPOCfg` or a `SACCfg` to SKRL's configuration. Pure: it imports neither Torch nor JAX nor SKRL.

The SKRL classes that a backend hands in are those of its own framework. Every field of SKRL's
configuration is set, so that a change of SKRL's defaults changes nothing here, and the result is built afresh
on every call, because an agent rewrites the configuration that it is given.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from motrix_train.config import PPOCfg, SACCfg
from motrix_train.learning.policy import CLIP_THRESHOLD, EPSILON


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Dataclass)


@dataclass(frozen=True)
class SkrlClasses(Generic[T]):
    """The classes of SKRL for one framework."""

    ppo: Callable[..., Any]
    """The agent."""
    memory: Callable[..., Any]
    """The rollout buffer."""
    ppo_cfg: type[T]
    experiment_cfg: type
    normalizer: type
    """The running normalizer, for observations, states and values."""
    kl_adaptive: Callable[..., Any]
    """The scheduler that adapts the learning rate to the KL divergence."""


def ppo_cfg(
    cfg: PPOCfg,
    classes: SkrlClasses[T],
    *,
    observation_normalizer_kwargs: dict[str, Any],
    value_normalizer_kwargs: dict[str, Any],
    state_normalizer_kwargs: dict[str, Any] | None = None,
) -> T:
    """SKRL's PPO configuration.

    Args:
        cfg: What to train with.
        classes: The SKRL classes of the backend.
        observation_normalizer_kwargs: Arguments of the observation normalizer, such as its size and device.
        value_normalizer_kwargs: The same for the value normalizer.
        state_normalizer_kwargs: The same for the state normalizer, None where no network sees a state.
    """
    scheduled = cfg.learning_rate_scheduler_kl_threshold > 0.0
    scheduler_kwargs = {
        "kl_threshold": cfg.learning_rate_scheduler_kl_threshold,
        "min_lr": 1e-6,
        "max_lr": 1e-2,
        "kl_factor": 2.0,
        "lr_factor": 1.5,
    }
    normalized = {"epsilon": EPSILON, "clip_threshold": CLIP_THRESHOLD}
    values = {
        "experiment": _no_files(classes.experiment_cfg),
        "rollouts": cfg.rollouts,
        "learning_epochs": cfg.learning_epochs,
        "mini_batches": cfg.mini_batches,
        "discount_factor": cfg.discount_factor,
        "gae_lambda": cfg.gae_lambda,
        "learning_rate": cfg.learning_rate,
        "learning_rate_scheduler": classes.kl_adaptive if scheduled else None,
        "learning_rate_scheduler_kwargs": scheduler_kwargs if scheduled else {},
        "observation_preprocessor": classes.normalizer,
        "observation_preprocessor_kwargs": {**normalized, **observation_normalizer_kwargs},
        "state_preprocessor": None if state_normalizer_kwargs is None else classes.normalizer,
        "state_preprocessor_kwargs": {}
        if state_normalizer_kwargs is None
        else {**normalized, **state_normalizer_kwargs},
        "value_preprocessor": classes.normalizer,
        "value_preprocessor_kwargs": {**normalized, **value_normalizer_kwargs},
        "grad_norm_clip": cfg.grad_norm_clip,
        "ratio_clip": cfg.ratio_clip,
        "value_clip": cfg.value_clip if cfg.clip_predicted_values else 0.0,
        "entropy_loss_scale": cfg.entropy_loss_scale,
        "value_loss_scale": cfg.value_loss_scale,
        "kl_threshold": cfg.kl_threshold,
        "time_limit_bootstrap": cfg.time_limit_bootstrap,
        "rewards_shaper": _scale(cfg.rewards_shaper_scale),
    }
    return _in_single_precision(classes.ppo_cfg, values)


@dataclass(frozen=True)
class SacClasses(Generic[T]):
    """The classes for SAC on one framework, and what makes its models and its policy."""

    sac: Callable[..., Any]
    """The agent, with `all_finite`, `optimizer_state` and `load_optimizer_state` of an `Agent`."""
    sac_cfg: type[T]
    experiment_cfg: type
    normalizer: type
    """The running normalizer, for observations and states."""
    models: Callable[..., dict[str, Any]]
    """SKRL's models by role, ``"policy"``, two critics and their targets, with initial parameters: from `Spaces`, a
    `SACCfg`, the symmetry of the networks or None, and the device."""
    policy: Callable[..., Any]
    """The `Policy` of the agent, with the parameters of the moment: from the agent, `Spaces` and the device."""


def sac_cfg(
    cfg: SACCfg,
    classes: SacClasses[T],
    *,
    num_actions: int,
    observation_normalizer_kwargs: dict[str, Any],
    state_normalizer_kwargs: dict[str, Any] | None = None,
) -> T:
    """SKRL's SAC configuration. Its vector steps are ours; its gradient steps are those of an update.

    Args:
        cfg: What to train with.
        classes: The classes of the backend.
        num_actions: Elements of an action.
        observation_normalizer_kwargs: Arguments of the observation normalizer.
        state_normalizer_kwargs: Arguments of the state normalizer, None where no network sees a state.
    """
    normalized = {"epsilon": EPSILON, "clip_threshold": CLIP_THRESHOLD}
    states = state_normalizer_kwargs
    values = {
        "experiment": _no_files(classes.experiment_cfg),
        "gradient_steps": cfg.gradient_steps,
        "batch_size": cfg.batch_size,
        "discount_factor": cfg.discount_factor,
        "polyak": cfg.polyak,
        "learning_rate": cfg.learning_rate,
        "learning_rate_scheduler": None,
        "learning_rate_scheduler_kwargs": {},
        "observation_preprocessor": classes.normalizer,
        "observation_preprocessor_kwargs": {**normalized, **observation_normalizer_kwargs},
        "state_preprocessor": None if states is None else classes.normalizer,
        "state_preprocessor_kwargs": {} if states is None else {**normalized, **states},
        "random_timesteps": cfg.random_timesteps,
        "learning_starts": cfg.learning_starts,
        "grad_norm_clip": cfg.grad_norm_clip,
        "learn_entropy": cfg.learn_entropy,
        "initial_entropy_value": cfg.initial_entropy_value,
        "target_entropy": -num_actions / 2 if cfg.target_entropy is None else cfg.target_entropy,
        "rewards_shaper": _scale(cfg.rewards_shaper_scale),
    }
    return _in_single_precision(classes.sac_cfg, values)


def _in_single_precision(skrl_cfg: type[T], values: dict[str, Any]) -> T:
    """The configuration with these values, and without mixed precision where SKRL has it, which is on Torch."""
    if "mixed_precision" in {field.name for field in dataclasses.fields(skrl_cfg)}:
        values = {**values, "mixed_precision": False}
    return skrl_cfg(**values)


def _no_files(experiment_cfg: type) -> Any:
    """SKRL writes neither logs nor checkpoints: its own are not atomic and run code when loaded."""
    return experiment_cfg(
        directory="",
        experiment_name="",
        write_interval=0,
        checkpoint_interval=0,
        store_separately=False,
        wandb=False,
        wandb_kwargs={},
    )


def _scale(factor: float) -> Callable[[Any, int, int], Any] | None:
    if factor == 1.0:
        return None
    return lambda rewards, timestep, timesteps: rewards * factor
