"""A higher task over a frozen policy: `HierarchicalVectorEnv`, whose action is that policy's command."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from motrix_gym.task import render_fps
from motrix_gym.vector_env import CallableByRow, MotrixVectorEnv

LowLevel = Callable[[np.ndarray], np.ndarray]  # observations (n, k) float32 -> actions (n, m)
State = dict[str, np.ndarray]

ROWS_AT_A_TIME = 64


class HierarchicalVectorEnv(CallableByRow):
    """N environments whose action is the command of a low-level policy, held for a number of control steps.

    A step puts the action into the task's memory as the command, then lets the low-level policy act on what the
    task shows it, `hold` times. The task must show the command in a block of its observation and must leave it as
    it is. Observations are those of the task, command included: it is to the higher policy what the last action is
    to the lower one.

    The reward of a step and its terms are sums over the held control steps, its metrics are means over them, and
    its reasons of termination are those of the control step that ended the episode. A row whose episode ends within
    a hold ends there: it waits, as that control step left it, until the others' hold is over. In same-step autoreset
    its new episode therefore begins with the next step; ``final_obs`` is what it saw when it ended. The autoreset
    mode is that of `env`.

    The low-level policy is given 64 rows at a time, filled up with zeros where there are fewer, because matrix
    products round differently in batches of different sizes. A row then depends on its seed and actions only, bit
    for bit, provided that the policy does not mix rows and rounds alike in every place of a batch. Elementwise
    arithmetic and `numpy.einsum` do; so did all matrix products that were tried with NumPy and with Torch on a CPU,
    but neither library promises it, and with another number of threads they may round differently.

    The state is that of `env`, so a hierarchical environment can itself be the `env` of another.

    Args:
        env: The environment of the higher task.
        low_level: The policy, observations (n, k) float32 to actions (n, m), rows apart from each other.
        hold: Control steps that a command is held for.
        command_space: The bounded space of one row's command, (c,).
        command: The field of the task's memory that is the command, (N, c), and the block that shows it.
        blocks: The observation blocks that the policy reads, in its order; all of them by default.

    Attributes:
        env: As given.
        hold: As given.
        task: The higher task, with the `control_dt` of a whole hold.
        max_episode_steps: The time limit in steps of this environment, the last of which may be a shorter hold;
            None for none.
        autoreset_mode: The `AutoresetMode` in force.
        observation_blocks: The columns of each observation block, by name, in order.
        mirror: The reflection of the task, its action that of the command; None where the task has none.

    Raises:
        ValueError: A `hold` below 1, a `command` or `blocks` that the task does not have, or a command space that
            does not fit.
    """

    def __init__(
        self,
        env: MotrixVectorEnv | HierarchicalVectorEnv,
        low_level: LowLevel,
        *,
        hold: int,
        command_space: gym.spaces.Box,
        command: str = "command",
        blocks: Sequence[str] | None = None,
    ):
        if isinstance(hold, bool) or not isinstance(hold, (int, np.integer)) or hold < 1:
            raise ValueError(f"hold is {hold!r}; it takes an integer of at least 1")
        self._memory_field = f"memory.{command}"
        self._columns = _columns_read(env, command, blocks)
        _check_command_space(env, self._memory_field, command_space)
        self.env = env
        self.hold = int(hold)
        self._low_level = low_level
        self._command_bounds = command_space.low, command_space.high
        self._begun = False

        self.num_envs = env.num_envs
        self.single_observation_space, self.observation_space = env.single_observation_space, env.observation_space
        self.single_action_space = command_space
        self.action_space = batch_space(command_space, self.num_envs)
        self.observation_blocks = env.observation_blocks
        self.task = dataclasses.replace(env.task, control_dt=self.hold * env.task.control_dt)
        limit = env.max_episode_steps
        self.max_episode_steps = None if limit is None else -(-limit // self.hold)
        self.mirror = env.mirror and dataclasses.replace(env.mirror, action=env.mirror.blocks[command])
        self.autoreset_mode = env.autoreset_mode
        self.render_mode = env.render_mode
        self.metadata = env.metadata | {"render_fps": render_fps(self.task.control_dt)}

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The seed of every row's stream, -1 where it is not known any more."""
        return self.env.np_random_seed

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts new episodes, as `MotrixVectorEnv.reset` does."""
        result = self.env.reset(seed=seed, options=options)
        self._begun = True
        return result

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Holds a command in every row.

        Args:
            actions: The commands, (N, c); what lies outside the command space is clipped to it.

        Returns:
            As `MotrixVectorEnv.step`.

        Raises:
            ValueError: Commands of another shape, or NaN; low-level actions of another shape, or NaN.
            gymnasium.error.ResetNeeded: A row has not been reset since it ended.
        """
        commands = self._checked(actions)
        if not self._begun:
            raise gym.error.ResetNeeded("no episode has begun; call reset() before step()")
        observations = self.env.set_state(self.env.get_state() | {self._memory_field: commands})
        final_observations = observations
        sums = _Sums(self.num_envs)
        holding = np.ones(self.num_envs, dtype=bool)
        waiting: list[tuple[np.ndarray, State]] = []  # rows that are done before the others, (N,) bool, and their state
        for control_step in range(1, self.hold + 1):
            observations, rewards, terminates, truncates, info = self.env.step(self._low_level_actions(observations))
            ends = terminates | truncates
            acted = holding & info["_reward_terms"]  # in next-step autoreset, not the rows that were just reset
            sums.add(acted, rewards, terminates, truncates, info)
            if "final_obs" in info:
                final_observations = np.where((acted & ends)[:, None], info["final_obs"], final_observations)
            done, holding = holding & (ends | ~acted), acted & ~ends
            if control_step == self.hold or not holding.any():
                break
            if done.any():
                waiting.append((done, self.env.get_state()))
            if ends.any() and self.autoreset_mode is AutoresetMode.DISABLED:
                # It takes a reset to step the others on; what these rows do until they are put back does not count.
                observations, _ = self.env.reset(options={"reset_mask": ends})
        if waiting:
            observations = self.env.set_state(_put_back(self.env.get_state(), waiting))

        groups = {"reward_terms": sums.reward_terms, "termination": sums.termination, "metrics": sums.mean_metrics}
        groups |= sums.success
        info = _masked(groups, sums.control_steps > 0)
        ended = sums.terminated | sums.truncated
        if ended.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            final_observations = np.where(ended[:, None], final_observations, observations)
            info |= {"final_obs": final_observations, "_final_obs": ended.copy()}
            info |= {"final_info": _masked(groups, ended), "_final_info": ended.copy()}
        return observations, sums.rewards, sums.terminated, sums.truncated, info

    def get_state(self) -> State:
        """The whole state, random streams included, as a flat dictionary of arrays; `set_state` goes on from it."""
        return self.env.get_state()

    def set_state(self, state: State) -> np.ndarray:
        """Goes on from what `get_state` gave, bit for bit; returns the observations in that state, (N, k) float32."""
        observations = self.env.set_state(state)
        self._begun = True
        return observations

    def render(self) -> tuple[np.ndarray, ...] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A frame of every row, each (height, width, 3) uint8; None, with a warning, without a render mode."""
        return self.env.render()

    def render_rows(self, rows: Sequence[int]) -> list[np.ndarray]:
        """Frames of some rows, each (height, width, 3) uint8."""
        return self.env.render_rows(rows)

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the environment of the higher task."""
        self.env.close(**kwargs)

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        commands = np.asarray(actions, dtype=np.float64)
        if commands.shape != self.action_space.shape:
            raise ValueError(
                f"actions have shape {commands.shape}; {self.num_envs} rows take {self.action_space.shape}"
            )
        nan = np.flatnonzero(np.isnan(commands).any(axis=1))
        if nan.size:
            raise ValueError(f"the action of row {nan[0]} is NaN; look at the policy that gave it")
        return np.clip(commands, *self._command_bounds)

    def _low_level_actions(self, observations: np.ndarray) -> np.ndarray:
        """What the low-level policy does, (N, m), always asked for the same number of rows at a time."""
        read = observations[:, self._columns]
        filled = np.pad(read, ((0, -len(read) % ROWS_AT_A_TIME), (0, 0)))
        parts = np.split(filled, len(filled) // ROWS_AT_A_TIME)
        return np.concatenate([self._low_level(part) for part in parts])[: self.num_envs]


class _Sums:
    """What the control steps of a hold came to, row by row.

    Args:
        num_rows: N.
    """

    def __init__(self, num_rows: int):
        self.control_steps = np.zeros(num_rows, dtype=np.int64)
        self.rewards = np.zeros(num_rows)
        self.terminated, self.truncated = np.zeros((2, num_rows), dtype=bool)
        self.reward_terms: dict[str, np.ndarray] = {}
        self.metrics: dict[str, np.ndarray] = {}
        self.termination: dict[str, np.ndarray] = {}
        self.success: dict[str, np.ndarray] = {}  # empty for a task without; else that of the last control step

    def add(
        self,
        rows: np.ndarray,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        info: dict[str, Any],
    ) -> None:
        """Adds a control step of `rows`, (N,) bool. Sums grow in order of time, so that they round as in one row."""
        self.control_steps += rows
        self.rewards = self.rewards + np.where(rows, rewards, 0.0)
        self.terminated, self.truncated = self.terminated | (rows & terminated), self.truncated | (rows & truncated)
        for sums, group in ((self.reward_terms, "reward_terms"), (self.metrics, "metrics")):
            sums |= {name: sums.get(name, 0.0) + np.where(rows, x, 0.0) for name, x in info[group].items()}
        reasons = self.termination
        reasons |= {name: reasons.get(name, False) | (rows & x) for name, x in info["termination"].items()}
        if "success" in info:
            self.success = {"success": np.where(rows, info["success"], self.success.get("success", False))}

    @property
    def mean_metrics(self) -> dict[str, np.ndarray]:
        """The mean of each metric over a row's control steps, (N,); 0 where it had none."""
        return {name: total / np.maximum(self.control_steps, 1) for name, total in self.metrics.items()}


def _columns_read(
    env: MotrixVectorEnv | HierarchicalVectorEnv, command: str, blocks: Sequence[str] | None
) -> np.ndarray:
    """The columns of the observation that the low-level policy reads, in its order, (k,) int."""
    known = env.observation_blocks
    blocks = list(known) if blocks is None else blocks
    for block in blocks:
        if block not in known:
            raise ValueError(f"there is no observation block {block!r}; there are {', '.join(known)}")
    if command not in blocks:
        raise ValueError(f"the low-level policy does not see the command: {command!r} is not in {', '.join(blocks)}")
    return np.concatenate([np.arange(known[block].start, known[block].stop) for block in blocks])


def _check_command_space(
    env: MotrixVectorEnv | HierarchicalVectorEnv, memory_field: str, space: gym.spaces.Box
) -> None:
    memory = {name: x.shape for name, x in env.get_state().items() if name.startswith("memory.")}
    if memory_field not in memory:
        names = ", ".join(name.removeprefix("memory.") for name in memory) or "nothing"
        raise ValueError(f"the task remembers no {memory_field.removeprefix('memory.')!r}; it remembers {names}")
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or not space.is_bounded():
        raise ValueError(f"command_space is {space}; it takes a Box of vectors with finite bounds")
    if (env.num_envs, *space.shape) != memory[memory_field]:
        raise ValueError(f"command_space has shape {space.shape}; the task's command has {memory[memory_field][1:]}")


def _put_back(state: State, waiting: list[tuple[np.ndarray, State]]) -> State:
    """The state with the rows that waited as they were when they began to."""
    for rows, then in waiting:
        for name, x in state.items():
            x[rows] = then[name][rows]
    return state


def _masked(groups: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """An info in Gymnasium's form: every key k with the rows it holds for in _k."""
    return groups | {f"_{name}": mask.copy() for name in groups}
