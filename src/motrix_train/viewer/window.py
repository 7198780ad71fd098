"""MuJoCo's own window as the viewer: the robot, what is told of it as text, and keys that are free in the window."""

from __future__ import annotations

import copy
import threading
from queue import SimpleQueue
from typing import Any

import mujoco
import mujoco.viewer
import numpy as np

from motrix_train.errors import RunError
from motrix_train.viewer import camera
from motrix_train.viewer.drawing import LOOKS, geoms, looks
from motrix_train.viewer.report import Report
from motrix_train.viewer.steering import COMMAND
from motrix_train.viewer.wishes import KEY_STEP, Pull, Wish, add, toggle_pause, zero

# GLFW's numbers; the letters are taken by MuJoCo's window
SPACE, ENTER, INSERT, DELETE, PAGE_DOWN, HOME, END = 32, 257, 260, 261, 267, 268, 269
ARROWS = {265: (0, KEY_STEP), 264: (0, -KEY_STEP), 263: (1, KEY_STEP), 262: (1, -KEY_STEP)}
FASTER, SLOWER = 61, 45
CLOSING = 10.0  # s that a window may take to close
KEYS = (
    "Space pause   Enter step   Home reset   + - speed   PgDn next environment",
    "arrows command   End zero   Delete leave to the task   Insert push",
)


class Window:
    """A window. It is the panel too: it shows a report and collects wishes.

    Attributes:
        report: What is told.
        wishes: What the user wants.
        url: None: it is no page.

    Raises:
        RunError: A window cannot be opened.
    """

    url = None

    def __init__(self) -> None:
        self.report: Report | None = None
        self.wishes: SimpleQueue[Wish] = SimpleQueue()
        self._viewer: Any = None
        self._model: Any = None
        self._data: Any = None
        self._threads: set[threading.Thread] = set()
        self._pull = Pull(self.wishes.put)

    def is_seen(self) -> bool:
        """A window is always looked at."""
        return True

    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return self._viewer is None or self._viewer.is_running()

    def draw(self, model: Any, data: Any) -> None:
        """Shows a simulation and the report."""
        if self._model is None or (self._model.nbody, self._model.ngeom) != (model.nbody, model.ngeom):
            self._open(model, data)
        with self._viewer.lock():
            if looks(model) != looks(self._model):
                for name in LOOKS:
                    getattr(self._model, name)[:] = getattr(model, name)
            mujoco.mj_copyData(self._data, self._model, data)
            self._pull.read(self._model, self._data, self._viewer.perturb)
            shapes = geoms(self.report.shapes if self.report else ())
            scene = self._viewer.user_scn
            for place, geom in enumerate(shapes):
                _copy(geom, scene.geoms[place])
            scene.ngeom = len(shapes)
        if self.report is not None:
            self._viewer.set_texts(_texts(self.report))
        self._viewer.sync()

    def close(self) -> None:
        """Closes it, and waits until its threads have ended: Python must not end before them."""
        if self._viewer is not None:
            self._viewer.close()
        for thread in self._threads:
            thread.join(CLOSING)

    def _open(self, model: Any, data: Any) -> None:
        self.close()
        self._model, self._data = copy.copy(model), copy.copy(data)
        before = set(threading.enumerate())
        try:
            self._viewer = mujoco.viewer.launch_passive(
                self._model, self._data, key_callback=self._key, show_left_ui=False, show_right_ui=False
            )
        except Exception as refusal:  # GLFW, or macOS without mjpython
            raise RunError(f"--window: MuJoCo's window cannot be opened: {refusal}") from refusal
        self._threads = set(threading.enumerate()) - before
        with self._viewer.lock():
            camera.place(model, data, self._viewer.cam, follow=True)

    def _key(self, key: int) -> None:
        """Called in the window's thread."""
        handles = [handle for handle, _ in self.report.handles] if self.report else []
        simple: dict[int, Wish] = {
            SPACE: toggle_pause,
            ENTER: lambda session: session.pace.request_step(),
            HOME: lambda session: session.reset(),
            INSERT: lambda session: session.push(np.radians(self._viewer.cam.azimuth)),
            DELETE: lambda session: session.release(),
            END: lambda session: zero(session, handles),
            PAGE_DOWN: lambda session: session.show(session.env + 1),
            FASTER: lambda session: session.pace.faster(1),
            SLOWER: lambda session: session.pace.faster(-1),
        }
        if key in simple:
            self.wishes.put(simple[key])
        elif key in ARROWS and handles:
            axis, by = ARROWS[key]
            sideways = 2 if handles[0].field == COMMAND else 1  # a turn, or the goal along y
            element = axis * sideways
            if element < len(handles):
                self.wishes.put(lambda session: add(session, handles[element], by))


def _texts(report: Report) -> list[tuple[int, int, str, str]]:
    """The report as MuJoCo's overlays."""
    lines = {report.title: report.policy, "time, s": f"{report.seconds:.2f}   x {report.speed:g}"}
    if report.num_envs > 1:
        lines["environment"] = f"{report.env} of {report.num_envs}"
    lines |= {handle.label: f"{value:+.2f}" for handle, value in report.handles}
    numbers = {} if report.reward is None else {"reward": f"{report.reward:+.3f}"}
    numbers |= {name: f"{value:+.4f}" for name, value in (*report.terms.items(), *report.metrics.items())}
    font, place = int(mujoco.mjtFontScale.mjFONTSCALE_150), mujoco.mjtGridPos
    last = [line for line in (report.ending and f"last episode: {report.ending}", report.message) if line]
    return [
        (font, int(place.mjGRID_TOPLEFT), "\n".join(lines), "\n".join(lines.values())),
        (font, int(place.mjGRID_TOPRIGHT), "\n".join(numbers), "\n".join(numbers.values())),
        (font, int(place.mjGRID_BOTTOMLEFT), "\n".join([*last, *KEYS]), ""),
    ]


def _copy(geom: Any, into: Any) -> None:
    """Copies what `geoms` sets."""
    mujoco.mjv_initGeom(into, geom.type, geom.size, geom.pos, geom.mat.ravel(), geom.rgba)
