"""Where a world has no places and no directions, neither what is seen nor what is earned depends on them.

Friction in MuJoCo is that of a pyramid whose edges lie along the axes of the world, unless its cone is elliptic. So a
step is turned on a model with elliptic cones, and with a solver that converges: the task is tested, not the pyramid.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rotations import product

from motrix_gym import rotations
from motrix_gym.registration import ENVS
from motrix_gym.testing.task_mirror import Step, stepped

NUM_ENVS = 3

SUITE_VELOCITIES = "dm_control shows velocities along the axes of the world"
TURNED = [  # what a robot on a plane sees and earns depends neither on where it is nor on which way it looks
    "QuadrupedWalk", "QuadrupedRun", "Go1", "Go1Getup", "Go1Handstand", "Go2", "AnymalC", "G1", "G1Full",
    "AnymalCNavigation", "Swimmer6", "Swimmer15",
]  # fmt: skip
TURNED_REWARDS = {  # what it sees depends on which way it looks, what it earns does not
    **dict.fromkeys(["HumanoidWalk", "HumanoidRun", "FishUpright", "FishSwim"], SUITE_VELOCITIES),
}
MOVED = {  # neither depends on where it is, and what it earns depends on which way it looks
    "HumanoidStand": "dm_control judges along x and along y whether it is still, and takes the mean",
}
ALONG_X = ["CheetahRun", "HopperStand", "HopperHop", "WalkerStand", "WalkerWalk", "WalkerRun"]  # in a plane, x and z
RAIL, FIXED, GROUND = "a rail or a field has a middle", "the robot is fixed to the world", "the ground has a shape"
PLACES = {  # why a task is bound to its place, or is not tested here
    **dict.fromkeys(["CartPole", "CartPoleBalance", "CartPoleSwingup", "PointMass", "LQR2_1", "LQR6_2"], RAIL),
    **dict.fromkeys(["Pendulum", "Acrobot", "ReacherEasy", "ReacherHard", "BallInCup", "BounceBall"], FIXED),
    **dict.fromkeys(["FingerSpin", "FingerTurnEasy", "FingerTurnHard"], FIXED),
    **dict.fromkeys([f"Manipulator{does}{what}" for does in ("Bring", "Insert") for what in ("Ball", "Peg")], FIXED),
    **dict.fromkeys(["StackerStack2", "StackerStack4", "FrankaLiftCube", "FrankaOpenCabinet"], FIXED),
    **dict.fromkeys(["Go1Rough", "Go1Stairs", "Go2Rough", "AnymalCRough", "G1Rough"], GROUND),
    "QuadrupedFetch": "the arena has walls, and the ball belongs in its middle",
    "MultiTask": "its tasks have ids of their own",
}
FREE = [*TURNED, *TURNED_REWARDS]
PLANAR = ("Swimmer6", "Swimmer15")  # two slides and a hinge about z, not a free joint


class Situation:
    """N environments of a task after some random steps, and the action that comes next.

    Args:
        name: Of the id.
        seed: Of the environments and their actions.
        steps: How many steps they have taken.
    """

    def __init__(self, name: str, seed: int, steps: int):
        envs: Any = gymnasium.make_vec(f"Motrix/{name}-v0", num_envs=NUM_ENVS, num_threads=1).unwrapped
        envs.reset(seed=seed)
        space, rng = envs.single_action_space, np.random.default_rng(seed)
        actions = rng.uniform(space.low, space.high, (steps + 1, NUM_ENVS, *space.shape))
        for action in actions[:-1]:
            envs.step(action)
        self.name, self.task, self.action = name, envs.task, actions[-1]
        state = envs.batch.state
        self.qpos, self.qvel, self.state = state.physics.qpos, state.physics.qvel, state.task

    def step(self, model: mujoco.MjModel) -> Step:
        """What the next step is like on a model."""
        return stepped(self.task, model, self.qpos, self.qvel, self.state, self.action)

    def moved(self, way: Sequence[float]) -> "Situation":
        """The same elsewhere: `way` is (2,) m along x and y."""
        other = copy.copy(self)
        other.qpos = self.qpos.copy()
        x = self._root_x()
        other.qpos[:, x : x + len(way)] += way
        other.state = placed(self.state, lambda place: place + np.pad(way, (0, place.shape[1] - 2)))
        return other

    def turned(self, angle: float) -> "Situation":
        """The same, turned by `angle` in rad about the middle of the world."""
        other, turn = copy.copy(self), rotations.from_yaw(np.full(NUM_ENVS, angle))
        axes = rotations.matrix(turn[:1])[0]
        other.qpos, other.qvel = self.qpos.copy(), self.qvel.copy()
        middle = np.zeros(2)
        if self.name in PLANAR:
            middle = -self.task.model().joint("heading").pos[:2]  # it turns about the end of its head
            other.qpos[:, 2] += angle
        else:
            other.qpos[:, 3:7] = product(turn, self.qpos[:, 3:7])
        other.qpos[:, :2] = (self.qpos[:, :2] - middle) @ axes[:2, :2].T + middle
        other.qvel[:, :2] = self.qvel[:, :2] @ axes[:2, :2].T
        other.state = placed(self.state, lambda place: place @ axes[: place.shape[1], : place.shape[1]].T)
        if hasattr(self.state, "goal_heading"):
            other.state = replace(other.state, goal_heading=self.state.goal_heading + angle)
        return other

    def _root_x(self) -> int:
        """Where the position of the robot along x is in qpos."""
        return self.task.model().joint("x").qposadr[0] if self.name in ALONG_X else 0


def placed(state: Any, move: Callable[[np.ndarray], np.ndarray]) -> Any:
    """A task state whose targets are moved, each (N, 2) or (N, 3) m."""
    return replace(state, **{name: move(getattr(state, name)) for name in ("target", "goal") if hasattr(state, name)})


def elliptic(model: mujoco.MjModel) -> mujoco.MjModel:
    """A model in which friction is alike in all directions."""
    model = copy.copy(model)
    model.opt.cone, model.opt.tolerance, model.opt.iterations = mujoco.mjtCone.mjCONE_ELLIPTIC, 1e-12, 200
    return model


def assert_alike(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    for name in one:
        np.testing.assert_allclose(other[name], one[name], rtol=1e-6, atol=1e-6, err_msg=name)


def drawn(data: st.DataObject, name: str) -> Situation:
    return Situation(name, data.draw(st.integers(0, 2**31), "seed"), data.draw(st.integers(0, 20), "steps"))


LENGTHS = st.floats(-20.0, 20.0)
few = settings(max_examples=5)


def test_every_id_is_bound_to_its_place_or_is_not():
    names = [*FREE, *MOVED, *ALONG_X, *PLACES]
    assert sorted(names) == sorted(env.id.removeprefix("Motrix/").removesuffix("-v0") for env in ENVS)


@pytest.mark.parametrize("name", [*FREE, *MOVED, *ALONG_X])
@few
@given(data=st.data(), x=LENGTHS, y=LENGTHS)
def test_elsewhere_all_is_the_same(name, data, x, y):
    here = drawn(data, name)
    model = here.task.model()
    one, other = here.step(model), here.moved([x] if name in ALONG_X else [x, y]).step(model)
    for a, b in ((one.before, other.before), (one.after, other.after), (one.earned, other.earned)):
        assert_alike(a, b)


@pytest.mark.parametrize("name", FREE)
@few
@given(data=st.data(), angle=st.floats(-4.0, 4.0))
def test_turned_all_is_the_same(name, data, angle):
    here = drawn(data, name)
    model = elliptic(here.task.model())
    one, other = here.step(model), here.turned(angle).step(model)
    assert_alike(one.earned, other.earned)
    if name in TURNED:
        assert_alike(one.before, other.before)
        assert_alike(one.after, other.after)


@pytest.mark.parametrize("name", TURNED_REWARDS)
def test_some_observations_have_the_axes_of_the_world(name):
    here = Situation(name, seed=0, steps=10)
    model = elliptic(here.task.model())
    one, other = here.step(model), here.turned(1.0).step(model)
    different = {block for block, x in one.before.items() if not np.allclose(x, other.before[block], atol=1e-4)}
    assert different == ({"com_velocity", "velocity"} if "Humanoid" in name else {"velocity"})


@pytest.mark.parametrize("name", [name for name, reason in PLACES.items() if reason == GROUND])
def test_elsewhere_on_ground_with_a_shape_a_step_is_another(name):
    here = Situation(name, seed=0, steps=10)
    model = here.task.model()
    one, other = here.step(model), here.moved([0.7, -1.3]).step(model)
    assert not all(np.allclose(x, other.earned[term], rtol=1e-3) for term, x in one.earned.items())
