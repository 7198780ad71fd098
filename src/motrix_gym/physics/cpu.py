"""Physics on the CPU: N simulations of one model in `mujoco.batch`, stepped together by native threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mujoco
import mujoco.batch
import numpy as np

from motrix_gym import forks
from motrix_gym.contact_pairs import friction_of_pairs, refuse_without_effect
from motrix_gym.mujoco_warnings import DIVERGENCE, DIVERGENCE_IS_NO_NEWS
from motrix_gym.physics.base import (
    DERIVED_FROM,
    NOTHING,
    Override,
    Physics,
    refuse_settling,
    refuse_starts,
    sensor_columns,
    whole_steps,
)
from motrix_gym.state import PhysicsState

_HALF_EXTENT: dict[int, Callable[..., np.ndarray]] = {  # of a geom along its axes, by its kind, from its size
    int(mujoco.mjtGeom.mjGEOM_SPHERE): lambda r, _1, _2: np.stack([r, r, r]),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): lambda r, half, _: np.stack([r, r, half + r]),
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): lambda x, y, z: np.stack([x, y, z]),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): lambda r, half, _: np.stack([r, r, half]),
    int(mujoco.mjtGeom.mjGEOM_BOX): lambda x, y, z: np.stack([x, y, z]),
}
_FORKED = (
    "this environment was made before the process was forked, and its physics threads are not here; make it in the "
    "process that uses it, start processes with the method 'spawn', or make it with num_threads=1"
)
_COUNT = 1  # a warning is (last info, count)


class CpuPhysics(Physics):
    """N simulations of one model, stepped by the threads of `mujoco.batch`.

    Args:
        model: The compiled model.
        num_envs: N.
        num_threads: Threads that step the environments; 0 is one a CPU. Results do not depend on it.
        control_dt: Seconds of one `step`, a multiple of the model's timestep.

    Raises:
        ValueError: `control_dt` is no multiple of the timestep.
    """

    deterministic, example = True, np.zeros(1)

    def __init__(self, model: mujoco.MjModel, num_envs: int, num_threads: int, control_dt: float):
        self.model = model
        self._substeps = whole_steps("control_dt", control_dt, model.opt.timestep)
        self._batch = mujoco.batch.Batch(model, num_envs, num_threads)
        self._qpos, self._qvel, self._ctrl, self._sensordata = (
            self._batch.bind(name) for name in ("qpos", "qvel", "ctrl", "sensordata")
        )
        self._sensor_columns = sensor_columns(model)
        self._overridden: dict[str, np.ndarray] = {}
        self._viewed: mujoco.MjData | None = None  # kept, since MuJoCo takes long to make one
        if num_threads != 1:  # one thread is the caller's own
            forks.watch(self)

    def give_up(self) -> None:
        """Called in a forked process, which has no physics threads: a later use raises an error that says so."""
        forks.leak(self._batch)
        self._batch = forks.LeftBehind(_FORKED)  # pyright: ignore[reportAttributeAccessIssue]

    def step(
        self, ctrl: np.ndarray, force: Mapping[str, np.ndarray] = NOTHING, mask: np.ndarray | None = None
    ) -> tuple[PhysicsState, Mapping[str, np.ndarray]]:
        envs = None if mask is None else np.flatnonzero(mask)
        chosen = slice(None) if envs is None else envs
        warned = self._warnings()
        self._ctrl[chosen] = ctrl[chosen]
        for body, push in force.items():
            self._batch.bind("xfrc_applied")[chosen, self.model.body(body).id] = push[chosen]
        failed: np.ndarray | list[int] = []
        try:
            with DIVERGENCE_IS_NO_NEWS:
                self._batch.step(envs, nstep=self._substeps, stage=mujoco.mjtStage.mjSTAGE_VEL)
        except mujoco.batch.SimulationError as error:
            failed = error.ids
        diverged = (self._warnings() != warned).any(axis=1)
        diverged[failed] = True
        return self._physics_state(slice(None)), {"diverged": diverged}

    def reset(
        self, mask: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, overrides: Mapping[str, Override] = NOTHING
    ) -> PhysicsState:
        self.override(mask, overrides)
        envs = np.flatnonzero(mask)
        self._batch.reset(envs, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._qpos[envs], self._qvel[envs] = qpos, qvel
        warned = self._warnings()
        with DIVERGENCE_IS_NO_NEWS:
            self._batch.forward(envs)
        bad = (self._warnings() != warned).any(axis=1)
        refuse_starts(bad[envs], qpos, qvel)
        return self._physics_state(envs)

    def override(self, mask: np.ndarray, overrides: Mapping[str, Override]) -> None:
        envs = np.flatnonzero(mask)
        refuse_without_effect(self.model, overrides)
        self._write(envs, overrides)
        if "geom_friction" in overrides and self.model.npair:
            pairs = friction_of_pairs(self.model, self._overridden["geom_friction"][envs])
            self._write(envs, {"pair_friction": Override(pairs)})
        if "geom_size" in overrides:
            self._write(envs, _bounds_of_geoms(self.model, self._overridden["geom_size"][envs]))
        if DERIVED_FROM & overrides.keys():
            self._batch.set_const(envs)

    def settle(self, mask: np.ndarray, seconds: float) -> PhysicsState:
        envs = np.flatnonzero(mask)
        warned = self._warnings()
        steps = whole_steps("a settling time of", seconds, self.model.opt.timestep)
        with DIVERGENCE_IS_NO_NEWS:
            self._batch.step(envs, nstep=steps)
            self._batch.forward(envs)
        refuse_settling((self._warnings() != warned).any(axis=1), seconds)
        return self._physics_state(envs)

    def save(self) -> np.ndarray:
        return self._batch.state.copy()

    def restore(self, simulation: np.ndarray) -> None:
        self._batch.state[:] = simulation

    def view(self, env: int, markers: Mapping[str, np.ndarray] = NOTHING) -> tuple[mujoco.MjModel, mujoco.MjData]:
        data = self._viewed = self._batch.get_data(env, self._viewed)
        model = self._batch.get_model(env) if self._overridden else self.model
        for name, displacement in markers.items():
            body = self.model.body(name)
            data.mocap_pos[body.mocapid] = body.pos + displacement
        mujoco.mj_forward(model, data)
        return model, data

    def _write(self, envs: np.ndarray, overrides: Mapping[str, Override]) -> None:
        for name, override in overrides.items():
            if name not in self._overridden:
                self._overridden[name] = self._batch.expand(name)
            values = self._overridden[name][envs]
            values[override.index] = override.values
            self._overridden[name][envs] = values

    def _warnings(self) -> np.ndarray:
        """How often each environment diverged so far, by kind, (N, kinds)."""
        return self._batch.warning[:, DIVERGENCE, _COUNT].copy()

    def _physics_state(self, envs: np.ndarray | slice) -> PhysicsState:
        """The present state of some environments, in arrays of its own."""
        qpos, qvel, sensordata = (np.array(x[envs]) for x in (self._qpos, self._qvel, self._sensordata))
        return PhysicsState(qpos, qvel, {name: sensordata[:, where] for name, where in self._sensor_columns.items()})


def _bounds_of_geoms(model: mujoco.MjModel, size: np.ndarray) -> dict[str, Override]:
    """What tells MuJoCo which geoms may touch, from their sizes, (M, ngeom, 3)."""
    if not model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE):
        raise ValueError('geom_size differs between environments; the model needs <flag midphase="disable"/>')
    box = np.tile(model.geom_aabb, (len(size), 1, 1))
    radius = np.tile(model.geom_rbound, (len(size), 1))
    for geom, kind in enumerate(model.geom_type):
        if half_extent := _HALF_EXTENT.get(int(kind)):
            box[:, geom, 3:] = half = half_extent(*size[:, geom].T).T
            radius[:, geom] = np.linalg.vector_norm(half, axis=1)
    return {"geom_aabb": Override(box), "geom_rbound": Override(radius)}
