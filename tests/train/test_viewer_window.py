"""MuJoCo's window as the viewer, on a screen that nobody sees."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import ImageGrab

from motrix_train.viewer.report import Handle, Report
from motrix_train.viewer.window import END, HOME, SPACE, Window

PATIENCE = 120.0  # s
FORWARD, TURN = Handle("command", 0, "forward", -1.0, 1.0), Handle("command", 2, "turn", -1.0, 1.0)


@pytest.fixture
def screen() -> Iterator[str]:
    """The name of a screen."""
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb here: it is in Debian's package xvfb")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as number:
        yield f":{number.readline().strip()}"
    server.terminate()
    server.wait()


def test_a_window_shows_the_robot_and_ctrl_c_closes_it(screen, work):
    viewer = subprocess.Popen(
        [sys.executable, "-m", "motrix_train", "view", "Motrix/Go1-v0", "--zero", "--window", "--num-threads=1"],
        env=os.environ | {"DISPLAY": screen, "MUJOCO_GL": "glfw"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + PATIENCE
        while not _is_drawn(screen) and time.monotonic() < end and viewer.poll() is None:
            time.sleep(0.2)
        if viewer.poll() is not None and "OpenGL" in viewer.communicate()[1]:
            pytest.skip("there is no OpenGL for windows here")
        assert _is_drawn(screen)
        viewer.send_signal(signal.SIGINT)
        assert viewer.wait(60) == 0
    finally:
        viewer.kill()
        viewer.wait()


def _is_drawn(screen: str) -> bool:
    picture = np.asarray(ImageGrab.grab(xdisplay=screen))
    return len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 200


def test_keys_are_wishes():
    asked = []

    class Session:
        def set(self, handle, value):
            asked.append((handle.label, round(value, 3)))

        def value(self, handle):
            return 0.5

        def reset(self):
            asked.append("reset")

    window = Window()
    window.report = Report(
        title="",
        policy="",
        env=0,
        num_envs=1,
        task="",
        step=0,
        seconds=0.0,
        length=None,
        paused=False,
        speed=1.0,
        handles=((FORWARD, 0.0), (Handle("command", 1, "leftward", -1.0, 1.0), 0.0), (TURN, 0.0)),
    )
    for key in (265, 262, HOME, END, ord("A")):
        window._key(key)
    while not window.wishes.empty():
        window.wishes.get()(Session())
    assert asked == [("forward", 0.6), ("turn", 0.4), "reset", ("forward", 0), ("leftward", 0), ("turn", 0)]
    window._key(SPACE)
    assert window.wishes.qsize() == 1
