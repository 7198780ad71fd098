"""A Franka Emika Panda on a bench: how its actions move it, what it feels, when its arm is beyond its limits."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import mujoco
import numpy as np
from gymnasium import spaces

from motrix_gym import arrays as xp
from motrix_gym.contact_pairs import load_for_simulation
from motrix_gym.fields import NonNegative, Positive
from motrix_gym.model_files import load_model
from motrix_gym.random_streams import RandomStreams
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.task import Task

JOINTS = slice(0, 7)  # of the arm, in qpos and qvel
FINGERS = slice(7, 9)  # as far as each is from the middle, in qpos and qvel
OPEN = 0.04  # m that a finger is from the middle, at most
MAX_LEAD = np.array([0.25] * 7 + [0.02])  # rad and m that a target is ahead of what it moves, at most
OVERSHOOT = 0.05  # rad beyond the end of its range that a joint may be pushed to


@dataclass(frozen=True)
class PandaState(TaskState):
    """What a task with a Panda remembers.

    Attributes:
        target: Where the servos hold the joints and the fingers, (N, 8) rad and m.
        action: The last action, (N, 8).
    """

    target: Array
    action: Array


@dataclass(frozen=True, kw_only=True)
class PandaTask(Task):
    """What the tasks with a Panda share; each describes the fields and has the tables.

    Its model begins with the arm: ``<include file="panda.xml"/>``.
    """

    MODEL: ClassVar[str]
    HOME: ClassVar[tuple[float, ...]]  # joint angles that an episode begins near, rad
    control_dt: float = 0.04
    joint_speed: Positive = 1.5
    finger_speed: Positive = 0.15
    max_joint_speed: Positive = 5.0
    home_noise: NonNegative = 0.1

    def model(self) -> mujoco.MjModel:
        return load_for_simulation(self.MODEL)

    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (8,))

    def control(self, physics: PhysicsState, state: PandaState, action: Array) -> Array:
        """Moves the targets by `joint_speed` and `finger_speed` times the action, no farther ahead than `MAX_LEAD`."""
        speed, lead = xp.like(self._speeds, action), xp.like(MAX_LEAD, action)
        there = held(physics)
        target = xp.clip(state.target + speed * self.control_dt * action, there - lead, there + lead)
        return xp.clip(target, *self._ranges(target))

    def terminated(self, t: Transition) -> dict[str, Array]:
        joints, rates = t.next_physics.qpos[:, JOINTS], t.next_physics.qvel[:, JOINTS]
        low, high = (bound[JOINTS] for bound in self._ranges(joints))
        beyond = (joints < low - OVERSHOOT) | (joints > high + OVERSHOOT) | (abs(rates) > self.max_joint_speed)
        return {"joint_limits": xp.any(beyond, axis=1)}

    def next_state(self, t: Transition, rng: RandomStreams) -> PandaState:
        return replace(t.state, target=t.ctrl, action=t.action)

    def proprioception(self, physics: PhysicsState, state: PandaState) -> dict[str, Array]:
        """What the arm knows of itself, in blocks of the observation."""
        return {
            "joint_position": physics.qpos[:, JOINTS] - xp.like(self.HOME, physics.qpos),
            "joint_velocity": physics.qvel[:, JOINTS],
            "opening": xp.sum(physics.qpos[:, FINGERS], axis=1, keepdims=True),
            "lead": state.target - held(physics),
            "tcp": physics.sensor["tcp"],
            "tcp_axes": xp.concat([physics.sensor["pointing"], physics.sensor["spreading"]], axis=1),
            "last_action": state.action,
        }

    def at_home(self, rng: RandomStreams) -> tuple[Array, PandaState]:
        """An arm that rests within `home_noise` of home, its fingers open: positions (N, 9), memory."""
        noise = rng.uniform(-self.home_noise, self.home_noise, 7)
        low, high = (bound[JOINTS] for bound in self._ranges(noise))
        joints = xp.clip(xp.like(self.HOME, noise) + noise, low, high)
        fingers = xp.full((len(rng), 2), OPEN, noise)
        target = xp.concat([joints, fingers[:, :1]], axis=1)
        return xp.concat([joints, fingers], axis=1), PandaState(target, xp.zeros_like(target))

    @cached_property
    def _speeds(self) -> np.ndarray:
        """How fast a unit action moves the targets of the servos, (8,) rad/s and m/s."""
        return np.array([self.joint_speed] * 7 + [self.finger_speed])

    def _ranges(self, x: Array) -> tuple[Array, Array]:
        """The lowest and the highest targets of the servos, (8,) rad and m each."""
        low, high = servo_ranges(self.MODEL)
        return xp.like(low, x), xp.like(high, x)


def held(physics: PhysicsState) -> Array:
    """What the servos hold, as it is: joint angles, and the fingers' distance from the middle, (N, 8) rad and m."""
    return xp.concat([physics.qpos[:, JOINTS], xp.mean(physics.qpos[:, FINGERS], axis=1, keepdims=True)], axis=1)


@functools.cache
def reference(file_name: str) -> mujoco.MjModel:
    """A model of a file, compiled once for all: to be read only."""
    return load_model(file_name)


@functools.cache
def servo_ranges(file_name: str) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest targets of the servos of a model, (8,) rad and m each."""
    low, high = reference(file_name).actuator_ctrlrange[:8].T.copy()
    return low, high
