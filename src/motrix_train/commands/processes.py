"""Connects the processes of a `motrix-train train` that a launcher has started several times."""

from __future__ import annotations

from pathlib import Path

from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup
from motrix_train.errors import UsageError
from motrix_train.launcher import ProcessInfo
from motrix_train.learning.backend import select
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.request import TrainRequest

LAUNCHERS = "torchrun starts torch, `python -m skrl.utils.distributed.jax` jax, and srun either"


def connect_processes(backend: str, resume: Path | None) -> tuple[ProcessGroup, str]:
    """Connects the processes that a launcher started; returns their group and the backend that connects them.

    Raises:
        UsageError: The backend is not clear, or not possible with the launcher.
        RunError: The processes cannot be connected.
    """
    process = ProcessInfo.from_environ()
    if process.size == 1:
        return SINGLE_PROCESS, backend
    if process.backend is not None:
        if backend not in ("auto", process.backend):
            raise UsageError(f"--backend {backend} is not possible with this launcher: {LAUNCHERS}")
        backend = process.backend
    elif resume is not None:
        backend = TrainRequest.from_run(RunDirectory.open(resume)).backend
    elif backend == "auto":
        raise UsageError(f"--backend auto may choose differently in each of {process.size} workers: give torch or jax")
    return ProcessGroup(process, select(backend).connect(process)), backend
