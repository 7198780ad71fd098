"""dm_control as the judge: a task of ours and its counterpart there, put into the same states and asked the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from scipy import stats

from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.random_streams import RandomStreams, stream_keys
from motrix_gym.state import PhysicsState, TaskState, Transition
from motrix_gym.vector_env import MotrixVectorEnv

suite = pytest.importorskip("dm_control.suite", reason="dm_control cannot be installed with this Python")

SEED = 20180102
SMALLEST_P = 1e-3  # of all two-sample tests of one task together


def _as_it_is(environment: Any) -> None:
    pass


def _nothing_more(physics: Any, task_state: Any) -> None:
    pass


@dataclass(frozen=True)
class Counterpart:
    """What an id of ours is called in dm_control.

    Attributes:
        env_id: Our id.
        domain: dm_control's domain.
        task: dm_control's task in that domain.
        adjust: Changes dm_control's environment where ours differs on purpose.
        place: Puts what one row of our memory (its fields without the row axis) holds into dm_control's physics,
            which keeps such things in its model.
        touches: Whether its bodies can touch something, so that states in contact must be among those compared.
        resets: Resets of each side that the distributions of beginnings are compared on.
        speeds: Standard deviations of the velocities, one of which each random state has.
        unlimited: Whether dm_control limits neither its actions nor its episodes, and rewards may be below 0.
    """

    env_id: str
    domain: str
    task: str
    adjust: Callable[[Any], None] = _as_it_is
    place: Callable[[Any, Any], None] = _nothing_more
    touches: bool = False
    resets: int = 10_000
    speeds: tuple[float, ...] = (0.0, 0.3, 3.0, 9.0)
    unlimited: bool = False


@dataclass(frozen=True)
class States:
    """N states and what is done in them: qpos (N, nq), qvel (N, nv), action (N, m), our memory."""

    qpos: np.ndarray
    qvel: np.ndarray
    action: np.ndarray
    state: Any

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Any]]:
        """Each state alone, without the row axis."""
        for row in range(len(self.qpos)):
            fields = {f.name: getattr(self.state, f.name)[row] for f in dataclasses.fields(self.state)}
            yield self.qpos[row], self.qvel[row], self.action[row], type(self.state)(**fields)


@dataclass(frozen=True)
class Outcome:
    """What one control step from each state leads to, on either side.

    Attributes:
        first: The observation in the state itself, (N, k) float64.
        qpos: Positions one control step later, (N, nq).
        qvel: Velocities one control step later, (N, nv).
        observation: The observation one control step later, (N, k) float64.
        reward: The reward of the step, (N,).
    """

    first: np.ndarray
    qpos: np.ndarray
    qvel: np.ndarray
    observation: np.ndarray
    reward: np.ndarray


class Pair:
    """A task of ours and its counterpart.

    Args:
        counterpart: Which.
        num_states: How many random states the two are compared in.
    """

    def __init__(self, counterpart: Counterpart, num_states: int = 1000):
        self.counterpart = counterpart
        self.num_states = num_states
        self.env_id = counterpart.env_id
        self.envs: MotrixVectorEnv = gymnasium.make_vec(self.env_id, num_envs=1, num_threads=1).unwrapped
        self.task = self.envs.task
        self.model = self.task.model()
        self.reference = suite.load(counterpart.domain, counterpart.task, task_kwargs={"random": SEED})
        counterpart.adjust(self.reference)
        self.reference.reset()

    @property
    def reference_model(self) -> mujoco.MjModel:
        """dm_control's model as it is in an episode."""
        return self.reference.physics.model.ptr

    @cached_property
    def states(self) -> States:
        """Random states: joints over and a little beyond their ranges, half of them after they have moved for a while.

        The first half is spread over all that the joints can do; the second half is where the robot gets to from
        there under random controls, on the ground and against its limits.
        """
        rng = np.random.default_rng(SEED)
        model, n = self.reference_model, self.num_states
        qpos = np.stack([_random_qpos(model, rng) for _ in range(n)])
        qvel = rng.normal(size=(n, model.nv)) * rng.choice(self.counterpart.speeds, (n, 1))
        space = self.task.action_space()
        action = rng.uniform(space.low, space.high, (n, *space.shape))
        data = mujoco.MjData(model)
        for row in range(n // 2, n):
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:] = qpos[row], qvel[row]
            data.ctrl[:] = rng.uniform(*model.actuator_ctrlrange.T)
            mujoco.mj_step(model, data, rng.integers(1, 200))
            if not data.warning.number.any():
                qpos[row], qvel[row] = data.qpos, data.qvel
        _, _, task_state = self.task.reset(RandomStreams(stream_keys(range(n))))
        return States(qpos, qvel, action, task_state)

    def mass_matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """dm_control's and ours, each (N, nv, nv)."""
        theirs, ours = (
            np.stack([_mass_matrix(model, data) for data in self._forward(model)])
            for model in (self.reference_model, self.model)
        )
        return theirs, ours

    def accelerations(self, contact: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """dm_control's and ours, each (N, nv), and the number of contacts of each state, (N,)."""
        results = []
        for model in (self.reference_model, self.model):
            flags = model.opt.disableflags
            if not contact:
                model.opt.disableflags = flags | int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
            results.append([(data.qacc.copy(), data.ncon) for data in self._forward(model)])
            model.opt.disableflags = flags
        (theirs, contacts), (ours, _) = (zip(*result, strict=True) for result in results)
        return np.stack(theirs), np.stack(ours), np.array(contacts)

    def their_steps(self) -> Outcome:
        """What dm_control makes of the states."""
        physics, task = self.reference.physics, self.reference.task
        substeps = round(self.reference.control_timestep() / physics.timestep())
        rows = []
        for qpos, qvel, action, task_state in self.states:
            self._place(qpos, qvel, task_state)
            first = _flat(task.get_observation(physics))
            task.before_step(action, physics)
            physics.step(substeps)
            task.after_step(physics)
            state = physics.data.qpos.copy(), physics.data.qvel.copy()
            rows.append((first, *state, _flat(task.get_observation(physics)), task.get_reward(physics)))
        return Outcome(*(np.array(column) for column in zip(*rows, strict=True)))

    def our_steps(self) -> Outcome:
        """What our task and physics make of the states."""
        task, states, n = self.task, self.states, self.num_states
        physics = CpuPhysics(self.model, n, 1, task.control_dt)
        overrides = task.model_overrides(states.state)
        before = physics.reset(np.ones(n, dtype=bool), states.qpos, states.qvel, overrides)
        ctrl = task.control(before, states.state, states.action)
        now, failures = physics.step(ctrl)
        assert not failures["diverged"].any()
        t = Transition(before, states.state, states.action, ctrl, now, np.zeros(n, dtype=bool))
        reward = sum(task.weights[name] * term for name, term in task.reward(t).items())
        observation = self._observed(now, task.next_state(t, RandomStreams(stream_keys(range(n)))))
        return Outcome(self._observed(before, states.state), now.qpos, now.qvel, observation, np.asarray(reward))

    def episodes(self, steps: int, rows: int = 4) -> tuple[np.ndarray, np.ndarray]:
        """Observations and rewards of whole episodes from our beginnings, dm_control's and ours, (steps, N, k + 1)."""
        envs: MotrixVectorEnv = gymnasium.make_vec(self.env_id, num_envs=rows, num_threads=1).unwrapped
        envs.reset(seed=SEED)
        envs.action_space.seed(SEED)
        actions = np.stack([envs.action_space.sample() for _ in range(steps)]).astype(np.float64)
        state = envs.get_state()
        task_state = type(self.states.state)(
            **{name.removeprefix("memory."): x for name, x in state.items() if name.startswith("memory.")}
        )
        ours = [np.column_stack(envs.step(action)[:2]) for action in actions]
        theirs = np.empty((steps, rows, ours[0].shape[1]))
        for row, (qpos, qvel, _, remembered) in enumerate(States(state["qpos"], state["qvel"], actions[0], task_state)):
            self.reference.reset()
            self._place(qpos, qvel, remembered)
            for k in range(steps):
                timestep = self.reference.step(actions[k, row])
                theirs[k, row] = [*_flat(timestep.observation), timestep.reward]
        return theirs, np.stack(ours)

    def length(self) -> tuple[int, bool]:
        """Control steps of one of dm_control's episodes, and whether its end is a truncation."""
        zero = np.zeros(self.reference.action_spec().shape)
        self.reference.reset()
        steps = 1
        while not (timestep := self.reference.step(zero)).last():
            steps += 1
        return steps, timestep.discount == 1.0

    def their_starts(self) -> np.ndarray:
        """Positions, velocities and observations of dm_control's beginnings, (resets, k)."""
        data = self.reference.physics.data
        starts = []
        for _ in range(self.counterpart.resets):
            observation = _flat(self.reference.reset().observation).astype(np.float32)  # as ours are
            starts.append(np.concatenate([data.qpos, data.qvel, observation]))
        return np.stack(starts)

    def our_starts(self) -> np.ndarray:
        """Positions, velocities and observations of our beginnings, (resets, k)."""
        envs = MotrixVectorEnv(self.task, self.counterpart.resets, num_threads=1)
        observation, _ = envs.reset(seed=SEED)
        state = envs.get_state()
        return np.concatenate([state["qpos"], state["qvel"], observation.astype(np.float64)], axis=1)

    def _forward(self, model: mujoco.MjModel) -> Iterator[mujoco.MjData]:
        """A model's data in each state, with the actions as its controls and what the memory makes of the model."""
        data, states = mujoco.MjData(model), self.states
        controls = self.task.control(PhysicsState(states.qpos, states.qvel, {}), states.state, states.action)
        overrides = self.task.model_overrides(states.state) if model is self.model else {}
        for row, (qpos, qvel, _, task_state) in enumerate(states):
            if model is self.reference_model:
                self.counterpart.place(self.reference.physics, task_state)
            for name, override in overrides.items():
                getattr(model, name)[override.at] = override.values[row]
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:], data.ctrl[:] = qpos, qvel, controls[row]
            mujoco.mj_forward(model, data)
            yield data

    def _place(self, qpos: np.ndarray, qvel: np.ndarray, task_state: TaskState) -> None:
        """Puts dm_control into a state of ours."""
        physics = self.reference.physics
        with physics.reset_context():
            self.counterpart.place(physics, task_state)
            physics.data.qpos[:], physics.data.qvel[:] = qpos, qvel
        physics.forward()  # with the actuators, which a reset there leaves out: servos act away from their targets

    def _observed(self, physics: PhysicsState, task_state: Any) -> np.ndarray:
        blocks = self.task.observe(physics, task_state)
        assert all(block.dtype == np.float64 for block in blocks.values())
        return np.concatenate(list(blocks.values()), axis=1)


