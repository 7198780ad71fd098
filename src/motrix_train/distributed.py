"""Who this process is among those that train together, and what they tell each other.

Workers are processes that train one policy, each on environments of its own. A launcher starts them, on one machine
or on many, and tells each in environment variables which one it is: torchrun, SKRL's launcher for JAX, or SLURM's
srun. Worker 0 is the main one: it alone reads and writes files, evaluates, and speaks to the user.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import numpy as np

from motrix_train.errors import EndedElsewhere, RunError, UsageError
from motrix_train.storage.checkpoint import leaves, nest

PATIENCE = timedelta(minutes=30)
"""How long a worker waits for another: longer than the evaluation that the main one does alone."""

_LAUNCHERS = {  # how many processes it started -> the backend that it is for, the rank, the rank on the machine
    "WORLD_SIZE": ("torch", "RANK", "LOCAL_RANK"),
    "JAX_WORLD_SIZE": ("jax", "JAX_RANK", "JAX_LOCAL_RANK"),
    "SLURM_STEP_NUM_TASKS": (None, "SLURM_PROCID", "SLURM_LOCALID"),  # of the step: a batch script is no worker
}
_IN_TRANSPORT = re.compile("gloo|nccl|coordination", re.IGNORECASE)  # in what Torch and JAX say of a lost connection
_KINDS = {"UsageError": UsageError, "RunError": RunError}


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that a launcher started.

    Attributes:
        rank: 0 to `size` - 1.
        size: How many they are.
        local_rank: Number among those of its machine.
        address: Where the main one awaits the others, ``host:port``; empty for a single process.
        backend: The backend that the launcher is for, None if it starts either.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    address: str = ""
    backend: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> Place:
        """The place that a launcher gave, by its environment variables; without one, that of a single process.

        Raises:
            UsageError: A variable is missing or is no number.
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


def speaks_for_its_machine() -> bool:
    """Whether what goes wrong before the workers have met is this one's to tell: once on every machine."""
    try:
        return Place.of().local_rank == 0
    except UsageError:
        return True


