"""N environments that step together, without Gymnasium: `Batch` says what they do, `TaskBatch` is those of one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import gymnasium as gym
import mujoco

from motrix_gym import arrays as xp
from motrix_gym import observation, rows, step
from motrix_gym.arguments import some
from motrix_gym.outcome import Outcome
from motrix_gym.physics.engine import Engine
from motrix_gym.random_streams import RandomStreams, stream_keys
from motrix_gym.state import Array, State, from_arrays, put, to_arrays
from motrix_gym.task import Task
from motrix_gym.task_check import CheckedTask


class Batch(Protocol):
    """N environments that step together.

    Attributes:
        num_envs: N.
        action_space: The bounded action space of one environment.
        observation_blocks: The columns of each observation block, by name, in order.
        observation_history: The steps that each observation block shows, by name.
        privileged_width: How many columns a critic sees beside the observation, 0 for none.
        mirror: The reflection of the robot, or None.
        models: The models of the environments' tasks.
        control_dt: Seconds between two actions.
        deterministic: Whether an environment depends on its seed and its actions alone, bit for bit.
        example: An array of the library, on the device and of the dtype that it computes with.
    """

    num_envs: int
    action_space: gym.spaces.Box
    observation_blocks: dict[str, slice]
    observation_history: dict[str, int]
    privileged_width: int
    mirror: Any
    models: tuple[mujoco.MjModel, ...]
    control_dt: float
    deterministic: bool
    example: Array

    @property
    def ended(self) -> Array:
        """Environments whose episode has ended and which have not been reset, (N,) bool."""
        ...

    def seed(self, seeds: Mapping[int, int]) -> None:
        """Starts the random streams of some environments anew, from a seed for each; a reset is to follow."""
        ...

    def reset(self, mask: Array) -> Array:
        """Starts new episodes in the M environments that `mask`, (N,) bool, marks; gives their observations, (M, k)."""
        ...

    def step(self, action: Array, active: Array | None = None) -> Outcome:
        """One step of the environments that `active`, (N,) bool, marks, of all by default; the others stay as they are.

        Args:
            action: The clipped action, (N, m).
            active: The environments that take the step; none of them has ended.
        """
        ...

    def observe(self) -> Array:
        """The observations of all environments, (N, k) float32."""
        ...

    def observe_privileged(self, observations: Array) -> Array:
        """What a critic may see of all environments: `observations`, (N, k), then the privileged columns, float32."""
        ...

    def save(self) -> dict[str, Array]:
        """The whole state, random streams included, as a flat dictionary of arrays of NumPy, (N, ...)."""
        ...

    def load(self, arrays: dict[str, Array]) -> None:
        """Goes on from what `save` gave, bit for bit.

        Raises:
            ValueError: Positions or velocities were edited where that would have no effect.
        """
        ...

    def set_task_field(self, name: str, values: Array) -> None:
        """Gives a field of the task state, as the command of a robot, the values (N, ...)."""
        ...

    def view(self, env: int) -> tuple[mujoco.MjModel, mujoco.MjModel, mujoco.MjData]:
        """One of `models`, the same model as this environment has it, and the data to be drawn, until the next call."""
        ...


class TaskBatch(Batch):
    """N environments of one task.

    Args:
        task: The task.
        num_envs: N.
        max_episode_steps: The time limit in control steps, None for none.
        engine: What simulates them.

    Attributes:
        task: The task.
        physics: The physics engine.
        state: The state of all environments.
    """

    def __init__(self, task: Task, num_envs: int, max_episode_steps: int | None, engine: Engine):
        model = task.model()
        self.task, self.num_envs, self.max_episode_steps = task, num_envs, max_episode_steps
        self.models = (model,)
        self.control_dt = task.control_dt
        self.action_space = task.action_space()
        self.physics = engine.physics(model, num_envs, task.control_dt)
        self.deterministic, self.example = self.physics.deterministic, self.physics.example
        self._rules = cast(Task, CheckedTask(task, model, self.example))  # until the first step is over
        self.state = step.first_state(self._rules, self.physics, num_envs)
        blocks = self._rules.observe(self.state.physics, self.state.task)
        self.observation_blocks = observation.block_columns(task, {name: x.shape[1] for name, x in blocks.items()})
        self.observation_history = dict.fromkeys(self.observation_blocks, task.history)
        self.mirror = observation.observation_mirror(self._rules)
        self.privileged_width = sum(block.shape[1] for block in self._privileged_blocks())

    @property
    def ended(self) -> Array:
        return self.state.ended

    def seed(self, seeds: Mapping[int, int]) -> None:
        envs = rows.from_host(list(seeds), self.example)
        fresh = RandomStreams(stream_keys(list(seeds.values()))).beside(self.example)
        has_past = put(self.state.has_past, envs, xp.full((len(envs),), False, envs))
        self.state = replace(self.state, rng=put(self.state.rng, envs, fresh), has_past=has_past)

    def reset(self, mask: Array) -> Array:
        self.state, started = step.reset(self._rules, self.physics, self.state, mask)
        return observation.observation(self._rules, started)

    def step(self, action: Array, active: Array | None = None) -> Outcome:
        self.state, outcome = step.step(self._rules, self.physics, self.state, action, self.max_episode_steps, active)
        self._rules = self.task
        return outcome

    def observe(self) -> Array:
        return observation.observation(self._rules, self.state)

    def observe_privileged(self, observations: Array) -> Array:
        return xp.single(xp.concat([observations, *self._privileged_blocks()], axis=1))

    def save(self) -> dict[str, Array]:
        return {"simulation": self.physics.save(), **to_arrays(self.state)}

    def load(self, arrays: dict[str, Array]) -> None:
        self._require_unedited(arrays)
        self.physics.restore(arrays["simulation"])
        self._put_state(from_arrays(arrays, like=self.state))

    def set_task_field(self, name: str, values: Array) -> None:
        self._put_state(replace(self.state, task=replace(self.state.task, **{name: values})))

    def view(self, env: int) -> tuple[mujoco.MjModel, mujoco.MjModel, mujoco.MjData]:
        markers = {name: rows.to_host(x[env]) for name, x in self.task.markers(self.state.task).items()}
        return self.models[0], *self.physics.view(env, markers)

    def _put_state(self, state: State) -> None:
        """Takes over a state, and gives the physics the overrides of the model that its task state asks for."""
        self.state = state
        everywhere = xp.full((self.num_envs,), True, self.example)
        self.physics.override(everywhere, self._rules.model_overrides(state.task))

    def _privileged_blocks(self) -> Sequence[Array]:
        privileged = self._rules.privileged(self.state.physics, self.state.task)
        return [*observation.unobserved(self._rules, self.state), *privileged.values()]

    def _require_unedited(self, arrays: dict[str, Array]) -> None:
        """Refuses positions or velocities that were edited while the simulation, which alone counts, was not."""
        own = self.save()
        alive = ~(arrays["ended"] | own["ended"])
        same = alive & (arrays["simulation"] == own["simulation"]).all(axis=1)
        for name in ("qpos", "qvel"):
            edited = same & (arrays[name] != own[name]).any(axis=1)
            if edited.any():
                raise ValueError(
                    f"state {name!r} of environments {some(edited)} was edited, and would be ignored: 'simulation' "
                    "counts, so edit that, or have the task begin an episode there"
                )
