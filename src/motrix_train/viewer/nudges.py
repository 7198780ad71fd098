"""Pushes and forces on a body, written into the saved state of a simulation."""

from __future__ import annotations

import math

import mujoco
import numpy as np

_WHOLE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
PUSH = 1.0  # m/s, or rad/s where only joints can move
PUSH_IN_SIZES = 5.0  # a second; a body that moves freely and is small is pushed no faster
WATER = 1000.0  # kg/m^3


def main_body(model: mujoco.MjModel) -> int | None:
    """The body that is pushed: the first that moves freely, else the first that moves; None where nothing does."""
    moving = [body for body in range(model.nbody) if model.body_jntnum[body]]
    free = [body for body in moving if model.jnt_type[model.body_jntadr[body]] == mujoco.mjtJoint.mjJNT_FREE]
    return next(iter(free or moving), None)


def push(model: mujoco.MjModel, simulation: np.ndarray, direction: float) -> None:
    """Changes the velocity of the main body by `PUSH`, or less for a small one.

    Its size is the edge of a cube of water that weighs as much.

    Args:
        model: The model.
        simulation: A saved simulation, (size,), which is changed.
        direction: On the ground, rad from x. Where the body does not move freely, its first joint is pushed, to one
            side or the other.
    """
    body = main_body(model)
    if body is None:
        return
    first = int(model.body_dofadr[body])
    velocity = _part(model, simulation, mujoco.mjtState.mjSTATE_QVEL)
    if model.jnt_type[model.body_jntadr[body]] == mujoco.mjtJoint.mjJNT_FREE:
        size = math.cbrt(model.body_subtreemass[body] / WATER)
        speed = min(PUSH, PUSH_IN_SIZES * size)
        velocity[first : first + 2] += speed * np.array([math.cos(direction), math.sin(direction)])
    else:
        velocity[first] += math.copysign(PUSH, math.cos(direction))


def set_force(model: mujoco.MjModel, simulation: np.ndarray, body: int, force: np.ndarray) -> None:
    """Gives one body a force and a torque in the world's axes, and the others none.

    Args:
        model: The model.
        simulation: A saved simulation, (size,), which is changed.
        body: Which body.
        force: (6,) N and N m, on the centre of mass.
    """
    forces = _part(model, simulation, mujoco.mjtState.mjSTATE_XFRC_APPLIED).reshape(-1, 6)
    forces[:] = 0.0
    forces[body] = force


def _part(model: mujoco.MjModel, simulation: np.ndarray, part: mujoco.mjtState) -> np.ndarray:
    """One part of a saved simulation, as a view. Parts lie in the order of their bits."""
    start = mujoco.mj_stateSize(model, _WHOLE & (int(part) - 1))
    return simulation[start : start + mujoco.mj_stateSize(model, int(part))]
