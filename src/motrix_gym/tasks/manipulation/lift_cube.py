"""Lift: a robot arm grasps a cube on a table and holds it in the air where it is told to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rotations
from motrix_gym.fields import Ascending, Bound, Positive, Share
from motrix_gym.physics.base import Override
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import once_per_step, reward_term
from motrix_gym.rewards import closeness, sum_squares, tolerance
from motrix_gym.state import Array, PhysicsState, Transition
from motrix_gym.tasks.holding import Holding
from motrix_gym.tasks.manipulation.panda import FINGERS, JOINTS, MAX_LEAD, PandaState, PandaTask, held, reference

CUBE_LOW, CUBE_HIGH = (0.4, -0.25), (0.6, 0.25)  # m, where a cube lies on the table
GOAL_LOW, GOAL_HIGH = (0.4, -0.25, 0.25), (0.6, 0.25, 0.5)  # m, where it is to be
QUARTER = np.pi / 4  # rad, to either side: a cube looks the same after a quarter turn
DENSITY = 1000.0  # kg/m^3
HalfEdge = Annotated[float, Bound(low=0, high=0.03, above=True)]  # m
FALLEN = -0.05  # m, where a cube is that has left the table
FIRM = 0.015  # m that the fingers' target is inside of what they hold, with 350 N/m each


@dataclass(frozen=True)
class LiftState(PandaState):
    """What the task remembers beside what any with a Panda does.

    Attributes:
        goal: Where the centre of the cube is to be, (N, 3) m.
        half: Half an edge of the cube, (N,) m.
        held: For how long the cube has been at its goal without a break, (N,) s.
    """

    goal: Array
    half: Array
    held: Array


@dataclass(frozen=True, kw_only=True)
class FrankaLiftCube(PandaTask, Holding):
    """A Franka Emika Panda grasps a cube on a table and holds it in the air at a place that it is told.

    Seven actions, each in [-1, 1], move the target angles of the arm's servos, by `joint_speed` a unit; the eighth
    moves that of the fingers, by `finger_speed`, and opens them where it is positive. A target is never farther than
    0.25 rad, or 20 mm, ahead of what it moves: so the arm stops where it is held up, and each finger presses with up to
    7 N. The arm bears its own weight; nothing but friction holds the cube.

    A cube lies anywhere on 20 cm x 50 cm of the table, turned anyhow, and weighs 1 g/cm^3; its goal is 25 to 50 cm
    above such a place. An episode begins with open fingers, the arm at rest within `home_noise` of a pose above the
    table, and has 125 steps of 40 ms.

    "Closeness of x within m" is 1 / (1 + (x / m)^2): 1 at x = 0, and half of that at x = m. "Upright" is 1 where the
    hand points straight down, cos^2 of its tilt elsewhere, and 0 where it points upward.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-6 | joint_position | joint angles from the home pose | rad |
    | 7-13 | joint_velocity | joint velocities | rad/s |
    | 14 | opening | distance between the fingers | m |
    | 15-22 | lead | how far the targets of the joints and of a finger are ahead of them | rad, m |
    | 23-25 | tcp | place of the point between the fingertips | m |
    | 26-31 | tcp_axes | unit vectors: where the hand points, where the left finger goes to open | 1 |
    | 32-39 | last_action | the last action | 1 |
    | 40-42 | to_cube | from that point to the centre of the cube | m |
    | 43-48 | cube_axes | unit vectors along two edges of the cube, in the axes of the hand | 1 |
    | 49-51 | cube_velocity | velocity of the cube | m/s |
    | 52 | cube_size | half an edge of the cube | m |
    | 53-55 | to_goal | from the centre of the cube to its goal | m |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | joint_limits | a joint of the arm is faster than `max_joint_speed`, or 0.05 rad beyond its range |
    | cube_fallen | the cube has left the table |
    | diverged | the physics diverged |

    Success:

    For the last `hold_time` the centre of the cube has been within `goal_tolerance` of its goal.

    Attributes:
        hold_time: How long the cube has to be at its goal, s.
        joint_speed: How fast an action of 1 moves the target of a joint, rad/s.
        finger_speed: How fast an action of 1 moves the target of each finger, m/s.
        max_joint_speed: Joint velocity at which an episode ends, rad/s.
        home_noise: How far each joint is from home at first, at most, rad.
        cube_size: Half an edge of the smallest and of the largest cube, m; at most 0.03.
        goal_tolerance: Distance from its goal within which a cube is there, m.
        grasp_margin: Distance of the fingertips from the centre of the cube at which `grasp` is a half, m.
        lift_height: Height above the table at which `lift` no longer grows, m.
        track_margin: Distance of the cube from its goal at which `track` is a half, m.
        in_hand_share: Share of the episodes that begin with the cube held in the air, as training may want it, 0 to 1.
    """

    MODEL: ClassVar = "lift_cube.xml"
    HOME: ClassVar = (0.0, -0.2, 0.0, -2.3, 0.0, 2.1, 0.7854)
    cube_size: Annotated[tuple[HalfEdge, HalfEdge], Ascending()] = (0.0175, 0.025)
    goal_tolerance: Positive = 0.03
    hold_time: Positive = 0.5
    grasp_margin: Positive = 0.03
    lift_height: Positive = 0.1
    track_margin: Positive = 0.2
    in_hand_share: Share = 0.0

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, LiftState]:
        arm, state = self.at_home(rng)
        smallest, largest = self.cube_size
        drawn = rng.uniform([*CUBE_LOW, -QUARTER, smallest, 0.0], [*CUBE_HIGH, QUARTER, largest, 1.0], 5)
        half, in_hand = drawn[:, 3:4], drawn[:, 4:] < self.in_hand_share
        cube = xp.concat([drawn[:, :2], half, rotations.from_yaw(drawn[:, 2])], axis=1)
        if self.in_hand_share:
            arm = xp.concat([arm[:, JOINTS], xp.where(in_hand, half, arm[:, FINGERS])], axis=1)
            pressing = xp.where(in_hand, xp.maximum(half - float(MAX_LEAD[7]), 0.0), state.target[:, 7:])
            state = replace(state, target=xp.concat([state.target[:, JOINTS], pressing], axis=1))
            cube = xp.where(in_hand, xp.on_host(_hands, arm), cube)
        goal = rng.uniform(GOAL_LOW, GOAL_HIGH, 3)
        lift = LiftState(**vars(state), goal=goal, half=half[:, 0], held=xp.zeros((len(rng),), arm))
        return xp.concat([arm, cube], axis=1), xp.zeros((len(rng), 15), arm), lift

    def model_overrides(self, state: LiftState) -> dict[str, Override]:
        model, edge = reference(self.MODEL), 2 * state.half
        cube, shown = model.body("cube").id, [model.geom("cube").id, model.geom("goal").id]
        mass = DENSITY * edge**3
        inertia = mass * edge**2 / 6
        return {
            "geom_size": Override(xp.tile(state.half[:, None, None], (1, 2, 3)), at=shown),
            "body_mass": Override(mass, at=cube),
            "body_inertia": Override(xp.tile(inertia[:, None], (1, 3)), at=cube),
        }

    def observe(self, physics: PhysicsState, state: LiftState) -> dict[str, Array]:
        return self.proprioception(physics, state) | {
            "to_cube": physics.sensor["cube"] - physics.sensor["tcp"],
            "cube_axes": physics.sensor["cube_axis"],
            "cube_velocity": physics.sensor["cube_velocity"],
            "cube_size": state.half[:, None],
            "to_goal": state.goal - physics.sensor["cube"],
        }

    @reward_term(2.0)
    def reward_reach(self, t: Transition) -> Array:
        """upright x mean closeness of the fingertips to the cube's centre within 0.2 m and `grasp_margin`"""
        upright, distance = self.upright(t), self.reach_distance(t)
        return (upright * closeness(distance, 0.2) + upright * closeness(distance, self.grasp_margin)) / 2

    @reward_term(2.0)
    def reward_grasp(self, t: Transition) -> Array:
        """upright x closeness within `grasp_margin` x how firmly the fingers press, 1 with 5 N each"""
        return self.upright(t) * closeness(self.reach_distance(t), self.grasp_margin) * grip(t)

    @reward_term(5.0)
    def reward_lift(self, t: Transition) -> Array:
        """grasp x (0.05 with the cube on the table, rising linearly to 1 with it `lift_height` above)"""
        above = height(t.next_physics, t.state)
        lifted = tolerance(above, (self.lift_height, np.inf), self.lift_height, "linear", value_at_margin=0.05)
        return self.reward_grasp(t) * lifted

    @reward_term(4.0)
    def reward_track(self, t: Transition) -> Array:
        """grasp x closeness of the cube to its goal within `track_margin`"""
        return self.reward_grasp(t) * closeness(self.goal_distance(t), self.track_margin)

    @reward_term(4.0)
    def reward_hold(self, t: Transition) -> Array:
        """grasp x closeness of the cube to its goal within `goal_tolerance`"""
        return self.reward_grasp(t) * closeness(self.goal_distance(t), self.goal_tolerance)

    @reward_term(-0.05)
    def reward_action_rate(self, t: Transition) -> Array:
        """mean squared change of the action"""
        return sum_squares(t.action - t.state.action) / t.action.shape[1]

    @reward_term(-0.05)
    def reward_joint_speed(self, t: Transition) -> Array:
        """mean squared joint velocity"""
        return sum_squares(t.next_physics.qvel[:, JOINTS]) / 7

    @once_per_step
    def upright(self, t: Transition) -> Array:
        """1 where the hand points straight down, cos^2 of its tilt elsewhere, 0 where it points upward, (N,)."""
        return xp.square(xp.minimum(t.next_physics.sensor["pointing"][:, 2], 0.0))

    @once_per_step
    def reach_distance(self, t: Transition) -> Array:
        """From the point between the fingertips to the centre of the cube, (N,) m."""
        return xp.vector_norm(t.next_physics.sensor["cube"] - t.next_physics.sensor["tcp"], axis=1)

    @once_per_step
    def goal_distance(self, t: Transition) -> Array:
        """From the centre of the cube to its goal, (N,) m."""
        return xp.vector_norm(t.state.goal - t.next_physics.sensor["cube"], axis=1)

    def terminated(self, t: Transition) -> dict[str, Array]:
        return super().terminated(t) | {"cube_fallen": t.next_physics.sensor["cube"][:, 2] < FALLEN}

    def next_state(self, t: Transition, rng: RandomStreams) -> LiftState:
        state: Any = super().next_state(t, rng)
        return replace(state, held=self.time_held(t))

    def metrics(self, t: Transition) -> dict[str, Array]:
        return {"goal_distance": self.goal_distance(t), "height": height(t.next_physics, t.state)}

    def holds(self, t: Transition) -> Array:
        return self.goal_distance(t) <= self.goal_tolerance

    def markers(self, state: LiftState) -> dict[str, Array]:
        return {"goal": state.goal}


def grip(t: Transition) -> Array:
    """How firmly the fingers press on what is between them, (N,) from 0 to 1."""
    return xp.clip((held(t.next_physics)[:, 7] - t.ctrl[:, 7]) / FIRM, 0.0, 1.0)


def height(physics: PhysicsState, state: LiftState) -> Array:
    """How high the cube is above where it would lie on the table, (N,) m."""
    return physics.sensor["cube"][:, 2] - state.half


def _hands(arm: Array) -> Array:
    """Place and turn of the point between the fingertips, (N, 7) m and unit quaternion, from joints, (N, 9)."""
    model = reference(FrankaLiftCube.MODEL)
    data, found = mujoco.MjData(model), np.empty((len(arm), 7))
    for joints, pose in zip(arm, found, strict=True):
        data.qpos[:9] = joints
        mujoco.mj_kinematics(model, data)
        pose[:3] = data.site("tcp").xpos
        mujoco.mju_mat2Quat(pose[3:], data.site("tcp").xmat)
    return found
