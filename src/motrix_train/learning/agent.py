"""What a training asks of an agent, whatever its algorithm and its framework: act, record a transition, learn.

What it is given are arrays of NumPy, or tensors of Torch from an environment that lives on a device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from motrix_gym import arrays as xp
from motrix_train.infos import final
from motrix_train.learning.policy import Policy
from motrix_train.learning.skrl_oddities import normalized_inputs
from motrix_train.learning.symmetry import NetworkSymmetry


@dataclass(frozen=True)
class Update:
    """The report of one update of the networks."""

    losses: dict[str, float]
    policy_std: float
    """Mean standard deviation of the exploration noise, in units of the action."""
    learning_rate: float
    diagnostics: dict[str, float]
    """What the algorithm tells of itself. Both: `gradient_norm`, the mean over the mini-batches, before clipping. PPO:
    `approximate_kl` and `clip_fraction` of the new policy against the one that acted in the rollout, and
    `explained_variance` of the values that were predicted while acting. SAC: those of `SAC_DIAGNOSTICS`."""


class Agent(ABC):
    """One agent of SKRL that collects transitions and learns whenever a rollout is full.

    Args:
        skrl: The agent of SKRL, initialised and in training mode.
        rollouts: Vector steps between two updates.
        policy: Its policy without exploration, with the parameters of the moment.
        to_device: Copies a NumPy array, or a tensor of Torch, to a tensor of the backend, floats as float32.
        to_host: Copies a tensor to NumPy.
        to_torch: Gives a tensor of the backend as one of Torch, on the device of another one.
        inference: A context in which no gradients are recorded.
        learning: A context in which the networks are updated.
        all_finite: Whether everything that it has learned is finite: networks, optimizers and normalizers.
        optimizer_state: All that the optimizers learned, as nested dicts of NumPy arrays and numbers.
        load_optimizer_state: Restores what `optimizer_state` returned.
        bootstraps_at_time_limit: Whether a truncation counts as one; otherwise it is stored as a termination.
        symmetry: The symmetry of the networks, None without.
    """

    def __init__(
        self,
        skrl: Any,
        rollouts: int,
        *,
        policy: Policy,
        to_device: Callable[[np.ndarray], Any],
        to_host: Callable[[Any], np.ndarray],
        to_torch: Callable[[Any, Any], Any],
        inference: Callable[[], AbstractContextManager[Any]],
        learning: Callable[[], AbstractContextManager[Any]] = nullcontext,
        all_finite: Callable[[], bool],
        optimizer_state: Callable[[], dict[str, Any]],
        load_optimizer_state: Callable[[Mapping[str, Any]], None],
        bootstraps_at_time_limit: bool = True,
        symmetry: NetworkSymmetry | None = None,
    ) -> None:
        self.skrl = skrl
        self.policy = policy
        self.all_finite = all_finite
        self.optimizer_state, self.load_optimizer_state = optimizer_state, load_optimizer_state
        self.symmetry = symmetry
        self._rollouts = rollouts
        self._bootstraps = bootstraps_at_time_limit
        self._to_device = to_device
        self._to_host, self._to_torch = to_host, to_torch
        self._inference = inference
        self._learning = learning
        self._observations: Any = None
        self._states: Any = None
        self._actions: Any = None
        self._steps = 0  # in the rollout

    def act(
        self,
        observations: np.ndarray,  # (N, k)
        states: np.ndarray | None = None,  # (N, s) where the critic sees them
    ) -> np.ndarray:  # (N, m)
        """Sample actions with exploration noise: arrays of NumPy for such, for tensors a tensor on their device."""
        self._observations = self._to_device(observations)
        self._states = None if states is None else self._to_device(states)
        with self._inference():
            self._actions, _ = self.skrl.act(self._observations, self._states, timestep=self._timestep, timesteps=0)
        if isinstance(observations, np.ndarray):
            return self._to_host(self._actions)
        return self._to_torch(self._actions, observations)

    def record(
        self,
        rewards: np.ndarray,  # (N,)
        observations: np.ndarray,  # (N, k) after the step
        terminated: np.ndarray,  # (N,) bool
        truncated: np.ndarray,  # (N,) bool
        infos: Mapping[str, Any],
        states: np.ndarray | None = None,  # (N, s) after the step, where the critic sees them
    ) -> None:
        """Store the transition that the last `act` led to in SKRL's memory.

        Without `time_limit_bootstrap`, a truncation is stored as a termination.
        """
        next_observations = successors(observations, infos)
        next_states = None if states is None else successors(states, infos, last="final_state")
        if not self._bootstraps:
            terminated, truncated = terminated | truncated, xp.zeros_like(truncated)
        with self._inference():
            self.skrl.record_transition(
                observations=self._observations,
                states=self._states,
                actions=self._actions,
                rewards=self._to_device(rewards[:, None]),
                next_observations=self._to_device(next_observations),
                next_states=None if next_states is None else self._to_device(next_states),
                terminated=self._to_device(terminated[:, None]),
                truncated=self._to_device(truncated[:, None]),
                infos=infos,
                timestep=self._timestep,
                timesteps=0,
            )
        self._steps += 1

    def learn(self) -> Update | None:
        """Learn if the rollout is full; None if it is not."""
        if self._steps < self._rollouts:
            return None
        self._steps = 0
        self.skrl.tracking_data.clear()
        with self._learning():
            return self._update()

    @property
    def _timestep(self) -> int:
        """What SKRL is told of the time: vector steps so far, where the algorithm uses them."""
        return 0

    def _normalized(self, observations: np.ndarray, states: np.ndarray | None) -> dict[str, Any]:
        """The inputs of the networks on the device, normalized."""
        on_device = self._to_device(observations), None if states is None else self._to_device(states)
        return normalized_inputs(self.skrl, *on_device)

    @abstractmethod
    def _update(self) -> Update:
        """Learns from what was recorded."""

    @abstractmethod
    def values(self, observations: np.ndarray, states: np.ndarray | None = None) -> np.ndarray:  # (N, k) -> (N,)
        """The values that the critic predicts, in the units that it learns in."""

    @abstractmethod
    def session_state(self) -> dict[str, Any]:
        """What an exact resumption needs beside networks and optimizers, as nested dicts of arrays and numbers."""

    @abstractmethod
    def restore_session(self, state: Mapping[str, Any]) -> None:
        """Restores what `session_state` returned."""

    @abstractmethod
    def flush(self) -> None:
        """Brings to the disk what a `session_state` refers to."""


def successors(present: np.ndarray, infos: Mapping[str, Any], last: str = "final_obs") -> np.ndarray:  # (N, k)
    """The observation, or state, of each environment right after its action, the last one of an episode included.

    With SAME_STEP autoreset the observation after a step already belongs to the next episode, and SKRL would use its
    value for the state in which the episode was truncated.

    Args:
        present: The observations or the states after the step.
        infos: Of the step.
        last: The key of the last ones in `infos`.
    """
    if not isinstance(present, np.ndarray) and last in infos:
        return xp.where(infos[f"_{last}"][:, None], infos[last], present)
    found = final(infos, last)
    if found is None:
        return present
    envs, values = found
    after = present.copy()
    after[envs] = values
    return after
