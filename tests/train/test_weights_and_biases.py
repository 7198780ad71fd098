"""Weights & Biases, with the real package and without a network."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motrix_train.cli import run
from motrix_train.storage.run_directory import RunDirectory

CARTPOLE = "Motrix/CartPole-v0"
BLOCK = 32768  # bytes; the files of the package are LevelDB logs after a header of 7 bytes
WHOLE, LAST = 1, 4  # kinds of a piece of a record


def records(path: Path) -> Iterator[Any]:
    """What was logged offline."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, pieces = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        pieces += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (WHOLE, LAST):
            yield Record.FromString(pieces)
            pieces = b""


def logged(directory: Path) -> list[tuple[str, str, dict[int, dict[str, float]]]]:
    """Project, id and history (env steps -> scalars) of what each process logged."""
    parts = []
    for path in sorted(directory.glob("wandb/offline-run-*/*.wandb")):
        found = list(records(path))
        (about,) = (record.run for record in found if record.HasField("run"))
        rows = [record.history for record in found if record.HasField("history")]
        history = {
            row.step.num: {tag: float(item.value_json) for item in row.item if "/" in (tag := _tag(item))}
            for row in rows
        }
        parts.append((about.project, about.run_id, history))
    return parts


def _tag(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


@pytest.fixture
def offline(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory where Weights & Biases stays."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    return work


def test_it_gets_what_tensorboard_gets_and_a_resumed_run_goes_on_there(offline, tiny, capfd):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run(["train", CARTPOLE, *tiny, "--run-dir=mine", "-q", "--wandb=walks"]) == 0
    assert run(["train", "--resume=mine", "--max-env-steps=2048", "-q"]) == 0
    assert capfd.readouterr().err == ""
    (project, run_id, first), (*again, second) = logged(Path("mine"))
    assert (project, run_id) == tuple(again) == ("walks", RunDirectory(Path("mine")).config()["wandb"]["id"])
    assert list(first) == [256, 512, 768, 1024]
    assert list(second) == [1280, 1536, 1792, 2048]
    events = EventAccumulator("mine")
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"Episode/return", "Reward/alive", "Loss/policy", "Evaluation/mean_return"} <= set(tags)
    history = first | second
    for tag in tags:
        board = {event.step: event.value for event in events.Scalars(tag)}
        assert board == pytest.approx({steps: np.float32(row[tag]) for steps, row in history.items() if tag in row})


def test_another_project_is_another_run_there(offline, tiny):
    assert run(["train", CARTPOLE, *tiny, "--run-dir=mine", "-q", "--wandb=walks"]) == 0
    assert run(["train", "--resume=mine", "--max-env-steps=2048", "-q", "--wandb=runs"]) == 0
    (first, first_id, _), (second, second_id, _) = logged(Path("mine"))
    assert (first, second) == ("walks", "runs")
    assert first_id != second_id


def test_what_it_refuses_is_one_line_and_leaves_nothing(offline):
    arguments = ["train", CARTPOLE, "--run-dir=mine", "--wandb=a/b", "--num-threads=1"]
    command = [sys.executable, "-m", "motrix_train", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "WANDB_MODE": "offline"})
    assert process.returncode == 1
    assert process.stderr.startswith("motrix-train: Weights & Biases refuses: Invalid project name 'a/b'")
    assert process.stderr.count("\n") == 1
    assert not list(offline.iterdir())


def test_without_the_package_it_says_what_to_install(work, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run(["train", CARTPOLE, "--backend=torch", "--wandb=walks"]) == 2
    captured = capsys.readouterr()
    assert captured.err == 'motrix-train: --wandb needs another package: pip install "motrix-gym[wandb]"\n'
    assert not list(work.iterdir())
