"""The JSON files of a run: objects of bounded size."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motrix_train import schema
from motrix_train.errors import RunError, UsageError
from motrix_train.storage.files import os_errors

MAX_BYTES = 4 * 2**20


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunError: The file cannot be read, or holds no JSON object.
    """
    with os_errors(path, "read"):
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    try:
        if size > MAX_BYTES:
            raise UsageError(f"it has {size:,} bytes, at most {MAX_BYTES:,} are read")
        content = schema.parse_json(data)
        if not isinstance(content, dict):
            raise UsageError("it holds no JSON object")
    except UsageError as damage:
        raise RunError(f"{path} is damaged: {damage}; put back what motrix-train wrote, or train anew") from damage
    return content


def json_bytes(record: Mapping[str, Any]) -> bytes:
    """The content of a file for `read_json_object`."""
    return (json.dumps(record, indent=2) + "\n").encode()
