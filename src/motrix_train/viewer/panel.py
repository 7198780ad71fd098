"""The panel of the viewer: buttons, sliders, bars, traces and keys. Runs in Studio's thread.

It shows the newest `Report`, and does nothing to a session itself: what the user wants is put into `wishes`, for the
thread of the session.
"""

from __future__ import annotations

from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any

from motrix_train.viewer import camera
from motrix_train.viewer.drawing import geoms
from motrix_train.viewer.inputs import KEYS, MOUSE, Inputs
from motrix_train.viewer.pace import SPEEDS
from motrix_train.viewer.report import Handle, Report
from motrix_train.viewer.steering import COMMAND, GOAL
from motrix_train.viewer.studio import imgui, implot, messages, plugin, ux
from motrix_train.viewer.wishes import Wish, toggle_pause

WIDTH, HEIGHT = 350.0, 1000.0  # pixels
GOOD, BAD = imgui.Vec4(0.25, 0.65, 0.35, 1.0), imgui.Vec4(0.8, 0.35, 0.3, 1.0)


class Panel(plugin.ViewerPlugin):
    """Shows a report and collects wishes.

    Attributes:
        report: What is shown; the session's thread replaces it.
        wishes: What the user wants, for the session's thread.
    """

    def __init__(self) -> None:
        self.report: Report | None = None
        self.wishes: SimpleQueue[Wish] = SimpleQueue()
        self._inputs = Inputs(self.wish)
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
            camera.place(model, self.viewer.data, self.viewer.camera, self._inputs.follows)

    @messages.handler
    def _on_frame(self, _: messages.UpdateEvent) -> None:
        self._inputs.read(self.viewer, self.report)
        if self.report is not None:
            self.viewer.extra_geoms[:] = geoms(self.report.shapes)

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
            self.wish(toggle_pause)
        imgui.SameLine()
        if imgui.Button("Step"):
            self.wish(lambda session: session.pace.request_step())
        imgui.SameLine()
        if imgui.Button("Reset"):
            self.wish(lambda session: session.reset())
        imgui.SameLine()
        if imgui.Button("Push"):
            self._inputs.push(self.viewer)
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
            changed, follows = imgui.Checkbox("camera follows", self._inputs.follows)
            if changed:
                self._inputs.follow(self.viewer, follows)

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
                self._inputs.set(handle, value)
            if imgui.IsItemActive():
                self._editing = handle, value
            elif self._editing and self._editing[0] == handle:
                self._editing = None
        if report.handles[0][0].field == COMMAND:
            if imgui.Button("Zero"):
                self._inputs.zero(report)
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
        if implot.BeginPlot("traces", imgui.Vec2(-1, 110 + 20 * len(shown)), flags):
            fit = int(implot.AxisFlags.AutoFit)
            implot.SetupAxes("", "", fit, fit)
            implot.SetupLegend(int(implot.Location.South), int(implot.LegendFlags.Outside))
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
