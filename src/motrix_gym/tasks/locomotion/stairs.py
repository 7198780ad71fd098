"""A quadruped walks over stairs: the velocity task with a line to keep to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rewards, rotations
from motrix_gym.fields import Positive
from motrix_gym.random_streams import RandomStreams
from motrix_gym.rewards import indicator
from motrix_gym.state import Array, Transition
from motrix_gym.symmetry import Flip, Mirror
from motrix_gym.tasks.locomotion.legged_task import NEXT_TILE
from motrix_gym.tasks.locomotion.velocity import Go1, VelocityState

ACROSS = Flip.signs(1, -1)


@dataclass(frozen=True)
class StairsState(VelocityState):
    """What the task of the stairs remembers.

    Attributes:
        heading: The heading of the line to keep to, (N,) rad.
        start: Where the episode, and the line, began, (N, 2) m.
        crossed: Whether the robot has come to the next tile, (N,) bool.
    """

    heading: Array
    start: Array
    crossed: Array


@dataclass(frozen=True, kw_only=True)
class Go1Stairs(Go1):
    """A Unitree Go1 walks over stairs, up and down.

    The robot is that of Go1. It sees the ground around it, and is told to go ahead on the line on which it began: the
    commanded yaw rate and leftward velocity are what its heading and its place are off, times 1/s, within the limits of
    the command; a robot that is told to stand need not come back. Each tile has a flight of five stairs on every side
    of its middle, down into the tile or up. An episode begins in the middle of one, facing the middle of a neighbour
    along x, of another level: the way there leads over one whole flight up and one down.

    Success:

    The robot has come 4.5 m from where it began, which is the middle of the next tile, and has not fallen.
    """

    command_low: tuple[float, float, float] = (0.5, -0.3, -1.0)
    command_high: tuple[float, float, float] = (1.0, 0.3, 1.0)
    still_probability: float = 0.05
    swing_height: Positive = 0.16
    terrain: Mapping[str, float] = field(default_factory=lambda: {"stairs_up": 0.12, "stairs_down": 0.12})
    height_scan: bool = True

    def next_state(self, t: Transition, rng: RandomStreams) -> StairsState:
        state: StairsState = super().next_state(t, rng)  # pyright: ignore[reportAssignmentType]
        return self._on_line(replace(state, crossed=self._crossed(t)), t.next_physics.qpos)

    def success(self, t: Transition) -> Array:
        return self._crossed(t) & ~t.terminated

    def mirror(self) -> Mirror:
        mirror = super().mirror()
        assert mirror is not None, "a Go1 is symmetric"

        def mirrored(state: StairsState) -> StairsState:
            return replace(mirror.state(state), heading=-state.heading, start=ACROSS(state.start))

        return replace(mirror, state=mirrored)

    def reset_on_level(self, level: Array, rng: RandomStreams) -> tuple[Array, Array, StairsState]:
        qpos, qvel, state = super().reset_on_level(level, rng)
        heading, start = rotations.yaw(qpos[:, 3:7]), qpos[:, :2]
        state = StairsState(**vars(state), heading=heading, start=start, crossed=xp.full((len(rng),), False, qpos))
        return qpos, qvel, self._on_line(state, qpos)

    def start_yaw(self, level: Array, unit: Array) -> Array:
        ahead = (level == 0) | ((level != self.terrain_levels - 1) & (unit >= 0))
        return xp.where(ahead, 0.0, np.pi) + 0.1 * unit

    def _on_line(self, state: StairsState, qpos: Array) -> StairsState:
        """The task state with a command that leads back to the line on which the episode began."""
        turn = rotations.wrapped(state.heading - rotations.yaw(qpos[:, 3:7]))
        away = qpos[:, :2] - state.start
        left = away[:, 1] * xp.cos(state.heading) - away[:, 0] * xp.sin(state.heading)
        back = xp.stack([-left, turn], axis=1)
        ahead = state.command[:, :1]
        low, high = xp.like(self.command_low, back), xp.like(self.command_high, back)
        back = xp.clip(back, low[1:], high[1:]) * indicator(ahead != 0)
        return replace(state, command=xp.concat([ahead, back], axis=1))

    def _crossed(self, t: Transition) -> Array:
        away = xp.sqrt(rewards.sum_squares(t.next_physics.qpos[:, :2] - t.state.start))
        return t.state.crossed | (away >= NEXT_TILE)
