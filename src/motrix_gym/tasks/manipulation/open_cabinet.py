"""Open cabinet: an arm grips the handle of a drawer and pulls it open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rewards, rotations
from motrix_gym.fields import Bound, NonNegative, Positive
from motrix_gym.physics.base import Override
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import indicator
from motrix_gym.state import Array, PhysicsState, Transition
from motrix_gym.tasks.manipulation.panda import FINGERS, JOINTS, OPEN, PandaState, PandaTask, reference

BAR = 0.022  # m, diameter of the handle's bar
PADS = (-0.005, 0.012)  # m ahead of the point between the pads, as far as they reach
GRASPABLE = 0.05  # m from the middle of the bar, where a pad has room beside the posts
TRAVEL = 0.4  # m that the drawer slides
Y, Z = 1, 2  # of what is seen from the hand
FINGERS_STIFFNESS, FINGERS_RATE_GAIN = 8000.0, 60.0  # of their servo, N/m and N s/m: 44 N each on the bar


@dataclass(frozen=True)
class CabinetState(PandaState):
    """What the task remembers beside what every task with a Panda does.

    Attributes:
        place: Where the cabinet is beside its usual place, and by how much it is turned leftward, (N, 3) m, m, rad.
    """

    place: Array


@dataclass(frozen=True, kw_only=True)
class FrankaOpenCabinet(PandaTask):
    """A Franka Panda grips the handle of a drawer and pulls it open.

    The handle of a cabinet's top drawer is 0.64 m before the arm and 0.73 m high, a bar of 22 mm and 14 cm, 3 cm before
    the drawer's front: the fingers are to go above and below it and to close. The drawer slides 0.4 m, with a friction
    of 2 N and a damping of 8 N s/m; doors and lower drawer are fixed, and so is the cabinet. Its place and its heading
    are drawn for each episode. An episode begins with the drawer shut and the arm at rest near the same pose, with open
    fingers, 0.3 m from the handle, and has 125 steps of 40 ms.

    Seven actions, each in [-1, 1], move the target angles of the arm's servos, by `joint_speed` a unit; the eighth
    moves that of the fingers, by `finger_speed`, and opens them where it is positive. A target is never farther than
    0.25 rad, or 20 mm, ahead of what it moves. The fingers are stronger than those that lift a cube: each presses on
    the bar with up to 44 N.

    The handle is seen from the point between the pads of the fingers and along the hand's axes: x along the pads, y the
    way the left finger goes to open, z the way the hand points. "Between" is 1 where the middle of the bar is
    between the pads, else 0. "Gripped" is 1 where it is between them and both pads touch it, else 0. "Closeness of
    x within m" is 1 / (1 + (x / m)^2): 1 at x = 0, and half of that at x = m.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-6 | joint_position | joint angles from the home pose | rad |
    | 7-13 | joint_velocity | joint velocities | rad/s |
    | 14 | opening | distance between the fingers | m |
    | 15-22 | lead | how far the targets of the joints and of a finger are ahead of them | rad, m |
    | 23-25 | tcp | place of the point between the pads | m |
    | 26-31 | tcp_axes | unit vectors: where the hand points, where the left finger goes to open | 1 |
    | 32-39 | last_action | the last action | 1 |
    | 40-42 | handle | middle of the bar | m |
    | 43-48 | handle_axes | unit vectors: the way of the drawer, and its up | 1 |
    | 49-50 | bar_contact | 1 where the left, the right pad touches the bar | 1 |
    | 51-52 | drawer | how far the drawer is open, and its velocity | m, m/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | joint_limits | a joint of the arm is faster than `max_joint_speed`, or 0.05 rad beyond its range |
    | diverged | the physics diverged |

    Success:

    The drawer is open by `open_share` of its travel, and its handle is gripped.

    Attributes:
        control_dt: Seconds between two actions.
        reward_weights: Weights that replace those of the table, by term.
        joint_speed: How fast an action of 1 moves the target of a joint, rad/s.
        finger_speed: How fast an action of 1 moves the target of each finger, m/s.
        max_joint_speed: Joint velocity at which an episode ends, rad/s.
        home_noise: How far each joint is from home at first, at most, rad.
        cabinet_shift: How far the cabinet is at most from its usual place, along x and y, m.
        cabinet_turn: How far it is turned at most, rad.
        open_share: Share of its travel that the drawer is to be open.
        reach_margin: Distance from the bar at which `reach` is a half, m.
        straddle_margin: How far beyond 1 cm `straddle` has fallen to 0.1, m.
    """

    MODEL: ClassVar = "open_cabinet.xml"
    HOME: ClassVar = (0.0, -0.5236, 0.0, -2.7227, 0.0, 3.2463, -0.7854)
    cabinet_shift: tuple[NonNegative, NonNegative] = (0.05, 0.15)
    cabinet_turn: NonNegative = 0.2
    open_share: Annotated[float, Bound(low=0, high=1, above=True)] = 0.8
    reach_margin: Positive = 0.1
    straddle_margin: Positive = 0.1

    def model(self) -> mujoco.MjModel:
        model = super().model()
        servo = model.actuator("fingers")
        servo.gainprm[0], servo.biasprm[1:3] = FINGERS_STIFFNESS, (-FINGERS_STIFFNESS, -FINGERS_RATE_GAIN)
        return model

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, CabinetState]:
        arm, state = self.at_home(rng)
        most = np.array([*self.cabinet_shift, self.cabinet_turn])
        place = rng.uniform(-most, most, 3)
        qpos = xp.pad(arm, 0, 1)
        return qpos, xp.zeros_like(qpos), CabinetState(**vars(state), place=place)

    def model_overrides(self, state: CabinetState) -> dict[str, Override]:
        cabinet = reference(self.MODEL).body("cabinet")
        return {
            "body_pos": Override(xp.like(cabinet.pos[:2], state.place) + state.place[:, :2], at=(cabinet.id, slice(2))),
            "body_quat": Override(rotations.from_yaw(np.pi + state.place[:, 2]), at=cabinet.id),
        }

    def observe(self, physics: PhysicsState, state: CabinetState) -> dict[str, Array]:
        return self.proprioception(physics, state) | {
            "handle": physics.sensor["handle"],
            "handle_axes": physics.sensor["handle_axes"],
            "bar_contact": indicator(touching(physics)),
            "drawer": xp.concat([physics.sensor["drawer"], physics.sensor["drawer_speed"]], axis=1),
        }

    @reward_term(1.0)
    def reward_reach(self, t: Transition) -> Array:
        """closeness of the distance from the point between the pads to the bar within `reach_margin`"""
        return rewards.closeness(xp.sqrt(rewards.sum_squares(t.next_physics.sensor["handle"])), self.reach_margin)

    @reward_term(1.0)
    def reward_align(self, t: Transition) -> Array:
        """how well the hand points into the cabinet x how well the fingers open upright, as cosines"""
        return aligned(t.next_physics)

    @reward_term(1.0)
    def reward_straddle(self, t: Transition) -> Array:
        """1 where y of the bar is within 1 cm, falling to 0.1 over `straddle_margin`"""
        return rewards.tolerance(t.next_physics.sensor["handle"][:, Y], (-0.01, 0.01), self.straddle_margin)

    @reward_term(2.0)
    def reward_grip(self, t: Transition) -> Array:
        """between x mean of gripped and of how far the fingers are closed, 1 as far as the bar lets them"""
        opening = xp.sum(t.next_physics.qpos[:, FINGERS], axis=1)
        closed = rewards.tolerance(opening, (0.0, BAR), 2 * OPEN - BAR, "linear", value_at_margin=0.0)
        return indicator(between(t.next_physics)) * (0.5 * closed + 0.5 * indicator(gripped(t.next_physics)))

    @reward_term(8.0)
    def reward_open(self, t: Transition) -> Array:
        """gripped x how far the drawer is open, as a share of its travel"""
        return indicator(gripped(t.next_physics)) * opened(t.next_physics)

    @reward_term(-0.01)
    def reward_action_rate(self, t: Transition) -> Array:
        """sum of squared changes of the action"""
        return rewards.sum_squares(t.action - t.state.action)

    @reward_term(-0.01)
    def reward_joint_velocity(self, t: Transition) -> Array:
        """sum of squared joint velocities"""
        return rewards.sum_squares(t.next_physics.qvel[:, JOINTS])

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"drawer": t.next_physics.sensor["drawer"][:, 0], "gripped": indicator(gripped(t.next_physics))}

    def success(self, t: Transition) -> Array:
        return (opened(t.next_physics) >= self.open_share) & gripped(t.next_physics)


def touching(physics: PhysicsState) -> Array:
    """Whether the left and the right pad touch the bar, (N, 2) bool."""
    return physics.sensor["bar_contact"] > 0


def between(physics: PhysicsState) -> Array:
    """Whether the middle of the bar is between the pads, (N,) bool."""
    handle = physics.sensor["handle"]
    x, y, z = (handle[:, i] for i in range(3))
    opening = xp.sum(physics.qpos[:, FINGERS], axis=1)
    return (abs(x) < GRASPABLE) & (abs(y) < opening / 2) & (z > PADS[0]) & (z < PADS[1])


def gripped(physics: PhysicsState) -> Array:
    """Whether the handle is gripped, (N,) bool."""
    return between(physics) & xp.all(touching(physics), axis=1)


def aligned(physics: PhysicsState) -> Array:
    """How well the hand points into the cabinet and the fingers open upward or downward, (N,) from 0 to 1."""
    way, up = physics.sensor["handle_axes/way"], physics.sensor["handle_axes/up"]
    return xp.maximum(-way[:, Z], 0.0) * abs(up[:, Y])


def opened(physics: PhysicsState) -> Array:
    """How far the drawer is open, as a share of its travel, (N,) from 0 to 1."""
    return xp.clip(physics.sensor["drawer"][:, 0] / TRAVEL, 0.0, 1.0)
