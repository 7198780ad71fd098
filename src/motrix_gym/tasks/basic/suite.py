"""What the tasks of dm_control's Control Suite have in common."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import spaces

from motrix_gym import arrays as xp
from motrix_gym.contact_pairs import compile_for_simulation
from motrix_gym.fields import NonNegative, Positive
from motrix_gym.model_files import load_model, load_spec
from motrix_gym.random_streams import RandomStreams
from motrix_gym.state import Array, PhysicsState, Transition
from motrix_gym.task import Task


@dataclass(frozen=True, kw_only=True)
class SuiteTask(Task):
    """A task of the Control Suite: actions drive the motors as they are, and no state ends an episode.

    Its physics, observations, rewards and beginnings are dm_control's (Tassa et al., "dm_control: Software and tasks
    for continuous control", arXiv:2006.12983); the tests of parity hold them to it. A simulation that diverges,
    which raises an error there, terminates the episode here.
    """

    MODEL: ClassVar[str]

    def spec(self) -> mujoco.MjSpec:
        """The model before it is compiled."""
        return load_spec(self.MODEL)

    def model(self) -> mujoco.MjModel:
        return compile_for_simulation(self.spec(), self.MODEL)

    def action_space(self) -> spaces.Box:
        low, high = self.model().actuator_ctrlrange.T.astype(np.float32)
        return spaces.Box(low, high)

    def control(self, physics: PhysicsState, state: Any, action: Array) -> Array:
        return action

    def terminated(self, t: Transition) -> dict[str, Array]:
        return {}

    def next_state(self, t: Transition, rng: RandomStreams) -> Any:
        return t.state


@dataclass(frozen=True, kw_only=True)
class TargetTask(SuiteTask):
    """A task of the Control Suite with a target, whose size pictures show."""

    target_radius: Positive

    def spec(self) -> mujoco.MjSpec:
        spec = super().spec()
        spec.site("target").size[0] = self.target_radius
        return spec


@dataclass(frozen=True, kw_only=True)
class LocomotionTask(SuiteTask):
    """A robot of the Control Suite that is to move forward, or to stand where no speed is asked for."""

    move_speed: NonNegative = 0.0

    def speed_share(self, speed: Array) -> Array:
        """The share of `move_speed` that `speed`, (N,) m/s, is, from 0 to 1; 1 where no speed is asked for."""
        return xp.clip(speed / self.move_speed, 0.0, 1.0) if self.move_speed > 0 else xp.ones_like(speed)


def random_joints(file_name: str, rng: RandomStreams) -> Array:
    """Positions that the suite begins with unless a task says otherwise, (N, nq).

    A joint with limits is uniform between them and a hinge without limits is uniform in [-pi, pi); all else is as in
    the model.
    """
    low, high = _joint_bounds(file_name)
    return rng.uniform(low, high, len(low))


@functools.cache
def _joint_bounds(file_name: str) -> tuple[Array, Array]:
    """The bounds of `random_joints`, (nq,) each; equal where nothing is random."""
    model = load_model(file_name)
    low, high = model.qpos0.copy(), model.qpos0.copy()
    for joint in range(model.njnt):
        place = model.jnt_qposadr[joint]
        if model.jnt_limited[joint]:
            low[place], high[place] = model.jnt_range[joint]
        elif int(model.jnt_type[joint]) == int(mujoco.mjtJoint.mjJNT_HINGE):
            low[place], high[place] = -np.pi, np.pi
    return low, high
