"""What two runs of the same training must have in common, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import metadata

from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory

CLOCKS = ("seconds", "env_steps_per_second", "seconds_env", "seconds_policy", "seconds_update", "seconds_evaluation")


def everything(run: RunDirectory) -> dict[str, Any]:
    """All that a run leaves but its clocks: its checkpoints, its table and its events, ready to be compared."""
    return {
        **{path.stem: _content(path) for path in run.checkpoints.iterdir() if not path.name.startswith(".")},
        "progress": [(name, column.tobytes()) for name, column in run.progress().items() if name not in CLOCKS],
        "events": events(run.path),
    }


def _content(path: Path) -> dict[str, Any]:
    read = checkpoint.read(path)
    session = {name: value for name, value in read.resume_state.items() if name != "seconds"}
    arrays = checkpoint.leaves({"state": read.state, "session": session})
    return {"env_steps": read.env_steps} | {name: np.asarray(array).tobytes() for name, array in arrays}


def events(directory: Path) -> list[tuple[str, int, Any]]:
    """Every scalar in the event files, with its tag and step, as often as it is there; in TensorBoard's own words.

    The hyperparameters stand among them, once, as the string that they are.
    """
    found, hyperparameters = [], []
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag == metadata.SESSION_START_INFO_TAG:
                    hyperparameters.append(_hyperparameters(value.metadata.plugin_data.content))
                else:
                    found.append((value.tag, event.step, value.tensor.float_val[0]))
    assert len(hyperparameters) == 1
    shown = EventAccumulator(str(directory), size_guidance={"scalars": 0}).Reload()
    by_tag = [(tag, event.step, event.value) for tag in shown.Tags()["scalars"] for event in shown.Scalars(tag)]
    assert sorted(found) == sorted(by_tag)
    return [*hyperparameters, *sorted(entry for entry in found if not entry[0].startswith("Throughput/"))]


def _hyperparameters(content: bytes) -> tuple[str, int, str]:
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    return metadata.SESSION_START_INFO_TAG, 0, str(sorted((name, str(value)) for name, value in hparams.items()))
