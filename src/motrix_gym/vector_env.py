"""The vector environment: spaces, the order of a step, autoreset, infos. The only module that knows the order."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from motrix_gym import task as tasks
from motrix_gym.entry_points import PlainSpec
from motrix_gym.fields import nearest, plain
from motrix_gym.physics import Physics
from motrix_gym.random_streams import RandomStreams, row_keys
from motrix_gym.symmetry import Mirror
from motrix_gym.task import PhysicsState, Task, Transition, render_fps
from motrix_gym.task_check import CheckedTask

_MAX_DRAWS = 1000  # of one episode's beginning
_BY_ROW = ("render", "np_random_seed")  # what `call` finds as a tuple of one value a row


class CallableByRow(PlainSpec, VectorEnv):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A vector environment with what Gymnasium's own have beyond the interface, and other libraries use."""

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """An attribute, or a method's result, for every row, as in Gymnasium's own vector environments."""
        value = getattr(self, name)
        result: Any = value(*args, **kwargs) if callable(value) else value
        return result if name in _BY_ROW else (result,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute for every row."""
        return self.call(name)


class MotrixVectorEnv(CallableByRow):
    """N environments of one task, stepped together.

    Row i of a batch seeded with s has the trajectory of a single environment seeded with s + i, bit for bit,
    whatever the other rows do.

    A step is: control, physics, reward and termination (judged on the memory that the policy acted on), time
    limit, `Task.advance`, final observation, reset of the rows that ended, observation.

    Args:
        task: The task.
        num_envs: N, the number of rows.
        max_episode_steps: The time limit in control steps, a truncation; None for none, or -1, as in `gymnasium.make`.
        num_threads: Physics threads; 0 is one a CPU. Results do not depend on it.
        autoreset_mode: `gymnasium.vector.AutoresetMode` or its value. ``SameStep`` (default) resets a row in the
            step that ends it and puts its last observation into ``info["final_obs"]``; ``NextStep`` resets it in
            the following step, whose action for the row is ignored; ``Disabled`` leaves it to
            ``reset(options={"reset_mask": mask})``.
        render_mode: None or "rgb_array".
        render_size: Width and height of a frame in pixels.
        render_camera: Name of the model's camera that is drawn; None for ``track``, else the first, else a free one.

    Attributes:
        task: The task.
        num_threads: As given.
        max_episode_steps: As given; None for none.
        autoreset_mode: The `AutoresetMode` in force.
        observation_blocks: The columns of each observation block, by name, in order.
        mirror: The reflection of the task's robot, or None.
        state_space: What `state` gives of one row, or None where the task tells a critic no more than the policy.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        num_threads: int = 0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (480, 360),
        render_camera: str | None = None,
    ):
        self.task = task
        self.num_envs = _whole("num_envs", num_envs, at_least=1)
        self.num_threads = _whole("num_threads", num_threads, at_least=0)
        self.max_episode_steps = _limit(max_episode_steps)
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode {render_mode!r} is not known; use 'rgb_array' or None")
        self.render_mode = render_mode
        render_size = plain(render_size)
        if not isinstance(render_size, tuple) or len(render_size) != 2:
            raise ValueError(f"render_size is {render_size!r}; it takes a width and a height in pixels")
        width, height = (_whole("render_size", x, at_least=1) for x in render_size)
        self.render_size = width, height
        self.render_camera = render_camera
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": render_fps(task.control_dt),
            "autoreset_mode": self.autoreset_mode,
        }
        self._row_seeds = [0] * self.num_envs
        self._seeded = self._begun = False
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self._build()

        width = max(block.stop for block in self.observation_blocks.values())
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        self.single_action_space = action_space = task.action_space()
        self._action_bounds = action_space.low, action_space.high
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        more = self._privileged_width
        self.state_space = gym.spaces.Box(-np.inf, np.inf, (width + more,), np.float32) if more else None
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The seed of every row's stream; -1, as in Gymnasium, where it came with `set_state`."""
        self._seed_if_never_seeded()
        return tuple(self._row_seeds)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts new episodes.

        Args:
            seed: An int s seeds row i with s + i; a sequence seeds each row, None in it leaves a row's stream as
                it is. Without a seed, every row's stream goes on.
            options: ``{"reset_mask": (N,) bool}`` resets, and seeds, just those rows.

        Returns:
            The observations, (N, k) float32, and an empty info.

        Raises:
            ValueError: A seed that is no whole number, a mask that is not of N bools, or another option.
            gymnasium.error.ResetNeeded: The first reset leaves rows out.
        """
        mask = self._reset_mask(options)
        self._seed(seed, mask)
        self._restart(np.flatnonzero(mask))
        self._begun = True
        return self._observe(self._frame, self._memory), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One control step of every row.

        Args:
            actions: (N, m); what lies outside the action space is clipped to it.

        Returns:
            Observations (N, k) float32, rewards (N,) float64, terminated (N,) bool, truncated (N,) bool, and the
            info: ``reward_terms`` (weighted; their sum is the reward), ``termination`` (by reason), ``metrics``,
            ``success`` (N,) bool where the task can be solved (see `Task.success`), and in same-step autoreset
            ``final_obs`` and ``final_info`` when a row ended.

        Raises:
            ValueError: Actions of another shape, or NaN.
            gymnasium.error.ResetNeeded: A row has not been reset since it ended.
        """
        action = self._checked(actions)
        self._require_episodes()
        waiting = self._ended
        memory_before, counter_before = self._memory, self._draws.counter

        ctrl = self._rules.control(self._frame, self._memory, action)
        now, diverged = self._physics.step(ctrl, self._rules.external_force(self._memory))
        now = _where(diverged, self._frame, now)
        t = Transition(self._frame, self._memory, action, ctrl, now, np.zeros(self.num_envs, dtype=bool))
        reasons = {name: ended & ~diverged for name, ended in self._rules.terminated(t).items()}
        reasons["diverged"] = diverged
        t = dataclasses.replace(t, terminated=np.any(list(reasons.values()), axis=0))
        weights = self.task.weights
        terms = {name: weights[name] * term for name, term in self._rules.reward(t).items()}
        metrics = self._rules.metrics(t)
        success = self._rules.success(t)
        self._elapsed = self._elapsed + 1
        terminated = t.terminated
        truncated = ~terminated & self._out_of_time()

        self._memory = self._rules.next_state(t, self._draws)
        self._frame = now

        if waiting.any():
            live = ~waiting
            terms, reasons, metrics = ({n: x * live for n, x in g.items()} for g in (terms, reasons, metrics))
            terminated, truncated = terminated & live, truncated & live
            self._draws.counter = np.where(waiting, counter_before, self._draws.counter)
            rows = np.flatnonzero(waiting)
            self._memory = tasks.put(self._memory, rows, tasks.take(memory_before, rows))
            self._restart(rows)

        groups: dict[str, Any] = {"reward_terms": terms, "termination": reasons, "metrics": metrics}
        if success is not None:
            groups["success"] = success & ~waiting
        info = _masked(groups, ~waiting)
        observations = self._observe(self._frame, self._memory)
        self._ended = terminated | truncated
        if self._ended.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            ended = self._ended
            info |= {"final_obs": observations, "_final_obs": ended.copy()}
            info |= {"final_info": _masked(groups, ended), "_final_info": ended.copy()}
            if self.state_space is not None:
                info |= {"final_state": self._with_privileged(observations), "_final_state": ended.copy()}
            rows = np.flatnonzero(ended)
            physics, state = self._restart(rows)
            observations = observations.copy()
            observations[rows] = self._observe(physics, state)
        self._rules = self.task
        return observations, sum(terms.values(), np.zeros(self.num_envs)), terminated, truncated, info

    def state(self) -> np.ndarray:
        """What a critic may see in training: the observation, then `Task.privileged`, (N, k) float32.

        Raises:
            RuntimeError: The task tells a critic no more than the policy.
        """
        if self.state_space is None:
            raise RuntimeError(
                "this task tells a critic no more than the policy: there is no state beside observations"
            )
        return self._with_privileged(self._observe(self._frame, self._memory))

    def get_state(self) -> dict[str, np.ndarray]:
        """The whole state, random streams included, as a flat dictionary of arrays; `set_state` goes on from it."""
        self._seed_if_never_seeded()
        return {
            "simulation": self._physics.state.copy(),
            "qpos": self._frame.qpos.copy(),
            "qvel": self._frame.qvel.copy(),
            **{f"sensor.{name}": x.copy() for name, x in self._frame.sensor.items()},
            **{f"memory.{f.name}": getattr(self._memory, f.name).copy() for f in dataclasses.fields(self._memory)},
            "key": self._draws.key.copy(),
            "counter": self._draws.counter.copy(),
            "elapsed": self._elapsed.copy(),
            "ended": self._ended.copy(),
        }

    def set_state(self, state: dict[str, np.ndarray]) -> np.ndarray:
        """Goes on from what `get_state` gave, bit for bit.

        Returns:
            The observations in that state, (N, k) float32.

        Raises:
            ValueError: A state of another task or number of rows, or with edited positions that would be ignored.
        """
        self._require_fit(state)
        self._require_unedited(state)
        self._physics.state[:] = state["simulation"]
        self._frame = PhysicsState(
            state["qpos"].copy(),
            state["qvel"].copy(),
            {name: state[f"sensor.{name}"].copy() for name in self._frame.sensor},
        )
        self._memory = type(self._memory)(
            **{f.name: state[f"memory.{f.name}"].copy() for f in dataclasses.fields(self._memory)}
        )
        self._physics.vary(np.arange(self.num_envs), self._rules.model_overrides(self._memory))
        self._new = np.zeros(self.num_envs, dtype=bool)
        self._forget_seeds((state["key"] != self._draws.key).any(axis=1))
        self._draws = RandomStreams(state["key"].copy(), state["counter"].copy())
        self._elapsed, self._ended = state["elapsed"].copy(), state["ended"].copy()
        self._seeded = self._begun = True
        return self._observe(self._frame, self._memory)

    def render(self) -> tuple[np.ndarray, ...] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A frame of every row, each (height, width, 3) uint8; None, with a warning, without a render mode."""
        if self.render_mode is None:
            return warn_of_no_render_mode(self.spec)
        return tuple(self.render_rows(range(self.num_envs)))

    def render_rows(self, rows: Sequence[int]) -> list[np.ndarray]:
        """Frames of some rows, each (height, width, 3) uint8.

        Raises:
            RuntimeError: The environment was made without ``render_mode="rgb_array"``.
            motrix_gym.rendering.RenderingUnavailable: There is no OpenGL here.
        """
        from motrix_gym.rendering import RowRenderer

        if self.render_mode is None:
            raise RuntimeError('there are no frames: make the environment with render_mode="rgb_array"')
        if self._renderer is None:
            self._renderer = RowRenderer(self._physics.model, *self.render_size, camera=self.render_camera)
        markers = self.task.markers(self._memory)
        frames = []
        for row in rows:
            model, data = self._physics.row(row, {name: x[row] for name, x in markers.items()})
            frames.append(self._renderer.frame(data, model))
        return frames

    def close_extras(self, **kwargs: Any) -> None:
        """Frees the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _build(self) -> None:
        """Makes the rows, and finds out what is observed of one."""
        task, model = self.task, self.task.model()
        checked = CheckedTask(task, model)
        if self.render_camera is not None:
            from motrix_gym.rendering import check_camera

            check_camera(model, self.render_camera)
        self._rules = cast(Task, checked)  # what the task says is looked at until the first step is over
        self._physics = Physics(model, self.num_envs, self.num_threads, task.control_dt)
        self._renderer = None
        self.mirror: Mirror | None = task.mirror()
        self._draws = RandomStreams(np.zeros((self.num_envs, 2), dtype=np.uint64))
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)
        self._new = np.ones(self.num_envs, dtype=bool)  # rows that have had no episode since they were seeded
        self._frame, self._memory = self._drawn(np.arange(self.num_envs))
        self.observation_blocks: dict[str, slice] = {}
        width = 0
        for name, block in self._rules.observe(self._frame, self._memory).items():
            self.observation_blocks[name] = slice(width, width + block.shape[1])
            width += block.shape[1]
        checked.check_mirror(self.mirror, self.observation_blocks)
        self._privileged_width = sum(block.shape[1] for block in self._privileged(self._frame, self._memory))

    def _drawn(self, rows: np.ndarray) -> tuple[PhysicsState, Any]:
        """Draws a beginning for `rows` from their own streams; returns the frame and the memory of these rows alone."""
        new = self._new[rows]
        if new.all():
            return self._started(rows, self._rules.reset)
        state = tasks.take(self._memory, rows)
        later = np.flatnonzero(~new)
        reset_after = functools.partial(self._rules.reset_after, last=tasks.take(state, later))
        if not new.any():
            return self._started(rows, reset_after)
        physics = _rows_of_frame(self._frame, rows)
        for which, begin in ((np.flatnonzero(new), self._rules.reset), (later, reset_after)):
            started, remembered = self._started(rows[which], begin)
            physics, state = _put_frame(physics, which, started), tasks.put(state, which, remembered)
        return physics, state

    def _started(
        self, rows: np.ndarray, begin: Callable[[RandomStreams], tuple[Any, Any, Any]]
    ) -> tuple[PhysicsState, Any]:
        """Puts `rows` where `begin` says; returns the frame and the memory of these rows alone."""
        draws = RandomStreams(self._draws.key[rows], self._draws.counter[rows])
        qpos, qvel, state = begin(draws)
        self._draws.counter = _put(self._draws.counter, rows, draws.counter)
        self._physics.vary(rows, self._rules.model_overrides(state))
        return self._physics.reset(rows, qpos, qvel), state

    def _begin(self, rows: np.ndarray) -> tuple[PhysicsState, Any]:
        """Draws `rows` until the task accepts each, then lets them settle."""
        physics, state = self._drawn(rows)
        for _ in range(_MAX_DRAWS):
            refused = np.flatnonzero(~self._rules.is_valid_start(physics))
            if not refused.size:
                break
            again, remembered = self._drawn(rows[refused])
            physics, state = _put_frame(physics, refused, again), tasks.put(state, refused, remembered)
        else:
            raise ValueError(
                f"{type(self.task).__name__} accepts none of {_MAX_DRAWS} drawn beginnings of an episode: "
                "look at its reset() and its fields"
            )
        if self.task.SETTLING_TIME > 0:
            physics = self._physics.settle(rows, self.task.SETTLING_TIME)
        return physics, state

    def _restart(self, rows: np.ndarray) -> tuple[PhysicsState, Any]:
        """Begins new episodes in `rows`; returns the frame and the memory of these rows alone."""
        physics, state = self._begin(rows)
        self._frame = _put_frame(self._frame, rows, physics)
        self._memory = tasks.put(self._memory, rows, state)
        self._elapsed = _put(self._elapsed, rows, 0)
        self._ended = _put(self._ended, rows, False)
        self._new = _put(self._new, rows, False)
        return physics, state

    def _observe(self, physics: PhysicsState, state: Any) -> np.ndarray:
        return np.concatenate(list(self._rules.observe(physics, state).values()), axis=1).astype(np.float32)

    def _privileged(self, physics: PhysicsState, state: Any) -> list[np.ndarray]:
        return list(self._rules.privileged(physics, state).values())

    def _with_privileged(self, observations: np.ndarray) -> np.ndarray:
        """The state of the present frame and memory, of which these are the observations."""
        more = self._privileged(self._frame, self._memory)
        return np.concatenate([observations, *more], axis=1, dtype=np.float32)

    def _out_of_time(self) -> np.ndarray:
        if self.max_episode_steps is None:
            return np.zeros(self.num_envs, dtype=bool)
        return self._elapsed >= self.max_episode_steps

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        action = np.asarray(actions, dtype=np.float64)
        if action.shape != self.action_space.shape:
            raise ValueError(f"actions have shape {action.shape}; {self.num_envs} rows take {self.action_space.shape}")
        nan = np.any(np.isnan(action), axis=1)
        if nan.any():
            raise ValueError(f"actions of rows {_some(nan)} are NaN; look at the policy that gave them")
        return np.clip(action, *self._action_bounds)

    def _require_episodes(self) -> None:
        if not self._begun:
            raise gym.error.ResetNeeded("no episode has begun; call reset() before step()")
        if self._ended.any() and self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise gym.error.ResetNeeded(
                f"rows {_some(self._ended)} have ended; call reset(), or "
                'reset(options={"reset_mask": terminated | truncated}) for just those rows'
            )

    def _require_fit(self, state: dict[str, np.ndarray]) -> None:
        own = self.get_state()
        for name in own.keys() | state.keys():
            needed, given = (_described(s.get(name)) for s in (own, state))
            if needed != given:
                raise ValueError(
                    f"state {name!r} is {given}, this environment needs {needed}; "
                    "restore it with the task, the kwargs and the num_envs it was saved with"
                )

    def _require_unedited(self, state: dict[str, np.ndarray]) -> None:
        """Refuses positions or velocities that were edited while the simulation, which alone counts, was not."""
        alive = ~(state["ended"] | self._ended)
        same = alive & (state["simulation"] == self._physics.state).all(axis=1)
        for name in ("qpos", "qvel"):
            edited = same & (state[name] != getattr(self._frame, name)).any(axis=1)
            if edited.any():
                raise ValueError(
                    f"state {name!r} of rows {_some(edited)} was edited, and would be ignored: 'simulation' counts, so "
                    "edit that, or have the task begin an episode there"
                )

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
        check_options(options, known=("reset_mask",))
        mask = None if options is None else options.get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, dtype=bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"reset_mask is {_described(mask)}; it takes a NumPy array of {self.num_envs} bools")
        if not mask.any():
            raise ValueError("reset_mask has no True: it would reset nothing")
        if not self._begun and not mask.all():
            raise gym.error.ResetNeeded(
                f"no episode has begun in rows {_some(~mask)}; the first reset() takes all rows"
            )
        return mask

    def _seed(self, seed: int | Sequence[int | None] | None, mask: np.ndarray) -> None:
        if seed is None:
            self._seed_if_never_seeded()
            return
        seeds = _seeds_by_row(seed, self.num_envs)
        seeded = {int(row): s for row in np.flatnonzero(mask) if (s := seeds[row]) is not None}
        if len(seeded) < self.num_envs:
            self._seed_if_never_seeded()
        if seeded:
            self._seed_rows(list(seeded), list(seeded.values()))
            self._row_seeds = [seeded.get(row, old) for row, old in enumerate(self._row_seeds)]
        self._seeded = True

    def _seed_rows(self, rows: list[int], seeds: list[int]) -> None:
        """Starts the streams of `rows` anew."""
        self._draws = RandomStreams(_put(self._draws.key, rows, row_keys(seeds)), _put(self._draws.counter, rows, 0))
        self._new = _put(self._new, rows, True)

    def _forget_seeds(self, rows: np.ndarray) -> None:
        """Says that `rows`, (N,) bool, have streams of which no seed is known."""
        self._row_seeds = [-1 if foreign else seed for seed, foreign in zip(self._row_seeds, rows, strict=True)]

    def _seed_if_never_seeded(self) -> None:
        if not self._seeded:
            self._seed(int(np.random.SeedSequence().generate_state(1, np.uint64)[0]), np.ones(self.num_envs, bool))


