"""The processes that train one policy together, and how they exchange values and errors.

Each process, a worker, steps environments of its own. Rank 0 alone reads and writes files, evaluates and reports to
the user.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np

from motrix_train.errors import EndedElsewhere, RunError, UsageError
from motrix_train.launcher import ProcessInfo
from motrix_train.operating_system import usable_cpus
from motrix_train.storage.array_tree import leaves, nest

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for another: longer than an evaluation, during which the others wait for rank 0."""

_TRANSPORT_ERRORS = re.compile("gloo|nccl|coordination", re.IGNORECASE)  # in Torch's and JAX's connection errors
_ERROR_TYPES = {"UsageError": UsageError, "RunError": RunError}


class Transport(Protocol):
    """How a backend moves bytes between the processes."""

    def all_gather(self, data: np.ndarray) -> np.ndarray:  # (n,) uint8 -> (processes, n)
        """The data of every process, in the order of their ranks."""
        ...

    def broadcast(self, data: np.ndarray, source: int) -> np.ndarray:  # (n,) uint8 -> (n,)
        """The data of one process."""
        ...


class ProcessGroup:
    """All processes of a training, seen from one of them.

    Every method is collective: all processes call the same methods in the same order. Methods that take a function
    share its errors, too: if it raises in one process, the call raises in all of them.

    Args:
        info: The position of this process.
        transport: Connects the processes; None for a single process, which then sends nothing.
    """

    cpus: int
    """The share of this process of the CPUs that it may use."""
    gpu: int
    """Index of the GPU of this process, among those that it sees."""

    def __init__(self, info: ProcessInfo, transport: Transport | None = None) -> None:
        self.rank, self.size = info.rank, info.size
        self._transport = transport
        usable = usable_cpus()
        self.cpus = len(usable)
        self.gpu = 0
        if transport is not None:
            host = socket.gethostname()
            mine = (host, usable), (host, os.environ.get("CUDA_VISIBLE_DEVICES"))
            digests = [hashlib.sha256(repr(part).encode()).digest() for part in mine]
            others = self.all_gather(np.array([np.frombuffer(digest, np.int64)[0] for digest in digests]))
            same_cpus, same_gpus = (others == others[self.rank]).T  # (processes,) each
            self.cpus = max(1, self.cpus // int(same_cpus.sum()))
            self.gpu = int(same_gpus[: self.rank].sum())

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the process that reads, writes and reports."""
        return self.rank == 0

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `work` in every process and returns the result of this one. `work` must not call the group.

        Rank 0 raises the error of whichever process failed, so that the user reads it once.

        Raises:
            EndedElsewhere: In the other processes.
        """
        if self._transport is None:
            return work(*args, **kwargs)
        failure, result = None, None
        try:
            result = work(*args, **kwargs)
        except Exception as error:
            failure = error
        self._share_errors(failure)
        return result  # pyright: ignore[reportReturnType]  # some process raises where there is none

    def any(self, work: Callable[P, bool], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Calls `work` in every process; whether it returned True in any of them."""
        return bool(self.all_gather(np.array(self.run(work, *args, **kwargs))).any())

    def all(self, work: Callable[P, bool], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Calls `work` in every process; whether it returned True in all of them."""
        return bool(self.all_gather(np.array(self.run(work, *args, **kwargs))).all())

    def from_main(self, work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Calls `work` on rank 0 alone and returns its result, nested dicts of arrays, numbers and text, in all."""
        tree = self.run(lambda: work() if self.is_main else {})
        return tree if self._transport is None else self._broadcast(0, tree)

    def gather(self, tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The trees of all processes by rank, on rank 0; an empty list in the others."""
        if self._transport is None:
            return [tree]
        trees = [self._broadcast(rank, tree) for rank in range(self.size)]
        return trees if self.is_main else []

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Means over the processes that have a number, by name; NaN where none has."""
        if self._transport is None:
            return dict(values)
        given: dict[str, list[float]] = {}
        for text in self._all_texts(json.dumps(dict(values))):
            for name, value in json.loads(text).items():
                given.setdefault(name, []).extend([] if math.isnan(value) else [value])
        return {name: math.fsum(numbers) / len(numbers) if numbers else math.nan for name, numbers in given.items()}

    def pool_moments(self, mean: np.ndarray, variance: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Mean and variance (k,) of the rows of all processes, from those of `count` rows of this one.

        Variances are unbiased, as ``np.var(rows, axis=0, ddof=1)``.
        """
        parts = self.all_gather(np.stack([mean, variance]).astype(np.float64))  # (processes, 2, k)
        return pool_moments(parts[:, 0], parts[:, 1], count)

    def all_gather(self, array: np.ndarray) -> np.ndarray:  # (...) -> (processes, ...)
        """The arrays of all processes, which have the same shape and type."""
        if self._transport is None:
            return array[None]
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        with self.connection_errors():
            gathered = self._transport.all_gather(data)
        return gathered.view(array.dtype).reshape(self.size, *array.shape)

    @contextmanager
    def connection_errors(self) -> Iterator[None]:
        """A block that communicates with the other processes.

        Raises:
            RunError: The connection is lost, since another process was killed or ended in an error.
        """
        try:
            yield
        except (RuntimeError, ValueError) as failure:
            if self.size == 1 or not _TRANSPORT_ERRORS.search(str(failure)):
                raise
            raise RunError(f"worker {self.rank} lost another one, which was killed or ended in an error") from failure

    def _share_errors(self, failure: Exception | None) -> None:
        """Raises in every process if one of them passes a failure."""
        failed = self.all_gather(np.array(failure is not None))  # (processes,)
        if not failed.any():
            return
        first = int(failed.argmax())
        shared = json.loads(str(self._broadcast(first, {"failure": _to_json(failure)})["failure"]))
        if failure is not None and (self.is_main or type(failure).__name__ not in _ERROR_TYPES):
            raise failure
        if self.is_main and shared["kind"] in _ERROR_TYPES:
            raise _ERROR_TYPES[shared["kind"]](f"worker {first}: {shared['message']}")
        raise EndedElsewhere(2 if shared["kind"] == "UsageError" else 1)

    def _all_texts(self, text: str) -> list[str]:
        """The texts of all processes."""
        data = text.encode()
        longest = int(self.all_gather(np.array(len(data))).max())
        padded = self.all_gather(np.frombuffer(data.ljust(longest), np.uint8))
        return [row.tobytes().decode() for row in padded]

    def _broadcast(self, source: int, tree: Mapping[str, Any]) -> Mapping[str, Any]:
        """The tree of one process."""
        assert self._transport is not None
        mine = np.frombuffer(_pack(tree), np.uint8) if self.rank == source else np.zeros(0, np.uint8)
        length = int(self.all_gather(np.array(len(mine)))[source])
        data = mine if self.rank == source else np.zeros(length, np.uint8)
        with self.connection_errors():
            return _unpack(self._transport.broadcast(data, source).tobytes())


SINGLE_PROCESS = ProcessGroup(ProcessInfo())
"""The group of a process that trains alone."""


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
