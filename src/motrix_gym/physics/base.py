"""What a physics engine does for N environments of one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import mujoco
import numpy as np

from motrix_gym.state import PhysicsState

NOTHING: Mapping[str, np.ndarray] = {}


class Physics(Protocol):
    """N simulations of one model.

    A method that takes a mask, (N,) bool, works on the environments that it marks. M is their number, and arrays
    (M, ...) have them in the order of the batch.
    """

    model: mujoco.MjModel

    def step(
        self, ctrl: np.ndarray, force: Mapping[str, np.ndarray] = NOTHING, mask: np.ndarray | None = None
    ) -> tuple[PhysicsState, np.ndarray]:
        """Advances the marked environments, all of them by default, by one control step.

        Args:
            ctrl: Actuator signals, (N, nu).
            force: By body, force and torque on its centre of mass in the world's axes, (N, 6) N and N m.
            mask: The environments that advance.

        Returns:
            The physics state of all environments, and (N,) bool, where the simulation diverged: a number is not
            finite, or too large.
        """
        ...

    def reset(
        self, mask: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, overrides: Mapping[str, np.ndarray] = NOTHING
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

    def override(self, mask: np.ndarray, overrides: Mapping[str, np.ndarray]) -> None:
        """Gives the models of the marked environments values of their own, and what MuJoCo derives from them.

        Args:
            mask: Which environments.
            overrides: By name of a field of `mujoco.MjModel`, (M, ...).

        Raises:
            ValueError: Sizes of geoms in a model that looks for contacts by bounding boxes of whole bodies.
        """
        ...

    def settle(self, mask: np.ndarray, seconds: float) -> PhysicsState:
        """Lets the marked environments move for a multiple of the timestep, with the controls that they have.

        Returns:
            The physics state of these environments alone, all of its sensors of this instant.

        Raises:
            ValueError: An environment diverges, or `seconds` is no multiple of the timestep.
        """
        ...

    def save(self) -> np.ndarray:
        """All of the simulations that a bit-exact continuation needs, (N, size)."""
        ...

    def restore(self, simulation: np.ndarray) -> None:
        """Goes on from what `save` gave."""
        ...

    def view(self, env: int, markers: Mapping[str, np.ndarray]) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The model of one environment, and its data with everything computed that drawing needs.

        Args:
            env: Which environment.
            markers: How far each mocap body is from where the model has it, by name, (3,) m.
        """
        ...
