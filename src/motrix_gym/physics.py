"""Batched MuJoCo: N rows of one model stepped together. The only module that touches simulation data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mujoco
import mujoco.batch
import numpy as np

from motrix_gym import forks
from motrix_gym.mujoco_warnings import DIVERGENCE, DIVERGENCE_IS_NO_NEWS
from motrix_gym.task import PhysicsState

_DERIVED_FROM = {"body_mass", "body_ipos", "body_inertia"}  # fields that MuJoCo computes constants from
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
_NONE: Mapping[str, np.ndarray] = {}
_COUNT = 1  # a warning is (last info, count)


class Physics:
    """N simulations of one model.

    Args:
        model: The compiled model.
        num_rows: N.
        num_threads: Threads that step the rows; 0 is one a CPU. Results do not depend on it.
        control_dt: Seconds of one `step`, a multiple of the model's timestep.

    Raises:
        ValueError: `control_dt` is no multiple of the timestep.
    """

    def __init__(self, model: mujoco.MjModel, num_rows: int, num_threads: int, control_dt: float):
        self.model = model
        self._substeps = _whole_steps("control_dt", control_dt, model.opt.timestep)
        self._batch = mujoco.batch.Batch(model, num_rows, num_threads)
        self._qpos, self._qvel, self._ctrl, self._sensordata = (
            self._batch.bind(name) for name in ("qpos", "qvel", "ctrl", "sensordata")
        )
        self._sensor_slices = _sensor_slices(model)
        self._varied: dict[str, np.ndarray] = {}
        if num_threads != 1:  # one thread is the caller's own
            forks.watch(self)

    def give_up(self) -> None:
        """Called in a forked process, where the threads are not: says so when the rows are to be used."""
        forks.leak(self._batch)
        self._batch = forks.LeftBehind(_FORKED)  # pyright: ignore[reportAttributeAccessIssue]

    def vary(self, rows: np.ndarray, fields: Mapping[str, np.ndarray]) -> None:
        """Gives the models of `rows`, (M,) int, values of their own, and what MuJoCo derives from them.

        Args:
            rows: Which rows; before their `reset`, or with their state untouched.
            fields: By name of a field of `mujoco.MjModel`, (M, ...).

        Raises:
            ValueError: Sizes of geoms in a model that looks for contacts by bounding boxes of whole bodies.
        """
        if "geom_size" in fields:
            fields = {**fields, **_bounds_of_geoms(self.model, fields["geom_size"])}
        for name in fields.keys() - self._varied.keys():
            self._varied[name] = self._batch.expand(name)
        for name, values in fields.items():
            self._varied[name][rows] = values
        if _DERIVED_FROM & fields.keys():
            self._batch.set_const(rows)

    def step(self, ctrl: np.ndarray, force: Mapping[str, np.ndarray] = _NONE) -> tuple[PhysicsState, np.ndarray]:
        """Advances every row by one control step.

        Args:
            ctrl: Actuator signals, (N, nu).
            force: By body, force and torque on its centre of mass in the world's axes, (N, 6) N and N m.

        Returns:
            The frame that the step leads to, and (N,) bool, the rows whose simulation diverged: MuJoCo met a
            number that is not finite or too large.
        """
        warned = self._warnings()
        self._ctrl[:] = ctrl
        for body, push in force.items():
            self._batch.bind("xfrc_applied")[:, self.model.body(body).id] = push
        failed: np.ndarray | list[int] = []
        try:
            with DIVERGENCE_IS_NO_NEWS:
                self._batch.step(nstep=self._substeps, stage=mujoco.mjtStage.mjSTAGE_VEL)
        except mujoco.batch.SimulationError as error:
            failed = error.ids
        diverged = (self._warnings() != warned).any(axis=1)
        diverged[failed] = True
        return self._frame(slice(None)), diverged

    def reset(self, rows: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> PhysicsState:
        """Starts `rows`, (M,) int, at `qpos` (M, nq) and `qvel` (M, nv), with nothing left of what they did.

        Returns:
            The frame of these rows alone.

        Raises:
            ValueError: A start with numbers that are not finite, or too large to simulate.
        """
        self._batch.reset(rows, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._qpos[rows], self._qvel[rows] = qpos, qvel
        warned = self._warnings()
        with DIVERGENCE_IS_NO_NEWS:
            self._batch.forward(rows)
        bad = (self._warnings() != warned).any(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad[rows])[0])
            start = ", ".join(f"{name} [{_short(x[row])}]" for name, x in (("qpos", qpos), ("qvel", qvel)))
            raise ValueError(f"an episode cannot begin at {start}: look at the task's reset() and its fields")
        return self._frame(rows)

    def settle(self, rows: np.ndarray, seconds: float) -> PhysicsState:
        """Lets `rows`, (M,) int, move for a multiple of the timestep, with the controls that they have.

        Returns:
            The frame of these rows alone, all of its sensors of this instant.

        Raises:
            ValueError: A row diverges, or `seconds` is no multiple of the timestep.
        """
        warned = self._warnings()
        steps = _whole_steps("a settling time of", seconds, self.model.opt.timestep)
        with DIVERGENCE_IS_NO_NEWS:
            self._batch.step(rows, nstep=steps)
            self._batch.forward(rows)
        if (self._warnings() != warned).any():
            raise ValueError(
                f"an episode diverges while it settles for {seconds:g} s: look at the task's reset() and its fields"
            )
        return self._frame(rows)

    @property
    def state(self) -> np.ndarray:
        """All of the simulations that a bit-exact continuation needs, (N, size): a live view, which can be set."""
        return self._batch.state

    def row(self, row: int, markers: Mapping[str, np.ndarray] = _NONE) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The model of one row, and its data with everything computed that drawing needs.

        Args:
            row: Which row.
            markers: How far each mocap body is from where the model has it, by name, (3,) m.
        """
        data = self._batch.get_data(row)
        model = self._batch.get_model(row) if self._varied else self.model
        for name, displacement in markers.items():
            body = self.model.body(name)
            data.mocap_pos[body.mocapid] = body.pos + displacement
        mujoco.mj_forward(model, data)
        return model, data

    def _warnings(self) -> np.ndarray:
        """How often each row diverged so far, by kind, (N, kinds)."""
        return self._batch.warning[:, DIVERGENCE, _COUNT].copy()

    def _frame(self, rows: np.ndarray | slice) -> PhysicsState:
        """The present state of `rows`, in arrays of its own."""
        qpos, qvel, sensordata = (np.array(x[rows]) for x in (self._qpos, self._qvel, self._sensordata))
        return PhysicsState(qpos, qvel, {name: sensordata[:, where] for name, where in self._sensor_slices.items()})


