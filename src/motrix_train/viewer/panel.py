"""The panel of the viewer: buttons, sliders, bars, traces and keys. Runs in Studio's thread.

It shows the newest `Report`, and does nothing to a session itself: what the user wants is put into `wishes`, for the
thread of the session.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import mujoco
import numpy as np

from motrix_train.viewer import camera
from motrix_train.viewer.pace import SPEEDS
from motrix_train.viewer.report import Handle, Report
from motrix_train.viewer.steering import COMMAND, GOAL
from motrix_train.viewer.studio import geoms, imgui, implot, messages, plugin, ux, viewer_app_events

Wish = Callable[[Any], object]  # of a session

WIDTH, HEIGHT = 350.0, 1000.0  # pixels
GOOD, BAD = imgui.Vec4(0.25, 0.65, 0.35, 1.0), imgui.Vec4(0.8, 0.35, 0.3, 1.0)
KEY_STEP = 0.1  # of a command, in its unit
KEYS = (
    ("Space", "pause or go on"),
    ("N", "one step"),
    ("R", "new episode"),
    ("+ -", "faster, slower"),
    ("[ ]", "environment before, after"),
    ("arrows", "forward, backward, turn; or move the goal"),
    ("Q E", "sideways"),
    ("X", "command zero"),
    ("T", "leave command and goal to the task"),
    ("P", "push, away from you"),
    ("C", "follow or not"),
    ("G", "hold: the goal goes to the mouse"),
)
MOUSE = (
    ("drag", "turn the camera"),
    ("right drag", "move it; wheel: nearer, farther"),
    ("double click", "choose a body; on the ground: goal"),
    ("Ctrl + right drag", "pull the chosen body"),
)


@dataclass(frozen=True)
class _Key:
    """An arrow key: what it adds to which element of a command, and of a goal."""

    key: Any
    command: tuple[int, float]
    goal: tuple[int, float]


_ARROWS = (
    _Key(imgui.Key.UpArrow, (0, KEY_STEP), (0, KEY_STEP)),
    _Key(imgui.Key.DownArrow, (0, -KEY_STEP), (0, -KEY_STEP)),
    _Key(imgui.Key.LeftArrow, (2, KEY_STEP), (1, KEY_STEP)),
    _Key(imgui.Key.RightArrow, (2, -KEY_STEP), (1, -KEY_STEP)),
    _Key(imgui.Key.Q, (1, KEY_STEP), (2, KEY_STEP)),
    _Key(imgui.Key.E, (1, -KEY_STEP), (2, -KEY_STEP)),
)


class Panel(plugin.ViewerPlugin):
    """Shows a report and collects wishes.

    Attributes:
        report: What is shown; the session's thread replaces it.
        wishes: What the user wants, for the session's thread.
        seen: When a frame was drawn last, s of `time.monotonic`.
    """

    def __init__(self) -> None:
        self.report: Report | None = None
        self.wishes: SimpleQueue[Wish] = SimpleQueue()
        self.seen = -math.inf
        self._mouse = ux.UxState()
        self._follow = True
        self._is_pulling = False
        self._traced = {"reward"}
        self._editing: tuple[Handle, float] | None = None  # a slider that is being moved
        self._placed_for: tuple[int, int] | None = None  # sizes of the model that the camera was placed for

    def wish(self, wish: Wish) -> None:
        """Asks for something."""
        self.wishes.put(wish)

    @messages.handler
    def _on_start(self, _: plugin.ViewerInitEvent) -> None:
        ux.setup_theme(ux.GuiTheme.DARK)
        io = imgui.GetIO()
        io.ConfigFlags = int(io.ConfigFlags) & ~int(imgui.ConfigFlags.NavEnableKeyboard)  # the arrow keys are ours

    @messages.handler
    def _on_model(self, _: messages.PostModelEvent) -> None:
        self.viewer.perturb.select = 0

    @messages.handler
    def _on_state(self, _: messages.StateSnapshot) -> None:
        """Places the camera at the first state of another robot; one that only looks different leaves it."""
        model = self.viewer.model
        if self._placed_for != (model.nbody, model.ngeom):
            self._placed_for = model.nbody, model.ngeom
            camera.place(model, self.viewer.data, self.viewer.camera, self._follow)

    @messages.handler
    def _on_frame(self, _: messages.UpdateEvent) -> None:
        self.seen = time.monotonic()
        viewer = self.viewer
        viewer_app_events.handle_mouse_events(
            viewer.model, viewer.data, viewer.camera, viewer.vis_options, viewer.perturb, self._mouse
        )
        self._pull()
        if self.report is not None:
            self._keys(self.report)
            self._goal_by_mouse(self.report)
            viewer.extra_geoms[:] = geoms(self.report.shapes)

    @messages.handler
    def _on_gui(self, _: messages.BuildGuiEvent) -> None:
        imgui.SetNextWindowPos(imgui.Vec2(10, 10), int(imgui.Cond.Once))
        high = max(200.0, min(HEIGHT, imgui.GetIO().DisplaySize.y - 20))
        imgui.SetNextWindowSize(imgui.Vec2(WIDTH, high), int(imgui.Cond.Once))
        is_open, _ = imgui.Begin("Motrix", None, int(imgui.WindowFlags.NoNav))
        if is_open and (report := self.report) is not None:
            self._about(report)
            self._running(report)
            self._steering(report)
            self._rewards(report)
            self._numbers("Metrics", report.metrics)
            self._episodes(report)
            _help()
        imgui.End()

    def _about(self, report: Report) -> None:
        imgui.TextWrapped(report.title + (f"  ({report.task})" if report.task else ""))
        if report.policy:
            imgui.TextWrapped(report.policy)
        if report.message:
            imgui.PushStyleColor(imgui.Col.Text, BAD)
            imgui.TextWrapped(report.message)
            imgui.PopStyleColor()

    def _running(self, report: Report) -> None:
        if imgui.Button("Go on" if report.paused else "Pause", imgui.Vec2(70, 0)):
            self.wish(_toggle_pause)
        imgui.SameLine()
        if imgui.Button("Step"):
            self.wish(lambda session: session.pace.request_step())
        imgui.SameLine()
        if imgui.Button("Reset"):
            self.wish(lambda session: session.reset())
        imgui.SameLine()
        if imgui.Button("Push"):
            self._push()
        imgui.SameLine()
        imgui.SetNextItemWidth(-1)
        speeds = [f"x {speed:g}" for speed in SPEEDS]
        now = SPEEDS.index(report.speed) if report.speed in SPEEDS else SPEEDS.index(1.0)
        changed, chosen = imgui.Combo("##speed", now, speeds)
        if changed:
            self.wish(lambda session: setattr(session.pace, "speed", SPEEDS[chosen]))
        whole = report.length or report.step or 1
        imgui.ProgressBar(min(report.step / whole, 1.0), imgui.Vec2(-1, 0), f"{report.seconds:.2f} s")
        if report.num_envs > 1:
            imgui.SetNextItemWidth(-110)
            changed, env = imgui.SliderInt("environment", report.env, 0, report.num_envs - 1)
            if changed:
                self.wish(lambda session: session.show(env))
        if camera.followed_body(self.viewer.model) is not None:
            changed, self._follow = imgui.Checkbox("camera follows", self._follow)
            if changed:
                camera.set_following(self.viewer.model, self.viewer.camera, self._follow)

    def _steering(self, report: Report) -> None:
        if not report.handles:
            return
        imgui.SeparatorText("Goal" if report.handles[0][0].field == GOAL else "Command")
        for handle, value in report.handles:
            if self._editing and self._editing[0] == handle:
                value = self._editing[1]
            imgui.SetNextItemWidth(-130)
            if handle.low is None or handle.high is None:
                changed, value = imgui.DragFloat(handle.label, value, 0.02, 0.0, 0.0, "%.2f")
            else:
                changed, value = imgui.SliderFloat(handle.label, value, handle.low, handle.high, "%.2f")
            if changed:
                self._set(handle, value)
            if imgui.IsItemActive():
                self._editing = handle, value
            elif self._editing and self._editing[0] == handle:
                self._editing = None
        if report.handles[0][0].field == COMMAND:
            if imgui.Button("Zero"):
                self._zero(report)
            imgui.SameLine()
        imgui.BeginDisabled(not report.held)
        if imgui.Button("Leave to the task"):
            self.wish(lambda session: session.release())
        imgui.EndDisabled()

    def _rewards(self, report: Report) -> None:
        if report.reward is not None:
            imgui.SeparatorText(f"Reward {report.reward:+.3f} a step")
        self._traces(report)
        if report.terms:
            widest = max([abs(value) for value in report.terms.values()] + [1e-9])
            for name, value in report.terms.items():
                self._choose_trace(name)
                imgui.SameLine(150)
                imgui.PushStyleColor(imgui.Col.PlotHistogram, GOOD if value >= 0 else BAD)
                imgui.ProgressBar(abs(value) / widest, imgui.Vec2(-1, 0), f"{value:+.4f}")
                imgui.PopStyleColor()

    def _traces(self, report: Report) -> None:
        shown = {name: values for name, values in report.traces.items() if name in self._traced}
        if len(report.times) < 2 or not shown:
            return
        flags = int(implot.Flags.NoTitle) | int(implot.Flags.NoMenus) | int(implot.Flags.NoInputs)
        if implot.BeginPlot("traces", imgui.Vec2(-1, 110), flags):
            fit = int(implot.AxisFlags.AutoFit)
            implot.SetupAxes("s", "", fit, fit)
            for name, values in shown.items():
                implot.PlotLine(name, report.times.tolist(), values.tolist())
            implot.EndPlot()

    def _choose_trace(self, name: str) -> None:
        """The name of a number; a click shows its trace, or hides it."""
        if imgui.Selectable(f"{name}##trace", name in self._traced, 0, imgui.Vec2(140, 0)):
            self._traced ^= {name}

    def _numbers(self, title: str, numbers: Any) -> None:
        if not numbers:
            return
        imgui.SeparatorText(title)
        for name, value in numbers.items():
            self._choose_trace(name)
            imgui.SameLine(150)
            imgui.TextUnformatted(f"{value:.4g}")

    def _episodes(self, report: Report) -> None:
        if not report.ending:
            return
        imgui.SeparatorText("Episodes")
        imgui.TextWrapped(f"last: {report.ending}")
        for reason, count in report.endings.items():
            imgui.TextUnformatted(f"{count} x {reason}")

    def _keys(self, report: Report) -> None:
        """Reads the keyboard, unless somebody types into a field."""
        if imgui.IsAnyItemActive():
            return
        key, pressed = imgui.Key, imgui.IsKeyPressed
        if pressed(key.Space, False):
            self.wish(_toggle_pause)
        if pressed(key.N):
            self.wish(lambda session: session.pace.request_step())
        if pressed(key.R, False):
            self.wish(lambda session: session.reset())
        if pressed(key.P, False):
            self._push()
        if pressed(key.T, False):
            self.wish(lambda session: session.release())
        for faster, names in ((1, (key.Equal, key.KeypadAdd)), (-1, (key.Minus, key.KeypadSubtract))):
            if any(pressed(name, False) for name in names):
                self.wish(lambda session, by=faster: session.pace.faster(by))
        for by, name in ((1, key.RightBracket), (-1, key.LeftBracket)):
            if pressed(name, False):
                self.wish(lambda session, by=by: session.show(session.env + by))
        if pressed(key.C, False):
            self._follow = not self._follow
            camera.set_following(self.viewer.model, self.viewer.camera, self._follow)
        if pressed(key.X, False):
            self._zero(report)
        handles = [handle for handle, _ in report.handles]
        for arrow in _ARROWS:
            if handles and pressed(arrow.key):
                element, by = arrow.command if handles[0].field == COMMAND else arrow.goal
                if element < len(handles):
                    self.wish(lambda session, handle=handles[element], by=by: _add(session, handle, by))

    def _set(self, handle: Handle, value: float) -> None:
        self.wish(lambda session: session.set(handle, value))

    def _zero(self, report: Report) -> None:
        for handle, _ in report.handles:
            if handle.field == COMMAND:
                self._set(handle, 0.0)

    def _push(self) -> None:
        direction = math.radians(self.viewer.camera.azimuth)
        self.wish(lambda session: session.push(direction))

    def _pull(self) -> None:
        """Passes on the force with which the mouse pulls a body."""
        viewer = self.viewer
        body = int(viewer.perturb.select)
        is_pulling = bool(viewer.perturb.active) and body > 0
        force = np.zeros(6)
        if is_pulling:
            viewer.data.xfrc_applied[:] = 0.0
            mujoco.mjv_applyPerturbForce(viewer.model, viewer.data, viewer.perturb)
            force = np.array(viewer.data.xfrc_applied[body])
        if is_pulling or self._is_pulling:
            self.wish(lambda session: session.pull(body, force))
        self._is_pulling = is_pulling

    def _goal_by_mouse(self, report: Report) -> None:
        """Sets a goal on the ground to where the mouse is."""
        goal = [handle for handle, _ in report.handles if handle.field == GOAL]
        io = imgui.GetIO()
        asked = imgui.IsMouseDoubleClicked(imgui.MouseButton.Left) or imgui.IsKeyDown(imgui.Key.G)
        if len(goal) != 2 or not asked or io.WantCaptureMouse or min(io.DisplaySize.x, io.DisplaySize.y) <= 0:
            return
        viewer = self.viewer
        x, y = io.MousePos.x / io.DisplaySize.x, io.MousePos.y / io.DisplaySize.y
        shape = io.DisplaySize.x / io.DisplaySize.y
        picked = ux.Pick(viewer.model, viewer.data, viewer.camera, x, y, shape, viewer.vis_options)
        if picked.geom >= 0 and picked.body == 0:
            for handle, value in zip(goal, picked.point, strict=False):
                self._set(handle, float(value))


def _toggle_pause(session: Any) -> None:
    session.pace.paused = not session.pace.paused


def _add(session: Any, handle: Handle, by: float) -> None:
    session.set(handle, session.value(handle) + by)


def _help() -> None:
    if imgui.CollapsingHeader("Keys and mouse"):
        _pairs(KEYS)
        imgui.Spacing()
        _pairs(MOUSE)


def _pairs(pairs: Iterable[tuple[str, str]]) -> None:
    for name, meaning in pairs:
        imgui.TextDisabled(name)
        imgui.SameLine(110)
        imgui.TextWrapped(meaning)
