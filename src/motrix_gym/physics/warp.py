"""Physics with MuJoCo Warp, on a GPU or on Warp's CPU device: N simulations of one model, stepped by kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import mujoco
import mujoco_warp as mjw
import numpy as np
import warp as wp

from motrix_gym import forks
from motrix_gym.physics.base import (
    NOTHING,
    Override,
    Physics,
    refuse_settling,
    refuse_starts,
    sensor_columns,
    whole_steps,
)
from motrix_gym.physics.warp_kernels import LARGEST, note_divergence, put_columns
from motrix_gym.physics.warp_model import WarpModel, buffer_sizes, put
from motrix_gym.state import PhysicsState

INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)
STATE = (  # in the order of mjSTATE_INTEGRATION
    *("time", "qpos", "qvel", "act", "history", "qacc_warmstart", "ctrl", "qfrc_applied", "xfrc_applied"),
    *("eq_active", "mocap_pos", "mocap_quat", "userdata"),
)
NO_LOSS = mjw.OverflowType.ITERATIONS | mjw.OverflowType.LS_ITERATIONS  # MuJoCo too goes on with what it has by then
_FORKED = (
    "this environment was made before the process was forked, and its device is not here; make it in the process that "
    "uses it, or start processes with the method 'spawn'"
)


class WarpPhysics(Physics):
    """N simulations of one model in MuJoCo Warp, in float32.

    The buffers for contacts and constraints are of a fixed size. Where they do not suffice, contacts are lost: `step`
    reports such environments as ``overflow``.

    Args:
        model: The compiled model.
        num_envs: N.
        device: Warp's name of the device, as "cuda:0" or "cpu"; None for the first GPU, or else the CPU.
        control_dt: Seconds of one `step`, a multiple of the model's timestep.
        buffers: ``nconmax``, the contacts, and ``njmax``, the rows of constraints, that an environment has room for, in
            place of those that the model asks for.

    Raises:
        ValueError: `control_dt` is no multiple of the timestep, or the model has what MuJoCo Warp does not simulate.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_envs: int,
        device: str | None,
        control_dt: float,
        buffers: Mapping[str, int] = NOTHING,
    ):
        self.model = model
        self._num_envs = num_envs
        self._device = wp.get_preferred_device() if device is None else wp.get_device(device)
        self.deterministic = not self._device.is_cuda
        self._substeps = whole_steps("control_dt", control_dt, model.opt.timestep)
        with wp.ScopedDevice(self._device):
            self._models = WarpModel(model, num_envs)
            sizes = buffer_sizes(model, self._models.on_device) | dict(buffers)
            self._data = mjw.make_data(model, nworld=num_envs, **sizes)
            self._diverged = wp.zeros(num_envs, dtype=int)
            self._sensordata = wp.zeros_like(self._data.sensordata)  # as it is given out
            of_an_instant = np.flatnonzero(model.sensor_needstage < int(mujoco.mjtStage.mjSTAGE_ACC))
            columns = [np.arange(model.sensor_dim[i]) + model.sensor_adr[i] for i in of_an_instant]
            self._columns_of_an_instant = wp.array(np.concatenate([np.zeros(0), *columns]), dtype=int)
        self._sensor_columns = sensor_columns(model)
        self._is_current = False  # whether what follows from positions and velocities has been computed
        self._graphs: dict[int, wp.Graph] = {}  # by the number of physics steps
        self._viewed = mujoco.MjData(model)
        self._start = self._start_of(model)
        if self._device.is_cuda:
            forks.watch(self)

    def give_up(self) -> None:
        """Called in a forked process, which has no device: a later use raises an error that says so."""
        for name in ("_data", "_models", "_graphs"):
            forks.leak(getattr(self, name))
            setattr(self, name, forks.LeftBehind(_FORKED))

    def step(
        self, ctrl: np.ndarray, force: Mapping[str, np.ndarray] = NOTHING, mask: np.ndarray | None = None
    ) -> tuple[PhysicsState, Mapping[str, np.ndarray]]:
        taken = np.ones(self._num_envs, dtype=bool) if mask is None else mask
        with wp.ScopedDevice(self._device):
            with self._only(taken):
                self._data.ctrl.assign(np.asarray(ctrl, dtype=np.float32))
                if force:
                    pushes = self._data.xfrc_applied.numpy().copy()
                    for body, push in force.items():
                        pushes[:, self.model.body(body).id] = push
                    self._data.xfrc_applied.assign(pushes)
                failures = self._advance(self._substeps, taken)
            now = self._physics_state(slice(None))
            self._begin_anew(np.flatnonzero(failures["diverged"]))  # as MuJoCo does
        return now, failures

    def reset(
        self, mask: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, overrides: Mapping[str, Override] = NOTHING
    ) -> PhysicsState:
        envs = np.flatnonzero(mask)
        refuse_starts(~np.all(np.abs(np.concat([qpos, qvel], axis=1)) <= LARGEST, axis=1), qpos, qvel)
        with wp.ScopedDevice(self._device):
            self.override(mask, overrides)
            self._begin_anew(envs)
            put(envs, np.concat([qpos, qvel], axis=1), self._data.qpos, self._data.qvel)
            self._forward()
            refuse_starts(self._diverged.numpy()[envs] != 0, qpos, qvel)
            return self._physics_state(envs)

    def override(self, mask: np.ndarray, overrides: Mapping[str, Override]) -> None:
        with wp.ScopedDevice(self._device):
            if self._models.override(np.flatnonzero(mask), overrides, self._data):
                self._graphs = {}
        self._is_current &= not overrides

    def settle(self, mask: np.ndarray, seconds: float) -> PhysicsState:
        steps = whole_steps("a settling time of", seconds, self.model.opt.timestep)
        with wp.ScopedDevice(self._device):
            with self._only(mask):
                failures = self._advance(steps, mask)
            refuse_settling(np.any(list(failures.values()), axis=0), seconds)
            self._forward()
            return self._physics_state(np.flatnonzero(mask))

    def save(self) -> np.ndarray:
        fields = [getattr(self._data, name).numpy().reshape(self._num_envs, -1) for name in STATE]
        return np.concat(fields, axis=1, dtype=np.float64)

    def restore(self, simulation: np.ndarray) -> None:
        with wp.ScopedDevice(self._device):
            self._put_state(np.arange(self._num_envs), simulation)

    def view(self, env: int, markers: Mapping[str, np.ndarray] = NOTHING) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model, data = self._models.of(env), self._viewed
        mujoco.mj_setState(model, data, self.save()[env], INTEGRATION)
        for name, displacement in markers.items():
            body = self.model.body(name)
            data.mocap_pos[body.mocapid] = body.pos + displacement
        mujoco.mj_forward(model, data)
        return model, data

    @contextmanager
    def _only(self, mask: np.ndarray) -> Iterator[None]:
        """Leaves the environments that are not marked as they are, whatever is done to all."""
        others = np.flatnonzero(~mask)
        if not len(others):
            yield
            return
        state, sensordata = self.save()[others], self._sensordata.numpy()[others]
        yield
        self._put_state(others, state)
        put(others, sensordata, self._sensordata)

    def _advance(self, steps: int, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Advances all environments by physics steps; returns which of the marked ones failed, by reason."""
        if not self._is_current:
            mjw.step1(self._models.on_device, self._data)
        self._diverged.zero_()
        self._launch_steps(steps)
        lost = self._data.overflow.numpy() & ~int(NO_LOSS)
        failures = {"diverged": (self._diverged.numpy() != 0) & mask, "overflow": (lost != 0) & mask}
        failures["overflow"] &= ~failures["diverged"]
        self._data.overflow.zero_()
        self._is_current = True
        return failures

    def _launch_steps(self, steps: int) -> None:
        """Launches physics steps; on a GPU as one graph, recorded after the first time."""
        if steps in self._graphs:
            wp.capture_launch(self._graphs[steps])
            return
        self._step_physics(steps)
        if self._device.is_cuda:
            with wp.ScopedCapture() as capture:
                self._step_physics(steps)
            assert capture.graph is not None
            self._graphs[steps] = capture.graph

    def _step_physics(self, steps: int) -> None:
        """Physics steps. What follows from positions and velocities is then of one instant, sensors included.

        Sensors of forces stay those of the last physics step.
        """
        model, data = self._models.on_device, self._data
        for _ in range(steps):
            if model.opt.integrator == mjw.IntegratorType.RK4:
                mjw.forward(model, data)
                wp.copy(self._sensordata, data.sensordata)
                mjw.rungekutta4(model, data)
            else:
                mjw.step2(model, data)
                wp.copy(self._sensordata, data.sensordata)
            self._note_divergence()
            mjw.step1(model, data)
        shape = self._num_envs, self._columns_of_an_instant.size
        inputs = [self._columns_of_an_instant, data.sensordata]
        wp.launch(put_columns, dim=shape, inputs=inputs, outputs=[self._sensordata])

    def _forward(self) -> None:
        """Computes all that follows from the present state, accelerations and the sensors of forces too."""
        mjw.forward(self._models.on_device, self._data)
        wp.copy(self._sensordata, self._data.sensordata)
        self._diverged.zero_()
        self._note_divergence()
        self._is_current = False  # a step begins as it would after `restore`, bit for bit

    def _note_divergence(self) -> None:
        for x in (self._data.qpos, self._data.qvel, self._data.qacc):
            wp.launch(note_divergence, dim=x.shape, inputs=[x, LARGEST], outputs=[self._diverged])

    def _begin_anew(self, envs: np.ndarray) -> None:
        """Puts environments to where the model begins, without controls and forces."""
        if not len(envs):
            return
        start = np.repeat(self._start[None], len(envs), axis=0)
        self._put_state(envs, start)
        bodies = np.argsort(self.model.body_mocapid)[self.model.nbody - self.model.nmocap :]
        for field, of_model in (("mocap_pos", "body_pos"), ("mocap_quat", "body_quat")):
            values = self._models.values(of_model, envs)[:, bodies]
            put(envs, values.reshape(len(envs), -1), getattr(self._data, field))

    def _put_state(self, envs: np.ndarray, rows: np.ndarray) -> None:
        """Writes rows of `save` to some environments, (M,) int."""
        put(envs, rows, *(getattr(self._data, name) for name in STATE))
        self._is_current = False

    def _physics_state(self, envs: np.ndarray | slice) -> PhysicsState:
        """The present state of some environments, in arrays of its own."""
        fields = self._data.qpos, self._data.qvel, self._sensordata
        qpos, qvel, sensordata = (x.numpy()[envs].astype(np.float64) for x in fields)
        return PhysicsState(qpos, qvel, {name: sensordata[:, where] for name, where in self._sensor_columns.items()})

    def _start_of(self, model: mujoco.MjModel) -> np.ndarray:
        """The state that a simulation of the model begins in, as a row of `save`."""
        state = np.empty(mujoco.mj_stateSize(model, INTEGRATION))
        mujoco.mj_getState(model, mujoco.MjData(model), state, INTEGRATION)
        return state
