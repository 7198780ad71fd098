"""A higher task over a frozen policy: `HierarchicalVectorEnv`, whose action is that policy's command."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from motrix_gym import arguments
from motrix_gym.batch import Batch
from motrix_gym.batch_vector_env import BatchVectorEnv
from motrix_gym.outcome import Outcome
from motrix_gym.state import Array

LowLevel = Callable[[Array], Array]  # observations (n, k) float32 -> actions (n, m)
ENVS_AT_A_TIME = 64


class HierarchicalVectorEnv(BatchVectorEnv):
    """N environments whose action is the command of a low-level policy, held for a number of control steps.

    A step writes the action into the task state as the command, then lets the low-level policy act on the task's
    observation, `hold` times. The task must show the command in a block of its observation and must leave it as it is.
    Observations are those of the task, command included: it is to the higher policy what the last action is to the
    lower one.

    The reward of a step and its terms are sums over the held control steps, its metrics are means over them, and
    its reasons of termination are those of the control step that ended the episode. An environment whose episode ends
    before the hold is over waits, as that control step left it, until the others have finished. The autoreset mode is
    that of `env`; ``final_obs`` is what an environment observed when its episode ended.

    The low-level policy is given 64 environments at a time, filled up with zeros where there are fewer, because matrix
    products round differently in batches of different sizes. An environment then depends on its seed and actions only,
    bit for bit, provided that the policy does not mix environments and rounds alike in every place of a batch.
    Elementwise arithmetic and `numpy.einsum` do; so did all matrix products that were tried with NumPy and with Torch
    on a CPU, but neither library promises it, and with another number of threads they may round differently.

    The state is that of `env`, so a hierarchical environment can itself be the `env` of another.

    Args:
        env: The environment of the higher task.
        low_level: The policy, observations (n, k) float32 to actions (n, m), environments apart from each other.
        hold: Control steps that a command is held for.
        command_space: The bounded space of one environment's command, (c,).
        command: The field of the task state that is the command, (N, c), and the block that shows it.
        blocks: The observation blocks that the policy reads, in its order; all of them by default.

    Attributes:
        env: As given.
        low_level: As given.
        hold: As given.
        task: The higher task, with the `control_dt` of a whole hold.
        max_episode_steps: The time limit in steps of this environment, the last of which may be a shorter hold;
            None for none.

    Raises:
        ValueError: An `env` whose arrays are tensors, a `hold` below 1, a `command` or `blocks` that the task does not
            have, or a command space that does not fit.
    """

    def __init__(
        self,
        env: BatchVectorEnv,
        low_level: LowLevel,
        *,
        hold: int,
        command_space: gym.spaces.Box,
        command: str = "command",
        blocks: Sequence[str] | None = None,
    ):
        if env.arrays != "numpy":
            raise ValueError(f"the environment has arrays={env.arrays!r}; a policy over it takes 'numpy'")
        self.env, self.low_level, self.hold = env, low_level, arguments.whole_number("hold", hold, at_least=1)
        self._command = {"command_space": command_space, "command": command, "blocks": blocks}
        columns = _columns_read(env.batch, command, blocks)
        _check_command_space(env.batch, command, command_space)
        self.task = dataclasses.replace(env.task, control_dt=self.hold * env.task.control_dt)
        limit = env.max_episode_steps
        self.max_episode_steps = None if limit is None else -(-limit // self.hold)
        super().__init__(
            HeldBatch(env.batch, low_level, self.hold, command_space, command, columns),
            autoreset_mode=env.autoreset_mode,
            render_mode=env.render_mode,
            render_size=env.render_size,
            render_camera=env.render_camera,
        )

    def close_extras(self, **kwargs: object) -> None:
        """Closes the environment of the higher task too."""
        super().close_extras(**kwargs)
        self.env.close(**kwargs)

    def _arguments(self) -> dict[str, Any]:
        return {"env": self.env, "low_level": self.low_level, "hold": self.hold, **self._command}


class HeldBatch(Batch):
    """The environments of another batch, whose action is a command that a policy follows for some of its steps.

    Args:
        batch: The other batch.
        low_level: The policy.
        hold: Steps of the other batch that a command is held for.
        command_space: The space of one environment's command.
        command: The field of the task state, and the observation block, that is the command.
        columns: The columns of the observation that the policy reads, (k,) int.
    """

    privileged_width = 0

    def __init__(
        self,
        batch: Batch,
        low_level: LowLevel,
        hold: int,
        command_space: gym.spaces.Box,
        command: str,
        columns: Array,
    ):
        self._batch, self._low_level, self._hold = batch, low_level, hold
        self._command, self._columns = command, columns
        self.num_envs = batch.num_envs
        self.action_space = command_space
        self.observation_blocks, self.observation_history = batch.observation_blocks, batch.observation_history
        self.mirror = batch.mirror and dataclasses.replace(batch.mirror, action=batch.mirror.blocks[command])
        self.models = batch.models
        self.control_dt = hold * batch.control_dt
        self.deterministic, self.example = batch.deterministic, batch.example

    @property
    def ended(self) -> Array:
        return self._batch.ended

    def seed(self, seeds: Mapping[int, int]) -> None:
        self._batch.seed(seeds)

    def reset(self, mask: Array) -> Array:
        return self._batch.reset(mask)

    def step(self, action: Array, active: Array | None = None) -> Outcome:
        holding = np.ones(self.num_envs, dtype=bool) if active is None else active
        self._batch.set_task_field(self._command, action)
        sums = _Sums(self.num_envs)
        for _ in range(self._hold):
            low_level_action = self._low_level_action(self._batch.observe())
            outcome = self._batch.step(low_level_action, None if holding.all() else holding)
            sums.add(outcome)
            holding = holding & ~outcome.ended
            if not holding.any():
                break
        return sums.outcome()

    def observe(self) -> Array:
        return self._batch.observe()

    def observe_privileged(self, observations: Array) -> Array:
        return observations

    def save(self) -> dict[str, Array]:
        return self._batch.save()

    def load(self, arrays: dict[str, Array]) -> None:
        self._batch.load(arrays)

    def set_task_field(self, name: str, values: Array) -> None:
        self._batch.set_task_field(name, values)

    def view(self, env: int) -> tuple[mujoco.MjModel, mujoco.MjModel, mujoco.MjData]:
        return self._batch.view(env)

    def _low_level_action(self, observations: Array) -> Array:
        """The action of the low-level policy, (N, m), always asked for the same number of environments at a time.

        Raises:
            ValueError: Actions of another shape, or NaN.
        """
        read = observations[:, self._columns]
        filled = np.pad(read, ((0, -len(read) % ENVS_AT_A_TIME), (0, 0)))
        parts = np.split(filled, len(filled) // ENVS_AT_A_TIME)
        action = np.concat([self._low_level(part) for part in parts])[: self.num_envs]
        return arguments.actions(action, self._batch.action_space, self.num_envs)


class _Sums:
    """What the control steps of a hold come to, for each environment.

    Args:
        num_envs: N.
    """

    def __init__(self, num_envs: int):
        self._control_steps = np.zeros(num_envs, dtype=np.int64)
        self._terminated, self._truncated = np.zeros((2, num_envs), dtype=bool)
        self._rewards = np.zeros(num_envs)
        self._reward_terms: dict[str, Array] = {}
        self._metrics: dict[str, Array] = {}
        self._termination: dict[str, Array] = {}
        self._success: Array | None = None  # that of the last control step
        self._last: Outcome | None = None

    def add(self, outcome: Outcome) -> None:
        """Adds a control step. Sums grow in order of time, so that they round as in one environment alone."""
        self._last, acted = outcome, outcome.took_step
        self._control_steps += acted
        self._terminated, self._truncated = self._terminated | outcome.terminated, self._truncated | outcome.truncated
        self._rewards = self._rewards + outcome.rewards
        for sums, group in ((self._reward_terms, outcome.reward_terms), (self._metrics, outcome.metrics)):
            sums |= {name: sums.get(name, 0.0) + x for name, x in group.items()}
        reasons = self._termination
        reasons |= {name: reasons.get(name, False) | x for name, x in outcome.termination.items()}
        if outcome.success is not None:
            before = False if self._success is None else self._success
            self._success = np.where(acted, outcome.success, before)

    def outcome(self) -> Outcome:
        """The sums; each metric is the mean over an environment's control steps, 0 where it took none."""
        assert self._last is not None
        steps = np.maximum(self._control_steps, 1)
        return dataclasses.replace(
            self._last,
            took_step=self._control_steps > 0,
            terminated=self._terminated,
            truncated=self._truncated,
            rewards=self._rewards,
            reward_terms=self._reward_terms,
            termination=self._termination,
            metrics={name: total / steps for name, total in self._metrics.items()},
            success=self._success,
        )


def _columns_read(batch: Batch, command: str, blocks: Sequence[str] | None) -> Array:
    """The columns of the observation that the low-level policy reads, in its order, (k,) int."""
    known = batch.observation_blocks
    blocks = list(known) if blocks is None else blocks
    for block in blocks:
        if block not in known:
            raise ValueError(f"there is no observation block {block!r}; there are {', '.join(known)}")
    if command not in blocks:
        raise ValueError(f"the low-level policy does not see the command: {command!r} is not in {', '.join(blocks)}")
    return np.concat([np.arange(known[block].start, known[block].stop) for block in blocks])


def _check_command_space(batch: Batch, command: str, space: gym.spaces.Box) -> None:
    prefix = "memory."
    fields = {name.removeprefix(prefix): x.shape for name, x in batch.save().items() if name.startswith(prefix)}
    if command not in fields:
        raise ValueError(f"the task remembers no {command!r}; it remembers {', '.join(fields) or 'nothing'}")
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or not space.is_bounded():
        raise ValueError(f"command_space is {space}; it takes a Box of vectors with finite bounds")
    if (batch.num_envs, *space.shape) != fields[command]:
        raise ValueError(f"command_space has shape {space.shape}; the task's command has {fields[command][1:]}")
