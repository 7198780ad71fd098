"""Domain randomization for legged robots, sampled for each environment at the start of an episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, NamedTuple

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.fields import Ascending, Count, NonNegative, PositiveRange, Range, nearest
from motrix_gym.physics.base import Override, sensor_columns
from motrix_gym.random_streams import RandomStreams
from motrix_gym.rewards import indicator
from motrix_gym.state import Array, PhysicsState, TaskState, consecutive
from motrix_gym.symmetry import Flip
from motrix_gym.task import Task
from motrix_gym.tasks.locomotion.legged_robot import LeggedRobot

JOINTS_IN_QPOS, JOINTS_IN_QVEL = slice(7, None), slice(6, None)
POLAR = Flip.signs(1, -1, 1)


class Quantity(NamedTuple):
    """A quantity that is sampled for an episode, from the range that the field of its name gives.

    Attributes:
        mirror: The reflection of its values, from that of joint angles.
        in_unit: The values in their unit, from the field and from numbers from -1 to 1, (N, k).
        overrides: What they change in the model: from the model, its trunk and the values.
    """

    mirror: Callable[[Flip], Flip]
    in_unit: Callable[[Any, Array], Array]
    overrides: Callable[[mujoco.MjModel, Any, Array], dict[str, Override]]


def _between(limits: tuple[float, float], unit: Array) -> Array:
    low, high = limits
    return low + (high - low) * (0.5 + 0.5 * unit)


def _whole_between(limits: tuple[int, int], unit: Array) -> Array:
    low, high = limits
    return xp.integers(xp.floor(low + (high + 1 - low) * (0.5 + 0.5 * unit)))


def _around_zero(most: float | tuple[float, ...], unit: Array) -> Array:
    return xp.like(most, unit) * unit


def _friction(model: mujoco.MjModel, trunk: Any, factor: Array) -> dict[str, Override]:
    robot = np.flatnonzero(model.geom_bodyid), 0
    return {"geom_friction": Override(xp.like(model.geom_friction[robot], factor) * factor, robot)}


def _added_mass(model: mujoco.MjModel, trunk: Any, added: Array) -> dict[str, Override]:
    mass = xp.like(trunk.mass, added)
    total = mass + added
    return {
        "body_mass": Override(total[:, 0], trunk.id),
        "body_inertia": Override(xp.like(trunk.inertia, added) * (total / mass), trunk.id),
    }


def _com_shift(model: mujoco.MjModel, trunk: Any, shift: Array) -> dict[str, Override]:
    return {"body_ipos": Override(xp.like(trunk.ipos, shift) + shift, trunk.id)}


def _motor_strength(model: mujoco.MjModel, trunk: Any, factor: Array) -> dict[str, Override]:
    return {"actuator_forcerange": Override(xp.like(model.actuator_forcerange, factor) * factor[:, :, None])}


def _stiffness(model: mujoco.MjModel, trunk: Any, factor: Array) -> dict[str, Override]:
    gain, bias = (slice(None), 0), (slice(None), 1)
    return {
        "actuator_gainprm": Override(xp.like(model.actuator_gainprm[gain], factor) * factor, gain),
        "actuator_biasprm": Override(xp.like(model.actuator_biasprm[bias], factor) * factor, bias),
    }


def _damping(model: mujoco.MjModel, trunk: Any, factor: Array) -> dict[str, Override]:
    return {"dof_damping": Override(xp.like(model.dof_damping[JOINTS_IN_QVEL], factor) * factor, JOINTS_IN_QVEL)}


def _nothing(model: mujoco.MjModel, trunk: Any, values: Array) -> dict[str, Override]:
    return {}


def _number(joints: Flip) -> Flip:
    return Flip.signs(1)


def _vector(joints: Flip) -> Flip:
    return POLAR


def _joint_factors(joints: Flip) -> Flip:
    return Flip(joints.index, np.ones(len(joints.index)))


def _joint_angles(joints: Flip) -> Flip:
    return joints


QUANTITIES = {
    "friction": Quantity(_number, _between, _friction),
    "added_mass": Quantity(_number, _between, _added_mass),
    "com_shift": Quantity(_vector, _around_zero, _com_shift),
    "motor_strength": Quantity(_joint_factors, _between, _motor_strength),
    "stiffness": Quantity(_joint_factors, _between, _stiffness),
    "damping": Quantity(_joint_factors, _between, _damping),
    "joint_offset": Quantity(_joint_angles, _around_zero, _nothing),
    "action_delay": Quantity(_number, _whole_between, _nothing),
}


@dataclass(frozen=True)
class RandomizedState(TaskState):
    """What is sampled for an episode and a step; an array is empty, (N, 0), where its options are off.

    Attributes:
        drawn: Where in its range each quantity of the episode lies, (N, k) from -1 to 1, in the columns that
            `DomainRandomization.columns` says.
        noise: The same for each element of the next observation, (N, k).
        past_actions: The actions before this step, the latest first, (N, longest delay, joints).
        push: Change of the velocity in this step, in the world's axes, (N, 3) m/s.
        push_left: Time until the next push, (N,) s.
    """

    drawn: Array
    noise: Array
    past_actions: Array
    push: Array
    push_left: Array


@dataclass(frozen=True, kw_only=True)
class DomainRandomization(Task):
    """A task of a legged robot with position servos, some of whose physics is not quite known.

    Attributes:
        friction: Least and greatest factor on the friction of the robot, drawn for each episode, as are the next seven.
        added_mass: Least and greatest mass that the trunk has more, as if denser, kg.
        com_shift: How far the trunk's centre of mass is off at most, forward, sideways and upward, m.
        motor_strength: Least and greatest factor on the greatest torque of each servo.
        stiffness: Least and greatest factor on the stiffness of each servo.
        damping: Least and greatest factor on the damping of each servo.
        joint_offset: How far each joint is at most from where its encoder has it, rad.
        action_delay: Least and greatest number of control steps by which actions come late.
        observation_noise: Half the width of uniform noise, by block, in the block's unit.
        push_speed: Change of the velocity by a push in a random direction, m/s; 0 for none.
        push_interval: Shortest and longest time between pushes, s.
    """

    ROBOT: ClassVar[LeggedRobot]
    friction: PositiveRange = (1.0, 1.0)
    added_mass: Range = (0.0, 0.0)
    com_shift: tuple[NonNegative, NonNegative, NonNegative] = (0.0, 0.0, 0.0)
    motor_strength: PositiveRange = (1.0, 1.0)
    stiffness: PositiveRange = (1.0, 1.0)
    damping: PositiveRange = (1.0, 1.0)
    joint_offset: NonNegative = 0.0
    action_delay: Annotated[tuple[Count, Count], Ascending()] = (0, 0)
    observation_noise: Mapping[str, NonNegative] = field(default_factory=dict)
    push_speed: NonNegative = 0.0
    push_interval: PositiveRange = (5.0, 10.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ROBOT.check()
        lightest = self.added_mass[0]
        if lightest < 0 and not (trunk := self._trunk().mass[0]) + lightest > 0:
            raise ValueError(f"added_mass is {self.added_mass} kg; the trunk has {trunk:.3g} kg to be taken away")
        for block in self.observation_noise:
            if block not in self.block_columns:
                raise ValueError(f"observation_noise has no block {block!r}{nearest(block, self.block_columns)}")

    def reference_model(self) -> mujoco.MjModel:
        """The compiled model, shared: to be read only."""
        raise NotImplementedError

    @cached_property
    def columns(self) -> dict[str, slice]:
        """The columns of each quantity in `RandomizedState.drawn`."""
        return consecutive({name: len(flip.index) for name, flip in self._flips().items()})

    @cached_property
    def block_columns(self) -> dict[str, slice]:
        """The columns of each block of the observation."""
        quiet = replace(self, observation_noise={})
        model = self.reference_model()
        sensordata = np.zeros((1, model.nsensordata))
        sensors = {name: sensordata[:, columns] for name, columns in sensor_columns(model).items()}
        qpos, qvel, state = quiet.reset(RandomStreams(np.zeros((1, 2), dtype=np.uint64)))
        blocks = quiet.observe(PhysicsState(qpos, qvel, sensors), state)
        return consecutive({name: block.shape[1] for name, block in blocks.items()})

    def model_overrides(self, state: Any) -> dict[str, Override]:
        model, trunk = self.reference_model(), self._trunk()
        return {
            name: override
            for quantity, what in QUANTITIES.items()
            if self._differs(quantity)
            for name, override in what.overrides(model, trunk, self.sampled(quantity, state)).items()
        }

    def external_force(self, state: Any) -> dict[str, Array]:
        if not self.push_speed:
            return {}
        trunk = self._trunk()
        mass = float(self.reference_model().body_subtreemass[trunk.id])
        return {trunk.name: xp.pad(mass * state.push / self.control_dt, 0, 3)}

    def sampled(self, name: str, state: Any) -> Array:
        """A quantity of the episode in its unit, as the field of this name says, (N, k)."""
        return QUANTITIES[name].in_unit(getattr(self, name), state.drawn[:, self.columns[name]])

    def delayed(self, state: Any, action: Array) -> Array:
        """The action that reaches the servos, (N, joints)."""
        if not self._differs("action_delay"):
            return action
        actions = xp.concat([action[:, None, :], state.past_actions], axis=1)
        delay = self.sampled("action_delay", state)[:, :, None]
        return xp.take_along_axis(actions, delay, axis=1)[:, 0, :]

    def offset(self, state: Any) -> Array | float:
        """How far each joint is from where its encoder has it, (N, joints) rad."""
        return self.sampled("joint_offset", state) if self._differs("joint_offset") else 0.0

    def noise(self, state: Any) -> dict[str, Array]:
        return {name: size * state.noise[:, self.block_columns[name]] for name, size in self.observation_noise.items()}

    def reset_randomization(self, rng: RandomStreams) -> dict[str, Array]:
        """The fields of `RandomizedState` that an episode begins with."""
        n, width = len(rng), self.columns["action_delay"].stop
        low, high = self.push_interval
        return {
            "drawn": rng.uniform(-1.0, 1.0, width)
            if any(map(self._differs, QUANTITIES))
            else xp.zeros((n, 0), rng.key),
            "noise": self._next_noise(rng),
            "past_actions": xp.zeros((n, int(self.action_delay[1]), len(self.ROBOT.joints)), rng.key),
            "push": xp.zeros((n, 3), rng.key),
            "push_left": low + (high - low) * rng.uniform()[:, 0] if self.push_speed else xp.zeros((n,), rng.key),
        }

    def next_randomization(self, state: Any, action: Array, rng: RandomStreams) -> Any:
        """The task state after a step in which the policy gave `action`, (N, joints)."""
        past = xp.concat([action[:, None, :], state.past_actions], axis=1)[:, : int(self.action_delay[1]), :]
        state = replace(state, noise=self._next_noise(rng), past_actions=past)
        if not self.push_speed:
            return state
        left = state.push_left - self.control_dt
        unit = rng.uniform(size=2)
        angle = 2 * np.pi * unit[:, 0]
        push = self.push_speed * xp.stack([xp.cos(angle), xp.sin(angle), xp.zeros_like(angle)], axis=1)
        low, high = self.push_interval
        due = left <= 0
        return replace(
            state,
            push=push * indicator(due)[:, None],
            push_left=xp.where(due, low + (high - low) * unit[:, 1], left),
        )

    def mirrored_randomization(self, state: Any, blocks: Mapping[str, Flip]) -> Any:
        """The task state with mirrored quantities, where `blocks` reflect the observation."""
        drawn, observation = Flip.joined(*self._flips().values()), Flip.joined(*blocks.values())
        return replace(
            state,
            drawn=drawn(state.drawn) if state.drawn.shape[1] else state.drawn,
            noise=observation(state.noise) if state.noise.shape[1] else state.noise,
            past_actions=self.ROBOT.mirrored_joints(state.past_actions),
            push=POLAR(state.push),
        )

    def _flips(self) -> dict[str, Flip]:
        return {name: quantity.mirror(self.ROBOT.mirrored_joints) for name, quantity in QUANTITIES.items()}

    def _differs(self, name: str) -> bool:
        """Whether a quantity is not the model's in every episode."""
        return getattr(self, name) != getattr(DomainRandomization, name)

    def _next_noise(self, rng: RandomStreams) -> Array:
        if not self.observation_noise:
            return xp.zeros((len(rng), 0), rng.key)
        return rng.uniform(-1.0, 1.0, max(columns.stop for columns in self.block_columns.values()))

    def _trunk(self) -> Any:
        return self.reference_model().body(self.ROBOT.trunk)
