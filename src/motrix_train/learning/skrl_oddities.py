"""Every behaviour of SKRL 2.1 that the trainer relies on and that SKRL does not document.

tests/train/test_skrl_oddities.py has a test of each, under the name in the first column, which fails when SKRL changes.
The code is here, in `learning/torch/skrl_oddities.py` and in `learning/jax/skrl_oddities.py`.

| name | SKRL's behaviour | what the trainer does |
|---|---|---|
| timesteps | `act`, `record_transition` and `update` take the time step, and PPO does not use it | passes 0 |
| seed | `set_seed` seeds the generators of the whole process and announces the seed | mutes it |
| numpy_generator | JAX draws mini-batches from NumPy's process-wide generator | saves and restores it |
| memory_tensors | the rollout is in tensors of the memory, by name | reads `values`, `returns`, ... |
| normalizers | they are `_observation_preprocessor`, `_state_preprocessor`, `_value_preprocessor` | calls them |
| pooled_moments | normalizers update through `_parallel_variance(mean, variance, count)` | passes pooled moments |
| checkpoint_modules | networks, normalizers and optimizers, by the names that SKRL saves them under | saves these |
| tracking_data | losses, noise and learning rate of an update, by tag | reads the means |
| sac_step | Torch differentiates the critics too in SAC's policy loss | has a gradient step of its own |
| sac_noise | JAX draws the noise of SAC's policy loss once, when it compiles | has a gradient step of its own |
| truncation | the reward of a truncated step gets the value of `next_observations` | passes the true last ones |
| policy_then_value | Torch asks the policy, then the value, for the same tensor object | computes shared layers once |
| worker_globals | Torch averages over processes if `config.torch._is_distributed`, which is private | sets it |
| gradient_norm | the norm of the gradients is computed for clipping and not returned | measures it itself |
| optimizers | JAX replaces `policy_optimizer`, `value_optimizer` by what their `step` returns | wraps them |
| kl_adaptive | JAX passes the KL divergence to a scheduler whose name contains "kl_adaptive" | names its own so |
| noise | JAX draws noise from `_g_key` and the counter `_g_i` of the policy | saves and restores both |
| noise_counter | tracing an update also increments that counter | restores it after an update |
| default_device | JAX models warn unless `skrl.config.jax.device` is their device | sets it |
| warp | importing SKRL initialises Warp, if that is imported, which prints to standard output | initialises it before |
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

NO_TIMESTEPS = {"timestep": 0, "timesteps": 0}
"""timesteps: arguments that SKRL requires and PPO does not use."""

SAC_LOSSES = ("critic", "policy", "entropy")
"""tracking_data: what a gradient step of SAC tracks under these names."""
SAC_DIAGNOSTICS = ("entropy_coefficient", "target_mean", "gradient_norm")
"""tracking_data: what else it tracks."""

LOSSES = {"Loss / Policy loss": "policy", "Loss / Value loss": "value", "Loss / Entropy loss": "entropy"}
"""tracking_data: tags of the losses."""
STANDARD_DEVIATION = "Policy / Standard deviation"
"""tracking_data: tag of the mean standard deviation of the exploration noise."""
LEARNING_RATES = ("Learning / Learning rate", "Learning / Policy learning rate")
"""tracking_data: tag of the learning rate on Torch and on JAX, absent without a scheduler."""

NORMALIZER_ARRAYS = {"mean": "running_mean", "variance": "running_variance", "count": "current_count"}
"""checkpoint_modules: the arrays of a normalizer, by their names in a checkpoint."""


def seed_generators(seed: int) -> None:
    """seed: seeds the generators that SKRL draws from, without a message; `seed` is below 2**32."""
    from skrl import logger
    from skrl.utils import set_seed

    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        set_seed(seed)
    finally:
        logger.setLevel(level)


def initialize_warp() -> None:
    """warp: initialises Warp, if it is imported, without printing what it finds."""
    if (warp := sys.modules.get("warp")) is not None:
        with warp.ScopedLogLevel(warp.LOG_WARNING):
            warp.init()


def numpy_random_state() -> dict[str, Any]:
    """numpy_generator: the state of NumPy's process-wide generator, as arrays and numbers."""
    _, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {"keys": keys, "position": position, "has_gauss": has_gauss, "gauss": gauss}


def set_numpy_random_state(state: Mapping[str, Any]) -> None:
    """numpy_generator: restores the state that `numpy_random_state` returned."""
    numbers = int(state["position"]), int(state["has_gauss"]), float(state["gauss"])
    np.random.set_state(("MT19937", np.asarray(state["keys"]), *numbers))  # noqa: NPY002


def rollout_tensor(ppo: Any, name: str) -> Any:  # (T, N, ...)
    """memory_tensors: one tensor of the rollout."""
    return ppo.memory.get_tensor_by_name(name)


def normalized_inputs(ppo: Any, observations: Any, states: Any) -> dict[str, Any]:
    """normalizers: the inputs of the networks; `states` may be None."""
    return {
        "observations": ppo._observation_preprocessor(observations),
        "states": ppo._state_preprocessor(states),
    }


def denormalized_values(ppo: Any, values: Any) -> Any:
    """normalizers: values in units of the return."""
    return ppo._value_preprocessor(values, inverse=True)


def saved_modules(ppo: Any) -> dict[str, Any]:
    """checkpoint_modules: networks and normalizers by name, without optimizers; a shared network appears once."""
    modules = {
        name.replace("preprocessor", "normalizer"): module
        for name, module in ppo.checkpoint_modules.items()
        if not name.endswith("optimizer")
    }
    if modules["policy"] is modules.get("value"):
        del modules["value"]
    return modules


def observation_normalizer(ppo: Any) -> Any:
    """checkpoint_modules: the normalizer of the policy's inputs."""
    return ppo.checkpoint_modules["observation_preprocessor"]
