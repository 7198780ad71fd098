"""A page in a real headless Chromium, driven over its DevTools protocol; it draws in software, on any machine."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-extensions",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
PATIENCE = 120.0  # s for one answer: drawing in software on a busy machine is slow
KEYS = {"ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39, " ": 32}


def found() -> str | None:
    """The path of an installed Chromium."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page.

    Args:
        socket: To its DevTools.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its answer."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(PATIENCE))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, script: str) -> Any:
        """What a piece of JavaScript comes to."""
        return self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)["result"]["value"]

    def picture(self) -> np.ndarray:
        """The page, (height, width, 3) from 0 to 1."""
        return imread(io.BytesIO(self.png()))[:, :, :3]

    def png(self) -> bytes:
        """The page as a PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])

    @contextlib.contextmanager
    def held(self, key: str) -> Iterator[None]:
        """Holds a key down."""
        code = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        self.ask("Input.dispatchKeyEvent", type="rawKeyDown", **code)
        try:
            yield
        finally:
            self.ask("Input.dispatchKeyEvent", type="keyUp", **code)


@contextlib.contextmanager
def opened(url: str, folder: Path, size: tuple[int, int]) -> Iterator[Page]:
    """A page in a browser of its own.

    Args:
        url: Of the page.
        folder: For the browser's files.
        size: Width and height, pixels.
    """
    executable = found()
    assert executable is not None
    browser = subprocess.Popen(
        [executable, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = _port(folder / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as listed:
            [target] = [entry for entry in json.load(listed) if entry["type"] == "page"]
        with connect(target["webSocketDebuggerUrl"], max_size=None, open_timeout=PATIENCE) as socket:
            page = Page(socket)
            width, height = size  # of the page; a window's frame would take its share
            page.ask(
                "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
            )
            page.ask("Page.navigate", url=url)
            yield page
    finally:
        browser.terminate()
        browser.wait()


def _port(path: Path) -> int:
    """The port of the DevTools, once the browser has written it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if lines := path.read_text(encoding="utf-8").splitlines():
                return int(lines[0])
        time.sleep(0.1)
    raise TimeoutError("Chromium did not start")
