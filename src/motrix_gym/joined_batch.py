"""N environments of several tasks: which environment has which, and how the results of the tasks are put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from motrix_gym.batch import Batch, TaskBatch
from motrix_gym.multi_task import MultiTask, about_task, cycle
from motrix_gym.outcome import Outcome
from motrix_gym.physics.engine import Engine
from motrix_gym.state import Array, consecutive
from motrix_gym.state_layout import StateLayout
from motrix_gym.symmetry import Flip, Mirror

TASK_BLOCK = "task"


@dataclass(frozen=True)
class JointMirror:
    """How what joined tasks observe and do is reflected.

    Attributes:
        observation: Reflection of the observation; the block of the task stays as it is.
        action: Reflection of the action.
    """

    observation: Flip
    action: Flip


class JoinedBatch(Batch):
    """N environments of several tasks.

    The environments of one task are a `TaskBatch` of their own. Where seeds give a task another number of environments,
    it is made anew and takes over those that stay.

    Args:
        task: The tasks.
        num_envs: N.
        max_episode_steps: The time limit in control steps, None for none.
        engine: What simulates them.

    Attributes:
        task_names: Their names, in the order of ``info["task"]`` and of the one-hot block.
        task_of: The index of each environment's task, (N,) int; -1 before the first seed.
    """

    example = np.zeros(1)
    privileged_width = 0  # joined tasks tell a critic no more than the policy

    def __init__(self, task: MultiTask, num_envs: int, max_episode_steps: int | None, engine: Engine):
        self.num_envs = num_envs
        self.control_dt = task.control_dt
        self.action_space = task.action_space()
        members = task.members()
        self.task_names = tuple(members)
        self.task_of = np.full(num_envs, -1)
        self._tasks = tuple(members.values())
        self._settings = max_episode_steps, engine
        self._cycle = cycle(task.shares)
        self._members: list[TaskBatch | None] = [None] * len(members)

        samples = []
        for k in range(len(members)):
            with about_task(k):
                samples.append(self._made(k, 1))
        for sample in samples:
            sample.seed({0: 0})
            sample.reset(np.ones(1, dtype=bool))
        self.models = tuple(sample.models[0] for sample in samples)
        self.deterministic = all(sample.deterministic for sample in samples)
        self.observation_blocks = _joint_blocks(self.task_names, samples)
        self._columns = [
            np.r_[tuple(self.observation_blocks[block] for block in sample.observation_blocks)] for sample in samples
        ]
        histories = {name: steps for sample in samples for name, steps in sample.observation_history.items()}
        self.observation_history = {name: histories.get(name, 1) for name in self.observation_blocks}
        self.mirror = _joint_mirror([sample.mirror for sample in samples], list(self.observation_blocks))
        self._layout = StateLayout(self.task_names, [sample.save() for sample in samples], num_envs)
        outcomes = [sample.step(np.zeros((1, *self.action_space.shape))) for sample in samples]
        self._terms = list(task.weights)
        self._reasons = list(dict.fromkeys(reason for outcome in outcomes for reason in outcome.termination))
        self._metrics = {
            f"{name}/{metric}": k
            for k, (name, outcome) in enumerate(zip(self.task_names, outcomes, strict=True))
            for metric in outcome.metrics
        }
        self._solvable = np.array([outcome.success is not None for outcome in outcomes])

    @property
    def ended(self) -> Array:
        ended = np.zeros(self.num_envs, dtype=bool)
        for _, envs, member in self._groups():
            ended[envs] = member.ended
        return ended

    def seed(self, seeds: Mapping[int, int]) -> None:
        task_of = self.task_of.copy()
        for env, seed in seeds.items():
            task_of[env] = self._cycle[seed % len(self._cycle)]
        if (task_of != self.task_of).any():
            arrays = self._joint_arrays()
            for k in range(len(self._tasks)):
                self._layout.put_initial(arrays, k, np.flatnonzero((task_of == k) & (self.task_of != k)))
            self._distribute(task_of, arrays)
        for _, envs, member in self._groups():
            own = {place: seeds[env] for place, env in enumerate(envs.tolist()) if env in seeds}
            if own:
                member.seed(own)

    def reset(self, mask: Array) -> Array:
        observations = self._blank_observations()
        for k, envs, member in self._groups():
            if mask[envs].any():
                observations[np.ix_(envs[mask[envs]], self._columns[k])] = member.reset(mask[envs])
        return observations[mask]

    def step(self, action: Array, active: Array | None = None) -> Outcome:
        n = self.num_envs
        active = np.ones(n, dtype=bool) if active is None else active
        terminated, truncated, success = np.zeros((3, n), dtype=bool)
        rewards = np.zeros(n)
        terms = {name: np.zeros(n) for name in self._terms}
        reasons = {name: np.zeros(n, dtype=bool) for name in self._reasons}
        metrics = {name: np.zeros(n) for name in self._metrics}
        for k, envs, member in self._groups():
            name = self.task_names[k]
            outcome = member.step(action[envs], None if active[envs].all() else active[envs])
            terminated[envs], truncated[envs] = outcome.terminated, outcome.truncated
            rewards[envs] = outcome.rewards
            for term, x in outcome.reward_terms.items():
                terms[f"{name}/{term}"][envs] = x
            for reason, x in outcome.termination.items():
                reasons[reason][envs] = x
            for metric, x in outcome.metrics.items():
                metrics[f"{name}/{metric}"][envs] = x
            if outcome.success is not None:
                success[envs] = outcome.success
        return Outcome(
            took_step=active,
            terminated=terminated,
            truncated=truncated,
            rewards=rewards,
            reward_terms=terms,
            termination=reasons,
            metrics=metrics,
            success=success if self._solvable.any() else None,
            solvable=self._solvable[self.task_of],
            metric_masks={metric: self.task_of == k for metric, k in self._metrics.items()},
            groups={"task": self.task_of.copy()},
        )

    def observe(self) -> Array:
        observations = self._blank_observations()
        for k, envs, member in self._groups():
            observations[np.ix_(envs, self._columns[k])] = member.observe()
        return observations

    def observe_privileged(self, observations: Array) -> Array:
        return observations

    def save(self) -> dict[str, Array]:
        return {"task": self.task_of.copy(), **self._joint_arrays()}

    def load(self, arrays: dict[str, Array]) -> None:
        unknown = arrays["task"][~np.isin(arrays["task"], range(len(self.task_names)))]
        if unknown.size:
            raise ValueError(f"state 'task' has a task {unknown[0]}; the tasks are {', '.join(self.task_names)}")
        self._distribute(arrays["task"].copy(), arrays)

    def set_task_field(self, name: str, values: Array) -> None:
        for _, envs, member in self._groups():
            member.set_task_field(name, values[envs])

    def view(self, env: int) -> tuple[mujoco.MjModel, mujoco.MjModel, mujoco.MjData]:
        k = int(self.task_of[env])
        member = self._members[k]
        assert member is not None
        _, own_model, data = member.view(int(np.sum(self.task_of[:env] == k)))
        return self.models[k], own_model, data

    def _blank_observations(self) -> Array:
        """Zeros, and the one-hot block of the tasks."""
        block = self.observation_blocks[TASK_BLOCK]
        observations = np.zeros((self.num_envs, block.stop), dtype=np.float32)
        observations[:, block] = self.task_of[:, None] == np.arange(len(self.task_names))
        return observations

    def _made(self, k: int, num_envs: int) -> TaskBatch:
        return TaskBatch(self._tasks[k], num_envs, *self._settings)

    def _groups(self) -> Iterator[tuple[int, Array, TaskBatch]]:
        """The tasks that have environments: index, environments (M,) int, batch."""
        for k, member in enumerate(self._members):
            if member is not None:
                yield k, np.flatnonzero(self.task_of == k), member

    def _distribute(self, task_of: Array, arrays: dict[str, Array]) -> None:
        """Gives every environment, with its state, to the batch of its task."""
        self.task_of = task_of
        for k in range(len(self._tasks)):
            envs, member = np.flatnonzero(task_of == k), self._members[k]
            if member is not None and member.num_envs != len(envs):
                member = None
            if member is None and len(envs):
                member = self._made(k, len(envs))
            if member is not None:
                member.load(self._layout.take(arrays, k, envs))
            self._members[k] = member

    def _joint_arrays(self) -> dict[str, Array]:
        arrays = self._layout.blank()
        for k, envs, member in self._groups():
            self._layout.put(arrays, k, envs, member.save())
        return arrays


def _joint_blocks(task_names: tuple[str, ...], samples: list[TaskBatch]) -> dict[str, slice]:
    """The columns of every observation block of every task; blocks of the same name share their columns."""
    widths: dict[str, int] = {}
    for name, sample in zip(task_names, samples, strict=True):
        for block, columns in sample.observation_blocks.items():
            width = columns.stop - columns.start
            if block == TASK_BLOCK or widths.setdefault(block, width) != width:
                known = widths.get(block, len(samples))
                raise ValueError(
                    f"the observation block {block!r} has {width} columns in task {name!r} and {known} elsewhere; "
                    "blocks that are not the same need names of their own"
                )
    widths[TASK_BLOCK] = len(samples)
    return consecutive(widths)


def _joint_mirror(mirrors: list[Mirror | None], blocks: list[str]) -> JointMirror | None:
    """The reflection, where every task has one and all agree."""
    known = [mirror for mirror in mirrors if mirror is not None]
    if len(known) < len(mirrors):
        return None
    action, flips = known[0].action, {TASK_BLOCK: Flip.signs(*np.ones(len(known)))}
    pairs = [(mirror.action, action) for mirror in known]
    for mirror in known:
        shown = {name: flip.repeated(mirror.history) for name, flip in mirror.blocks.items()}
        pairs += [(flip, flips.setdefault(name, flip)) for name, flip in shown.items()]
    if not all(_same(one, other) for one, other in pairs):
        return None
    return JointMirror(Flip.joined(*(flips[name] for name in blocks)), action)


def _same(one: Flip, other: Flip) -> bool:
    return np.array_equal(one.index, other.index) and np.array_equal(one.sign, other.sign)
