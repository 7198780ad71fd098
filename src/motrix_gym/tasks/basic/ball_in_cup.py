"""BallInCup: swing a ball on a string up and catch it in the cup that it hangs from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from motrix_gym import arrays as xp
from motrix_gym.fields import NonNegative
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import SuiteTask

PLAY = 0.025  # m that the centre of a ball within the target may be off, in x and in z
IN_PLANE = [0, 2]  # x and z of a position


@dataclass(frozen=True, kw_only=True)
class BallInCup(SuiteTask):
    """Swing a ball on a string up and catch it in the cup that it hangs from.

    dm_control's ``ball_in_cup catch``: the cup, 0.6 m above the ground, slides in x and z against springs of 20 N/m;
    each action, in [-1, 1], pushes it along one of them with 5 N a unit. The string is 0.3 m long and ends below the
    cup. The target is the square of 0.1 m that the cup encloses; the ball has a radius of 0.025 m. An episode begins
    with the cup at rest in its place and the ball at rest, uniform within 0.2 m to each side in x and 0.4 to 0.7 m
    above the ground, drawn again while anything touches. It has 1000 steps of 20 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-1 | cup_position | x and z of the cup from its place | m |
    | 2-3 | ball_position | x and z of the ball from 0.2 m above the ground | m |
    | 4-5 | cup_velocity | velocity of the cup | m/s |
    | 6-7 | ball_velocity | velocity of the ball | m/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        target_margin: How far outside of the target the reward has fallen to 0, linearly, m; 0 for at once, as in
            dm_control.
    """

    MODEL: ClassVar = "ball_in_cup.xml"
    control_dt: float = 0.02
    target_margin: NonNegative = 0.0

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        ball = rng.uniform([-0.2, 0.2], [0.2, 0.5], 2)
        qpos = xp.pad(ball, 2, 0)
        return qpos, xp.zeros_like(qpos), TaskState()

    def is_valid_start(self, physics: PhysicsState) -> Array:
        return physics.sensor["contacts"][:, 0] == 0

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        return {
            "cup_position": physics.qpos[:, :2],
            "ball_position": physics.qpos[:, 2:],
            "cup_velocity": physics.qvel[:, :2],
            "ball_velocity": physics.qvel[:, 2:],
        }

    @reward_term(1.0)
    def reward_caught(self, t: Transition) -> Array:
        """1 where the whole ball is within the target, falling to 0 over a `target_margin`"""
        return tolerance(offset(t.next_physics), (0.0, PLAY), self.target_margin, "linear", value_at_margin=0.0)

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"offset": offset(t.next_physics)}


def offset(physics: PhysicsState) -> Array:
    """From the middle of the target to the ball, in x or in z, whichever is more, (N,) m."""
    return xp.max(abs(xp.columns(physics.sensor["ball_from_target"], IN_PLANE)), axis=1)
