"""Collects rollouts: the agent acts, the environment steps, the agent records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from gymnasium.vector import VectorEnv

from motrix_train import env_protocol
from motrix_train import infos as step_infos
from motrix_train.config import BaseRLCfg
from motrix_train.env_protocol import PrivilegedEnv, ResumableEnv
from motrix_train.errors import UsageError
from motrix_train.learning.agent import Agent
from motrix_train.learning.divergence import require_finite
from motrix_train.training.divergence_check import DivergenceCheck
from motrix_train.training.episode_cuts import FirstEpisodeCuts, with_last_of_cut_envs
from motrix_train.training.statistics import EpisodeStatistics, RolloutStatistics


class RolloutCollector:
    """Steps the environment with the agent's actions and records the transitions.

    Args:
        env: N environments with same-step autoreset.
        agent: Acts and records.
        cfg: How to train.
        cuts: When the first episode of each environment is cut (`staggered_starts`), None for never.
        check: Ends a training that diverges.
        vector_size: Environments of all processes together.
    """

    observations: np.ndarray
    """Present observations, (N, k)."""
    states: np.ndarray | None
    """Present inputs of the critic, (N, s); None where the critic sees the observations."""

    def __init__(
        self,
        env: VectorEnv,
        agent: Agent,
        cfg: BaseRLCfg,
        cuts: FirstEpisodeCuts | None,
        check: DivergenceCheck,
        vector_size: int,
    ) -> None:
        self.env, self.episodes = env, EpisodeStatistics(env.num_envs, env_protocol.task_names(env))
        self._agent, self._cfg, self._cuts, self._check = agent, cfg, cuts, check
        self._vector_size = vector_size

    def reset(self, seed: int) -> None:
        """Starts new episodes in all environments."""
        self.observations, _ = self.env.reset(seed=seed)
        self.states = self._read_states()
        require_finite("observation", self.observations, "at the reset")

    def seen(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Present observations and inputs of the critic, on the host."""
        return self.observations, self.states

    def state(self) -> dict[str, Any]:
        """The state for `restore`, of an environment that is resumable."""
        return {"environment": cast(ResumableEnv, self.env).get_state(), "episodes": self.episodes.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that `state` returned."""
        self.episodes.restore(state["episodes"])
        self.observations = cast(ResumableEnv, self.env).set_state(state["environment"])
        self.states = self._read_states()

    def collect(self, rollout: RolloutStatistics, env_steps: int, stop_requested: Callable[[], bool]) -> bool:
        """Steps until the rollout is full.

        Args:
            rollout: Takes the statistics of the steps.
            env_steps: Env steps trained before this rollout, by all processes.
            stop_requested: Asked before every step.

        Returns:
            Whether the rollout is full; False if a stop was requested before.

        Raises:
            UsageError: The environment does not return the last observation or state of an episode.
            RunError: A number from the environment or from the policy is not finite.
        """
        while rollout.steps < self._cfg.rollouts:
            if stop_requested():
                return False
            self._step(rollout, env_steps)
        return True

    def _step(self, rollout: RolloutStatistics, env_steps: int) -> None:
        """Takes one vector step."""
        with rollout.clock("policy"):
            actions = self._agent.act(self.observations, self.states)
        self._check.check_actions(actions, env_steps)
        with rollout.clock("env"):
            self.observations, rewards, terminated, truncated, infos = self.env.step(actions)
            self.states = self._read_states()
            ended = terminated | truncated
            infos = step_infos.with_masks(infos, ended)
            self._require_final(infos, ended, truncated)
            vector_steps = env_steps // self._vector_size + rollout.steps + 1
            cut = self._cut_envs(vector_steps) & ~ended
            if cut.any():
                infos = self._reset_envs(cut, infos)
            self._require_finite(rewards, infos, vector_steps)
        with rollout.clock("policy"):
            self._agent.record(rewards, self.observations, terminated, truncated | cut, infos, self.states)
        self.episodes.add(rewards, ended, env_protocol.env_tasks(self.env, infos))
        self.episodes.discard(cut)
        rollout.add(infos, terminated, truncated)

    def _read_states(self) -> np.ndarray | None:  # (N, s)
        """The critic's present input, None where it is the observation."""
        return cast(PrivilegedEnv, self.env).state() if self._cfg.critic == "state" else None

    def _cut_envs(self, vector_steps: int) -> np.ndarray:  # (N,) bool
        """The environments whose first episode is cut after this step."""
        if self._cuts is None:
            return np.zeros(self.env.num_envs, dtype=bool)
        return self._cuts.after(vector_steps)

    def _reset_envs(self, cut: np.ndarray, infos: Mapping[str, Any]) -> Mapping[str, Any]:
        """Resets the environments (N,) bool that are cut; returns the infos with their last observations and states."""
        infos = with_last_of_cut_envs(infos, cut, "final_obs", self.observations)
        if self.states is not None:
            infos = with_last_of_cut_envs(infos, cut, "final_state", self.states)
        self.observations, _ = self.env.reset(options={"reset_mask": cut})
        self.states = self._read_states()
        return infos

    def _require_final(self, infos: Mapping[str, Any], ended: np.ndarray, truncated: np.ndarray) -> None:
        """Refuses an environment that does not return the last observation or state of an episode where needed."""
        if self.states is not None and ended.any() and "final_state" not in infos:
            raise UsageError(
                "critic 'state' is not possible: the environment does not return the last state of an episode as "
                "info['final_state']; give critic=observation"
            )
        if self._cfg.time_limit_bootstrap and truncated.any() and "final_obs" not in infos:
            raise UsageError(
                "time_limit_bootstrap is not possible: the environment does not return the last observation of an "
                "episode as info['final_obs']; give time_limit_bootstrap=false"
            )

    def _require_finite(self, rewards: np.ndarray, infos: Mapping[str, Any], vector_steps: int) -> None:
        """Refuses numbers of the environment that are not finite, before the agent learns from them."""
        when = f"in env step {vector_steps * self._vector_size:,}"
        require_finite("reward", rewards, when, infos=infos)
        for present, last, name in (
            (self.observations, "final_obs", "observation"),
            (self.states, "final_state", "state"),
        ):
            if present is None:
                continue
            require_finite(name, present, when)
            if (found := step_infos.final(infos, last)) is not None:
                require_finite(f"last {name} of an episode", found[1], when, envs=found[0])
