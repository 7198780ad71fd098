"""MuJoCo Studio, as a page in the browser or as a window. The only module that imports it; it is experimental.

Studio draws the model in the browser and sends the panel there as drawing commands; what is typed and clicked comes
back over the same port. As it comes, it listens on all interfaces, takes model files that are dropped on the page, and
takes orders from the pages of other sites. `open_page` listens where it is told to, takes no files, and on a loopback
address no orders from other sites.
"""

from __future__ import annotations

import functools
import logging
import re
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import mujoco
import numpy as np
from mujoco.experimental.dear_imgui import dear_imgui as imgui
from mujoco.experimental.implot import implot
from mujoco.experimental.studio import (
    launch_native,
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
from motrix_train.viewer.report import Arrow, Disc

__all__ = ["Studio", "imgui", "implot", "messages", "open_page", "open_window", "plugin", "ux", "viewer_app_events"]

FIRST_PORT, PORTS = 8080, 20
LOOPBACK = re.compile(r"http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
ARROW_WIDTH, DISC_HEIGHT = 0.015, 0.01  # m
SHORTEST_ARROW = 0.01  # m
TITLE = "Motrix"


class Studio:
    """An open page or window.

    Args:
        handle: Studio's.
        url: Where the page is, None for a window.
    """

    def __init__(self, handle: Any, url: str | None = None) -> None:
        self._handle, self.url = handle, url
        self._model: Any = None
        self._looks = b""

    def is_open(self) -> bool:
        """Whether it has not been closed.

        Raises:
            RunError: It has failed.
        """
        with _failures():
            return self._handle.is_running()

    def draw(self, model: Any, data: Any) -> None:
        """Shows a simulation. A model that looks like the one before is not sent again."""
        looks = _looks(model)
        if looks != self._looks:
            self._model, self._looks = model, looks
        self._handle.sync(self._model, data)

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


def open_page(panel: Any, host: str, port: int) -> Studio:
    """Serves the viewer as a page.

    Args:
        panel: A viewer plugin.
        host: Name or address to listen on.
        port: To listen on, 0 for the first free one from 8080.

    Raises:
        UsageError: There is no such host, or the port is taken.
    """
    listening = _listening(host, port)
    address, chosen = listening.getsockname()[:2]
    is_loopback = address.startswith("127.") or address == "::1"
    made: Future[None] = Future()

    def run(endpoint: Any) -> None:
        config = viewer_protocol.ViewerConfig(title=TITLE, gfx="web", http_port=chosen)
        try:
            with _altered(listening, [LOOPBACK] if is_loopback else None):
                viewer = web_viewer.WebViewer(config, endpoint, plugins=[panel])
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
    return Studio(handle, f"http://{shown}:{chosen}/")


def open_window(panel: Any) -> Studio:
    """Opens the viewer as a window of its own."""
    config = viewer_protocol.ViewerConfig(title=TITLE)
    return Studio(launch_native.launch(config, plugins=[panel]))


def geoms(shapes: Iterable[Arrow | Disc]) -> list[Any]:
    """Arrows and discs as Studio draws them."""
    return [found for shape in shapes if (found := _geom(shape)) is not None]


def _geom(shape: Arrow | Disc) -> Any:
    geom, rgba = mujoco.MjvGeom(), np.array(shape.rgba, dtype=np.float32)
    upright = np.eye(3).ravel()
    if isinstance(shape, Disc):
        size = np.array([shape.radius, shape.radius, DISC_HEIGHT / 2])
        mujoco.mjv_initGeom(geom, int(mujoco.mjtGeom.mjGEOM_CYLINDER), size, shape.center, upright, rgba)
        return geom
    if np.linalg.norm(shape.vector) < SHORTEST_ARROW:
        return None
    arrow = int(mujoco.mjtGeom.mjGEOM_ARROW)
    mujoco.mjv_initGeom(geom, arrow, np.zeros(3), np.zeros(3), upright, rgba)
    mujoco.mjv_connector(geom, arrow, ARROW_WIDTH, shape.start, shape.start + shape.vector)
    return geom


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
def _altered(listening: socket.socket, origins: list[re.Pattern[str]] | None) -> Iterator[None]:
    """Has the page that is made in the block listen on a socket, and take orders from these origins alone."""
    serve = functools.partial(_SERVE, origins=origins)
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


_LOOKS = ("geom_type", "geom_size", "geom_pos", "geom_quat", "geom_rgba", "geom_dataid", "body_pos", "body_quat")


def _looks(model: Any) -> bytes:
    """What tells two models apart that do not look alike."""
    return b"".join(np.ascontiguousarray(getattr(model, name)).tobytes() for name in _LOOKS)
