"""The vector environment of joined tasks: who has which row, and how their results are put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from motrix_gym.multi_task import MultiTask, cycle
from motrix_gym.symmetry import Flip
from motrix_gym.task import Task
from motrix_gym.vector_env import MotrixVectorEnv

TASK_BLOCK = "task"


def vector_env(task: Task | MultiTask, num_envs: int = 1, **kwargs: Any) -> MotrixVectorEnv:
    """The vector environment of one task, or of several that are joined."""
    if isinstance(task, MultiTask):
        return MultiTaskVectorEnv(task, num_envs, **kwargs)  # pyright: ignore[reportArgumentType]  (it is no Task)
    return MotrixVectorEnv(task, num_envs, **kwargs)


@dataclass(frozen=True)
class JointMirror:
    """How what joined tasks observe and do is reflected.

    Attributes:
        observation: Reflection of the observation; the block of the task stays as it is.
        action: Reflection of the action.
    """

    observation: Flip
    action: Flip


class MultiTaskVectorEnv(MotrixVectorEnv):
    """N environments of several tasks, stepped together.

    The rows of one task are a `MotrixVectorEnv` of their own. Where seeds give a task another number of rows, it is
    made anew and takes over the rows that stay.

    Attributes:
        task: The tasks.
        task_names: Their names, in the order of ``info["task"]`` and of the one-hot block.
        mirror: The reflection, where every task has one and all agree; else None.
    """

    task: MultiTask  # pyright: ignore[reportIncompatibleVariableOverride]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        mask = self._reset_mask(options)
        self._seed(seed, mask)
        for _, rows, member in self._groups():
            if mask[rows].any():
                member._restart(np.flatnonzero(mask[rows]))
        self._ended = self._ended & ~mask
        self._begun = True
        return self._present_observations(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        action = self._checked(actions)
        self._require_episodes()
        n = self.num_envs
        observations, last = self._blank_observations(), self._blank_observations()
        rewards = np.zeros(n)
        terminated, truncated, stepped = np.zeros((3, n), dtype=bool)
        terms = {name: np.zeros(n) for name in self._terms}
        reasons = {name: np.zeros(n, dtype=bool) for name in self._reasons}
        metrics = {name: np.zeros(n) for name in self._metrics}
        success = np.zeros(n, dtype=bool)
        for k, rows, member in self._groups():
            observation, rewards[rows], terminated[rows], truncated[rows], info = member.step(action[rows])
            self._put_observation(observations, k, rows, observation)
            self._put_observation(last, k, rows, info.get("final_obs", observation))
            stepped[rows] = info["_reward_terms"]
            for term, x in info["reward_terms"].items():
                terms[f"{self.task_names[k]}/{term}"][rows] = x
            for reason, x in info["termination"].items():
                reasons[reason][rows] = x
            for metric, x in info["metrics"].items():
                metrics[f"{self.task_names[k]}/{metric}"][rows] = x
            success[rows] = info.get("success", False)
        groups = {"reward_terms": terms, "termination": reasons, "metrics": metrics, "task": self._task.copy()}
        if self._solvable.any():
            groups["success"] = success
        info = self._masked(groups, stepped)
        self._ended = ended = terminated | truncated
        if ended.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            info |= {"final_obs": last, "_final_obs": ended.copy()}
            info |= {"final_info": self._masked(groups, ended), "_final_info": ended.copy()}
            self._ended = np.zeros(n, dtype=bool)
        return observations, rewards, terminated, truncated, info

    def get_state(self) -> dict[str, np.ndarray]:
        self._seed_if_never_seeded()
        return {"task": self._task.copy(), **self._joint_state()}

    def set_state(self, state: dict[str, np.ndarray]) -> np.ndarray:
        self._require_fit(state)
        unknown = state["task"][~np.isin(state["task"], range(len(self.task_names)))]
        if unknown.size:
            raise ValueError(f"state 'task' has a task {unknown[0]}; the tasks are {', '.join(self.task_names)}")
        self._forget_seeds((state["key"] != self._joint_state()["key"]).any(axis=1))
        self._distribute(state["task"].copy(), state)
        self._ended = state["ended"].copy()
        self._seeded = self._begun = True
        return self._present_observations()

    def render_rows(self, rows: Sequence[int]) -> list[np.ndarray]:
        self._seed_if_never_seeded()
        places = {row: (member, place) for _, own, member in self._groups() for place, row in enumerate(own.tolist())}
        return [member.render_rows([place])[0] for member, place in (places[row] for row in rows)]

    def close_extras(self, **kwargs: Any) -> None:
        for _, _, member in self._groups():
            member.close()

    def _build(self) -> None:
        members = self.task.members()
        self.task_names = tuple(members)
        self._tasks = tuple(members.values())
        self._cycle = cycle(self.task.shares)
        self._task = np.full(self.num_envs, -1)  # (N,) the index of each row's task; -1 before the first seed
        self._members: list[MotrixVectorEnv | None] = [None] * len(members)

        samples = [self._made(k, 1) for k in range(len(members))]
        for sample in samples:
            sample.reset(seed=0)
        self._lay_out_observation(samples)
        self._lay_out_state([sample.get_state() for sample in samples])
        infos = [sample.step(np.zeros((1, *self.task.action_space().shape)))[4] for sample in samples]
        self._terms = list(self.task.weights)
        self._reasons = list(dict.fromkeys(reason for info in infos for reason in info["termination"]))
        self._metrics = {
            f"{name}/{metric}": k
            for k, (name, info) in enumerate(zip(self.task_names, infos, strict=True))
            for metric in info["metrics"]
        }
        self._solvable = np.array(["success" in info for info in infos])

    def _made(self, k: int, num_rows: int) -> MotrixVectorEnv:
        return MotrixVectorEnv(
            self._tasks[k],
            num_rows,
            max_episode_steps=self.max_episode_steps,
            num_threads=self.num_threads,
            autoreset_mode=self.autoreset_mode,
            render_mode=self.render_mode,
            render_size=self.render_size,
            render_camera=self.render_camera,
        )

    def _lay_out_observation(self, samples: list[MotrixVectorEnv]) -> None:
        """Finds the columns of every block, of every task, and how they are reflected."""
        widths: dict[str, int] = {}
        for name, sample in zip(self.task_names, samples, strict=True):
            for block, columns in sample.observation_blocks.items():
                width = columns.stop - columns.start
                if block == TASK_BLOCK or widths.setdefault(block, width) != width:
                    known = widths.get(block, len(samples))
                    raise ValueError(
                        f"the observation block {block!r} has {width} columns in task {name!r} and {known} elsewhere; "
                        "blocks that are not the same need names of their own"
                    )
        widths[TASK_BLOCK] = len(samples)
        self.observation_blocks = {}
        start = 0
        for block, width in widths.items():
            self.observation_blocks[block] = slice(start, start + width)
            start += width
        self._privileged_width = 0  # joined tasks tell a critic no more than the policy
        self._columns = [
            np.r_[tuple(self.observation_blocks[block] for block in sample.observation_blocks)] for sample in samples
        ]
        self.mirror = self._joint_mirror()  # pyright: ignore[reportAttributeAccessIssue]

    def _joint_mirror(self) -> JointMirror | None:
        mirrors = [mirror for task in self._tasks if (mirror := task.mirror()) is not None]
        if len(mirrors) < len(self._tasks):
            return None
        action, blocks = mirrors[0].action, {TASK_BLOCK: Flip.signs(*np.ones(len(self._tasks)))}
        pairs = [(mirror.action, action) for mirror in mirrors]
        pairs += [(flip, blocks.setdefault(name, flip)) for mirror in mirrors for name, flip in mirror.blocks.items()]
        if not all(_same(one, other) for one, other in pairs):
            return None
        return JointMirror(Flip.joined(*(blocks[name] for name in self.observation_blocks)), action)

    def _lay_out_state(self, initial: list[dict[str, np.ndarray]]) -> None:
        """Finds an array for every part of a task's state, wide enough for all that share it.

        Parts share an array where their names, dtypes and numbers of axes are the same.
        """
        self._initial = initial
        kinds: defaultdict[str, set] = defaultdict(set)
        for state in initial:
            for part, x in state.items():
                kinds[part].add((x.dtype, x.ndim))
        self._parts = [
            {part: part if len(kinds[part]) == 1 else f"{name}.{part}" for part in state}
            for name, state in zip(self.task_names, initial, strict=True)
        ]
        self._blank_state: dict[str, np.ndarray] = {}
        for parts, state in zip(self._parts, initial, strict=True):
            for part, x in state.items():
                before = self._blank_state.get(parts[part], x)
                shape = np.maximum(before.shape, x.shape)[1:]
                self._blank_state[parts[part]] = np.zeros((self.num_envs, *shape), dtype=x.dtype)

    def _groups(self) -> Iterator[tuple[int, np.ndarray, MotrixVectorEnv]]:
        """The tasks that have rows: index, rows (M,) int, environment."""
        for k, member in enumerate(self._members):
            if member is not None:
                yield k, np.flatnonzero(self._task == k), member

    def _seed_rows(self, rows: list[int], seeds: list[int]) -> None:
        task = self._task.copy()
        task[rows] = self._cycle[[seed % len(self._cycle) for seed in seeds]]
        if (task != self._task).any():
            state = self._joint_state()
            for k, initial in enumerate(self._initial):
                self._put_state(state, k, np.flatnonzero((task == k) & (self._task != k)), initial)
            self._distribute(task, state)
        seed_of = dict(zip(rows, seeds, strict=True))
        for _, own, member in self._groups():
            places = {place: seed_of[row] for place, row in enumerate(own.tolist()) if row in seed_of}
            if places:
                member._seed_rows(list(places), list(places.values()))

    def _distribute(self, task: np.ndarray, state: dict[str, np.ndarray]) -> None:
        """Gives every row, with its state, to the environment of its task."""
        self._task = task
        for k, initial in enumerate(self._initial):
            rows, member = np.flatnonzero(task == k), self._members[k]
            if member is not None and member.num_envs != len(rows):
                member.close()
                member = None
            if member is None and len(rows):
                member = self._made(k, len(rows))
            if member is not None:
                member.set_state({part: state[self._parts[k][part]][_corner(rows, x)] for part, x in initial.items()})
            self._members[k] = member

    def _joint_state(self) -> dict[str, np.ndarray]:
        state = {part: x.copy() for part, x in self._blank_state.items()}
        for k, rows, member in self._groups():
            self._put_state(state, k, rows, member.get_state())
        return state

    def _put_state(self, state: dict[str, np.ndarray], k: int, rows: np.ndarray, new: dict[str, np.ndarray]) -> None:
        for part, x in new.items():
            state[self._parts[k][part]][_corner(rows, x)] = x

    def _present_observations(self) -> np.ndarray:
        observations = self._blank_observations()
        for k, rows, member in self._groups():
            self._put_observation(observations, k, rows, member._observe(member._frame, member._memory))
        return observations

    def _blank_observations(self) -> np.ndarray:
        """Zeros, and the one-hot block."""
        block = self.observation_blocks[TASK_BLOCK]
        observations = np.zeros((self.num_envs, block.stop), dtype=np.float32)
        observations[:, block] = self._task[:, None] == np.arange(len(self.task_names))
        return observations

    def _put_observation(self, observations: np.ndarray, k: int, rows: np.ndarray, new: np.ndarray) -> None:
        observations[np.ix_(rows, self._columns[k])] = new

    def _masked(self, groups: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
        """An info in Gymnasium's form, in which a metric too has a mask: the rows of its task."""
        own = {f"_{metric}": mask & (self._task == k) for metric, k in self._metrics.items()}
        masks = {f"_{name}": mask.copy() for name in groups}
        if "success" in groups:
            masks["_success"] = mask & self._solvable[self._task]
        return groups | {"metrics": groups["metrics"] | own} | masks


def _corner(rows: np.ndarray, x: np.ndarray) -> tuple[Any, ...]:
    """Where the elements of `x`, (M, ...), lie in an array of all rows that is as wide as it or wider."""
    return (rows, *map(slice, x.shape[1:]))


def _same(one: Flip, other: Flip) -> bool:
    return np.array_equal(one.index, other.index) and np.array_equal(one.sign, other.sign)
