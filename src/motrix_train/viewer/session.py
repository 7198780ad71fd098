"""A policy in an environment, stepped as the clock says: paused, faster, commanded, pushed. Knows nothing of a page."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from motrix_gym.batch_vector_env import BatchVectorEnv
from motrix_train import env_protocol, environment
from motrix_train import infos as step_infos
from motrix_train.errors import UsageError
from motrix_train.training.evaluation import PolicyFunction, act, first_env_seed
from motrix_train.viewer import nudges, steering
from motrix_train.viewer.pace import Pace
from motrix_train.viewer.report import Handle, Report, Traces
from motrix_train.viewer.shapes import shapes

REWARD = "reward"
TIME_LIMIT, SUCCESS = "time limit", "success"


class Session:
    """A policy in N environments, one of which is shown.

    Args:
        env_id: Registered id.
        env_kwargs: Fields of the task.
        policy: Actions for observations; None keeps the action at zero, or at the nearest that the space has.
        num_envs: N.
        seed: Of the episodes.
        num_threads: Physics threads, 0 for all CPUs.
        about: Says who acts.

    Attributes:
        pace: When steps are due.
        env: The environment that is shown.
        message: A line for the user.

    Raises:
        UsageError: The environment cannot be made, or is not one of `motrix_gym`.
    """

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any],
        policy: PolicyFunction | None = None,
        *,
        num_envs: int = 1,
        seed: int = 0,
        num_threads: int = 0,
        about: Callable[[], str] = lambda: "",
    ) -> None:
        self._envs = environment.make_env(env_id, num_envs, env_kwargs, num_threads)
        self._inner: Any = self._envs.unwrapped
        if not isinstance(self._inner, BatchVectorEnv):
            self._envs.close()
            raise UsageError(
                f"{env_id} is no environment of motrix_gym, and only such can be viewed: film it with --video"
            )
        space: Any = self._envs.action_space
        still = np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)
        self._policy: PolicyFunction = policy or (lambda observations: still)
        self._env_id, self._about = env_id, about
        self.pace = Pace(self._inner.batch.control_dt)
        self.env, self.message = 0, ""
        self._held: dict[int, dict[Handle, float]] = {}  # what the user has set, by environment
        self._force: tuple[int, np.ndarray] | None = None
        self._observations, _ = self._envs.reset(seed=first_env_seed(seed))
        self._elapsed = np.zeros(num_envs, dtype=int)
        self._endings: list[Counter[str]] = [Counter() for _ in range(num_envs)]
        self._last_ending = [""] * num_envs
        self._traces = Traces(self.pace.step_seconds)
        self._values: dict[str, float] = {}
        self._terms: dict[str, float] = {}
        self._metrics: dict[str, float] = {}
        self._handles: dict[int, tuple[Handle, ...]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the environments."""
        self._envs.close()

    @property
    def num_envs(self) -> int:
        """How many environments there are."""
        return self._envs.num_envs

    @property
    def handles(self) -> tuple[Handle, ...]:
        """What the user may set in the environment that is shown."""
        place = self._task_index()
        if place not in self._handles:
            self._handles[place] = steering.handles(self._inner, self._task())
        return self._handles[place]

    def advance(self, now: float | None = None) -> int:
        """Takes the steps that are due.

        Args:
            now: The clock, s; None reads it.

        Returns:
            How many were taken.
        """
        due = self.pace.due(time.monotonic() if now is None else now)
        for _ in range(due):
            self.step()
        return due

    def step(self) -> None:
        """Takes one control step in all environments."""
        self._apply()
        self._observations, rewards, terminated, truncated, infos = self._envs.step(
            act(self._policy, self._observations)
        )
        self._elapsed += 1
        env = self.env
        self._terms, self._metrics = (self._row(infos, group) for group in ("reward_terms", "metrics"))
        self._values = {REWARD: float(rewards[env]), **self._terms, **self._metrics}
        self._traces.add(self._elapsed[env] * self.pace.step_seconds, self._values)
        for ended in np.flatnonzero(terminated | truncated):
            self._end(int(ended), infos, terminated)
        self._apply()

    def reset(self) -> None:
        """Begins a new episode in the environment that is shown."""
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[self.env] = True
        self._observations, _ = self._envs.reset(options={"reset_mask": mask})
        self._elapsed[self.env] = 0
        self._leave_goal(self.env)
        self._apply()
        self._forget_step()

    def show(self, env: int) -> None:
        """Shows another environment; beyond the last is the first."""
        self.env = env % self.num_envs
        self._force = None
        self._forget_step()

    def set(self, handle: Handle, value: float) -> None:
        """Sets a number, and holds it until `release`; a goal until the end of the episode."""
        low = -np.inf if handle.low is None else handle.low
        high = np.inf if handle.high is None else handle.high
        self._held.setdefault(self.env, {}).update(self._present(handle))
        self._held[self.env][handle] = float(np.clip(value, low, high))
        self._apply()

    def release(self) -> None:
        """Leaves commands and goals to the task again."""
        self._held.pop(self.env, None)

    @property
    def is_held(self) -> bool:
        """Whether the user has set a command or a goal."""
        return bool(self._held.get(self.env))

    def value(self, handle: Handle) -> float:
        """The present value of a number that the user may set."""
        return steering.read(handle, self._inner.get_state(), self.env, self._task_name())

    def push(self, direction: float) -> None:
        """Pushes the robot; see `motrix_train.viewer.nudges.push`."""
        model = self.scene()[0]
        self._edit(lambda state: nudges.push(model, state["simulation"][self.env], direction))

    def pull(self, body: int, force: np.ndarray) -> None:
        """Keeps a force, (6,) N and N m, on a body until the next call; zeros end it."""
        if np.any(force):
            self._force = body, np.array(force)
            self._apply()
        elif self._force is not None:
            model = self.scene()[0]
            self._force = None
            self._edit(lambda state: nudges.set_force(model, state["simulation"][self.env], body, force))

    def scene(self) -> tuple[Any, Any]:
        """The model of the environment that is shown, and the data to be drawn."""
        _, model, data = self._inner.batch.view(self.env)
        return model, data

    def report(self, scene: tuple[Any, Any]) -> Report:
        """What there is to tell.

        Args:
            scene: As `scene` gave it.
        """
        state, name = self._inner.get_state(), self._task_name()
        handles = {handle: steering.read(handle, state, self.env, name) for handle in self.handles}
        elapsed = int(self._elapsed[self.env])
        return Report(
            title=self._env_id,
            policy=self._about(),
            env=self.env,
            num_envs=self.num_envs,
            task=name,
            step=elapsed,
            seconds=elapsed * self.pace.step_seconds,
            length=env_protocol.time_limit(self._envs),
            paused=self.pace.paused,
            speed=self.pace.speed,
            handles=tuple(handles.items()),
            held=self.is_held,
            terms=self._terms,
            reward=self._values.get(REWARD),
            metrics=self._metrics,
            ending=self._last_ending[self.env],
            endings=dict(self._endings[self.env]),
            traces=self._traces.columns(),
            times=self._traces.times,
            shapes=shapes(*scene, handles),
            message=self.message,
        )

    def _apply(self) -> None:
        """Writes what the user holds into the state, before the policy sees it: a task goes on to change it."""
        if self._held or self._force is not None:
            self._edit(self._write_held)

    def _edit(self, change: Callable[[dict[str, np.ndarray]], None]) -> None:
        state = self._inner.get_state()
        change(state)
        self._observations = self._inner.set_state(state)

    def _write_held(self, state: dict[str, np.ndarray]) -> None:
        for env, held in self._held.items():
            for handle, value in held.items():
                steering.write(handle, value, state, env, self._task_name(env))
        if self._force is not None:
            nudges.set_force(self.scene()[0], state["simulation"][self.env], *self._force)

    def _present(self, handle: Handle) -> dict[Handle, float]:
        """The other numbers of the same thing: one who sets a part holds the whole."""
        if self._held.get(self.env):
            return {}
        return {other: self.value(other) for other in self.handles}

    def _end(self, env: int, infos: Mapping[str, Any], terminated: np.ndarray) -> None:
        reason = TIME_LIMIT
        if terminated[env]:
            reason = next(name for name, envs in step_infos.reasons(infos, terminated) if envs[env])
        found = step_infos.column(infos, "success")
        if found is not None and found[0][env] and (found[1] is None or found[1][env]):
            reason = f"{reason}, {SUCCESS}"
        self._endings[env][reason] += 1
        self._last_ending[env] = f"{reason} after {self._elapsed[env] * self.pace.step_seconds:.1f} s"
        self._elapsed[env] = 0
        self._leave_goal(env)

    def _leave_goal(self, env: int) -> None:
        """Lets the next episode have a goal of its own."""
        if any(handle.field != steering.COMMAND for handle in self._held.get(env, ())):
            del self._held[env]

    def _row(self, infos: Mapping[str, Any], group: str) -> dict[str, float]:
        """The numbers of the environment that is shown."""
        found = {}
        for name, values, envs in step_infos.columns(infos, group):
            if (envs is None or envs[self.env]) and self._is_own(name):
                found[name] = float(values[self.env])
        return found

    def _is_own(self, name: str) -> bool:
        """Whether a term or a metric is of the task of this environment; joined tasks have their names before them."""
        task, slash, _ = name.partition("/")
        return not slash or task not in env_protocol.task_names(self._envs) or task == self._task_name()

    def _task_index(self, env: int | None = None) -> int:
        """The place of an environment's task among joined ones, else 0."""
        if not env_protocol.task_names(self._envs):
            return 0
        return int(self._inner.batch.task_of[self.env if env is None else env])

    def _task_name(self, env: int | None = None) -> str:
        names = env_protocol.task_names(self._envs)
        return names[self._task_index(env)] if names else ""

    def _task(self) -> Any:
        task = self._inner.task
        return task.members()[self._task_name()] if env_protocol.task_names(self._envs) else task

    def _forget_step(self) -> None:
        self._traces.clear()
        self._values, self._terms, self._metrics = {}, {}, {}