def largest_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest number of its row, (N, ...) both."""
    ours, theirs = (x.reshape(len(x), -1) for x in (ours, theirs))
    size = np.maximum(abs(theirs).max(axis=1), np.finfo(float).tiny)
    return float((abs(ours - theirs).max(axis=1) / size).max())


def two_sample_p(ours: np.ndarray, theirs: np.ndarray) -> float:
    """How likely two samples, (M, k) each, are to differ as they do or more if they have one distribution.

    Kolmogorov and Smirnov's test of each coordinate and of random directions, which see how coordinates depend on
    each other, with Bonferroni's correction. A coordinate that is constant on both sides must be the same number.
    """
    constant = (np.ptp(ours, axis=0) < 1e-6) & (np.ptp(theirs, axis=0) < 1e-6)
    if not np.allclose(ours[0, constant], theirs[0, constant], atol=1e-6):
        return 0.0
    ours, theirs = ours[:, ~constant], theirs[:, ~constant]
    mean, spread = theirs.mean(axis=0), np.maximum(theirs.std(axis=0), 1e-9)
    directions = np.random.default_rng(SEED).normal(size=(ours.shape[1], 2 * ours.shape[1]))
    columns = [np.hstack([x, (x - mean) / spread @ directions]).T for x in (ours, theirs)]
    p = [stats.ks_2samp(a, b, method="asymp").pvalue for a, b in zip(*columns, strict=True)]
    return min(1.0, min(p, default=1.0) * len(p))


def _random_qpos(model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
    """Joints with limits a tenth beyond them, hinges without all the way round, slides half a metre to each side."""
    qpos = model.qpos0.copy()
    for joint in range(model.njnt):
        kind, place = int(model.jnt_type[joint]), model.jnt_qposadr[joint]
        if kind in (int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)):
            if kind == int(mujoco.mjtJoint.mjJNT_FREE):
                qpos[place : place + 3] += rng.uniform(-0.5, 0.5, 3)
                place += 3
            turn = rng.normal(size=4)
            qpos[place : place + 4] = turn / np.linalg.norm(turn)
        elif model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
            qpos[place] = rng.uniform(low - 0.05 * (high - low), high + 0.05 * (high - low))
        elif kind == int(mujoco.mjtJoint.mjJNT_HINGE):
            qpos[place] = rng.uniform(-np.pi, np.pi)
        else:
            qpos[place] += rng.uniform(-0.5, 0.5)
    return qpos


def _mass_matrix(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    matrix = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, matrix)
    return matrix


def _flat(observation: dict[str, Any]) -> np.ndarray:
    """dm_control's observation as one vector, in its own order."""
    return np.concatenate([np.ravel(block) for block in observation.values()])
