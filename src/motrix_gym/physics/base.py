"""What a physics engine does for N environments of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import mujoco
import numpy as np

from motrix_gym import rows
from motrix_gym.state import Array, PhysicsState

NOTHING: Mapping[str, Any] = {}
DERIVED_FROM = {"body_mass", "body_ipos", "body_inertia"}  # fields that MuJoCo computes constants from


@dataclass(frozen=True)
class Override:
    """New values for a field of `mujoco.MjModel` in N environments, or for some elements of the field.

    Attributes:
        values: The values, (N, ...), each as ``field[at]`` is.
        at: Index of the elements; without it all of them.
    """

    values: np.ndarray
    at: Any = ...

    @property
    def index(self) -> tuple[Any, ...]:
        """The index of the elements in the fields of several environments."""
        return (slice(None), *(self.at if isinstance(self.at, tuple) else (self.at,)))


class Physics(Protocol):
    """N simulations of one model.

    A method that takes a mask, (N,) bool, works on the environments that it marks. M is their number, and arrays
    (M, ...) have them in the order of the batch.

    Attributes:
        model: The compiled model.
        deterministic: Whether the same calls give the same bits, whatever the other environments do.
        example: An array of the library, on the device and of the floating dtype that its states have, to put others
            beside. All arrays that a method takes and gives are of this library, but for `save`, `restore` and `view`.
    """

    model: mujoco.MjModel
    deterministic: bool
    example: Array

    def step(
        self, ctrl: np.ndarray, force: Mapping[str, np.ndarray] = NOTHING, mask: np.ndarray | None = None
    ) -> tuple[PhysicsState, Mapping[str, np.ndarray]]:
        """Advances the marked environments, all of them by default, by one control step.

        Args:
            ctrl: Actuator signals, (N, nu).
            force: By body, force and torque on its centre of mass in the world's axes, (N, 6) N and N m.
            mask: The environments that advance.

        Returns:
            The physics state of all environments, and where the simulation failed, by reason, each (N,) bool:
            ``diverged``, where a number is not finite or too large, and what else can happen to this engine.
            The physics state of an environment that failed is not to be used.
        """
        ...

    def reset(
        self, mask: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, overrides: Mapping[str, Override] = NOTHING
    ) -> PhysicsState:
        """Starts the marked environments anew.

        Args:
            mask: Which environments.
            qpos: Generalised positions, (M, nq).
            qvel: Generalised velocities, (M, nv).
            overrides: As in `override`.

        Returns:
            The physics state of these environments alone.

        Raises:
            ValueError: A start with numbers that are not finite, or too large to simulate.
        """
        ...

    def override(self, mask: np.ndarray, overrides: Mapping[str, Override]) -> None:
        """Gives the models of the marked environments values of their own, and what MuJoCo derives from them.

        Args:
            mask: Which environments.
            overrides: By name of a field of `mujoco.MjModel`, for M environments.

        Raises:
            ValueError: A field that the engine cannot give them, such as sizes of geoms in a model that looks for
                contacts by bounding boxes of whole bodies; a field that contacts do not depend on, as all are listed.
        """
        ...

    def settle(self, mask: np.ndarray, seconds: float) -> PhysicsState:
        """Lets the marked environments move for a multiple of the timestep, with the controls that they have.

        Returns:
            The physics state of these environments alone, all of its sensors of this instant.

        Raises:
            ValueError: An environment fails, or `seconds` is no multiple of the timestep.
        """
        ...

    def save(self) -> np.ndarray:
        """All of the simulations that a bit-exact continuation needs, (N, size)."""
        ...

    def restore(self, simulation: np.ndarray) -> None:
        """Goes on from what `save` gave."""
        ...

    def view(self, env: int, markers: Mapping[str, np.ndarray] = NOTHING) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The model of one environment, and its data with everything computed that drawing needs.

        Both hold until the next call.

        Args:
            env: Which environment.
            markers: How far each mocap body is from where the model has it, by name, (3,) m.
        """
        ...


def sensor_columns(model: mujoco.MjModel) -> dict[str, slice]:
    """The columns of each sensor, and of each group of sensors ``group/part``, in sensordata.

    Raises:
        ValueError: The sensors of a group do not follow one another, or one has the name of a group.
    """
    slices: dict[str, slice] = {}
    names = [model.sensor(i).name for i in range(model.nsensor)]
    for i, name in enumerate(names):
        start = int(model.sensor_adr[i])
        stop = start + int(model.sensor_dim[i])
        slices[name] = slice(start, stop)
        group, slash, _ = name.partition("/")
        if slash:
            first = slices.get(group, slice(start, start))
            if first.stop != start or group in names:
                raise ValueError(f"sensor {name!r} does not follow the others of {group!r}; list just these together")
            slices[group] = slice(first.start, stop)
    return slices


def whole_steps(name: str, seconds: float, timestep: float) -> int:
    """How many timesteps `seconds` are, at least one.

    Raises:
        ValueError: `seconds` is no multiple of the timestep; `name` says what they are.
    """
    steps = round(seconds / timestep)
    if steps < 1 or abs(steps * timestep - seconds) > 1e-9:
        raise ValueError(
            f"{name} {seconds:g} s is not a multiple of the physics timestep {timestep:g} s; "
            f"the nearest that is: {max(steps, 1) * timestep:g} s"
        )
    return steps


def refuse_starts(bad: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
    """Refuses starts that cannot be simulated.

    Args:
        bad: Which of the starts, (M,) bool.
        qpos: Generalised positions, (M, nq).
        qvel: Generalised velocities, (M, nv).

    Raises:
        ValueError: There is such a start.
    """
    if bad.any():
        first = int(rows.indices(bad)[0])
        start = ", ".join(f"{name} [{_short(x[first])}]" for name, x in (("qpos", qpos), ("qvel", qvel)))
        raise ValueError(f"an episode cannot begin at {start}: look at the task's reset() and its fields")


def refuse_settling(failed: np.ndarray, seconds: float) -> None:
    """Refuses episodes that fail, (N,) bool, while they settle.

    Raises:
        ValueError: There is such an episode.
    """
    if failed.any():
        raise ValueError(
            f"an episode diverges while it settles for {seconds:g} s: look at the task's reset() and its fields"
        )


def _short(x: np.ndarray) -> str:
    return " ".join(f"{number:.3g}" for number in x)
