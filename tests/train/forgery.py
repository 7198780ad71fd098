"""Files of a run as somebody else might have written them: well-formed, with a digest that fits, and wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from motrix_train.storage import array_file, checkpoint

EVIL = "evil_mod"


def evil_module(directory: Path) -> Path:
    """Puts a module into a directory that leaves a mark when it is imported; returns where the mark would be."""
    mark = directory / "was-imported"
    (directory / f"{EVIL}.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass X: pass\n")
    return mark


def rewrite(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edits a JSON file."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def assign(tree: Any, place: str, value: Any) -> None:
    """Sets what a dotted path leads to, which may go through lists."""
    *parents, last = (int(part) if part.isdecimal() else part for part in place.split("."))
    for parent in parents:
        tree = tree[parent]
    tree[last] = value


def forge(
    path: Path, header: str | Callable[[dict[str, Any]], None], state: Callable[[dict[str, Any]], None] = dict
) -> None:
    """Writes a checkpoint anew with another header and other arrays, and with the digest that fits them.

    Args:
        path: The checkpoint.
        header: Edits the header, or is its text.
        state: Edits the arrays, by path.
    """
    good = checkpoint.read(path)
    arrays = {name: np.asarray(x) for name, x in checkpoint.leaves({**good.state, "session": good.resume_state})}
    state(arrays)
    if callable(header):
        content = checkpoint.header(good)
        header(content)
        header = json.dumps(content)
    metadata = {"format": checkpoint.FORMAT, "header": header, "digest": digest(header, arrays)}
    path.write_bytes(safetensors.numpy.save(arrays, {array_file.METADATA: json.dumps(metadata)}))


def digest(header: str, arrays: Mapping[str, np.ndarray]) -> str:
    """The digest of a checkpoint, written once more."""
    total = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        total.update(arrays[name].tobytes())
    return total.hexdigest()


def write_header(path: Path, header: bytes, data: bytes = b"") -> None:
    """Writes a safetensors file with this header, whatever it says."""
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def declared(shape: list[int], stop: int) -> bytes:
    """The header of a file that declares one array of this shape, and that its numbers end at this byte."""
    return json.dumps({"policy/x": {"dtype": "F32", "shape": shape, "data_offsets": [0, stop]}}).encode()
