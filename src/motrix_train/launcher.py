"""The environment variables by which a launcher starts several training processes.

Supported are torchrun, SKRL's launcher for JAX, and SLURM's srun, on one machine or on many.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from motrix_train.errors import UsageError

_LAUNCHERS = {  # variable with the number of processes -> backend of the launcher, variable of rank, of local rank
    "WORLD_SIZE": ("torch", "RANK", "LOCAL_RANK"),
    "JAX_WORLD_SIZE": ("jax", "JAX_RANK", "JAX_LOCAL_RANK"),
    "SLURM_STEP_NUM_TASKS": (None, "SLURM_PROCID", "SLURM_LOCALID"),  # of the step: a batch script is no worker
}


@dataclass(frozen=True)
class ProcessInfo:
    """The position of this process among those that a launcher started.

    Attributes:
        rank: 0 to `size` - 1.
        size: Number of processes.
        local_rank: Number among the processes of its machine.
        address: Where rank 0 waits for the others, ``host:port``; empty for a single process.
        backend: The backend that the launcher is for, None if it starts either.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    address: str = ""
    backend: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> ProcessInfo:
        """Reads the environment variables of the launcher; without a launcher, this is a single process.

        Raises:
            UsageError: A variable is missing or is not a number.
        """
        count = next((name for name in _LAUNCHERS if name in environ), None)
        if count is None or _number(environ, count, count) == 1:
            return cls()
        backend, rank, local_rank = _LAUNCHERS[count]
        return cls(
            rank=_number(environ, rank, count),
            size=_number(environ, count, count),
            local_rank=_number(environ, local_rank, count),
            address=_address(environ, count),
            backend=backend,
        )


def reports_errors() -> bool:
    """True in the one process per machine that reports errors raised before the processes are connected."""
    try:
        return ProcessInfo.from_environ().local_rank == 0
    except UsageError:
        return True


@contextmanager
def hidden_launcher() -> Iterator[None]:
    """Hides the launcher while SKRL is imported: SKRL would connect with NCCL and choose a GPU by itself."""
    hidden = {name: os.environ.pop(name) for name in ("WORLD_SIZE", "JAX_WORLD_SIZE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def first_host(nodes: str) -> str:
    """The first host of a list as SLURM writes it: ``node003`` of ``node[003-005,7],gpu1``."""
    first = re.match(r"(?:[^,\[]|\[[^]]*\])*", nodes)
    assert first is not None
    return re.sub(r"\[([^],-]*)[^]]*\]", r"\1", first.group())


def _address(environ: Mapping[str, str], count: str) -> str:
    if count == "WORLD_SIZE":
        return f"{_text(environ, 'MASTER_ADDR', count)}:{_number(environ, 'MASTER_PORT', count)}"
    if count == "JAX_WORLD_SIZE":
        return f"{_text(environ, 'JAX_COORDINATOR_ADDR', count)}:{_number(environ, 'JAX_COORDINATOR_PORT', count)}"
    host = environ.get("MASTER_ADDR") or first_host(_text(environ, "SLURM_STEP_NODELIST", count))
    if "MASTER_PORT" in environ:
        return f"{host}:{_number(environ, 'MASTER_PORT', count)}"
    job, step = _number(environ, "SLURM_JOB_ID", count), _number(environ, "SLURM_STEP_ID", count)
    return f"{host}:{20_000 + (31 * job + step) % 12_000}"  # below the ports that systems give to clients


def _text(environ: Mapping[str, str], name: str, count: str) -> str:
    if not environ.get(name):
        raise UsageError(
            f"{count} is {environ[count]}, but {name} is not set: start the workers with a launcher that sets both, or "
            f"unset {count}"
        )
    return environ[name]


def _number(environ: Mapping[str, str], name: str, count: str) -> int:
    text = _text(environ, name, count)
    if not text.isdecimal():
        raise UsageError(f"the environment variable {name} is {text!r}: it takes a whole number")
    return int(text)
