"""Opens the viewer on an environment, or on whatever else can be watched, until it is closed."""

from __future__ import annotations

import importlib
import time
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from queue import Empty
from typing import TYPE_CHECKING, Any, Protocol

import mujoco

from motrix_train.errors import RunError, UsageError
from motrix_train.operating_system import has_display
from motrix_train.training.evaluation import PolicyFunction
from motrix_train.viewer.pace import Pace
from motrix_train.viewer.report import Handle, Report
from motrix_train.viewer.session import Session

if TYPE_CHECKING:
    import numpy as np

FRAMES_PER_SECOND = 60.0
LEAST_OFTEN = 0.25  # s between two reports while nothing happens
LOCAL = "127.0.0.1"


class Watched(Protocol):
    """What a viewer shows and drives; `Session` says what each member does."""

    pace: Pace
    env: int
    message: str

    def advance(self) -> int: ...
    def reset(self) -> None: ...
    def show(self, env: int) -> None: ...
    def set(self, handle: Handle, value: float) -> None: ...
    def value(self, handle: Handle) -> float: ...
    def release(self) -> None: ...
    def push(self, direction: float) -> None: ...
    def pull(self, body: int, force: np.ndarray) -> None: ...
    def scene(self) -> tuple[Any, Any]: ...
    def report(self, scene: tuple[Any, Any]) -> Report: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class ViewOptions:
    """How to view.

    Attributes:
        num_envs: Environments that run, one of which is shown at a time.
        seed: Of the episodes.
        num_threads: Physics threads, 0 for all CPUs.
        window: Whether to open a window in place of a page.
        host: Address that the page is served on.
        port: Its port, 0 for the first free one from 8080.
        browser: Whether to open a browser.
        frames_per_second: How often the page is drawn; steps are taken in time at any rate.
        about: Says who acts.
    """

    num_envs: int = 1
    seed: int = 0
    num_threads: int = 0
    window: bool = False
    host: str = LOCAL
    port: int = 0
    browser: bool = True
    frames_per_second: float = FRAMES_PER_SECOND
    about: Callable[[], str] = lambda: ""

    def named(self, about: Callable[[], str]) -> ViewOptions:
        """The same, with another `about`."""
        return replace(self, about=about)


def view(
    env_id: str, env_kwargs: Mapping[str, Any], policy: PolicyFunction | None, options: ViewOptions = ViewOptions()
) -> None:
    """Shows a policy in an environment until the viewer is closed, or Ctrl-C.

    Args:
        env_id: Registered id.
        env_kwargs: Fields of the task.
        policy: Actions for observations; None for none.
        options: How.

    Raises:
        UsageError: The environment cannot be made or viewed, the port is taken.
        RunError: There is no display for a window, or the viewer fails.
    """
    require_display(options)
    session = Session(
        env_id,
        env_kwargs,
        policy,
        num_envs=options.num_envs,
        seed=options.seed,
        num_threads=options.num_threads,
        about=options.about,
    )
    watch(session, options)


def watch(watched: Watched, options: ViewOptions) -> None:
    """Shows what can be watched until the viewer is closed, or Ctrl-C; closes it."""
    with closing(watched):
        require_display(options)
        panel, studio = _open(options)
        with closing(studio):
            _tell(studio.url, options)
            with suppress(KeyboardInterrupt):
                run(watched, panel, studio, 1 / options.frames_per_second)


def run(watched: Watched, panel: Any, studio: Any, frame_seconds: float = 1 / FRAMES_PER_SECOND) -> None:
    """Steps, draws and does what the user wishes, until the viewer is closed.

    Waits while nobody looks at it.
    """
    told = 0.0
    while studio.is_open():
        begun = time.monotonic()
        did = _grant(watched, panel)
        if studio.is_seen() or watched.pace.paused:
            did += watched.advance()
        else:
            watched.pace.due(begun)  # what passes unseen is not made up for
        if did or begun - told > LEAST_OFTEN:
            told = begun
            scene = watched.scene()
            panel.report = watched.report(scene)
            studio.draw(*scene)
        time.sleep(max(0.0, frame_seconds - (time.monotonic() - begun)))


def require_display(options: ViewOptions) -> None:
    """Refuses a window where there is no display.

    Raises:
        RunError: There is none.
    """
    if options.window and not has_display():
        raise RunError("there is no display for --window: leave it out, and open the page that is then served")


def _grant(watched: Watched, panel: Any) -> int:
    """Does what the user wishes; returns how much."""
    done = 0
    while True:
        try:
            wish = panel.wishes.get_nowait()
        except Empty:
            return done
        try:
            wish(watched)
            watched.message = ""
        except (UsageError, RunError, ValueError) as refusal:
            watched.message = str(refusal)
        done += 1


def require_studio() -> None:
    """Refuses to go on where MuJoCo has no viewer of the kind that is used here.

    Raises:
        RunError: It has none.
    """
    try:
        importlib.import_module("motrix_train.viewer.studio")
        importlib.import_module("motrix_train.viewer.panel")
    except ImportError as missing:
        raise RunError(
            f"the viewer needs MuJoCo Studio, which mujoco {mujoco.__version__} does not have where version 3.17 has "
            f"it ({missing}): pip install 'mujoco==3.17.*'"
        ) from missing


def _open(options: ViewOptions) -> tuple[Any, Any]:
    """The panel, and the page that it is in; a window is both."""
    if options.window:
        from motrix_train.viewer.window import Window

        window = Window()
        return window, window
    require_studio()
    from motrix_train.viewer import studio
    from motrix_train.viewer.panel import Panel

    panel = Panel()
    return panel, studio.open_page(panel, options.host, options.port, 1 / options.frames_per_second)


def _tell(url: str | None, options: ViewOptions) -> None:
    if url is None:
        return
    print(f"The viewer is at {url}  (Ctrl-C ends it)", flush=True)
    if options.host not in (LOCAL, "localhost", "::1"):
        print("There is no password: everybody who reaches this port can look and drive.", flush=True)
    if options.browser and has_display():
        webbrowser.open(url, new=2)
