"""`to_sb3`: the ``VecEnv`` of Stable-Baselines3 over a Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

Infos = list[dict[str, Any]]


class StableBaselines3VecEnv(VecEnv):
    """N environments as Stable-Baselines3 steps them.

    The info of an environment is empty but in the step that ends its episode. Then it has ``terminal_observation``,
    ``TimeLimit.truncated``, ``termination``, the list of reasons, and ``is_success`` where the task can be solved.

    Args:
        envs: The environments, in same-step autoreset.

    Attributes:
        envs: As given.
    """

    def __init__(self, envs: VectorEnv):
        self.envs = envs
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self.metadata |= {name: envs.metadata[name] for name in ("render_fps",) if name in envs.metadata}

    def reset(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Starts new episodes, with the seeds of `seed` if it was called; gives the observations, (N, k) float32.

        Raises:
            ValueError: Options were set; these environments have none.
        """
        if any(self._options):
            raise ValueError(f"options are {self._options[0]}; these environments take none")
        seeds: Any = None if self._seeds == [None] * self.num_envs else self._seeds
        observations, _ = self.envs.reset(seed=seeds)
        self._reset_seeds()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, Infos]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Observations (N, k) float32, rewards (N,) float32, dones (N,) bool and the N infos."""
        observations, rewards, terminated, truncated, info = self.envs.step(self._actions)
        dones = terminated | truncated
        infos: Infos = [{} for _ in range(self.num_envs)]
        for env in np.flatnonzero(dones):
            infos[env] = _last_info(info, int(env), bool(truncated[env] and not terminated[env]))
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        self.envs.close()

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        return self.env_method(attr_name, indices=indices)

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Sets an attribute of all environments.

        Raises:
            ValueError: Some environments alone are to have it; they share their attributes.
        """
        if len(self._envs(indices)) < self.num_envs:
            raise ValueError(f"environments share their attributes: {attr_name} can be set for all of them only")
        setattr(self.envs.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        envs: Any = self.envs.unwrapped
        results = envs.call(method_name, *method_args, **method_kwargs)
        return [results[env] for env in self._envs(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper], indices: int | Iterable[int] | None = None
    ) -> list[bool]:
        """Whether each environment has such a wrapper: none has a wrapper of its own."""
        return [False] * len(self._envs(indices))

    def get_images(self) -> list[np.ndarray | None]:
        return list(self.env_method("render"))

    def _envs(self, indices: int | Iterable[int] | None) -> list[int]:
        return [int(env) for env in self._get_indices(indices)]


def _last_info(info: dict[str, Any], env: int, truncated: bool) -> dict[str, Any]:
    """The info of one environment in the step that ended its episode."""
    final = info.get("final_info", {})
    reasons = [name for name, ended in final.get("termination", {}).items() if name[:1] != "_" and ended[env]]
    last = {
        "terminal_observation": info["final_obs"][env],
        "TimeLimit.truncated": truncated,
        "termination": reasons,
    }
    return last | ({"is_success": bool(final["success"][env])} if "success" in final else {})
