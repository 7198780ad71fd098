"""Cheetah: a planar cheetah runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from motrix_gym import arrays as xp
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.tasks.basic.suite import LocomotionTask, random_joints

JOINTS = slice(3, None)  # after x, z and pitch of the torso
# dm_control takes the first of its 200 settling steps with the forces of the model's own pose, in which nothing pulls
# but gravity, whatever joint angles it has just drawn.
FALL = -9.81 * 0.01  # m/s after that step
FALLEN = [0.0, FALL * 0.01, 0.0]  # m, m, rad
FALLING = [0.0, FALL, 0.0]  # m/s, m/s, rad/s


@dataclass(frozen=True, kw_only=True)
class Cheetah(LocomotionTask):
    """A planar cheetah runs.

    dm_control's ``cheetah``, ``run``: a cheetah of 14 kg moves in a vertical plane. The action, in [-1, 1], drives
    thigh, shin and foot of the hind leg with up to 120, 90 and 60 N m, then those of the fore leg with up to 90, 60
    and 30 N m. An episode begins where the cheetah comes to in 2 s without control, from a level torso and joint
    angles uniform in their ranges, and has 1000 steps of 10 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-7 | position | torso's height above 0.7 m and pitch, joint angles | m, rad |
    | 8-16 | velocity | torso's forward and upward velocity and pitch rate, joint velocities | m/s, rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | diverged | the physics diverged |

    Attributes:
        move_speed: Speed that earns the full reward, m/s.
    """

    MODEL: ClassVar = "cheetah.xml"
    SETTLING_TIME: ClassVar = 1.99
    control_dt: float = 0.01
    move_speed: float = 10.0

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        joints, n = random_joints(self.MODEL, rng)[:, JOINTS], len(rng)
        qpos = xp.concat([xp.tile(xp.like(FALLEN, joints), (n, 1)), joints], axis=1)
        qvel = xp.concat([xp.tile(xp.like(FALLING, joints), (n, 1)), xp.zeros_like(joints)], axis=1)
        return qpos, qvel, TaskState()

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        return {"position": physics.qpos[:, 1:], "velocity": physics.qvel}

    @reward_term(1.0)
    def reward_run(self, t: Transition) -> Array:
        """forward velocity of the centre of mass / `move_speed`, clipped to 0 to 1"""
        return self.speed_share(self.speed(t.next_physics))

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"speed": self.speed(t.next_physics)}

    def speed(self, physics: PhysicsState) -> Array:  # (N,) m/s
        return physics.sensor["velocity"][:, 0]
