"""Hopper: a planar robot with one leg stands or hops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from motrix_gym import arrays as xp
from motrix_gym.fields import Bound, NonNegative
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import tolerance
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import LocomotionTask, random_joints

HIGHEST = 2.0  # m of the torso above the foot that still counts as standing


@dataclass(frozen=True, kw_only=True)
class Hopper(LocomotionTask):
    """A planar robot with one leg stands or hops.

    dm_control's ``hopper``, ``stand`` or ``hop``: torso, pelvis, thigh, calf and foot move in a vertical plane. The
    action, in [-1, 1], drives waist, hip, knee and ankle with up to 30, 40, 30 and 10 N m. An episode begins at rest
    with the torso 1 m above the ground, at any pitch and with joint angles uniform in their ranges, and has 1000 steps
    of 20 ms.

    In the reward, "standing" is 1 while the torso's centre of mass is `stand_height` to 2 m above that of the foot,
    falling to 0 over `height_margin`, "gentle" is 1 - mean squared action / 5, and "pace" is the forward velocity of
    the centre of mass / `move_speed`, clipped to 0 to 1.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-5 | position | torso's height above 1 m and pitch, joint angles | m, rad |
    | 6-12 | velocity | torso's forward and upward velocity and pitch rate, joint velocities | m/s, rad/s |
    | 13-14 | touch | log(1 + force) at toe and heel in the last physics step | log N |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        move_speed: Speed that earns the full reward of hopping, m/s; 0 asks to stand.
        stand_height: Height of the torso above the foot from which on it stands, m.
        height_margin: How far below and above these heights standing has fallen to 0, linearly, m; 0 for at once, as
            in dm_control.
    """

    MODEL: ClassVar = "hopper.xml"
    control_dt: float = 0.02
    stand_height: Annotated[float, Bound(low=0, high=HIGHEST, above=True, below=True)] = 0.6
    height_margin: NonNegative = 0.0

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        qpos = random_joints(self.MODEL, rng)
        return qpos, xp.zeros_like(qpos), TaskState()

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        return {"position": physics.qpos[:, 1:], "velocity": physics.qvel, "touch": xp.log1p(physics.sensor["touch"])}

    @reward_term(1.0)
    def reward_stand_and_hop(self, t: Transition) -> Array:
        """standing x pace; at a `move_speed` of 0, standing x gentle"""
        heights = (self.stand_height, HIGHEST)
        standing = tolerance(
            self.height(t.next_physics), heights, self.height_margin, sigmoid="linear", value_at_margin=0.0
        )
        gentle = 1.0 - xp.mean(xp.square(t.action), axis=1) / 5
        return standing * (self.speed_share(self.speed(t.next_physics)) if self.move_speed > 0 else gentle)

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"height": self.height(t.next_physics), "speed": self.speed(t.next_physics)}

    def height(self, physics: PhysicsState) -> Array:  # (N,) m of the torso above the foot
        return physics.sensor["centre/torso"][:, 2] - physics.sensor["centre/foot"][:, 2]

    def speed(self, physics: PhysicsState) -> Array:  # (N,) m/s
        return physics.sensor["velocity"][:, 0]
