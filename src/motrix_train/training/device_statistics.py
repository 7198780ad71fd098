"""Statistics of a rollout on a device: summed there, and fetched once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rows
from motrix_train.learning.divergence import require_finite
from motrix_train.training.statistics import TIME_LIMIT, EpisodeStatistics, RolloutStatistics

GROUPS = ("reward_terms", "metrics")
OBSERVED = ("observation", "state", "last observation of an episode", "last state of an episode")


class DeviceRollout:
    """The steps of one rollout, as tensors: rewards and endings of each step, and sums of what infos tell.

    The infos are those of an environment of `motrix_gym` with one task: all environments have all numbers.
    """

    def __init__(self) -> None:
        self._rewards: list[Any] = []  # (N,) each, as the next two
        self._ended: list[Any] = []
        self._cut: list[Any] = []
        self._names: list[tuple[str, str]] = []  # group and name of each number that is summed
        self._reasons: list[str] = []
        self._sums: Any = 0.0  # (numbers,), of means over the environments
        self._endings: Any = 0  # (reasons,)
        self._not_finite: Any = False  # (4, N) bool, of `OBSERVED`

    def add(self, rewards: Any, terminated: Any, truncated: Any, infos: Mapping[str, Any]) -> None:
        """Adds a step: its rewards and endings, (N,) each, and its infos."""
        self._rewards.append(rows.copied(rewards))
        self._ended.append(terminated | truncated)
        numbers = {(group, name): x for group in GROUPS for name, x in infos[group].items() if name[0] != "_"}
        self._names = list(numbers)
        if numbers:
            self._sums = self._sums + xp.mean(xp.stack([xp.floats(x) for x in numbers.values()], axis=0), axis=1)
        applying, unexplained = [truncated], terminated
        for values in infos["termination"].values():
            applying.append(unexplained & values)
            unexplained = unexplained & ~values
        self._reasons = [TIME_LIMIT, *infos["termination"]]
        self._endings = self._endings + xp.sum(xp.integers(xp.stack(applying, axis=0)), axis=1)

    def see(self, observations: Any, states: Any, cut: Any, infos: Mapping[str, Any]) -> None:
        """Adds what the policy and the critic see after a step, and which environments, (N,) bool, were cut in it."""
        self._cut.append(cut)
        none = xp.full(cut.shape, False, cut)
        seen = [
            none if x is None else not_finite(x)
            for x in (observations, states, infos.get("final_obs"), infos.get("final_state"))
        ]
        for k, name in ((2, "_final_obs"), (3, "_final_state")):
            if name in infos:
                seen[k] = seen[k] & infos[name]
        self._not_finite = xp.stack(seen, axis=0) | self._not_finite

    def require_finite(self, when: Callable[[int], str]) -> None:
        """Refuses rewards, observations and states that are not finite.

        Args:
            when: In which step, for the message, from its number in the rollout, from 0.

        Raises:
            RunError: Names the value, the environments and the step, of observations that at the end of the rollout.
        """
        for step, rewards in enumerate(self._on_host(self._rewards)):
            require_finite("reward", rewards, when(step))
        for name, bad in zip(OBSERVED, rows.to_host(self._not_finite), strict=True):
            require_finite(name, np.where(bad, np.nan, 0.0), f"{when(len(self._rewards) - 1)} or before")

    def fetch(self, rollout: RolloutStatistics, episodes: EpisodeStatistics) -> None:
        """Adds the rollout to its statistics and to those of the episodes."""
        steps = zip(*map(self._on_host, (self._rewards, self._ended, self._cut)), strict=True)
        for rewards, ended, cut in steps:
            episodes.add(rewards, ended)
            episodes.discard(cut)
        sums = rows.to_host(self._sums) if self._names else ()
        rollout.add_sums(
            {(group, name): float(x) for (group, name), x in zip(self._names, sums, strict=True)},
            {reason: int(n) for reason, n in zip(self._reasons, rows.to_host(self._endings), strict=True)},
        )

    @staticmethod
    def _on_host(steps: Sequence[Any]) -> np.ndarray:
        """The tensors of all steps, (T, N), in one copy."""
        return rows.to_host(xp.stack(steps, axis=0))


def not_finite(x: Any) -> Any:
    """The environments, (N,) bool, that have a number that is not finite among theirs, (N, k)."""
    return xp.any(~(abs(x) < np.inf), axis=1)
