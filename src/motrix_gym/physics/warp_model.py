"""A model for MuJoCo Warp: what it cannot simulate, how many contacts it may have, what differs by environment."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import mujoco
import mujoco_warp as mjw
import numpy as np
import warp as wp

from motrix_gym import arrays as xp
from motrix_gym import rows
from motrix_gym.arrays import Array
from motrix_gym.contact_pairs import friction_of_pairs, refuse_without_effect
from motrix_gym.physics.base import DERIVED_FROM, Override
from motrix_gym.physics.warp_arrays import Exchange
from motrix_gym.physics.warp_kernels import place_static_geoms

DERIVED = ("body_subtreemass", "dof_invweight0", "body_invweight0", "tendon_invweight0", "actuator_acc0")
POSES = {"body_pos", "body_quat", "geom_pos", "geom_quat"}
FOLDED = {"dof_damping", "tendon_damping"}  # to which MuJoCo Warp adds the damping of actuators
MOST_CONTACTS = 64  # room for each environment, where more are thinkable

_GEOM = mujoco.mjtGeom
_CONTACTS_OF_A_KIND = (  # at most, with a geom of this kind; the first that fits counts
    (_GEOM.mjGEOM_HFIELD, 4),
    (_GEOM.mjGEOM_SPHERE, 1),
    (_GEOM.mjGEOM_ELLIPSOID, 1),
    (_GEOM.mjGEOM_CAPSULE, 2),
)
_CONTACTS_OF_OTHERS = 8


class WarpModel:
    """A model on the present device of Warp, with values of its own for each environment where they differ.

    Args:
        model: The compiled model.
        num_envs: N.
        exchange: What overrides are written by.

    Attributes:
        on_device: The model on the device.

    Raises:
        ValueError: The model has what MuJoCo Warp does not simulate.
    """

    def __init__(self, model: mujoco.MjModel, num_envs: int, exchange: Exchange):
        self.on_device = put_model(model)
        self._model, self._num_envs, self._exchange = model, num_envs, exchange
        self._values: dict[str, Array] = {}
        static = (model.body_weldid == 0) & (model.body_mocapid[model.body_rootid] < 0)
        self._static_geoms = wp.array(np.flatnonzero(static[model.geom_bodyid]), dtype=int)

    def override(self, envs: Array, overrides: Mapping[str, Override], data: mjw.Data) -> bool:
        """Gives some environments, (M,) int, values of their own, and what MuJoCo derives from them.

        Args:
            envs: The environments.
            overrides: By name of a field, for M environments.
            data: Their simulations, in which positions are overwritten.

        Returns:
            Whether arrays of the device model were replaced.

        Raises:
            ValueError: A field of which MuJoCo Warp has but one for all environments.
        """
        refuse_without_effect(self._model, overrides)
        replaced = False
        for name, override in overrides.items():
            if name not in self._values:
                self._values[name] = self._repeated(name, self._num_envs)
                replaced |= self._expand(name)
            values = self._values[name][envs]
            values[override.index] = override.values
            self._values[name][envs] = values
            self._exchange.put(envs, xp.reshape(values, (len(envs), -1)), getattr(self.on_device, name))
        if "geom_friction" in overrides and self._model.npair:
            pairs = Override(friction_of_pairs(self._model, self._values["geom_friction"][envs]))
            replaced |= self.override(envs, {"pair_friction": pairs}, data)
        with self._exchange.kernels():
            if "geom_size" in overrides:
                replaced |= self._expand("geom_aabb") | self._expand("geom_rbound")
                mjw.set_const_fixed(self.on_device, data)
            if DERIVED_FROM & overrides.keys():
                for name in DERIVED:
                    replaced |= self._expand(name)
                mjw.set_const(self.on_device, data, restore=False)
            if POSES & overrides.keys() and len(self._static_geoms):
                self._place_static_geoms(data)
        return replaced

    def of(self, env: int) -> mujoco.MjModel:
        """The model as one environment has it; the common one where none differs."""
        if not self._values:
            return self._model
        own = copy.copy(self._model)
        for name, values in self._values.items():
            getattr(own, name)[:] = rows.to_host(values[env])
        if DERIVED_FROM & self._values.keys():
            mujoco.mj_setConst(own, mujoco.MjData(own))
        return own

    def values(self, name: str, envs: Array) -> Array:
        """A field of the model in some environments, (M, ...)."""
        return self._values[name][envs] if name in self._values else self._repeated(name, len(envs))

    def _repeated(self, name: str, times: int) -> Array:
        """A field as all environments have it, once for each of some, (times, ...)."""
        common = rows.from_host(self._common(name), self._exchange.example)
        return xp.tile(common[None], (times, *(1,) * common.ndim))

    def _common(self, name: str) -> np.ndarray:
        on_device = getattr(self.on_device, name, None)
        if not getattr(on_device, "_is_batched", False) or (name in FOLDED and self._model.actuator_damping.any()):
            raise ValueError(
                f"{name} differs between environments; with physics='warp' all have the same, use physics='mujoco'"
            )
        return getattr(self._model, name)

    def _expand(self, name: str) -> bool:
        """Has every environment a copy of a field on the device; whether that was not so before."""
        field = getattr(self.on_device, name)
        if field.shape[0] == self._num_envs or not field.size:
            return False
        with self._exchange.kernels():
            own = wp.array(np.repeat(field.numpy(), self._num_envs, axis=0), dtype=field.dtype)
        own._is_batched = True  # pyright: ignore[reportAttributeAccessIssue]  MuJoCo Warp's own mark
        setattr(self.on_device, name, own)
        return True

    def _place_static_geoms(self, data: mjw.Data) -> None:
        m = self.on_device
        mjw.kinematics(m, data)
        wp.launch(
            place_static_geoms,
            dim=(self._num_envs, len(self._static_geoms)),
            inputs=[self._static_geoms, m.geom_bodyid, m.geom_pos, m.geom_quat, data.xpos, data.xquat],
            outputs=[data.geom_xpos, data.geom_xmat],
        )


def put_model(model: mujoco.MjModel) -> mjw.Model:
    """A model on the present device of Warp.

    MuJoCo Warp never looks for contacts by bounding boxes of whole bodies, so a model that forbids it is simulated as
    well. MuJoCo takes friction below its smallest for the smallest; here the model says so.

    Raises:
        ValueError: The model has what MuJoCo Warp does not simulate.
    """
    model = copy.copy(model)
    model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
    for friction in (model.geom_friction, model.pair_friction):
        friction[:] = np.maximum(friction, mujoco.mjMINMU)
    try:
        on_device = mjw.put_model(model)
    except (NotImplementedError, ValueError) as missing:
        raise ValueError(f"physics='warp' cannot simulate this model: {missing}; use physics='mujoco'") from None
    on_device.opt.warn_overflow = 0  # it ends episodes, and is no line on the screen for each
    return on_device


def buffer_sizes(model: mujoco.MjModel, on_device: mjw.Model) -> dict[str, int]:
    """How many contacts and rows of constraints an environment has room for: ``nconmax`` and ``njmax``.

    As many contacts as the kinds of the geoms that may touch allow, up to `MOST_CONTACTS`; contacts of all environments
    share their room. Rows for these, and for all limits, equalities and frictions at once.
    """
    thinkable = sum(_contacts_of(*model.geom_type[pair]) for pair in on_device.nxn_geom_pair_filtered.numpy())
    without = model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    contacts = 0 if without else min(thinkable, MOST_CONTACTS)
    most = int(max([1, *model.geom_condim, *model.pair_dim]))
    pyramidal = model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL
    rows_of_equality = {mujoco.mjtEq.mjEQ_CONNECT: 3, mujoco.mjtEq.mjEQ_WELD: 6}
    constraints = (
        contacts * (max(1, 2 * (most - 1)) if pyramidal else most)
        + sum(rows_of_equality.get(mujoco.mjtEq(kind), 1) for kind in model.eq_type)
        + int(model.jnt_limited.sum() + model.tendon_limited.sum())
        + int((model.dof_frictionloss > 0).sum() + (model.tendon_frictionloss > 0).sum())
    )
    at_least_one = max(constraints, 1)  # without a row, MuJoCo Warp 3.17.0 does not change velocities
    return {"nconmax": contacts, "njmax": at_least_one}


def _contacts_of(*kinds: int) -> int:
    """The most contacts of a pair of geoms of these kinds."""
    fitting = (most for kind, most in _CONTACTS_OF_A_KIND if int(kind) in (int(k) for k in kinds))
    return next(fitting, _CONTACTS_OF_OTHERS)
