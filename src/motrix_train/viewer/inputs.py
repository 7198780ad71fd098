"""What the keyboard and the mouse ask for. Runs in Studio's thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from motrix_train.viewer import camera
from motrix_train.viewer.report import Handle, Report
from motrix_train.viewer.steering import COMMAND, GOAL
from motrix_train.viewer.studio import imgui, ux, viewer_app_events
from motrix_train.viewer.wishes import KEY_STEP, Pull, Wish, add, toggle_pause, zero

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


class Inputs:
    """Turns what is typed and clicked into wishes.

    Args:
        wish: Takes a wish.

    Attributes:
        follows: Whether the camera follows the robot.
    """

    def __init__(self, wish: Callable[[Wish], None]) -> None:
        self.follows = True
        self._wish = wish
        self._mouse = ux.UxState()
        self._pull = Pull(wish)

    def read(self, viewer: Any, report: Report | None) -> None:
        """Reads what came since the last frame.

        Args:
            viewer: Studio's.
            report: What is shown.
        """
        viewer_app_events.handle_mouse_events(
            viewer.model, viewer.data, viewer.camera, viewer.vis_options, viewer.perturb, self._mouse
        )
        self._pull.read(viewer.model, viewer.data, viewer.perturb)
        if report is not None:
            self._goal_by_mouse(viewer, report)
            if not imgui.IsAnyItemActive():  # somebody types into a field, or moves a slider
                self._keys(viewer, report)

    def follow(self, viewer: Any, follows: bool) -> None:
        """Has the camera follow the robot, or not."""
        self.follows = follows
        camera.set_following(viewer.model, viewer.camera, follows)

    def push(self, viewer: Any) -> None:
        """Asks for a push, away from the camera."""
        direction = math.radians(viewer.camera.azimuth)
        self._wish(lambda session: session.push(direction))

    def zero(self, report: Report) -> None:
        """Asks for a command of zero."""
        self._wish(lambda session: zero(session, [handle for handle, _ in report.handles]))

    def set(self, handle: Handle, value: float) -> None:
        """Asks for a value."""
        self._wish(lambda session: session.set(handle, value))

    def _keys(self, viewer: Any, report: Report) -> None:
        key, pressed = imgui.Key, imgui.IsKeyPressed
        if pressed(key.Space, False):
            self._wish(toggle_pause)
        if pressed(key.N):
            self._wish(lambda session: session.pace.request_step())
        if pressed(key.R, False):
            self._wish(lambda session: session.reset())
        if pressed(key.P, False):
            self.push(viewer)
        if pressed(key.T, False):
            self._wish(lambda session: session.release())
        for faster, names in ((1, (key.Equal, key.KeypadAdd)), (-1, (key.Minus, key.KeypadSubtract))):
            if any(pressed(name, False) for name in names):
                self._wish(lambda session, by=faster: session.pace.faster(by))
        for by, name in ((1, key.RightBracket), (-1, key.LeftBracket)):
            if pressed(name, False):
                self._wish(lambda session, by=by: session.show(session.env + by))
        if pressed(key.C, False):
            self.follow(viewer, not self.follows)
        if pressed(key.X, False):
            self.zero(report)
        handles = [handle for handle, _ in report.handles]
        for arrow in _ARROWS:
            if handles and pressed(arrow.key):
                element, by = arrow.command if handles[0].field == COMMAND else arrow.goal
                if element < len(handles):
                    self._wish(lambda session, handle=handles[element], by=by: add(session, handle, by))

    def _goal_by_mouse(self, viewer: Any, report: Report) -> None:
        """Sets a goal on the ground to where the mouse is."""
        goal = [handle for handle, _ in report.handles if handle.field == GOAL]
        io = imgui.GetIO()
        asked = imgui.IsMouseDoubleClicked(imgui.MouseButton.Left) or imgui.IsKeyDown(imgui.Key.G)
        if len(goal) != 2 or not asked or io.WantCaptureMouse or min(io.DisplaySize.x, io.DisplaySize.y) <= 0:
            return
        x, y = io.MousePos.x / io.DisplaySize.x, io.MousePos.y / io.DisplaySize.y
        shape = io.DisplaySize.x / io.DisplaySize.y
        picked = ux.Pick(viewer.model, viewer.data, viewer.camera, x, y, shape, viewer.vis_options)
        if picked.geom >= 0 and picked.body == 0:
            for handle, value in zip(goal, picked.point, strict=False):
                self.set(handle, float(value))
