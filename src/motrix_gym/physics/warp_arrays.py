"""How the numbers in Warp's arrays are read and written: with NumPy's arrays on the host, or with Torch's in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import warp as wp

from motrix_gym import arrays as xp
from motrix_gym.arrays import Array
from motrix_gym.physics.warp_kernels import put_rows


class Exchange(Protocol):
    """Reads and writes fields of a simulation, (N, ...), on Warp's present device.

    Attributes:
        example: An array of the library, on the device and of the floating dtype that it takes and gives.
        stays_on_device: Whether nothing is copied to the host.
    """

    example: Array
    stays_on_device: bool

    def kernels(self) -> Any:
        """A context in which Warp's kernels run after what was read and written before, and before what is later."""
        ...

    def raw(self, field: wp.array) -> Array:
        """A field of integers, (N, ...), which may be the field itself: it is to be read before the next kernel."""
        ...

    def numbers(self, field: wp.array, envs: Any = ...) -> Array:
        """A copy of a field of some environments, indices (M,) int, by default of all, as floating-point numbers."""
        ...

    def assign(self, field: wp.array, values: Array, at: Any = ...) -> None:
        """Writes values to a field, or to the elements `at` of it."""
        ...

    def put(self, envs: Array, rows: Array, *fields: wp.array) -> None:
        """Writes `rows`, (M, size), to fields of some environments, (M,) int: the columns of one after another."""
        ...


class HostArrays(Exchange):
    """With NumPy's arrays, in float64: what is read is copied to the host, and what is written from there."""

    stays_on_device = False

    def __init__(self) -> None:
        self.example = np.zeros(1)

    @contextmanager
    def kernels(self) -> Iterator[None]:
        yield

    def raw(self, field: wp.array) -> Array:
        return field.numpy()

    def numbers(self, field: wp.array, envs: Any = ...) -> Array:
        return field.numpy()[envs].astype(np.float64)

    def assign(self, field: wp.array, values: Array, at: Any = ...) -> None:
        if at is ...:
            field.assign(np.asarray(values, dtype=np.float32))
            return
        whole = field.numpy().copy()
        whole[at] = values
        field.assign(whole)

    def put(self, envs: Array, rows: Array, *fields: wp.array) -> None:
        if not len(envs):
            return
        on_device = wp.array(envs, dtype=int), wp.array(np.ascontiguousarray(rows, dtype=np.float32), ndim=2)
        first = 0
        for field in fields:
            if field.dtype == wp.bool:
                flags = field.numpy().copy()
                width = field.shape[1]
                flags[envs] = rows[:, first : first + width] != 0
                field.assign(flags)
            elif field.size:
                flat = flattened(field)
                width = flat.shape[1]
                wp.launch(put_rows, dim=(len(envs), width), inputs=[*on_device, first], outputs=[flat])
            else:
                width = 0
            first += width


class TorchArrays(Exchange):
    """With Torch's tensors on the device itself, in float32: nothing is copied to the host.

    On a GPU, Torch and Warp have a stream of kernels each, which may run at the same time: see `kernels`.

    Args:
        device: The device of Warp.

    Raises:
        ValueError: Torch has no such device.
    """

    stays_on_device = True

    def __init__(self, device: Any) -> None:
        self._device = device
        try:
            self.example: Any = wp.to_torch(wp.zeros(1, dtype=float, device=device))
        except (AssertionError, RuntimeError) as reason:
            raise ValueError(
                f"arrays='torch' is not possible on {device}: {reason}; install a Torch for it, or use arrays='numpy'"
            ) from None

    @contextmanager
    def kernels(self) -> Iterator[None]:
        if not self._device.is_cuda:
            yield
            return
        torchs, warps = wp.stream_from_torch(wp.device_to_torch(self._device)), self._device.stream
        warps.wait_stream(torchs)
        yield
        torchs.wait_stream(warps)

    def raw(self, field: wp.array) -> Any:
        return wp.to_torch(field)

    def numbers(self, field: wp.array, envs: Any = ...) -> Array:
        x = self._in_place(field)
        chosen = x[envs] if envs is not ... else x.clone()
        return chosen.to(self.example.dtype)

    def assign(self, field: wp.array, values: Array, at: Any = ...) -> None:
        self._in_place(field)[at] = values

    def put(self, envs: Array, rows: Any, *fields: wp.array) -> None:
        first = 0
        for field in fields:
            if not field.size:
                continue
            x: Any = self._in_place(field)
            flat = x.view(x.shape[0], -1)
            width = flat.shape[1]
            flat[envs] = rows[:, first : first + width].to(flat.dtype)
            first += width

    def _in_place(self, field: wp.array) -> Any:
        """A field as a tensor of the same memory; one without elements as zeros."""
        if field.size:
            return wp.to_torch(field)
        return xp.zeros((*field.shape, *getattr(field.dtype, "_shape_", ())), self.example)


def exchange_of(arrays: str, device: Any) -> Exchange:
    """That of "numpy", or of "torch"."""
    return TorchArrays(device) if arrays == "torch" else HostArrays()


def flattened(field: wp.array) -> wp.array:
    """A field (N, ...) of numbers, vectors or matrices as numbers (N, k) of the same memory."""
    n = field.shape[0]
    width = field.size * wp.types.type_size(field.dtype) // n
    flat = wp.array(ptr=field.ptr, dtype=float, shape=(n, width), device=field.device)
    flat._kept = field  # pyright: ignore[reportAttributeAccessIssue]  the memory is the field's
    return flat
