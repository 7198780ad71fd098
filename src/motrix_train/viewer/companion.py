"""The viewer of a running training, in a process of its own: `python -m motrix_train.viewer.companion RUN MODULE...`.

It follows the run's newest policy, with the least claim to the CPU, and ends when the training does: the training holds
the other end of its standard input, which the system closes in any case.
"""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from motrix_train import environment
from motrix_train.errors import RunError, UsageError
from motrix_train.operating_system import give_way
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.callbacks import Callback
from motrix_train.training.records import TrainingPlan, TrainingSummary
from motrix_train.viewer.following import view_run
from motrix_train.viewer.show import ViewOptions

FRAMES_PER_SECOND = 25.0  # smooth enough, and each costs the training some of the CPU


class Companion(Callback):
    """Starts the viewer of a training when it begins, and ends it when it ends.

    Args:
        modules: Modules to import, which register environments.
    """

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self._modules = modules
        self._process: subprocess.Popen[bytes] | None = None

    def started(self, plan: TrainingPlan) -> None:
        """Starts the viewer's process."""
        self._close()
        # One thread and no GPU: these are the training's.
        own = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(plan.run.path), *self._modules],
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            env=os.environ | own,
        )

    def finished(self, summary: TrainingSummary) -> None:
        """Ends it."""
        self._close()

    def _close(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def main(run: str, *modules: str) -> int:
    """Views a run until standard input ends; returns the exit code."""
    give_way()
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        for module in modules:
            environment.import_module(module)
        view_run(RunDirectory.open(Path(run)), {}, ViewOptions(num_threads=1, frames_per_second=FRAMES_PER_SECOND))
    except (UsageError, RunError) as refusal:
        print(f"the viewer of the training: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the viewer was open
        pass
    return 0


def _end_with_input() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    _thread.interrupt_main()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
