"""MuJoCo Studio, as a page in the browser. The only module that imports it; it is experimental.

Studio draws the model in the browser and sends the panel there as drawing commands; what is typed and clicked comes
back over the same port. As it comes, it listens on all interfaces, takes model files that are dropped on the page, and
takes orders from the pages of other sites. `open_page` listens where it is told to, takes no files, and on a loopback
address no orders from other sites.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from mujoco.experimental.dear_imgui import dear_imgui as imgui
from mujoco.experimental.implot import implot
from mujoco.experimental.studio import (
    launch_thread,
    messages,
    plugin,
    ux,
    viewer_app_events,
    viewer_protocol,
    web_viewer,
)
from mujoco.experimental.studio.web import web_server

from motrix_train.errors import RunError, UsageError
from motrix_train.viewer.drawing import looks

__all__ = ["Studio", "imgui", "implot", "messages", "open_page", "plugin", "ux", "viewer_app_events"]

FIRST_PORT, PORTS = 8080, 20
LOOPBACK = re.compile(r"http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
TITLE = "Motrix"

Handler = Callable[[Any], Awaitable[None]]  # of a connection


class Browsers:
    """Counts the browsers that look at a page: each holds one connection for the state of the simulation."""

    def __init__(self) -> None:
        self.count = 0

    def counting(self, handler: Handler) -> Handler:
        """A handler of connections that does the same, and counts."""

        async def counted(connection: Any) -> None:
            looks_on = connection.request.path.startswith("/state")
            self.count += looks_on
            try:
                await handler(connection)
            finally:
                self.count -= looks_on

        return counted


class Studio:
    """An open page.

    Args:
        handle: Studio's.
        url: Where it is.
        browsers: Those that look at it.
    """

    def __init__(self, handle: Any, url: str, browsers: Browsers) -> None:
        self._handle, self.url, self._browsers = handle, url, browsers
        self._model: Any = None
        self._looks = b""

    def is_open(self) -> bool:
        """Whether it has not been closed.

        Raises:
            RunError: It has failed.
        """
        with _failures():
            return self._handle.is_running()

    def is_seen(self) -> bool:
        """Whether a browser looks at it. Studio itself goes on drawing without one."""
        return self._browsers.count > 0

    def draw(self, model: Any, data: Any) -> None:
        """Shows a simulation. A model that looks like the one before is not sent again."""
        appearance = looks(model)
        if appearance != self._looks:
            self._model, self._looks = model, appearance
        try:
            self._handle.sync(self._model, data)
        except RuntimeError:
            if self.is_open():
                raise  # else it was closed in the meantime

    def close(self) -> None:
        """Closes it."""
        with _failures():
            self._handle.close()


@contextmanager
def _failures() -> Iterator[None]:
    """Raises a `RunError` for what ended Studio's thread."""
    try:
        yield
    except Exception as failure:
        raise RunError(f"MuJoCo Studio ended: {failure}") from failure


class PacedViewer(web_viewer.WebViewer):
    """Studio's viewer, which draws as often as it is told to, and not 60 times a second.

    Args:
        frame_seconds: Between two frames, s.
        others: As `web_viewer.WebViewer` has them.
    """

    def __init__(self, *others: Any, frame_seconds: float, **more: Any) -> None:
        self._frame_seconds, self._drawn = frame_seconds, 0.0
        super().__init__(*others, **more)

    def prepare_next_frame(self) -> bool:
        """Waits until the next frame is due."""
        time.sleep(max(0.0, self._drawn + self._frame_seconds - time.monotonic()))
        self._drawn = time.monotonic()
        return super().prepare_next_frame()


def open_page(panel: Any, host: str, port: int, frame_seconds: float = 0.0) -> Studio:
    """Serves the viewer as a page.

    Args:
        panel: A viewer plugin.
        host: Name or address to listen on.
        port: To listen on, 0 for the first free one from 8080.
        frame_seconds: Shortest time between two frames, s; Studio's own is 1/60.

    Raises:
        UsageError: There is no such host, or the port is taken.
    """
    listening = _listening(host, port)
    address, chosen = listening.getsockname()[:2]
    is_loopback = address.startswith("127.") or address == "::1"
    made: Future[None] = Future()
    browsers = Browsers()

    def run(endpoint: Any) -> None:
        config = viewer_protocol.ViewerConfig(title=TITLE, gfx="web", http_port=chosen)
        try:
            with _altered(listening, browsers, [LOOPBACK] if is_loopback else None):
                viewer = PacedViewer(config, endpoint, plugins=[panel], frame_seconds=frame_seconds)
            server: Any = viewer._web_server
            server.drop_queue = None
        except BaseException as failure:
            made.set_exception(failure)
            raise
        made.set_result(None)
        viewer_protocol.run_viewer_loop(viewer)

    logging.getLogger("WebServer").setLevel(logging.WARNING)
    handle = launch_thread.launch_thread(run)
    made.result()
    shown = f"[{host}]" if ":" in host else host
    return Studio(handle, f"http://{shown}:{chosen}/", browsers)


def _listening(host: str, port: int) -> socket.socket:
    """A bound socket."""
    try:
        family, kind, _, _, (address, *_) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as unknown:
        raise UsageError(f"--host {host} is no address of this machine: give one such as 127.0.0.1") from unknown
    refusal: OSError | None = None
    for candidate in [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS):
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((address, candidate))
            bound.listen()
            return bound
        except OSError as error:
            bound.close()
            refusal = error
    assert refusal is not None
    tried = f"port {port}" if port else f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1}"
    raise UsageError(f"cannot listen on {host}, {tried}: {refusal.strerror}; give another --port") from refusal


@contextmanager
def _altered(listening: socket.socket, browsers: Browsers, origins: list[re.Pattern[str]] | None) -> Iterator[None]:
    """Has the page that is made in the block listen on a socket, count browsers, and take orders from these origins."""

    def serve(handler: Handler, **options: Any) -> Any:
        return _SERVE(browsers.counting(handler), origins=origins, **options)

    with (
        _replaced(web_server, "bind_public_socket", lambda host, port: listening),
        _replaced(web_viewer, "_print_url_banner", lambda host, port: None),
    ):
        web_server.serve = serve  # it is called later, in the server's thread
        setattr(web_viewer, "print", lambda *words, **options: None)  # noqa: B010 - a name that it does not have yet
        yield


_SERVE = web_server.serve


@contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
