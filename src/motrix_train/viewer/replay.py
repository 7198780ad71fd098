"""A recording, played back: every state as it was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from motrix_gym.batch_vector_env import BatchVectorEnv
from motrix_train import environment
from motrix_train.errors import RunError, UsageError
from motrix_train.storage import recording
from motrix_train.viewer.pace import Pace
from motrix_train.viewer.report import Handle, Report, Traces


class Replay:
    """Plays a recording, and stops at its end.

    Args:
        path: The file.

    Attributes:
        pace: When steps are due.
        env: 0: there is one environment.
        message: A line for the user.

    Raises:
        UsageError: Its environment is not known here.
        RunError: The file is damaged, or of another version of the environment.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._recording = path, recording.read(path)
        about = self._recording.about
        envs = environment.make_env(about.env_id, 1, about.env_kwargs, 1)
        self._envs: Any = envs.unwrapped
        if not isinstance(self._envs, BatchVectorEnv):
            envs.close()
            raise UsageError(f"{about.env_id} is no environment of motrix_gym, and only such can be viewed")
        self._handles = (Handle("moment", None, "step", 0.0, float(len(self._recording) - 1)),)
        self.pace = Pace(self._envs.batch.control_dt)
        self.env, self.message = 0, ""
        self._moment = 0
        self._traces = Traces(self.pace.step_seconds)
        self._go_to(0)

    def close(self) -> None:
        """Closes the environment."""
        self._envs.close()

    def advance(self, now: float | None = None) -> int:
        """Plays the steps that are due; returns how many."""
        due = self.pace.due(time.monotonic() if now is None else now)
        steps = min(due, len(self._recording) - 1 - self._moment)
        for _ in range(steps):
            self._go_to(self._moment + 1)
        if steps < due:
            self.pace.paused = True
        return steps

    def reset(self) -> None:
        """Goes back to the beginning, and plays."""
        self._traces.clear()
        self._go_to(0)
        self.pace.paused = False

    def show(self, env: int) -> None:
        """Does nothing: there is one environment."""

    def set(self, handle: Handle, value: float) -> None:
        """Goes to a step, and waits there."""
        self.pace.paused = True
        self._go_to(int(np.clip(round(value), 0, len(self._recording) - 1)))

    def value(self, handle: Handle) -> float:
        """The present step."""
        return float(self._moment)

    def release(self) -> None:
        """Does nothing: a recording has no commands to leave to the task."""

    def push(self, direction: float) -> None:
        """Refuses: what is recorded has happened."""
        raise UsageError("a recording cannot be pushed")

    def pull(self, body: int, force: np.ndarray) -> None:
        """Refuses, as `push`."""
        raise UsageError("a recording cannot be pulled")

    def scene(self) -> tuple[Any, Any]:
        """The model, and the data to be drawn."""
        _, model, data = self._envs.batch.view(0)
        return model, data

    def report(self, scene: tuple[Any, Any]) -> Report:
        """What there is to tell."""
        about, seconds = self._recording.about, self._moment * self.pace.step_seconds
        return Report(
            title=about.env_id,
            policy=f"recording {self._path}: environment {about.env}, vector step {about.vector_step:,}",
            env=0,
            num_envs=1,
            task="",
            step=self._moment,
            seconds=seconds,
            length=len(self._recording) - 1,
            paused=self.pace.paused,
            speed=self.pace.speed,
            handles=tuple((handle, float(self._moment)) for handle in self._handles),
            metrics=self._speeds(),
            ending=about.ending if self._moment == len(self._recording) - 1 else "",
            traces=self._traces.columns(),
            times=self._traces.times,
            message=self.message,
        )

    def _go_to(self, moment: int) -> None:
        self._moment = moment
        try:
            self._envs.set_state(self._recording.state(moment))
        except (KeyError, ValueError, TypeError) as misfit:
            raise RunError(
                f"{self._path} does not fit {self._recording.about.env_id} as it is here ({misfit}): it is of another "
                "version"
            ) from misfit
        self._traces.add(moment * self.pace.step_seconds, self._speeds())

    def _speeds(self) -> dict[str, float]:
        """What grows when a simulation diverges."""
        state = self._recording.state(self._moment)
        largest = {"largest velocity": state["qvel"], "largest action": self._recording.actions[self._moment]}
        return {name: float(np.abs(values).max(initial=0.0)) for name, values in largest.items()}
