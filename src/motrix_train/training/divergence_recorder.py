"""Keeps the last second of every environment that diverges in a training."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from motrix_gym.batch_vector_env import BatchVectorEnv
from motrix_train import env_protocol
from motrix_train import infos as step_infos
from motrix_train.env_protocol import ResumableEnv
from motrix_train.errors import UsageError
from motrix_train.storage import recording
from motrix_train.storage.recording import About, Recording
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.versions import installed_versions

DIVERGED = "diverged"
SECONDS = 1.0
MOST = 20  # recordings of a run


class DivergenceRecorder(VectorWrapper):
    """A vector environment that writes a recording of each environment whose episode ends as `diverged`.

    Every step reads the whole state of all environments, and those of a second are kept.

    Args:
        env: The environment.
        run: The run, which keeps the first recordings.
        env_id: Its registered id.
        env_kwargs: Fields of its task.
        seed: Of the training.

    Raises:
        UsageError: It is not one of `motrix_gym`.
    """

    def __init__(self, env: VectorEnv, run: RunDirectory, env_id: str, env_kwargs: dict[str, Any], seed: int) -> None:
        super().__init__(env)
        if not isinstance(env.unwrapped, BatchVectorEnv):
            raise UsageError(f"--dump-diverged is for environments of motrix_gym, and {env_id} is none: leave it out")
        self._run, self._env_id, self._env_kwargs, self._seed = run, env_id, env_kwargs, seed
        steps = max(1, round(SECONDS / (env_protocol.step_seconds(env) or SECONDS)))
        self._past: deque[tuple[dict[str, np.ndarray], np.ndarray]] = deque(maxlen=steps)
        self._vector_steps = 0
        self._kept = len(list(run.diverged.glob(f"*{recording.SUFFIX}")))

    def __getattr__(self, name: str) -> Any:
        """What the environment offers beyond Gymnasium, such as its state: it is the same."""
        if name.startswith("_") or name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)

    def step(self, actions: Any) -> Any:
        """Takes a step, and writes what diverged in it."""
        if self._kept < MOST:
            self._past.append((cast(ResumableEnv, self.env).get_state(), np.array(actions)))
        result = self.env.step(actions)
        self._vector_steps += 1
        if self._kept < MOST:
            for name, envs in step_infos.reasons(result[4], result[2]):
                for env in np.flatnonzero(envs) if name == DIVERGED else ():
                    self._write(int(env))
        return result

    def _write(self, env: int) -> None:
        """Writes the present episode of an environment, as far as it is kept."""
        if self._kept >= MOST:
            self._past.clear()
            return
        lived = [state["elapsed"][env] for state, _ in self._past]
        first = max((i for i in range(1, len(lived)) if lived[i] <= lived[i - 1]), default=0)
        past = list(self._past)[first:]
        about = About(
            env_id=self._env_id,
            env_kwargs=self._env_kwargs,
            seed=self._seed,
            env=env,
            vector_step=self._vector_steps,
            ending=DIVERGED,
            versions=installed_versions(),
        )
        states = {name: np.stack([state[name][env] for state, _ in past]) for name in past[0][0]}
        actions = np.stack([action[env] for _, action in past])
        self._run.diverged.mkdir(exist_ok=True)
        self._kept += 1
        path = self._run.diverged / f"{self._kept:02d}_env_{env}{recording.SUFFIX}"
        recording.write(path, Recording(about, states, actions))
