"""From a `PPOCfg` to the configuration of SKRL's PPO. Pure: it imports neither Torch nor JAX nor SKRL.

The four SKRL classes that a backend hands in are those of its own framework. Every field of SKRL's
configuration is set, so that a change of SKRL's defaults changes nothing here, and the result is built afresh
on every call, because an agent rewrites the configuration that it is given.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from motrix_train.config import PPOCfg


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Dataclass)


@dataclass(frozen=True)
class SkrlClasses(Generic[T]):
    """The classes of one backend that a PPO configuration is made of."""

    ppo_cfg: type[T]
    experiment_cfg: type
    scaler: type
    """The running standardiser, for observations, states and values."""
    kl_adaptive: Callable[..., Any]
    """The scheduler that adapts the learning rate to the KL divergence."""


def ppo_cfg(
    cfg: PPOCfg,
    classes: SkrlClasses[T],
    *,
    observation_scaler_kwargs: dict[str, Any],
    value_scaler_kwargs: dict[str, Any],
    state_scaler_kwargs: dict[str, Any] | None = None,
) -> T:
    """SKRL's PPO configuration.

    Args:
        cfg: What to train with.
        classes: The SKRL classes of the backend.
        observation_scaler_kwargs: Arguments of the observation standardiser, such as its size and device.
        value_scaler_kwargs: The same for the value standardiser.
        state_scaler_kwargs: The same for the state standardiser, None where no network sees a state.
    """
    scheduled = cfg.learning_rate_scheduler_kl_threshold > 0.0
    scheduler_kwargs = {
        "kl_threshold": cfg.learning_rate_scheduler_kl_threshold,
        "min_lr": 1e-6,
        "max_lr": 1e-2,
        "kl_factor": 2.0,
        "lr_factor": 1.5,
    }
    standardised = {"epsilon": 1e-8, "clip_threshold": 5.0}
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
        "observation_preprocessor": classes.scaler,
        "observation_preprocessor_kwargs": {**standardised, **observation_scaler_kwargs},
        "state_preprocessor": None if state_scaler_kwargs is None else classes.scaler,
        "state_preprocessor_kwargs": {} if state_scaler_kwargs is None else {**standardised, **state_scaler_kwargs},
        "value_preprocessor": classes.scaler,
        "value_preprocessor_kwargs": {**standardised, **value_scaler_kwargs},
        "grad_norm_clip": cfg.grad_norm_clip,
        "ratio_clip": cfg.ratio_clip,
        "value_clip": cfg.value_clip if cfg.clip_predicted_values else 0.0,
        "entropy_loss_scale": cfg.entropy_loss_scale,
        "value_loss_scale": cfg.value_loss_scale,
        "kl_threshold": cfg.kl_threshold,
        "time_limit_bootstrap": cfg.time_limit_bootstrap,
        "rewards_shaper": _scale(cfg.rewards_shaper_scale),
    }
    if "mixed_precision" in {field.name for field in dataclasses.fields(classes.ppo_cfg)}:  # Torch only
        values["mixed_precision"] = False
    return classes.ppo_cfg(**values)


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
