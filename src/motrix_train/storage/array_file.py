"""Arrays of numbers and a JSON text in one safetensors file, with a digest of both.

Nothing in such a file can run. A digest does not prove good intent: `safetensors` checks every declared size against
the file, and the text is checked by whoever reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from motrix_gym.fields import short
from motrix_train.errors import RunError

SUFFIX = ".safetensors"
MAX_HEADER_BYTES = 2**20
METADATA = "motrix"  # the key in the metadata of safetensors; its value is JSON
CONTENT = ("format", "header", "digest")


def to_bytes(kind: str, text: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of a file.

    Args:
        kind: The format and its version, which a reader must know.
        text: JSON.
        arrays: Arrays of numbers by name.
    """
    whole = {name: np.array(array, order="C") for name, array in arrays.items()}
    content = {"format": kind, "header": text, "digest": _digest(text, whole)}
    return safetensors.numpy.save(whole, {METADATA: json.dumps(content)})  # several keys would be in any order


def is_of_kind(path: Path, kind: str) -> bool:
    """Whether a file says that it has this format; its arrays are not read."""
    try:
        with path.open("rb") as file:
            size = _header_bytes(file.read(8))
            return _metadata(file.read(size)).get("format") == kind
    except Exception:  # anything else than such a file
        return False


def from_bytes(data: bytes, path: Path, kind: str, what: str, remedy: str) -> tuple[str, dict[str, np.ndarray]]:
    """The text and the arrays of a file.

    Args:
        data: Its content.
        path: Where it is from, for messages.
        kind: The format that it must have.
        what: What the file should be, for messages: "a Motrix policy".
        remedy: What to do about a damaged one, for messages.

    Raises:
        RunError: It is damaged, or of another kind.
    """
    try:
        size = _header_bytes(data[:8])
        arrays = safetensors.numpy.load(data)
        metadata = _metadata(data[8 : 8 + size])
    except Exception as error:  # the decoder raises whatever a damaged byte leads it to
        raise RunError(f"{path} is damaged or not {what}: {remedy}") from error
    if not all(isinstance(metadata.get(name), str) for name in CONTENT):
        raise RunError(f"{path} is not {what}: give a file that motrix-train wrote")
    if metadata["format"] != kind:
        raise RunError(f"{path} has the format {short(metadata['format'])}, this version reads {kind!r}")
    if metadata["digest"] != _digest(metadata["header"], arrays):
        raise RunError(f"{path} is damaged: its digest does not fit its content; {remedy}")
    return metadata["header"], dict(sorted(arrays.items()))  # the decoder's order differs from call to call


def _header_bytes(first: bytes) -> int:
    """The size of the header, which is in the first bytes of a file.

    Raises:
        ValueError: It is too large.
    """
    size = int.from_bytes(first, "little")
    if size > MAX_HEADER_BYTES:
        raise ValueError("its header is too long")
    return size


def _metadata(header: bytes) -> dict[str, Any]:
    """What `to_bytes` put into the header; empty where another program wrote it."""
    metadata = json.loads((json.loads(header).get("__metadata__") or {}).get(METADATA, "{}"))
    return metadata if isinstance(metadata, dict) else {}


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
