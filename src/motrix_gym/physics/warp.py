"""Physics with MuJoCo Warp, on a GPU or on Warp's CPU device: N simulations of one model, stepped by kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mujoco
import mujoco_warp as mjw
import numpy as np
import warp as wp

from motrix_gym import arrays as xp
from motrix_gym import forks, rows
from motrix_gym.arrays import Array
from motrix_gym.physics.base import (
    NOTHING,
    Override,
    Physics,
    refuse_settling,
    refuse_starts,
    sensor_columns,
    whole_steps,
)
from motrix_gym.physics.warp_arrays import exchange_of
from motrix_gym.physics.warp_kernels import LARGEST, note_divergence, put_columns
from motrix_gym.physics.warp_model import WarpModel, buffer_sizes
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

    With Torch's arrays, `step` copies nothing to the host, and a simulation that diverged is left as it is until it is
    reset; else it begins anew, as in MuJoCo.

    Args:
        model: The compiled model.
        num_envs: N.
        device: Warp's name of the device, as "cuda:0" or "cpu"; None for the first GPU, or else the CPU.
        control_dt: Seconds of one `step`, a multiple of the model's timestep.
        buffers: ``nconmax``, the contacts, and ``njmax``, the rows of constraints, that an environment has room for, in
            place of those that the model asks for.
        arrays: What it takes and gives: "numpy", on the host in float64, or "torch", on the device in float32.

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
        arrays: str = "numpy",
    ):
        self.model = model
        self._num_envs = num_envs
        self._device = wp.get_preferred_device() if device is None else wp.get_device(device)
        self.deterministic = not self._device.is_cuda
        self._substeps = whole_steps("control_dt", control_dt, model.opt.timestep)
        with wp.ScopedDevice(self._device):
            self._exchange = exchange_of(arrays, self._device)
            self._models = WarpModel(model, num_envs, self._exchange)
            sizes = buffer_sizes(model, self._models.on_device) | dict(buffers)
            self._data = mjw.make_data(model, nworld=num_envs, **sizes)
            self._diverged = wp.zeros(num_envs, dtype=int)
            self._sensordata = wp.zeros_like(self._data.sensordata)  # as it is given out
            of_an_instant = np.flatnonzero(model.sensor_needstage < int(mujoco.mjtStage.mjSTAGE_ACC))
            columns = [np.arange(model.sensor_dim[i]) + model.sensor_adr[i] for i in of_an_instant]
            self._columns_of_an_instant = wp.array(np.concatenate([np.zeros(0), *columns]), dtype=int)
        self.example = self._exchange.example
        self._sensor_columns = sensor_columns(model)
        self._is_current = False  # whether what follows from positions and velocities has been computed
        self._graphs: dict[int, wp.Graph] = {}  # by the number of physics steps
        self._viewed = mujoco.MjData(model)
        self._start = rows.from_host(self._start_of(model), self.example)
        if self._device.is_cuda:
            forks.watch(self)

    def give_up(self) -> None:
        """Called in a forked process, which has no device: a later use raises an error that says so."""
        for name in ("_data", "_models", "_graphs"):
            forks.leak(getattr(self, name))
            setattr(self, name, forks.LeftBehind(_FORKED))

    def step(
        self, ctrl: Array, force: Mapping[str, Array] = NOTHING, mask: Array | None = None
    ) -> tuple[PhysicsState, Mapping[str, Array]]:
        with wp.ScopedDevice(self._device):
            with self._only(mask):
                self._exchange.assign(self._data.ctrl, ctrl)
                for body, push in force.items():
                    self._exchange.assign(self._data.xfrc_applied, push, at=(slice(None), self.model.body(body).id))
                failures = self._advance(self._substeps, mask)
            now = self._physics_state(...)
            if not self._exchange.stays_on_device:
                self._begin_anew(rows.indices(failures["diverged"]))
        return now, failures

    def reset(self, mask: Array, qpos: Array, qvel: Array, overrides: Mapping[str, Override] = NOTHING) -> PhysicsState:
        envs, start = rows.indices(mask), xp.concat([qpos, qvel], axis=1)
        with wp.ScopedDevice(self._device):
            if not self._exchange.stays_on_device:
                refuse_starts(~np.all(np.abs(start) <= LARGEST, axis=1), qpos, qvel)
            self.override(mask, overrides)
            self._begin_anew(envs)
            self._exchange.put(envs, start, self._data.qpos, self._data.qvel)
            self._forward()
            refuse_starts(self._exchange.raw(self._diverged)[envs] != 0, qpos, qvel)
            return self._physics_state(envs)

    def override(self, mask: Array, overrides: Mapping[str, Override]) -> None:
        if not overrides:
            return
        with wp.ScopedDevice(self._device):
            if self._models.override(rows.indices(mask), overrides, self._data):
                self._graphs = {}
        self._is_current = False

    def settle(self, mask: Array, seconds: float) -> PhysicsState:
        steps = whole_steps("a settling time of", seconds, self.model.opt.timestep)
        with wp.ScopedDevice(self._device):
            with self._only(mask):
                failures = self._advance(steps, mask)
            refuse_settling(rows.one_of(list(failures.values())), seconds)
            self._forward()
            return self._physics_state(rows.indices(mask))

    def save(self) -> np.ndarray:
        with wp.ScopedDevice(self._device):
            return rows.to_host(self._state_of(...)).astype(np.float64)

    def restore(self, simulation: np.ndarray) -> None:
        everywhere = rows.indices(xp.full((self._num_envs,), True, self.example))
        with wp.ScopedDevice(self._device):
            self._put_state(everywhere, rows.from_host(simulation, self.example))

    def view(self, env: int, markers: Mapping[str, np.ndarray] = NOTHING) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model, data = self._models.of(env), self._viewed
        mujoco.mj_setState(model, data, self.save()[env], INTEGRATION)
        for name, displacement in markers.items():
            body = self.model.body(name)
            data.mocap_pos[body.mocapid] = body.pos + displacement
        mujoco.mj_forward(model, data)
        return model, data

    @contextmanager
    def _only(self, mask: Array | None) -> Iterator[None]:
        """Leaves the environments that are not marked as they are, whatever is done to all; without a mask, none."""
        if mask is None or not len(others := rows.indices(~mask)):
            yield
            return
        state, sensordata = self._state_of(others), self._exchange.numbers(self._sensordata, others)
        yield
        self._put_state(others, state)
        self._exchange.put(others, sensordata, self._sensordata)

    def _advance(self, steps: int, mask: Array | None) -> dict[str, Array]:
        """Advances all environments by physics steps; returns which of the marked ones failed, by reason."""
        with self._exchange.kernels():
            if not self._is_current:
                mjw.step1(self._models.on_device, self._data)
            self._diverged.zero_()
            self._launch_steps(steps)
        lost = self._exchange.raw(self._data.overflow) & ~int(NO_LOSS)
        diverged = self._exchange.raw(self._diverged) != 0
        failures = {"diverged": diverged, "overflow": (lost != 0) & ~diverged}
        with self._exchange.kernels():
            self._data.overflow.zero_()
        self._is_current = True
        return failures if mask is None else {name: failed & mask for name, failed in failures.items()}

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
        with self._exchange.kernels():
            mjw.forward(self._models.on_device, self._data)
            wp.copy(self._sensordata, self._data.sensordata)
            self._diverged.zero_()
            self._note_divergence()
        self._is_current = False  # a step begins as it would after `restore`, bit for bit

    def _note_divergence(self) -> None:
        for x in (self._data.qpos, self._data.qvel, self._data.qacc):
            wp.launch(note_divergence, dim=x.shape, inputs=[x, LARGEST], outputs=[self._diverged])

    def _begin_anew(self, envs: Array) -> None:
        """Puts environments to where the model begins, without controls and forces."""
        if not len(envs):
            return
        self._put_state(envs, xp.tile(self._start[None], (len(envs), 1)))
        if not self.model.nmocap:
            return
        bodies = np.argsort(self.model.body_mocapid)[self.model.nbody - self.model.nmocap :]
        for field, of_model in (("mocap_pos", "body_pos"), ("mocap_quat", "body_quat")):
            values = self._models.values(of_model, envs)[:, bodies]
            self._exchange.put(envs, xp.reshape(values, (len(envs), -1)), getattr(self._data, field))

    def _put_state(self, envs: Array, state: Array) -> None:
        """Writes what `_state_of` gave to some environments, (M,) int."""
        self._exchange.put(envs, state, *(getattr(self._data, name) for name in STATE))
        self._is_current = False

    def _state_of(self, envs: Any) -> Array:
        """The simulations of some environments, indices (M,) int or all, as rows of `save`."""
        fields = [self._exchange.numbers(getattr(self._data, name), envs) for name in STATE]
        return xp.concat([xp.reshape(x, (x.shape[0], -1)) for x in fields], axis=1)

    def _physics_state(self, envs: Any) -> PhysicsState:
        """The present state of some environments, indices (M,) int or all, in arrays of its own."""
        fields = self._data.qpos, self._data.qvel, self._sensordata
        qpos, qvel, sensordata = (self._exchange.numbers(x, envs) for x in fields)
        return PhysicsState(qpos, qvel, {name: sensordata[:, where] for name, where in self._sensor_columns.items()})

    def _start_of(self, model: mujoco.MjModel) -> np.ndarray:
        """The state that a simulation of the model begins in, as a row of `save`."""
        state = np.empty(mujoco.mj_stateSize(model, INTEGRATION))
        mujoco.mj_getState(model, mujoco.MjData(model), state, INTEGRATION)
        return state
