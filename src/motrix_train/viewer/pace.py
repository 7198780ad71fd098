"""When a step is due: running, paused, step by step, faster and slower than real time."""

from __future__ import annotations

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)  # simulated seconds in a second
LONGEST_LAG = 0.1  # s of steps that are made up for after a pause of the process


class Pace:
    """Says how many steps are due.

    Args:
        step_seconds: Simulated seconds of a step.

    Attributes:
        paused: Whether only single steps are taken.
        speed: Simulated seconds in a second of the clock.
    """

    def __init__(self, step_seconds: float) -> None:
        self.step_seconds = step_seconds
        self.paused, self.speed = False, 1.0
        self._single_steps = 0
        self._last: float | None = None
        self._owed = 0.0  # s of simulated time

    def request_step(self) -> None:
        """Pauses, and makes one step due."""
        self.paused = True
        self._single_steps += 1

    def faster(self, by: int) -> None:
        """Goes some places up in `SPEEDS`, down where `by` is negative."""
        nearest = min(range(len(SPEEDS)), key=lambda place: abs(SPEEDS[place] - self.speed))
        self.speed = SPEEDS[min(max(nearest + by, 0), len(SPEEDS) - 1)]

    def due(self, now: float) -> int:
        """Steps that are due since the last call.

        Args:
            now: The clock, s.
        """
        elapsed = 0.0 if self._last is None else now - self._last
        self._last = now
        if self.paused:
            steps, self._single_steps, self._owed = self._single_steps, 0, 0.0
            return steps
        self._single_steps = 0
        most = max(LONGEST_LAG * self.speed, self.step_seconds)
        self._owed = min(self._owed + elapsed * self.speed, most)
        steps = int(self._owed / self.step_seconds + 1e-9)
        self._owed = max(self._owed - steps * self.step_seconds, 0.0)
        return steps