def _bounds_of_geoms(model: mujoco.MjModel, size: np.ndarray) -> dict[str, np.ndarray]:
    """What tells MuJoCo which geoms may touch, from their sizes, (M, ngeom, 3)."""
    if not model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE):
        raise ValueError('geom_size differs from row to row; the model needs <flag midphase="disable"/>')
    box = np.tile(model.geom_aabb, (len(size), 1, 1))
    radius = np.tile(model.geom_rbound, (len(size), 1))
    for geom, kind in enumerate(model.geom_type):
        if half_extent := _HALF_EXTENT.get(int(kind)):
            box[:, geom, 3:] = half = half_extent(*size[:, geom].T).T
            radius[:, geom] = np.linalg.norm(half, axis=1)
    return {"geom_aabb": box, "geom_rbound": radius}


def _whole_steps(name: str, seconds: float, timestep: float) -> int:
    """How many timesteps `seconds` are, at least one."""
    steps = round(seconds / timestep)
    if steps < 1 or abs(steps * timestep - seconds) > 1e-9:
        raise ValueError(
            f"{name} {seconds:g} s is not a multiple of the physics timestep {timestep:g} s; "
            f"the nearest that is: {max(steps, 1) * timestep:g} s"
        )
    return steps


def _sensor_slices(model: mujoco.MjModel) -> dict[str, slice]:
    """Where each sensor, and each group of sensors ``group/part``, lies in sensordata.

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


def _short(x: np.ndarray) -> str:
    return " ".join(f"{number:.3g}" for number in x)
