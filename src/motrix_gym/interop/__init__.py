"""The vector environments for libraries that have an interface of their own.

Each function takes a Gymnasium vector environment in same-step autoreset, which is the default of `gymnasium.make_vec`,
and imports its library when it is called. `motrix_gym` depends on none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gymnasium.vector import AutoresetMode, VectorEnv

if TYPE_CHECKING:
    from motrix_gym.interop.rsl_rl import RslRlVecEnv
    from motrix_gym.interop.stable_baselines3 import StableBaselines3VecEnv

__all__ = ["to_rsl_rl", "to_sb3"]


def to_sb3(envs: VectorEnv) -> StableBaselines3VecEnv:
    """A vector environment for Stable-Baselines3, and for SBX.

    Args:
        envs: The environments.

    Returns:
        Their ``VecEnv``; see `motrix_gym.interop.stable_baselines3.StableBaselines3VecEnv`.

    Raises:
        ImportError: Stable-Baselines3 is not installed.
        ValueError: Another autoreset mode than same-step.
    """
    try:
        from motrix_gym.interop.stable_baselines3 import StableBaselines3VecEnv
    except ImportError as missing:
        raise ImportError("to_sb3 needs Stable-Baselines3: pip install stable-baselines3") from missing
    _require_same_step(envs)
    return StableBaselines3VecEnv(envs)


def to_rsl_rl(envs: VectorEnv, *, seed: int | None = None, device: str = "cpu") -> RslRlVecEnv:
    """A vector environment for rsl_rl, version 5; its episodes begin now.

    Args:
        envs: The environments.
        seed: An integer s seeds environment i with s + i; None leaves the seeds to chance.
        device: Where rsl_rl wants its tensors. The simulation stays on the CPU.

    Returns:
        Their ``VecEnv``; see `motrix_gym.interop.rsl_rl.RslRlVecEnv`.

    Raises:
        ImportError: rsl_rl is not installed.
        ValueError: Another autoreset mode than same-step, or no time limit.
    """
    try:
        from motrix_gym.interop.rsl_rl import RslRlVecEnv
    except ImportError as missing:
        raise ImportError("to_rsl_rl needs rsl_rl: pip install rsl-rl-lib") from missing
    _require_same_step(envs)
    return RslRlVecEnv(envs, seed=seed, device=device)


def _require_same_step(envs: VectorEnv) -> None:
    mode = envs.metadata.get("autoreset_mode")
    if mode is not AutoresetMode.SAME_STEP:
        raise ValueError(f"autoreset_mode is {mode}; the library takes environments that were made with 'SameStep'")