def _seeds_by_row(seed: int | Sequence[int | None], num_rows: int) -> list[int | None]:
    """The seed of each row; None leaves a row's stream as it is."""
    if not isinstance(seed, (Sequence, np.ndarray)):
        first = _whole("seed", seed, at_least=0)
        return [first + row for row in range(num_rows)]
    if len(seed) != num_rows:
        raise ValueError(f"seed has {len(seed)} entries for {num_rows} rows; give one integer, or one for each row")
    return [None if s is None else _whole(f"seed[{row}]", s, at_least=0) for row, s in enumerate(seed)]


def check_options(options: Any, known: tuple[str, ...] = ()) -> None:
    """Refuses what `reset` would not look at.

    Raises:
        ValueError: Options that are no dictionary, or one that is not known.
    """
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"options is {options!r}; it takes a dictionary or None")
    for name in options or ():
        if name not in known:
            known_ones = nearest(str(name), known) if known else "; a single environment takes none"
            raise ValueError(f"reset() has no option {name!r}{known_ones}")


def warn_of_no_render_mode(spec: EnvSpec | None) -> None:
    """Warns, as Gymnasium's environments do, that an environment without a render mode draws nothing."""
    name = "id" if spec is None else f'"{spec.id}"'
    gym.logger.warn(
        "You are calling render method without specifying any render mode. You can specify the render_mode at "
        f'initialization, e.g. gymnasium.make({name}, render_mode="rgb_array")'
    )


