"""Domain randomization for legged robots, sampled for each environment at the start of an episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import mujoco
import numpy as np

from motrix_gym.fields import Ascending, Count, NonNegative, PositiveRange, Range, nearest
from motrix_gym.physics.base import Override
from motrix_gym.random_streams import RandomStreams
from motrix_gym.state import Array, TaskState, consecutive
from motrix_gym.symmetry import Flip
from motrix_gym.task import Task

TRUNK = "trunk"
JOINTS = 12  # hip, thigh, calf of each leg
JOINTS_IN_QVEL = slice(6, None)
MIRRORED_JOINTS = Flip(index=np.array([3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]), sign=np.tile([-1.0, 1.0, 1.0], 4))
UNSIGNED_JOINTS = Flip(MIRRORED_JOINTS.index, np.ones(JOINTS))
POLAR = Flip.signs(1, -1, 1)
SAME = Flip.signs(1)
QUANTITIES = {  # sampled for an episode, each number from -1 to 1, and its mirror image
    "friction": SAME,
    "added_mass": SAME,
    "com_shift": POLAR,
    "motor_strength": UNSIGNED_JOINTS,
    "stiffness": UNSIGNED_JOINTS,
    "damping": UNSIGNED_JOINTS,
    "joint_offset": MIRRORED_JOINTS,
    "action_delay": SAME,
}


COLUMNS = consecutive({name: len(flip.index) for name, flip in QUANTITIES.items()})
WIDTH = COLUMNS["action_delay"].stop


@dataclass(frozen=True)
class RandomizedState(TaskState):
    """What is sampled for an episode and a step; an array is empty, (N, 0), where its options are off.

    Attributes:
        drawn: Where in its range each quantity of the episode lies, (N, 54) from -1 to 1, as `COLUMNS` says.
        noise: The same for each element of the next observation, (N, k).
        past_actions: The actions before this step, the latest first, (N, longest delay, 12).
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
    """A task of a robot with four legs and twelve position servos, some of whose physics is not quite known."""

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
        lightest = self.added_mass[0]
        if lightest < 0 and not (trunk := self.reference_model().body_mass[self._trunk()]) + lightest > 0:
            raise ValueError(f"added_mass is {self.added_mass} kg; the trunk has {trunk:.3g} kg to be taken away")
        blocks = self._block_places()
        for block in self.observation_noise:
            if block not in blocks:
                raise ValueError(f"observation_noise has no block {block!r}{nearest(block, blocks)}")

    def model_overrides(self, state: Any) -> dict[str, Override]:
        model, overrides = self.reference_model(), {}
        trunk = model.body(TRUNK)
        if self._differs("friction"):
            robot = np.flatnonzero(model.geom_bodyid), 0
            overrides["geom_friction"] = Override(model.geom_friction[robot] * self.sampled("friction", state), robot)
        if self._differs("added_mass"):
            total = trunk.mass + self.sampled("added_mass", state)
            overrides["body_mass"] = Override(total[:, 0], trunk.id)
            overrides["body_inertia"] = Override(trunk.inertia * (total / trunk.mass), trunk.id)
        if self._differs("com_shift"):
            overrides["body_ipos"] = Override(trunk.ipos + self.sampled("com_shift", state), trunk.id)
        if self._differs("motor_strength"):
            strength = self.sampled("motor_strength", state)
            overrides["actuator_forcerange"] = Override(model.actuator_forcerange * strength[:, :, None])
        if self._differs("stiffness"):
            factor, gain, bias = self.sampled("stiffness", state), (slice(None), 0), (slice(None), 1)
            overrides["actuator_gainprm"] = Override(model.actuator_gainprm[gain] * factor, gain)
            overrides["actuator_biasprm"] = Override(model.actuator_biasprm[bias] * factor, bias)
        if self._differs("damping"):
            damping = model.dof_damping[JOINTS_IN_QVEL] * self.sampled("damping", state)
            overrides["dof_damping"] = Override(damping, JOINTS_IN_QVEL)
        return overrides

    def external_force(self, state: Any) -> dict[str, Array]:
        if not self.push_speed:
            return {}
        force = self.reference_model().body_subtreemass[self._trunk()] * state.push / self.control_dt
        return {TRUNK: np.concat([force, np.zeros_like(force)], axis=1)}

    def sampled(self, name: str, state: Any) -> Array:
        """A quantity of the episode in its unit, as the field of this name says, (N, numbers)."""
        unit = state.drawn[:, COLUMNS[name]]
        if name in ("com_shift", "joint_offset"):
            return np.asarray(getattr(self, name)) * unit
        low, high = getattr(self, name)
        if name == "action_delay":
            return np.floor(low + (high + 1 - low) * (0.5 + 0.5 * unit)).astype(int)
        return low + (high - low) * (0.5 + 0.5 * unit)

    def delayed(self, state: Any, action: Array) -> Array:
        """The action that reaches the servos, (N, 12)."""
        if not self._differs("action_delay"):
            return action
        actions = np.concat([action[:, None], state.past_actions], axis=1)
        return actions[np.arange(len(action)), self.sampled("action_delay", state)[:, 0]]

    def offset(self, state: Any) -> Array | float:
        """How far each joint is from where its encoder has it, (N, 12) rad."""
        return self.sampled("joint_offset", state) if self._differs("joint_offset") else 0.0

    def noise(self, state: Any) -> dict[str, Array]:
        places = self._block_places() if self.observation_noise else {}
        return {name: size * state.noise[:, places[name]] for name, size in self.observation_noise.items()}

    def reset_randomization(self, rng: RandomStreams) -> dict[str, Array]:
        """The fields of `DisturbedMemory` that an episode begins with."""
        n = len(rng)
        low, high = self.push_interval
        return {
            "drawn": rng.uniform(-1.0, 1.0, WIDTH) if any(map(self._differs, QUANTITIES)) else np.zeros((n, 0)),
            "noise": self._next_noise(rng),
            "past_actions": np.zeros((n, int(self.action_delay[1]), JOINTS)),
            "push": np.zeros((n, 3)),
            "push_left": low + (high - low) * rng.uniform()[:, 0] if self.push_speed else np.zeros(n),
        }

    def next_randomization(self, state: Any, action: Array, rng: RandomStreams) -> Any:
        """The task state after a step in which the policy gave `action`, (N, 12)."""
        past = np.concat([action[:, None], state.past_actions], axis=1)[:, : int(self.action_delay[1])]
        state = replace(state, noise=self._next_noise(rng), past_actions=past)
        if not self.push_speed:
            return state
        left = state.push_left - self.control_dt
        unit = rng.uniform(size=2)
        angle = 2 * np.pi * unit[:, 0]
        push = self.push_speed * np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
        low, high = self.push_interval
        due = left <= 0
        return replace(
            state,
            push=push * due[:, None],
            push_left=np.where(due, low + (high - low) * unit[:, 1], left),
        )

    def mirrored_randomization(self, state: Any, blocks: Mapping[str, Flip]) -> Any:
        """The task state with mirrored quantities, where `blocks` reflect the observation."""
        drawn, noise, observation = Flip.joined(*QUANTITIES.values()), state.noise, Flip.joined(*blocks.values())
        return replace(
            state,
            drawn=drawn(state.drawn) if state.drawn.shape[1] else state.drawn,
            noise=observation(noise) if noise.shape[1] else noise,
            past_actions=MIRRORED_JOINTS(state.past_actions),
            push=POLAR(state.push),
        )

    def _differs(self, name: str) -> bool:
        """Whether a quantity is not the model's in every episode."""
        return getattr(self, name) != getattr(DomainRandomization, name)

    def _next_noise(self, rng: RandomStreams) -> Array:
        if not self.observation_noise:
            return np.zeros((len(rng), 0))
        return rng.uniform(-1.0, 1.0, max(place.stop for place in self._block_places().values()))

    def _block_places(self) -> dict[str, slice]:
        """The columns of each observation block."""
        mirror = self.mirror()
        assert mirror is not None, "a robot with four legs has a mirror image"
        return consecutive({name: len(flip.index) for name, flip in mirror.blocks.items()})

    def reference_model(self) -> mujoco.MjModel:
        """The compiled model, shared: to be read only."""
        raise NotImplementedError

    def _trunk(self) -> int:
        return self.reference_model().body(TRUNK).id
