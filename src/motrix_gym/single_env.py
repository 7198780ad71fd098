"""`gymnasium.make`: a vector environment of one environment."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TimeLimit

from motrix_gym.arguments import known_options
from motrix_gym.batch_vector_env import warn_of_no_render_mode
from motrix_gym.entry_points import PlainSpec
from motrix_gym.multi_task import MultiTask
from motrix_gym.symmetry import Mirror
from motrix_gym.task import Task
from motrix_gym.vector_env import MotrixVectorEnv


class MotrixEnv(PlainSpec, gym.Env):  # pyright: ignore[reportIncompatibleVariableOverride]
    """One environment of a task.

    Its time limit is Gymnasium's TimeLimit wrapper, put on by `gymnasium.make`. The steps that the wrapper has counted
    are a part of the state: `set_state` tells it those of the state's episode.

    Args:
        task: The task; of several that are joined, the seed chooses one.
        physics: The engine, "mujoco" or "warp"; see `MotrixVectorEnv`.
        device: Where "warp" runs.
        render_mode: None or "rgb_array".
        render_size: Width and height of a frame in pixels.
        render_camera: Name of the model's camera that is drawn; see `MotrixVectorEnv`.
    """

    def __init__(
        self,
        task: Task | MultiTask,
        *,
        physics: str = "mujoco",
        device: str | None = None,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (480, 360),
        render_camera: str | None = None,
    ):
        self._batch_of_one = MotrixVectorEnv(
            task,
            num_threads=1 if physics == "mujoco" else 0,
            physics=physics,
            device=device,
            autoreset_mode=AutoresetMode.DISABLED,
            render_mode=render_mode,
            render_size=render_size,
            render_camera=render_camera,
        )
        self.task = task
        self.render_mode = render_mode
        own = ("render_modes", "render_fps", "deterministic")
        self.metadata = {name: self._batch_of_one.metadata[name] for name in own}
        self.observation_space = self._batch_of_one.single_observation_space
        self.action_space = self._batch_of_one.single_action_space
        self.state_space = self._batch_of_one.state_space
        self._time_limits: weakref.WeakSet[TimeLimit] = weakref.WeakSet()

    @property
    def observation_blocks(self) -> dict[str, slice]:
        """The columns of each observation block, by name, in order."""
        return self._batch_of_one.observation_blocks

    @property
    def observation_history(self) -> dict[str, int]:
        """The steps that each block shows, by name."""
        return self._batch_of_one.observation_history

    @property
    def mirror(self) -> Mirror | None:
        """The reflection of the task's robot, or None."""
        return self._batch_of_one.mirror

    @property
    def np_random_seed(self) -> int:
        """The seed of the environment's stream."""
        return self._batch_of_one.np_random_seed[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Starts a new episode; a seed restarts the stream of random numbers.

        Raises:
            ValueError: A seed that is no whole number, or an option: there are none.
        """
        known_options(options)
        self._time_limits.update(_time_limits_above(self))
        observations, info = self._batch_of_one.reset(seed=seed)
        super().reset(seed=seed)  # seeds `np_random`, which wrappers may use; the environment does not
        return observations[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One control step; the info is the vector environment's, with numbers in the place of arrays."""
        observations, rewards, terminated, truncated, info = self._batch_of_one.step(np.asarray(action)[None])
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), _of_the_env(info)

    def render(self) -> np.ndarray | None:
        """A frame, (height, width, 3) uint8; None, with a warning, without a render mode."""
        return warn_of_no_render_mode(self.spec) if self.render_mode is None else self._batch_of_one.render_envs([0])[0]

    def state(self) -> np.ndarray:
        """What a critic may see in training, (k,) float32; see `MotrixVectorEnv.state`."""
        return self._batch_of_one.state()[0]

    def get_state(self) -> dict[str, np.ndarray]:
        """The whole state, random stream included; `set_state` goes on from it."""
        return self._batch_of_one.get_state()

    def set_state(self, state: dict[str, np.ndarray]) -> np.ndarray:
        """Goes on from what `get_state` gave; returns the observation in that state, (k,) float32."""
        observations = self._batch_of_one.set_state(state)
        for time_limit in self._time_limits:
            time_limit._elapsed_steps = int(state["elapsed"][0])
        return observations[0]

    def close(self) -> None:
        """Frees the renderer."""
        self._batch_of_one.close()

    def __getstate__(self) -> dict[str, Any]:
        """What `pickle` and `copy` keep: all, as the batch of one knows how to be copied."""
        return vars(self) | {"_time_limits": list(self._time_limits)}

    def __setstate__(self, copied: dict[str, Any]) -> None:
        vars(self).update(copied, _time_limits=weakref.WeakSet(copied["_time_limits"]))


def _time_limits_above(env: MotrixEnv) -> Iterator[TimeLimit]:
    """The TimeLimit wrappers by which the present call has come to `env`.

    A wrapper does not make itself known to what it wraps, and cannot be told of another number of steps but by itself.
    Every one that is to be stepped has called `reset` before: it is in the stack then.
    """
    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, TimeLimit) and caller.unwrapped is env:
            yield caller
        frame = frame.f_back


def _of_the_env(info: dict[str, Any]) -> dict[str, Any]:
    """The info of the only environment of a vector environment: the entries that the masks leave, without the masks."""
    return {
        name: _of_the_env(x) if isinstance(x, dict) else x[0].item()
        for name, x in info.items()
        if not name.startswith("_") and (f"_{name}" not in info or info[f"_{name}"][0])
    }
