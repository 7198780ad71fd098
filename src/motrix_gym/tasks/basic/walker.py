"""Walker: a planar biped stands, walks or runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import LocomotionTask, random_joints

STANDING_HEIGHT = 1.2  # m


@dataclass(frozen=True, kw_only=True)
class Walker(LocomotionTask):
    """A planar biped stands, walks or runs.

    dm_control's ``walker``, ``stand``, ``walk`` or ``run``: torso and two legs move in a vertical plane. The action,
    in [-1, 1], drives hip, knee and ankle of the right leg with up to 100, 50 and 20 N m, then those of the left. An
    episode begins at rest with the torso 1.3 m above the ground, at any pitch and with joint angles uniform in their
    ranges, feet in the ground at times, and has 1000 steps of 25 ms.

    In the reward, "tall" is 1 from a torso height of 1.2 m on and falls below it as a Gaussian with 0.1 at 0.6 m,
    "upright" is (1 + cosine of the torso's tilt) / 2 and "pace" is the forward velocity of the centre of mass /
    `move_speed`, clipped to 0 to 1, and 1 at a `move_speed` of 0.

    The links are, in this order: torso, right thigh, leg and foot, left thigh, leg and foot.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-13 | orientations | forward components of the x axis and the z axis of each link | 1 |
    | 14 | height | height of the torso | m |
    | 15-23 | velocity | torso's upward and forward velocity and pitch rate, joint velocities | m/s, rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        move_speed: Speed that earns the full reward, m/s; 0 asks to stand.
    """

    MODEL: ClassVar = "walker.xml"
    control_dt: float = 0.025

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        qpos = random_joints(self.MODEL, rng)
        return qpos, xp.zeros_like(qpos), TaskState()

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        forward = [physics.sensor[axis][:, ::3] for axis in ("x_axis", "z_axis")]  # (N, 7) each
        return {
            "orientations": xp.reshape(xp.stack(forward, axis=2), (physics.qpos.shape[0], -1)),
            "height": self.height(physics)[:, None],
            "velocity": physics.qvel,
        }

    @reward_term(1.0)
    def reward_stand_and_move(self, t: Transition) -> Array:
        """(3 tall + upright) / 4 x (1 + 5 pace) / 6"""
        tall = tolerance(self.height(t.next_physics), (STANDING_HEIGHT, np.inf), margin=STANDING_HEIGHT / 2)
        upright = (1 + t.next_physics.sensor["z_axis/torso"][:, 2]) / 2
        return (3 * tall + upright) / 4 * (1 + 5 * self.speed_share(self.speed(t.next_physics))) / 6

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"height": self.height(t.next_physics), "speed": self.speed(t.next_physics)}

    def height(self, physics: PhysicsState) -> Array:  # (N,) m
        return physics.sensor["position"][:, 2]

    def speed(self, physics: PhysicsState) -> Array:  # (N,) m/s
        return physics.sensor["velocity"][:, 0]
