"""Arrays of numbers and a JSON text in one safetensors file, with a digest of both.

Nothing in such a file can run. A digest does not prove good intent: `safetensors` checks every declared size against
the file, and the text is checked by whoever reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from motrix_gym.fields import short
from motrix_train.errors import RunError, UsageError

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


def read(path: Path, kind: str, what: str, remedy: str) -> tuple[str, dict[str, np.ndarray]]:
    """The text and the arrays of a file.

    Args:
        path: The file.
        kind: The format that it must have.
        what: What the file should be, for messages: "a Motrix policy".
        remedy: What to do about a damaged one, for messages.

    Raises:
        UsageError: There is no such file.
        RunError: It cannot be read, is damaged, or is of another kind.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no policy {path}") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    size = int.from_bytes(data[:8], "little")
    try:
        if size > MAX_HEADER_BYTES:
            raise ValueError("its header is too long")
        arrays = safetensors.numpy.load(data)
        metadata = json.loads((json.loads(data[8 : 8 + size]).get("__metadata__") or {}).get(METADATA, "{}"))
    except Exception as error:  # the decoder raises whatever a damaged byte leads it to
        raise RunError(f"{path} is damaged or not {what}: {remedy}") from error
    if not isinstance(metadata, dict) or not all(isinstance(metadata.get(name), str) for name in CONTENT):
        raise RunError(f"{path} is not {what}: give a file that motrix-train wrote")
    if metadata["format"] != kind:
        raise RunError(f"{path} has the format {short(metadata['format'])}, this version reads {kind!r}")
    if metadata["digest"] != _digest(metadata["header"], arrays):
        raise RunError(f"{path} is damaged: its digest does not fit its content; {remedy}")
    return metadata["header"], dict(sorted(arrays.items()))  # the decoder's order differs from call to call


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
