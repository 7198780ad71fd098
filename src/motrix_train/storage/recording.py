"""Recordings of one environment: its states and actions step by step, in a safetensors file. Data only.

The arrays are those of `get_state`, named ``state.NAME``, each (steps, ...), and ``action``, (steps, m): the action
that was taken in each state. Of which environment they are stands in the file's text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from motrix_gym.fields import Bound
from motrix_train import schema
from motrix_train.errors import RunError, UsageError
from motrix_train.storage import array_file
from motrix_train.storage.array_file import SUFFIX
from motrix_train.storage.files import atomic_write

FORMAT = "motrix-recording-1"
MAX_BYTES = 256 * 2**20
_STATE, _ACTION = "state.", "action"
_REMEDY = "give a file that motrix-train wrote"


@dataclass(frozen=True, kw_only=True)
class About:
    """Where a recording is from.

    Attributes:
        env_id: Registered id of the environment.
        env_kwargs: Fields of its task.
        seed: Of the training.
        env: Which of the environments of the training it was.
        vector_step: The vector step of the training, from when it was begun or resumed, that is the last one.
        ending: Why it ended.
        versions: Of the packages that a simulation depends on.
    """

    env_id: str
    env_kwargs: dict[str, Any]
    seed: Annotated[int, Bound(0)]
    env: Annotated[int, Bound(0)]
    vector_step: Annotated[int, Bound(0)]
    ending: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Recording:
    """States and actions of one environment.

    Attributes:
        about: Where it is from.
        states: The arrays of `get_state` by name, each (steps, ...).
        actions: The action taken in each state, (steps, m).
    """

    about: About
    states: Mapping[str, np.ndarray]
    actions: np.ndarray

    def __len__(self) -> int:
        return len(self.actions)

    def state(self, step: int) -> dict[str, np.ndarray]:
        """The state of one environment at a step, as `set_state` takes it."""
        return {name: np.array(values[step : step + 1]) for name, values in self.states.items()}


def write(path: Path, recording: Recording) -> None:
    """Writes a recording: the whole file appears, or nothing does.

    Raises:
        RunError: The disk refuses.
    """
    arrays = {f"{_STATE}{name}": values for name, values in recording.states.items()}
    arrays[_ACTION] = recording.actions
    atomic_write(path, array_file.to_bytes(FORMAT, json.dumps(asdict(recording.about)), arrays))


def is_recording(path: Path) -> bool:
    """Whether a file says that it is a recording."""
    return path.suffix == SUFFIX and path.is_file() and array_file.is_of_kind(path, FORMAT)


def read(path: Path) -> Recording:
    """Reads a recording.

    Raises:
        RunError: It is damaged or too large, or the disk refuses.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"it has {path.stat().st_size:,} bytes, at most {MAX_BYTES:,} are read")
        text, arrays = array_file.from_bytes(path.read_bytes(), path, FORMAT, "a recording", _REMEDY)
        about = schema.build(About, schema.parse_json(text.encode()))
        actions = arrays.pop(_ACTION)
        states = {name.removeprefix(_STATE): x for name, x in arrays.items() if name.startswith(_STATE)}
        if actions.ndim != 2 or not len(actions) or any(len(x) != len(actions) for x in states.values() if x.ndim):
            raise UsageError("its arrays have no steps, or not the same number")
    except OSError as refusal:
        raise RunError(f"cannot read {path}: {refusal.strerror or refusal}") from refusal
    except (KeyError, TypeError, ValueError, UsageError) as damage:
        raise RunError(f"{path} is damaged: {damage}; {_REMEDY}") from damage
    return Recording(about, states, actions)
