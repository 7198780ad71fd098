"""A model made symmetric: the figures of real robots are not quite."""

from __future__ import annotations

import mujoco
import numpy as np

from motrix_gym.contact_pairs import colliding_geoms
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.state import Array
from motrix_gym.symmetry import LEFT_TO_RIGHT, Mirror

ALIKE = 1e-9  # m
ROUNDED = 1e-4  # m, within which the figures of real robots put a body and the mirror image of its partner
OF_A_DOF = ("dof_armature", "dof_damping", "dof_frictionloss")


def symmetric(model: mujoco.MjModel, mirror: Mirror) -> mujoco.MjModel:
    """The model with masses, inertias and what resists its joints as the mean of it and its mirror image.

    Places of bodies as well, if they differ by less than 0.1 mm.

    Args:
        model: The model; it is changed, and returned.
        mirror: The left-right reflection.

    Raises:
        ValueError: A body, or a geom that collides, is not where the mirror image of another one is.
    """
    data, partner, off = _partners(model)
    if ALIKE < off.max() < ROUNDED:
        model.body_pos[:] = (model.body_pos + model.body_pos[partner] * LEFT_TO_RIGHT) / 2
        data, partner, off = _partners(model)
    if off.max() > ALIKE:
        body = model.body(int(off.argmax())).name
        raise ValueError(f"body {body!r} is {off.max() * 1e3:.3g} mm from the mirror image of the body nearest to it")
    _require_symmetric_geoms(model, data)
    tensor = np.stack([_inertia(model, body) for body in range(model.nbody)])
    tensor = (tensor + tensor[partner] * np.outer(LEFT_TO_RIGHT, LEFT_TO_RIGHT)) / 2
    model.body_ipos[:] = (model.body_ipos + model.body_ipos[partner] * LEFT_TO_RIGHT) / 2
    model.body_mass[:] = (model.body_mass + model.body_mass[partner]) / 2
    for body in range(1, model.nbody):
        model.body_inertia[body], axes = np.linalg.eigh(tensor[body])
        axes[:, 0] *= np.linalg.det(axes)
        mujoco.mju_mat2Quat(model.body_iquat[body], axes.ravel())
    for name in OF_A_DOF:
        field = getattr(model, name)
        field[:] = (field + field[mirror.qvel.index]) / 2
    mujoco.mj_setConst(model, data)
    return model


def _partners(model: mujoco.MjModel) -> tuple[mujoco.MjData, Array, Array]:
    """The model in its own pose; the body nearest to the mirror image of each, (nbody,) int; how far, (nbody,) m."""
    _, data = CpuPhysics(model, 1, 1, model.opt.timestep).view(0)
    apart = np.linalg.norm(data.xpos[:, None] - data.xpos * LEFT_TO_RIGHT, axis=2)
    heavier = np.abs(model.body_mass[:, None] - model.body_mass)
    partner = (apart + 1e-6 * heavier).argmin(axis=0)  # in one place several bodies: that of most nearly its mass
    return data, partner, apart[partner, np.arange(model.nbody)]


def _require_symmetric_geoms(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    colliding = colliding_geoms(model)
    colliding = colliding[model.geom_bodyid[colliding] > 0]
    for geom in colliding:
        name = f"geom {model.geom(geom).name!r} of body {model.body(model.geom_bodyid[geom]).name!r}"
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
            raise ValueError(f"{name} is a mesh, whose mirror image is not known")
        alike = colliding[model.geom_type[colliding] == model.geom_type[geom]]
        same_size = np.isclose(model.geom_size[alike], model.geom_size[geom]).all(axis=1)
        away = np.linalg.norm(data.geom_xpos[alike] - data.geom_xpos[geom] * LEFT_TO_RIGHT, axis=1)
        if not (same_size & (away < 1e-6)).any():
            raise ValueError(f"{name} is not the mirror image of another one, in place and size")


def _inertia(model: mujoco.MjModel, body: int) -> Array:
    """The inertia tensor of a body about its centre of mass in the body's axes, (3, 3)."""
    axes = np.zeros(9)
    mujoco.mju_quat2Mat(axes, model.body_iquat[body])
    return axes.reshape(3, 3) @ np.diag(model.body_inertia[body]) @ axes.reshape(3, 3).T
