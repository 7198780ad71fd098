"""`motrix-train view` without a browser: whom it shows, whom it follows, what it refuses; `train --watch`."""

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest

from motrix_train.cli import run
from motrix_train.errors import RunError
from motrix_train.policies import TrainedPolicy
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.viewer import show
from motrix_train.viewer.following import FollowingPolicy
from motrix_train.viewer.report import Report

CARTPOLE = "Motrix/CartPole-v0"


class Studio:
    """In place of a page: open for some frames."""

    url = "http://nowhere/"

    def __init__(self, panel: object, frames: int = 30) -> None:
        self.panel, self.frames, self.drawn = panel, frames, 0

    def is_open(self) -> bool:
        self.frames -= 1
        return self.frames >= 0

    def is_seen(self) -> bool:
        return True

    def draw(self, model: object, data: object) -> None:
        self.drawn += 1

    def close(self) -> None:
        pass


@pytest.fixture
def seen(monkeypatch) -> list[Report]:
    """The last report of everything that is viewed, without a page."""
    from queue import SimpleQueue
    from types import SimpleNamespace

    reports: list[Report] = []

    def opened(options: show.ViewOptions):
        panel = SimpleNamespace(report=None, wishes=SimpleQueue())
        studio = Studio(panel)
        monkeypatch.setattr(studio, "close", lambda: reports.append(panel.report))
        return panel, studio

    monkeypatch.setattr(show, "_open", opened)
    return reports


def test_policies_runs_and_none_are_shown(trained, seen, work, capsys):
    best = trained.best_policy()
    for arguments, acts in (
        ([str(trained.path)], f"{best.name} of {trained.path}, "),
        ([str(best)], f"{best}, "),
        ([CARTPOLE, str(best)], f"{best}, "),
        ([CARTPOLE, "--random", "--num-envs=3"], "random actions"),
        (["motrix_gym:Motrix/Go1-v0", "--zero", "--env=terrain.noise=0.05"], "the action zero"),
    ):
        assert run(["view", *arguments, "--no-browser"]) == 0
        report = seen[-1]
        assert report.policy.startswith(acts)
        assert report.step > 0
        assert report.num_envs == (3 if "--random" in arguments else 4)
    assert run(["play", str(best)]) == 0
    assert seen[-1].policy.startswith(f"{best}, ")
    assert capsys.readouterr().out.count("The viewer is at http://nowhere/") == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Motrix/CartPol-v0", "--zero"], "did you mean Motrix/CartPole-v0?"),
        (
            [CARTPOLE],
            f"{CARTPOLE}`; or add --pretrained, for the ready-made policy; or --zero or --random, for none",
        ),
        ([CARTPOLE, "--zero", "--random"], "--random and --zero both say who acts"),
        ([CARTPOLE, "nothing.safetensors"], "there is no policy nothing.safetensors"),
        ([CARTPOLE, "nothing.pt"], "nothing.pt is a policy of an older version"),
        ([CARTPOLE, "--zero", "--host=nowhere.invalid"], "--host nowhere.invalid is no address of this machine"),
        (["CartPole-v1", "--zero"], "CartPole-v1 is no environment of motrix_gym, and only such can be viewed"),
    ],
)
def test_mistakes_are_one_line(arguments, said, work, capsys):
    assert run(["view", *arguments, "--no-browser"]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")


def test_a_run_has_no_ready_made_policy(trained, capsys):
    assert run(["view", str(trained.path), "--pretrained", "--no-browser"]) == 2
    assert f"--pretrained is about an environment, not about {trained.path}" in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a display")
def test_a_window_needs_a_display(monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert run(["view", CARTPOLE, "--zero", "--window"]) == 1
    assert "there is no display for --window: leave it out" in capsys.readouterr().err


def test_a_newer_policy_takes_over(trained, tmp_path):
    """A run without a policy, which gets its checkpoints one after another."""
    copy = RunDirectory(tmp_path / "run")
    shutil.copytree(trained.path, copy.path, ignore=shutil.ignore_patterns("best*", "last*", "step_*"))
    now = [0.0]

    def policy_of(path: Path) -> TrainedPolicy:
        return TrainedPolicy.open(str(path))

    followed = FollowingPolicy(copy, policy_of, 1, clock=lambda: now[0])
    observations = np.full((2, 4), 0.1, np.float32)
    assert followed(observations).tolist() == [[0.0], [0.0]]
    assert followed.about().startswith("waits for the first policy of the run")
    last = trained.checkpoint("last")
    assert last is not None
    shutil.copy(last, copy.checkpoints)
    assert not followed(observations).any(), "the files are looked at once a second"
    now[0] = 1.0
    expected = policy_of(last).acting()(observations)
    np.testing.assert_array_equal(followed(observations), expected)
    assert followed.about().startswith(f"{last.name} of {copy.path}, 1,024 env steps, read 0 s ago")
    (copy.checkpoints / last.name).write_bytes(b"half a file")
    os.utime(copy.checkpoints / last.name, ns=(5, 5))
    now[0] = 2.5
    np.testing.assert_array_equal(followed(observations), expected)
    assert "; the newer one cannot be used: " in followed.about()
    assert "read 2 s ago" in followed.about()


def test_a_mistake_in_the_viewer_is_told_there(seen):
    from types import SimpleNamespace

    class Watched(SimpleNamespace):
        def push(self, direction: float) -> None:
            raise RunError("it cannot be pushed")

    from queue import SimpleQueue

    panel, watched = SimpleNamespace(wishes=SimpleQueue()), Watched(message="")
    panel.wishes.put(lambda session: session.push(0.0))
    assert show._grant(watched, panel) == 1
    assert watched.message == "it cannot be pushed"


def test_a_training_is_watched_by_a_process_of_its_own(work, tiny):
    """The viewer is niced, serves its page while the training runs, and ends with it, even if that is killed."""
    options = [option for option in tiny if "max-env-steps" not in option]
    training = subprocess.Popen(
        [sys.executable, "-m", "motrix_train", "train", CARTPOLE, *options, "--watch", "--run-dir=run", "-q"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert training.stderr is not None
        line = training.stderr.readline()
        assert line.startswith("The viewer is at http://127.0.0.1:"), line
        page = urllib.request.urlopen(line.split()[4], timeout=60).read()
        assert b"canvas" in page
        [viewer] = psutil.Process(training.pid).children()
        assert viewer.nice() == 19
    finally:
        training.kill()
        training.wait()
    psutil.wait_procs([viewer], timeout=60)
    assert not viewer.is_running()