@contextmanager
def unnoticed() -> Iterator[None]:
    """Hides a launcher: SKRL would join the others when it is imported, with NCCL and on a GPU of its own choice."""
    hidden = {name: os.environ.pop(name) for name in ("WORLD_SIZE", "JAX_WORLD_SIZE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


class Transport(Protocol):
    """What a backend carries between the workers."""

    def all_gather(self, data: np.ndarray) -> np.ndarray:  # (n,) uint8 -> (workers, n)
        """The data of every worker, in the order of their ranks."""
        ...

    def broadcast(self, data: np.ndarray, source: int) -> np.ndarray:  # (n,) uint8 -> (n,)
        """The data of one worker."""
        ...


class Workers:
    """All workers, as one of them sees them. What it offers is called by all of them, in the same order.

    Args:
        place: Where this one stands.
        transport: How they reach each other, None for a single process: then nothing is sent.
    """

    def __init__(self, place: Place = Place(), transport: Transport | None = None) -> None:
        self.rank, self.size = place.rank, place.size
        self._transport = transport
        self.cpus = len(os.sched_getaffinity(0))
        self.gpu = 0
        if transport is not None:
            host = socket.gethostname()
            mine = (host, sorted(os.sched_getaffinity(0))), (host, os.environ.get("CUDA_VISIBLE_DEVICES"))
            digests = [hashlib.sha256(repr(part).encode()).digest() for part in mine]
            others = self.all_gather(np.array([np.frombuffer(digest, np.int64)[0] for digest in digests]))
            same_cpus, same_gpus = (others == others[self.rank]).T  # (workers,) each
            self.cpus = max(1, self.cpus // int(same_cpus.sum()))
            self.gpu = int(same_gpus[: self.rank].sum())

    cpus: int
    """This one's share of the CPUs that it may use."""
    gpu: int
    """Which of the GPUs that it sees is its own."""

    @property
    def is_main(self) -> bool:
        """Whether this one reads, writes and speaks."""
        return self.rank == 0

    def all_gather(self, array: np.ndarray) -> np.ndarray:  # (...) -> (workers, ...)
        """The arrays of all workers, which are of one shape and type."""
        if self._transport is None:
            return array[None]
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        with self.reaching():
            gathered = self._transport.all_gather(data)
        return gathered.view(array.dtype).reshape(self.size, *array.shape)

    def any(self, flag: bool) -> bool:
        """Whether it is so for any of them."""
        return bool(self.all_gather(np.array(flag)).any())

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Means over the workers that have a number, by name; NaN where none has."""
        if self._transport is None:
            return dict(values)
        given: dict[str, list[float]] = {}
        for text in self._all_texts(json.dumps(dict(values))):
            for name, value in json.loads(text).items():
                given.setdefault(name, []).extend([] if math.isnan(value) else [value])
        return {name: math.fsum(numbers) / len(numbers) if numbers else math.nan for name, numbers in given.items()}

    def pool_moments(self, mean: np.ndarray, variance: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Mean and variance (k,) of the rows of all workers, from those of `count` rows of this one.

        Variances are unbiased, as ``np.var(rows, axis=0, ddof=1)``.
        """
        parts = self.all_gather(np.stack([mean, variance]).astype(np.float64))  # (workers, 2, k)
        return pool_moments(parts[:, 0], parts[:, 1], count)

    def share(self, tree: Mapping[str, Any]) -> Mapping[str, Any]:
        """The main worker's tree, nested dicts of arrays, numbers and text; those of the others are not looked at."""
        if self._transport is None:
            return tree
        return self._from(0, tree)

    def gather(self, tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The trees of all workers by rank, for the main one; an empty list for the others."""
        if self._transport is None:
            return [tree]
        trees = [self._from(rank, tree) for rank in range(self.size)]
        return trees if self.is_main else []

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all enter and in which none waits for another: if it fails for one, it ends for all.

        The main worker raises what went wrong, wherever it did, so that the user is told once.

        Raises:
            EndedElsewhere: In the others.
        """
        if self._transport is None:
            yield
            return
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        failed = self.all_gather(np.array(failure is not None))  # (workers,)
        if not failed.any():
            return
        first = int(failed.argmax())
        told = json.loads(str(self._from(first, {"failure": _to_json(failure)})["failure"]))
        if failure is not None and (self.is_main or type(failure).__name__ not in _KINDS):
            raise failure
        if self.is_main and told["kind"] in _KINDS:
            raise _KINDS[told["kind"]](f"worker {first}: {told['message']}")
        raise EndedElsewhere(2 if told["kind"] == "UsageError" else 1)

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """A block in which the others are reached.

        Raises:
            RunError: One of them is gone.
        """
        try:
            yield
        except (RuntimeError, ValueError) as failure:
            if self.size == 1 or not _IN_TRANSPORT.search(str(failure)):
                raise
            raise RunError(f"worker {self.rank} lost another one, which was killed or ended in an error") from failure

    def _all_texts(self, text: str) -> list[str]:
        """The texts of all workers."""
        data = text.encode()
        longest = int(self.all_gather(np.array(len(data))).max())
        padded = self.all_gather(np.frombuffer(data.ljust(longest), np.uint8))
        return [row.tobytes().decode() for row in padded]

    def _from(self, source: int, tree: Mapping[str, Any]) -> Mapping[str, Any]:
        """One worker's tree."""
        assert self._transport is not None
        mine = np.frombuffer(_pack(tree), np.uint8) if self.rank == source else np.zeros(0, np.uint8)
        length = int(self.all_gather(np.array(len(mine)))[source])
        data = mine if self.rank == source else np.zeros(length, np.uint8)
        with self.reaching():
            return _unpack(self._transport.broadcast(data, source).tobytes())


ALONE = Workers()
"""The workers of a single process."""


def pool_moments(means: np.ndarray, variances: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean (k,), unbiased variance (k,) and number of all rows, from those of parts of `count` rows each.

    The sum of squares about the common mean is that within the parts plus that between them (Chan, Golub and
    LeVeque, Algorithms for computing the sample variance, The American Statistician 37, 1983, 242-247).

    Args:
        means: (parts, k).
        variances: (parts, k), unbiased.
        count: Rows of each part.
    """
    total = len(means) * count
    mean = means.mean(axis=0)
    within = variances.sum(axis=0) * (count - 1)
    between = ((means - mean) ** 2).sum(axis=0) * count
    return mean, (within + between) / (total - 1), total


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


def first_host(nodes: str) -> str:
    """The first host of a list as SLURM writes it: ``node003`` of ``node[003-005,7],gpu1``."""
    first = re.match(r"(?:[^,\[]|\[[^]]*\])*", nodes)
    assert first is not None
    return re.sub(r"\[([^],-]*)[^]]*\]", r"\1", first.group())


def _text(environ: Mapping[str, str], name: str, because_of: str) -> str:
    if not environ.get(name):
        raise UsageError(
            f"{because_of} is {environ[because_of]}, but {name} is not set: start the workers with a launcher "
            f"that sets both, or unset {because_of}"
        )
    return environ[name]


def _number(environ: Mapping[str, str], name: str, because_of: str) -> int:
    text = _text(environ, name, because_of)
    if not text.isdecimal():
        raise UsageError(f"the environment variable {name} is {text!r}: it takes a whole number")
    return int(text)


def _to_json(failure: Exception | None) -> str:
    error = RunError(str(failure)) if isinstance(failure, OSError | MemoryError) else failure
    return json.dumps({"kind": type(error).__name__, "message": str(error)})


def _pack(tree: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.asarray(value) for name, value in leaves(tree)})  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def _unpack(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return nest(arrays)
