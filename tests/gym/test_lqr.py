"""The LQR is one: its costs are those of the Riccati equation."""

import gymnasium
import mujoco
import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.state import Transition
from motrix_gym.tasks.basic.lqr import LQR, LQRState

STIFFNESS = 20.0  # N/m
EFFORT = 0.1  # cost of a squared action, where that of a squared position is 1


def linear_model(task: LQR) -> tuple[np.ndarray, np.ndarray]:
    """Matrices of the next state, (2 n, 2 n) and (2 n, m), by semi-implicit Euler's method."""
    model = task.model()
    data, n = mujoco.MjData(model), model.nv
    mujoco.mj_forward(model, data)
    mass = np.zeros((n, n))
    mujoco.mj_fullM(model, data, mass)
    spring, push = np.linalg.solve(mass, -STIFFNESS * np.eye(n)), np.linalg.solve(mass, np.eye(n, model.nu))
    dt, eye = task.control_dt, np.eye(n)
    return np.block([[eye + dt**2 * spring, dt * eye], [dt * spring, eye]]), np.vstack([dt**2 * push, dt * push])


@pytest.mark.parametrize("name", ["LQR2_1", "LQR6_2"])
def test_the_best_policy_costs_what_the_riccati_equation_says(name):
    envs = gymnasium.make_vec(
        f"Motrix/{name}-v0", num_envs=8, num_threads=1, stiffness_range=(STIFFNESS, STIFFNESS)
    ).unwrapped
    a, b = linear_model(envs.task)
    n = len(a) // 2
    q, r = np.diag(np.repeat([1.0, 0.0], n)), EFFORT * np.eye(b.shape[1])
    value = solve_discrete_are(a, b, q, r)
    gain = -np.linalg.solve(b.T @ value @ b + r, b.T @ value @ a)

    def state() -> np.ndarray:
        x = envs.get_state()
        return np.concatenate([x["qpos"], x["qvel"]], axis=1)

    def cost_to_go(x: np.ndarray) -> np.ndarray:
        """Without that of the present position, which no action changes."""
        return np.einsum("ni,ij,nj->n", x, value - q, x) / 2

    envs.reset(seed=0)
    beginning, cost = state(), np.zeros(8)
    for _ in range(300):
        action = state() @ gain.T
        assert (abs(action) <= envs.single_action_space.high).all()
        cost += 1 - envs.step(action)[1]
    np.testing.assert_allclose(cost + cost_to_go(state()), cost_to_go(beginning), rtol=1e-5)


def test_an_episode_ends_at_rest():
    task = LQR()
    physics = CpuPhysics(task.model(), 2, 1, task.control_dt)
    now = physics.reset(np.ones(2, dtype=bool), np.array([[9e-7, 0], [1.1e-6, 0]]), np.zeros((2, 2)))
    nothing = np.zeros((2, 1))
    t = Transition(now, LQRState(np.full((2, 2), 20.0)), nothing, nothing, now, np.zeros(2, dtype=bool))
    np.testing.assert_array_equal(task.terminated(t)["at_rest"], [True, False])


def test_each_episode_has_stiffnesses_of_its_own():
    envs = gymnasium.make_vec("Motrix/LQR2_1-v0", num_envs=64, num_threads=1, stiffness_range=(5, 10)).unwrapped
    drawn = []
    for _ in range(2):
        envs.reset(seed=None if drawn else 0)
        drawn.append(envs.get_state()["memory.stiffness"])
    assert len(np.unique(drawn)) == 2 * 64 * 2
    assert np.min(drawn) >= 5
    assert np.max(drawn) < 10


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"motors": 3}, "motors is 3; it takes at most one for each of the 2 masses"),
        ({"masses": 0}, "masses is 0; it takes a whole number from 1 to 20"),
        ({"stiffness_range": (25.0, 15.0)}, "stiffness_range is .*ascending order"),
        ({"stiffness_range": (0.0, 15.0)}, "stiffness_range.* is 0.0; it takes a number above 0"),
    ],
)
def test_values_without_meaning_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        gymnasium.make_vec("Motrix/LQR2_1-v0", num_envs=1, **fields)
