"""A policy that becomes a newer one whenever its training has written a newer checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motrix_train import environment
from motrix_train.errors import RunError, UsageError
from motrix_train.policies import TrainedPolicy
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.run_record import RunRecord
from motrix_train.training.evaluation import PolicyFunction
from motrix_train.viewer.show import ViewOptions, view

NAMES = ("best", "last")
INTERVAL = 1.0  # s between two looks at the files


def view_run(run: RunDirectory, env_fields: Mapping[str, Any], options: ViewOptions) -> None:
    """Shows the policy of a run, and the newer ones that its training writes, until the viewer is closed.

    Args:
        run: The run.
        env_fields: Fields of the task beside those of the run.
        options: How to view.

    Raises:
        UsageError: The environment cannot be made or viewed.
        RunError: The run is damaged.
    """
    record = RunRecord.of(run)
    env_kwargs = environment.merged(record.env_kwargs, env_fields)
    policy = FollowingPolicy(
        run,
        lambda path: TrainedPolicy.open(str(path), None, None, env_fields),
        math.prod(environment.action_space(record.env_id, env_kwargs).shape),
    )
    view(record.env_id, env_kwargs, policy, options.named(policy.about))


class FollowingPolicy:
    """Acts as the best policy of a run does, and as its newest one once that is written.

    Args:
        run: The run. It need not have a policy yet: until it has one, all actions are zero.
        open_policy: Opens a policy file.
        action_size: Elements of an action.
        clock: Seconds.
    """

    def __init__(
        self,
        run: RunDirectory,
        open_policy: Callable[[Path], TrainedPolicy],
        action_size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._open, self._clock = run, open_policy, clock
        self._act: PolicyFunction = lambda observations: np.zeros((len(observations), action_size), np.float32)
        self._about = "waits for the first policy of the run"
        self._read_at, self._mistake = clock(), ""
        self._seen = self._written()
        if self._seen:
            self._read(run.best_policy())
        self._looked = clock()

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Actions (N, m) for observations (N, k)."""
        if self._clock() - self._looked >= INTERVAL:
            self._looked = self._clock()
            self._look()
        return self._act(observations)

    def about(self) -> str:
        """Which policy it is, and since when."""
        return f"{self._about}, read {self._clock() - self._read_at:.0f} s ago{self._mistake}"

    def _look(self) -> None:
        written = self._written()
        changed = {path: at for path, at in written.items() if self._seen.get(path) != at}
        self._seen = written
        if changed:
            self._read(max(changed, key=lambda path: changed[path]))

    def _written(self) -> dict[Path, int]:
        """The checkpoints that are followed, each with when it was written."""
        found = {}
        for name in NAMES:
            path = self._run.checkpoint(name)
            if path is not None:
                found[path] = path.stat().st_mtime_ns
        return found

    def _read(self, path: Path) -> None:
        try:
            trained = self._open(path)
            self._act = trained.acting()
        except (RunError, UsageError) as refusal:
            self._mistake = f"; the newer one cannot be used: {refusal}"
            return
        self._about = f"{path.name} of {self._run.path}, {trained.checkpoint.env_steps:,} env steps"
        self._read_at, self._mistake = self._clock(), ""
