"""Reads archives of ``torch.save`` that hold dicts, texts, numbers and tensors, without Torch and without pickle.

Such an archive is a zip file: ``data.pkl`` describes the content, ``data/0``, ``data/1`` ... hold the
numbers of the tensors. The opcodes of ``data.pkl`` are interpreted here, and only those that such content needs. No
opcode calls anything, no declared size is used before its bytes have been read, and no two tensors share numbers.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_PICKLE_BYTES = 2**20
MAX_DIMENSIONS = 8

_DTYPES = {
    "torch BoolStorage": "?",
    "torch ByteStorage": "u1",
    "torch CharStorage": "i1",
    "torch ShortStorage": "i2",
    "torch IntStorage": "i4",
    "torch LongStorage": "i8",
    "torch FloatStorage": "f4",
    "torch DoubleStorage": "f8",
    "torch uint16": "u2",
    "torch uint32": "u4",
    "torch uint64": "u8",
}
_UNTYPED = "torch.storage UntypedStorage"
_TENSOR, _TENSOR_OF_DTYPE = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3"
_ORDERED_DICT = "collections OrderedDict"
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "NONE": lambda: None,
}
_LITERALS = ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")


class _Global(str):
    """The name of a type or a function of Torch; it cannot be called."""


def read(data: bytes) -> Any:
    """The content of an archive, tensors as NumPy arrays.

    Raises:
        ValueError: It is no such archive, or has other content. A damaged archive may also raise the exceptions of
            `zipfile`, of `pickletools`, and of a failed lookup.
    """
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    if sum(entry.file_size for entry in archive.infolist()) > len(data):
        raise ValueError("its parts are larger than the file")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise ValueError("it is compressed")
    if entries["data.pkl"].file_size > MAX_PICKLE_BYTES:
        raise ValueError("its data.pkl is too large")
    if archive.read(entries["byteorder"]) != b"little":
        raise ValueError("it is not little-endian")
    return _interpreted(archive.read(entries["data.pkl"]), lambda key: archive.read(entries.pop(f"data/{key}")))


def _interpreted(instructions: bytes, storage: Callable[[str], bytes]) -> Any:
    """The content that the opcodes of ``data.pkl`` build."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    for opcode, argument, _ in pickletools.genops(instructions):
        match opcode.name:
            case "PROTO" | "STOP":
                pass
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name]())
            case name if name in _LITERALS:
                stack.append(argument)
            case "GLOBAL":
                stack.append(_Global(argument))
            case "MARK":
                marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "SETITEM":
                stack[-3:] = [_with_items(stack[-3], stack[-2:])]
            case "SETITEMS":
                items = since_mark()
                _with_items(stack[-1], items)
            case "BINPERSID":
                stack.append(_storage(stack.pop(), storage))
            case "REDUCE":
                stack[-2:] = [_rebuilt(*stack[-2:])]
            case name:
                raise ValueError(f"it holds more than texts, numbers and tensors: opcode {name}")
    (content,) = stack
    return content


def _with_items(target: Any, items: list[Any]) -> dict[str, Any]:
    if not isinstance(target, dict) or not all(type(name) is str for name in items[::2]):
        raise ValueError("it holds a dict whose keys are no texts")
    target.update(zip(items[::2], items[1::2], strict=True))
    return target


def _storage(reference: tuple[Any, ...], storage: Callable[[str], bytes]) -> tuple[str, bytes]:
    """The kind of a storage, and its bytes."""
    word, kind, key, _, _ = reference
    if word != "storage" or not isinstance(kind, _Global):
        raise ValueError("it refers to an object that is no storage")
    return kind, storage(key)


def _rebuilt(maker: Any, arguments: tuple[Any, ...]) -> Any:
    """A tensor as an array, or an empty dict."""
    if maker == _ORDERED_DICT and isinstance(maker, _Global) and arguments == ():
        return {}
    if not isinstance(maker, _Global) or maker not in (_TENSOR, _TENSOR_OF_DTYPE):
        raise ValueError(f"it holds more than texts, numbers and tensors: {str(maker)[:80]}")
    (kind, data), offset, shape, stride = arguments[:4]
    dtype = np.dtype(_DTYPES[arguments[6] if kind == _UNTYPED else kind]).newbyteorder("<")
    if len(shape) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in (offset, *shape)):
        raise ValueError("a tensor has no possible shape")
    size = math.prod(shape)
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    if size > 1 and any(n > 1 and given != own for n, given, own in zip(shape, stride, steps, strict=True)):
        raise ValueError("a tensor is not contiguous")
    if (offset + size) * dtype.itemsize > len(data):
        raise ValueError("a tensor is larger than its numbers in the file")
    return np.frombuffer(data, dtype, count=size, offset=offset * dtype.itemsize).reshape(shape).copy()
