"""Files of a run as somebody else might have written them: well-formed, with a digest that fits, and wrong."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motrix_train.storage import checkpoint

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
        content = {name: getattr(good, name) for name in checkpoint.annotations_of(checkpoint.Header)}
        header(content)
        header = json.dumps(content)
    parts = {"format": checkpoint.FORMAT, "header": header, "digest": digest(header, arrays), "state": arrays}
    pack = checkpoint._pack_torch if good.backend == "torch" else checkpoint._pack_msgpack
    path.write_bytes(pack(parts))


def digest(header: str, arrays: Mapping[str, np.ndarray]) -> str:
    """The digest of a checkpoint, written once more."""
    total = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def torch_file_of_stride_zero(path: Path, numbers: int) -> None:
    """A file of a few kilobytes that declares a tensor of many numbers."""
    import torch

    tensor = torch.zeros(1).expand(numbers)
    torch.save({"format": checkpoint.FORMAT, "header": "{}", "digest": "", "state": {"policy/x": tensor}}, path)


def torch_file_of_zeros(path: Path, numbers: int, compression: int = zipfile.ZIP_DEFLATED) -> None:
    """A file of zeros, compressed to a thousandth."""
    import torch

    buffer = io.BytesIO()
    state = {"policy/x": torch.zeros(numbers)}
    torch.save({"format": checkpoint.FORMAT, "header": "{}", "digest": "", "state": state}, buffer)
    with zipfile.ZipFile(buffer) as plain, zipfile.ZipFile(path, "w", compression) as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