def _masked(groups: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """An info in Gymnasium's form: every key k with the rows it holds for in _k."""
    return groups | {f"_{name}": mask.copy() for name in groups}


def _put(x: np.ndarray, rows: np.ndarray | list[int], new: Any) -> np.ndarray:
    result = x.copy()
    result[rows] = new
    return result


def _rows_of_frame(physics: PhysicsState, rows: np.ndarray) -> PhysicsState:
    return PhysicsState(physics.qpos[rows], physics.qvel[rows], {name: x[rows] for name, x in physics.sensor.items()})


def _put_frame(physics: PhysicsState, rows: np.ndarray, new: PhysicsState) -> PhysicsState:
    """`frame` with `new`, the frame of those rows alone, in the place of `rows`."""
    return PhysicsState(
        _put(physics.qpos, rows, new.qpos),
        _put(physics.qvel, rows, new.qvel),
        {name: _put(x, rows, new.sensor[name]) for name, x in physics.sensor.items()},
    )


def _where(rows: np.ndarray, physics: PhysicsState, otherwise: PhysicsState) -> PhysicsState:
    """The frame whose marked rows are those of `frame`."""
    if not rows.any():
        return otherwise
    pick = rows[:, None]
    return PhysicsState(
        np.where(pick, physics.qpos, otherwise.qpos),
        np.where(pick, physics.qvel, otherwise.qvel),
        {name: np.where(pick, physics.sensor[name], x) for name, x in otherwise.sensor.items()},
    )


def _described(x: Any) -> str:
    return f"an array {x.dtype} {x.shape}" if isinstance(x, np.ndarray) else repr(x)


def _whole(name: str, value: Any, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ValueError(f"{name} is {value!r}; it takes an integer of at least {at_least}")
    return int(value)


def _limit(max_episode_steps: int | None) -> int | None:
    if max_episode_steps is None or (max_episode_steps == -1 and isinstance(max_episode_steps, (int, np.integer))):
        return None
    return _whole("max_episode_steps", max_episode_steps, at_least=1)


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(repr(m.value) for m in AutoresetMode)
        raise ValueError(f"autoreset_mode {mode!r} is not known; use one of {known}") from None


def _some(mask: np.ndarray) -> str:
    rows = np.flatnonzero(mask)
    return ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
