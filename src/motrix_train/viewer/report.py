"""What a viewer shows: the state of a session in plain numbers, without anything of the page that draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

TRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Handle:
    """One number that the user may set.

    Attributes:
        field: Field of the task state.
        element: Its element; None where the field is one number.
        label: What it is, with its unit.
        low: Lower bound, None for none.
        high: Upper bound, None for none.
    """

    field: str
    element: int | None
    label: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Arrow:
    """An arrow in the scene.

    Attributes:
        start: Where it begins, (3,) m in the world.
        vector: From there to its tip, (3,) m.
        rgba: Colour, each from 0 to 1.
    """

    start: np.ndarray
    vector: np.ndarray
    rgba: tuple[float, float, float, float]


@dataclass(frozen=True)
class Disc:
    """A flat disc in the scene: centre (3,) m, radius m, colour."""

    center: np.ndarray
    radius: float
    rgba: tuple[float, float, float, float]


@dataclass(frozen=True)
class Report:
    """What a viewer shows of a session.

    Attributes:
        title: The environment.
        policy: Who acts.
        env: The environment that is shown, of `num_envs`.
        num_envs: How many there are.
        task: Its task, where several are joined; else empty.
        step: Control steps of its episode so far.
        seconds: The same in simulated seconds.
        length: Steps of a whole episode or recording; None where it has no known end.
        paused: Whether the session waits.
        speed: Simulated seconds in a second.
        handles: What the user may set, each with its present value.
        held: Whether the user has set one of them.
        terms: Reward terms of the last step.
        reward: Their sum; None where there is none to show.
        metrics: The task's metrics of the last step.
        ending: How the last episode ended; empty before one did.
        endings: How often episodes of this environment ended, by reason.
        traces: Values over time by name, each (n,), with their times (n,) s in `times`.
        times: When the values of `traces` were.
        shapes: Arrows and discs of commands and goals.
        message: A line for the user, such as a mistake.
    """

    title: str
    policy: str
    env: int
    num_envs: int
    task: str
    step: int
    seconds: float
    length: int | None
    paused: bool
    speed: float
    handles: tuple[tuple[Handle, float], ...] = ()
    held: bool = False
    terms: Mapping[str, float] = field(default_factory=dict)
    reward: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    ending: str = ""
    endings: Mapping[str, int] = field(default_factory=dict)
    traces: Mapping[str, np.ndarray] = field(default_factory=dict)
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    shapes: tuple[Arrow | Disc, ...] = ()
    message: str = ""


class Traces:
    """The last seconds of some numbers.

    Args:
        step_seconds: Seconds between two entries.
    """

    def __init__(self, step_seconds: float) -> None:
        self._most = max(2, round(TRACE_SECONDS / step_seconds))
        self.clear()

    def add(self, seconds: float, values: Mapping[str, float]) -> None:
        """Adds one entry; with other names than before, or an earlier time, the others are dropped."""
        if self._names != tuple(values) or (self.times.size and self.times[-1] >= seconds):
            self._names, self._entries = tuple(values), np.zeros((1 + len(values), 0))
        entry = np.array([seconds, *values.values()])[:, None]
        self._entries = np.concatenate([self._entries[:, -self._most + 1 :], entry], axis=1)

    def clear(self) -> None:
        """Drops all entries."""
        self._names: tuple[str, ...] = ()
        self._entries = np.zeros((1, 0))  # times, then a row for each name

    @property
    def times(self) -> np.ndarray:
        """Times of the entries, (n,) s."""
        return self._entries[0]

    def columns(self) -> dict[str, np.ndarray]:
        """The entries by name, each (n,)."""
        return dict(zip(self._names, self._entries[1:], strict=True))
