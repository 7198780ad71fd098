"""What tasks share that are solved by holding something for a while."""

from __future__ import annotations

from dataclasses import dataclass

from motrix_gym import arrays as xp
from motrix_gym.fields import Positive
from motrix_gym.state import Array, Transition
from motrix_gym.task import Task


@dataclass(frozen=True, kw_only=True)
class Holding(Task):
    """A task that is solved once a condition has held for some time; `held`, (N,) s, in the task state counts it.

    The last of the bases of such a task.
    """

    hold_time: Positive

    def holds(self, t: Transition) -> Array:
        """Whether that which is to be held is held at the end of the step, (N,) bool."""
        raise NotImplementedError

    def success(self, t: Transition) -> Array:
        return self.time_held(t) > self.hold_time - self.control_dt / 2  # a sum of steps is not exact

    def time_held(self, t: Transition) -> Array:
        """For how long it has been held once the step is done, (N,) s."""
        return xp.where(self.holds(t), t.state.held + self.control_dt, 0.0)
