"""What the terminal shows of a training, and how often its curve is drawn."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from motrix_train.cli import run
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training import progress
from motrix_train.training.callbacks import Callback, CallbackList
from motrix_train.training.progress import TrainingProgress

CARTPOLE = "Motrix/CartPole-v0"


def test_the_curve_is_drawn_at_most_once_a_minute(tmp_path, monkeypatch):
    now, drawn = 1000.0, []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(progress, "draw_learning_curve", lambda *arguments: drawn.append(now))
    shown = TrainingProgress(RunDirectory(tmp_path), Console(quiet=True))
    for second in range(0, 150, 10):
        now = 1000.0 + second
        shown.checkpoint_written(Path("last.safetensors"))
    assert drawn == [1000.0, 1060.0, 1120.0]


def test_what_takes_long_says_so_where_no_bar_can_be_drawn(monkeypatch, capsys):
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress.share_bar(Console(stderr=True), "playing") as on_progress:
        for second in range(0, 101, 5):
            now = 1000.0 + second
            on_progress(second / 200)
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "playing: 8%, 3:05 left"
    assert shown[-1] == "playing: 45%, 1:50 left"
    assert len(shown) == 6


def test_quiet_prints_the_result_and_nothing_else(work, tiny, capfd):
    assert run(["train", CARTPOLE, *tiny, "--run-dir=mine", "--quiet"]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines() == [
        "Trained: mine",
        "Best policy: mine/checkpoints/best.safetensors",
        "Measure it:  motrix-train evaluate mine",
        "Watch it:    motrix-train play mine --video play.mp4",
    ]
    assert Path("mine/learning_curve.png").is_file()


def test_several_callbacks_are_called_in_order(tmp_path):
    told = []

    class Note(Callback):
        def __init__(self, name: str):
            self._name = name

        def started(self, plan):
            told.append((self._name, plan))

        def rollout(self, stats):
            told.append((self._name, stats))

        def checkpoint_written(self, path):
            told.append((self._name, path))

        def finished(self, summary):
            told.append((self._name, summary))

    both: Callback = CallbackList([Note("a"), Note("b")])
    tales = ["plan", "stats", "path", "summary"]
    for tell, tale in zip((both.started, both.rollout, both.checkpoint_written, both.finished), tales, strict=True):
        tell(tale)  # pyright: ignore[reportArgumentType]
    assert told == [(name, tale) for tale in tales for name in "ab"]


@pytest.mark.posix
def test_ctrl_c_is_heard_and_the_last_policy_named(work):
    options = ["--backend=torch", "--num-envs=8", "--num-threads=1", "--run-dir=mine", "--set=rollouts=2000"]
    training = subprocess.Popen(
        [sys.executable, "-m", "motrix_train", "train", CARTPOLE, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert training.stderr is not None
    assert training.stderr.readline().startswith("Motrix/CartPole-v0")
    time.sleep(0.2)
    training.send_signal(signal.SIGINT)
    _, said = training.communicate(timeout=60)
    assert training.returncode == 130
    assert said.splitlines()[0] == "stopping after this step; again to stop now"
    assert said.splitlines()[-1] == "the last policy, from which it goes on: mine/checkpoints/last.safetensors"
