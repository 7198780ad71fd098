"""What one step of N environments came to, and how Gymnasium's infos say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from motrix_gym import arrays as xp
from motrix_gym import rows
from motrix_gym.arrays import Array


@dataclass(frozen=True)
class Outcome:
    """What one step of N environments came to. All is zero or False where no step was taken.

    Attributes:
        took_step: Environments that took the step, (N,) bool.
        terminated: Environments whose episode ended in a terminal state, (N,) bool.
        truncated: Environments whose episode was cut off by the time limit, (N,) bool.
        rewards: The reward, (N,) float64, with Torch float32: the sum of its terms.
        reward_terms: Weighted reward terms by name, each (N,).
        termination: Reasons for which episodes ended, by name, each (N,) bool.
        metrics: The task's metrics by name, each (N,).
        success: Whether an episode that ended here would have succeeded, (N,) bool; None without such a task.
        solvable: Environments whose task can be solved, (N,) bool; True for a single task, an array for joined ones.
        metric_masks: Environments that have a metric, by metric, each (N,) bool; all have one that is not named.
        groups: What the info holds beside these, by name, each (N,), such as `task` of joined tasks.
    """

    took_step: Array
    terminated: Array
    truncated: Array
    rewards: Array
    reward_terms: dict[str, Array]
    termination: dict[str, Array]
    metrics: dict[str, Array]
    success: Array | None
    solvable: Array | bool = True
    metric_masks: Mapping[str, Array] = field(default_factory=dict)
    groups: Mapping[str, Array] = field(default_factory=dict)

    @property
    def ended(self) -> Array:
        """Environments whose episode ended, (N,) bool."""
        return self.terminated | self.truncated

    def only(self, mask: Array) -> Outcome:
        """The outcome of the environments that `mask`, (N,) bool, marks; the others took no step."""

        def kept(group: Mapping[str, Array]) -> dict[str, Array]:
            return {name: xp.where(mask, x, xp.zeros_like(x)) for name, x in group.items()}

        return replace(
            self,
            took_step=self.took_step & mask,
            terminated=self.terminated & mask,
            truncated=self.truncated & mask,
            rewards=xp.where(mask, self.rewards, 0.0),
            reward_terms=kept(self.reward_terms),
            termination=kept(self.termination),
            metrics=kept(self.metrics),
            success=None if self.success is None else self.success & mask,
        )

    def info(self) -> dict[str, Any]:
        """The info of the step, in Gymnasium's form: every key k, and in ``_k`` the environments that it holds for."""
        return self._masked(self.took_step)

    def final_info(self, observations: Array, privileged_observations: Array | None = None) -> dict[str, Any]:
        """What the info of a step adds where an episode ended and the environment was reset in the same step.

        Args:
            observations: The observations before the reset, (N, k).
            privileged_observations: What a critic saw then, (N, s), None if the task shows a critic no more than
                the observation.
        """
        last = {"final_obs": observations, "final_info": self._masked(self.ended)}
        if privileged_observations is not None:
            last["final_state"] = privileged_observations
        return with_masks(last, self.ended)

    def _masked(self, mask: Array) -> dict[str, Any]:
        own_masks = {f"_{name}": mask & own for name, own in self.metric_masks.items()}
        groups: dict[str, Any] = {
            "reward_terms": self.reward_terms,
            "termination": self.termination,
            "metrics": self.metrics | own_masks,
            **self.groups,
        }
        if self.success is None:
            return with_masks(groups, mask)
        return with_masks(groups, mask) | {"success": self.success, "_success": mask & self.solvable}


def with_masks(groups: dict[str, Any], mask: Array) -> dict[str, Any]:
    """An info in which every key k has the environments that it holds for, (N,) bool, in ``_k``."""
    return groups | {f"_{name}": rows.copied(mask) for name in groups}
