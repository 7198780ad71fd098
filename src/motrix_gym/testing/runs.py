"""Runs of the environment under test: what each call returned, by environment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array

from motrix_gym.testing.violation import LawViolation, NotOffered

_INFO_BY_ENV = ("reward_terms", "termination", "metrics", "success", "final_obs")
_ARRAY_SPACES = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)

Outcome = dict[str, np.ndarray]  # what one environment returned in one step, by name


@dataclass(frozen=True)
class Result:
    """What one call returned.

    Attributes:
        raw: The returned objects themselves, and the array of actions that was handed in.
        envs: Their values at the moment of the return, copied, by environment.
        latest: (N, ...), the present observations, after the reset that a disabled autoreset leaves to the caller.
        ended: (N,) bool, environments whose episode ended in this call.
    """

    raw: dict[str, Any]
    envs: list[Outcome]
    latest: np.ndarray
    ended: np.ndarray


class Subject:
    """The environment under test, how it is made, and one run of it that others are compared with."""

    def __init__(
        self,
        env: VectorEnv,
        make: Callable[[int], VectorEnv] | None,
        single: Callable[[], gym.Env] | None,
        seed: int,
        steps: int,
    ):
        for space in (env.single_observation_space, env.single_action_space):
            if not isinstance(space, _ARRAY_SPACES):
                raise TypeError(f"{space} is not a space of arrays; the checker knows no others")
        self.env, self.make, self.single, self.seed, self.steps = env, make, single, seed, steps
        self.num_envs = env.num_envs
        self.mode = env.metadata.get("autoreset_mode")
        self.actions = self.sampled_actions(seed)
        self._reference: list[Result] | None = None

    @property
    def reference(self) -> list[Result]:
        """A run with environments seeded seed, seed + 1 ..., taking `actions`."""
        if self._reference is None:
            self._reference = list(self.play(self.env, self.seed, self.actions))
        return self._reference

    def sampled_actions(self, seed: int) -> list[list[Any]]:
        """Random actions by step and environment; those of environment i come from seed + i."""
        spaces = [copy.deepcopy(self.env.single_action_space) for _ in range(self.num_envs)]
        for i, space in enumerate(spaces):
            space.seed(seed + i)
        return [[space.sample() for space in spaces] for _ in range(self.steps)]

    def batched(self, actions: Sequence[Any]) -> Any:
        """Actions, one for each environment, as the vector environment takes them."""
        space = self.env.single_action_space
        return concatenate(space, list(actions), create_empty_array(space, len(actions)))

    def play(self, env: VectorEnv, seed: Any, actions: list[list[Any]]) -> Iterator[Result]:
        """Resets, then takes `actions`; one result a call."""
        observation, info = env.reset(seed=seed)
        raw = {"observation": observation, "info": info}
        nothing_ended = np.zeros(env.num_envs, dtype=bool)
        yield Result(raw, by_env(raw, env.num_envs), copied(observation), nothing_ended)
        yield from self.go_on(env, actions)

    def go_on(self, env: VectorEnv, actions: list[list[Any]]) -> Iterator[Result]:
        """Continues a run with `actions`; without autoreset, resets the environments that end."""
        for action in actions:
            batch = self.batched(action)
            returned = env.step(batch)
            raw: dict[str, Any] = {"action": batch}
            raw |= zip(("observation", "reward", "terminated", "truncated", "info"), returned, strict=True)
            envs = by_env(raw, env.num_envs)
            latest = copied(raw["observation"])
            ended = np.array([bool(x["terminated"]) or bool(x["truncated"]) for x in envs])
            if self.mode is AutoresetMode.DISABLED and ended.any():
                raw["next_observation"], _ = env.reset(options={"reset_mask": ended.copy()})
                latest = copied(raw["next_observation"])
                for i, outcome in enumerate(by_env(raw, env.num_envs)):
                    if ended[i]:
                        envs[i]["next_observation"] = outcome["next_observation"]
            yield Result(raw, envs, latest, ended)

    def need_ends(self) -> None:
        """Raises NotOffered if no episode of the reference run ended."""
        if not any(result.ended.any() for result in self.reference):
            raise NotOffered(f"no episode ended in {self.steps} steps; make episodes shorter or take more steps")

    def need_envs(self, at_least: int = 2) -> None:
        """Raises NotOffered if there are too few environments."""
        if self.num_envs < at_least:
            raise NotOffered(f"it needs {at_least} environments, there is {self.num_envs}")


def by_env(raw: Mapping[str, Any], num_envs: int) -> list[Outcome]:
    """A copy of what each environment got, by name; of the info, what is known to be the same in every run."""
    compared = {name: x for name, x in raw.items() if name not in ("info", "action")}
    envs: list[Outcome] = [{} for _ in range(num_envs)]
    _collect(envs, range(num_envs), "", {**compared, "info": _reproducible(raw["info"])})
    return envs


def group(outcome: Outcome, group: str) -> dict[str, np.ndarray]:
    """A group of an environment's info, or of its final info where the info is already that of the next episode."""
    for prefix in (f"info.{group}.", f"info.final_info.{group}."):
        found = {name.removeprefix(prefix): x for name, x in outcome.items() if name.startswith(prefix)}
        if found:
            return found
    return {}


def copied(x: Any) -> np.ndarray:
    return np.array(x)


def _reproducible(info: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an info that the laws are about; others hold times of the clock, for instance."""
    known = {name: info[name] for name in info if name.removeprefix("_") in _INFO_BY_ENV}
    if isinstance(info.get("final_info"), Mapping):
        known |= {"final_info": _reproducible(info["final_info"]), "_final_info": info["_final_info"]}
    return known


def _collect(envs: list[Outcome], present: Sequence[int], prefix: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name.startswith("_"):
            continue
        mask = values.get(f"_{name}")
        holders = present if mask is None else [i for i in present if mask[i]]
        if isinstance(value, Mapping):
            _collect(envs, holders, f"{prefix}{name}.", value)
            continue
        if np.ndim(value) == 0 or len(value) != len(envs):
            raise LawViolation("spaces", [], f"{prefix}{name} has shape {np.shape(value)} for {len(envs)} environments")
        for i in holders:
            envs[i][f"{prefix}{name}"] = copied(value[i])
