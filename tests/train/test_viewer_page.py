"""The viewer's page in a real browser: it shows a robot that moves, hears the keyboard, and is nobody else's."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import chromium
import numpy as np
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from motrix_train.errors import UsageError
from motrix_train.viewer import studio
from motrix_train.viewer.panel import Panel
from motrix_train.viewer.report import Report
from motrix_train.viewer.session import Session
from motrix_train.viewer.show import run
from motrix_train.viewer.studio import web_server, web_viewer

WINDOW = (860, 360)
ROBOT = np.s_[180:, 365:600]  # of a picture: beside the panel, below Studio's box
PATIENCE = 120.0  # s


@dataclass
class Shown:
    """A session on a page. Its own thread steps it; a test asks the panel."""

    panel: Panel
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    @property
    def report(self) -> Report:
        assert self.panel.report is not None
        return self.panel.report

    def command(self, element: int) -> float:
        """An element of the present command."""
        return self.report.handles[element][1]


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Waits for a condition; whether it came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def trotting(observations: np.ndarray) -> np.ndarray:
    """Legs that swing as time passes."""
    swing = np.sin(6 * time.monotonic()) * np.tile([0.0, 1.0, -1.0], 4)
    return np.tile(swing, (len(observations), 1)).astype(np.float32)


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    """A Go1 that is shown on a page."""
    session = Session("Motrix/Go1-v0", {"max_tilt": 3.0}, trotting, num_envs=2, num_threads=1)
    panel = Panel()
    page = studio.open_page(panel, "127.0.0.1", 0)
    thread = threading.Thread(target=run, args=(session, panel, page), daemon=True)
    thread.start()
    assert page.url is not None
    assert until(lambda: panel.report is not None)
    panel.viewer.render_flags.flags = [0] * len(
        panel.viewer.render_flags.flags
    )  # no shadows: half the time for a frame
    yield Shown(panel, page.url)
    page.close()
    thread.join(10)
    assert not thread.is_alive()
    session.close()


@pytest.fixture(scope="module")
def page(shown, tmp_path_factory) -> Iterator[chromium.Page]:
    """The page in a browser; skipped where there is none."""
    if chromium.found() is None:
        pytest.skip(f"there is no Chromium here: none of {', '.join(chromium.NAMES)} is on PATH")
    with chromium.opened(shown.url, tmp_path_factory.mktemp("chromium"), WINDOW) as opened:
        assert until(lambda: shown.report.step > 0), "the page did not begin to draw"
        yield opened


def test_it_listens_on_this_machine_alone(shown):
    listening = [x.laddr for x in psutil.Process().net_connections("tcp") if x.status == psutil.CONN_LISTEN]
    assert shown.port in [address.port for address in listening]
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_pages_of_other_sites_cannot_drive_it(shown):
    for path in ("ui", "state", "drop"):
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{shown.port}/{path}", origin="http://elsewhere.example")
    with connect(f"ws://127.0.0.1:{shown.port}/drop", origin="http://localhost:1234"):
        pass  # as through a tunnel


def test_frames_are_as_far_apart_as_they_are_told(monkeypatch):
    monkeypatch.setattr(web_viewer.WebViewer, "__init__", lambda self: None)
    monkeypatch.setattr(web_viewer.WebViewer, "prepare_next_frame", lambda self: True)
    viewer, begun = studio.PacedViewer(frame_seconds=0.05), time.monotonic()
    assert all(viewer.prepare_next_frame() for _ in range(5))
    assert time.monotonic() - begun >= 4 * 0.05


def test_it_waits_until_somebody_looks_and_again_afterwards(shown):
    def goes_on() -> bool:
        before = shown.report.step
        time.sleep(1.0)
        return shown.report.step != before

    assert shown.report.step == 0
    assert not goes_on()
    with connect(f"ws://127.0.0.1:{shown.port}/state", origin="http://localhost"):
        assert until(lambda: shown.report.step > 0)
    time.sleep(1.0)
    assert not goes_on()


def test_the_robot_is_there_and_moves(shown, page):
    assert until(lambda: page.value("document.getElementById('canvas') !== null"))
    assert until(lambda: page.picture()[ROBOT].std() > 0.05), "the scene is blank"
    before = page.picture()[ROBOT]
    assert until(lambda: (np.abs(page.picture()[ROBOT] - before).max(axis=2) > 0.2).sum() > 100), "nothing moves"


def test_keys_pause_and_command(shown, page):
    def typed(key: str, condition: Callable[[], bool]) -> bool:
        """Holds a key until a condition comes true; a key that was let go between two frames is not seen."""
        for _ in range(10):
            with page.held(key):
                if until(condition, 10.0):
                    break
            time.sleep(1.0)
        page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return condition()

    assert typed("ArrowUp", lambda: shown.report.held)
    before = shown.command(0)
    assert typed("ArrowDown", lambda: shown.command(0) < before)
    before = shown.command(2)
    assert typed("ArrowLeft", lambda: shown.command(2) > before)
    assert typed(" ", lambda: shown.report.paused)
    step = shown.report.step
    time.sleep(0.6)
    assert shown.report.step == step
    assert typed(" ", lambda: not shown.report.paused)


def test_a_taken_port_and_a_wrong_host_are_mistakes_of_the_user(shown):
    with pytest.raises(UsageError, match=f"port {shown.port}: Address already in use; give another --port"):
        studio.open_page(Panel(), "127.0.0.1", shown.port)
    with pytest.raises(UsageError, match=r"--host nowhere\.invalid is no address of this machine"):
        studio.open_page(Panel(), "nowhere.invalid", 0)


def test_studio_is_where_and_what_it_was():
    """What is taken from MuJoCo's experimental viewer beyond its plugins: look here first when it has moved."""
    assert callable(web_server.bind_public_socket)
    assert callable(web_viewer._print_url_banner)
    assert "drop_queue" in web_server.WebServer.__init__.__annotations__
    assert studio._SERVE.__name__ == "serve"
