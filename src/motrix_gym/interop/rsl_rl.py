"""`to_rsl_rl`: the ``VecEnv`` of rsl_rl, version 5, over a Gymnasium vector environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from rsl_rl.env import VecEnv
from tensordict import TensorDict

LOGGED = ("reward_terms", "metrics", "termination")


class RslRlVecEnv(VecEnv):
    """N environments as rsl_rl steps them.

    Observations are a ``TensorDict`` with the group ``policy``, (N, k) float32, and where the environment has a `state`
    the group ``critic``. The extras of a step have ``time_outs``, (N,) bool: episodes that were truncated. rsl_rl adds
    to their last reward the discounted value of the observation before the step, not of the one after it. The ``log``
    has the means over the environments of reward terms, metrics and reasons of termination in that step.

    Args:
        envs: The environments, in same-step autoreset.
        seed: Environment i is seeded with seed + i; None leaves the seeds to chance.
        device: Where the tensors are to be.

    Attributes:
        envs: As given.
        num_envs: N.
        num_actions: Elements of an action.
        max_episode_length: The time limit in steps.
        device: As given.
        cfg: The id and the keyword arguments, for logs.

    Raises:
        ValueError: The environments have no time limit.
    """

    def __init__(self, envs: VectorEnv, *, seed: int | None = None, device: str = "cpu"):
        inner: Any = envs.unwrapped
        if inner.max_episode_steps is None:
            raise ValueError("rsl_rl needs a time limit: make the environments with max_episode_steps=N")
        self.envs, self.device = envs, device
        self.num_envs, self.num_actions = envs.num_envs, int(np.prod(envs.single_action_space.shape or ()))
        self.max_episode_length = inner.max_episode_steps
        self.cfg = {} if envs.spec is None else {"env_id": envs.spec.id, **envs.spec.kwargs}
        observations, _ = envs.reset(seed=seed)
        self._observations = self._grouped(observations)
        self._steps = torch.zeros(self.num_envs, dtype=torch.long, device=device)

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Steps of each environment's episode so far, (N,) int64; to set them brings the time limits closer."""
        return self._steps

    @episode_length_buf.setter
    def episode_length_buf(self, steps: torch.Tensor) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        inner: Any = self.envs.unwrapped
        state = inner.get_state()
        state["elapsed"] = steps.cpu().numpy().astype(state["elapsed"].dtype)
        inner.set_state(state)
        self._steps = steps.to(self.device, torch.long)

    def get_observations(self) -> TensorDict:
        """The observations of the last step."""
        return self._observations

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """One step: observations, rewards (N,) float32, dones (N,) int64, and the extras."""
        observations, rewards, terminated, truncated, info = self.envs.step(actions.detach().cpu().numpy())
        dones = torch.from_numpy(terminated | truncated).to(self.device)
        self._steps = torch.where(dones, 0, self._steps + 1)
        self._observations = self._grouped(observations)
        extras = {"time_outs": torch.from_numpy(truncated).to(self.device), "log": _means(info)}
        return self._observations, self._tensor(rewards.astype(np.float32)), dones.long(), extras

    def close(self) -> None:
        """Closes the environments."""
        self.envs.close()

    def _grouped(self, observations: np.ndarray) -> TensorDict:
        inner: Any = self.envs.unwrapped
        groups = {"policy": self._tensor(observations)}
        if getattr(inner, "state_space", None) is not None:
            groups["critic"] = self._tensor(inner.state())
        return TensorDict(groups, batch_size=[self.num_envs], device=self.device)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)


def _means(info: dict[str, Any]) -> dict[str, float]:
    """The mean over the environments of each number in the info of a step."""
    return {
        f"/{group}/{name}": float(values.mean())
        for group in LOGGED
        for name, values in info.get(group, {}).items()
        if not name.startswith("_")
    }
