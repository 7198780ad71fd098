"""The fields of the Control Suite's tasks: what they change, and what they refuse."""

import itertools

import gymnasium
import numpy as np
import pytest

from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.state import TaskState, Transition

IDS_WITH_A_RADIUS = [
    *("Acrobot", "PointMass", "ReacherEasy", "ReacherHard", "FingerTurnEasy", "FingerTurnHard"),
    *("Swimmer6", "Swimmer15"),
]


def make(name: str, num_envs: int = 1, **fields: float):
    return gymnasium.make_vec(f"Motrix/{name}-v0", num_envs=num_envs, num_threads=1, **fields)


@pytest.mark.parametrize("name", IDS_WITH_A_RADIUS)
def test_a_larger_target_is_reached_by_more(name):
    earned = []
    for radius in (0.01, 0.1, 10.0):
        envs = make(name, num_envs=64, target_radius=radius)
        envs.reset(seed=0)
        earned.append(envs.step(np.zeros(envs.action_space.shape))[1])
    assert (earned[0] <= earned[1]).all()
    assert earned[0].mean() < earned[1].mean() < 1
    np.testing.assert_array_equal(earned[2], 1.0)


@pytest.mark.parametrize("name", ["Acrobot", "PointMass"])
def test_the_target_that_is_drawn_has_the_radius(name):
    model = make(name, target_radius=0.3).unwrapped.task.model()
    assert model.site("target").size[0] == 0.3


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        *((name, {"target_radius": 0.0}) for name in IDS_WITH_A_RADIUS),
        ("Pendulum", {"upright_angle": 0.0}),
        ("Pendulum", {"upright_angle": 3.2}),
        ("Pendulum", {"height_margin": -1.0}),
        ("HopperStand", {"height_margin": -0.1}),
        ("HopperStand", {"stand_height": 0.0}),
        ("HumanoidStand", {"height_margin": 0.0}),
        ("Acrobot", {"target_margin": 0.0}),
        ("FingerTurnEasy", {"target_margin": -0.1}),
        ("FingerSpin", {"spin_speed": -15.0}),
        ("FingerSpin", {"spinner_damping": -0.1}),
        ("FingerTurnEasy", {"spinner_damping": 0.0}),
        ("BallInCup", {"target_margin": -0.1}),
        ("FishSwim", {"target_radius": 0.0}),
        ("QuadrupedWalk", {"move_speed": 0.0}),
        ("ManipulatorBringBall", {"target_margin": 0.0}),
        ("StackerStack2", {"target_margin": 0.0}),
        ("QuadrupedFetch", {"target_radius": 0.0}),
    ],
)
def test_values_without_meaning_are_refused(name, fields):
    [(field, value)] = fields.items()
    with pytest.raises(ValueError, match=f"{field} is {value}.*; it takes a number (above|of at least) 0"):
        make(name, **fields)


@pytest.mark.parametrize("links", [2, 31])
def test_swimmers_of_too_few_or_too_many_links_are_refused(links):
    with pytest.raises(ValueError, match=f"links is {links}; it takes a whole number from 3 to 30"):
        make("Swimmer6", links=links)


def test_a_swimmer_has_the_links_that_are_asked_for():
    envs = make("Swimmer6", links=3)
    assert envs.single_action_space.shape == (2,)
    assert envs.single_observation_space.shape == (2 + 2 + 9,)


def test_a_spinner_with_less_damping_spins_on_longer():
    rates = []
    for damping in (0.01, 0.03, 0.5):
        task = make("FingerSpin", spinner_damping=damping).unwrapped.task
        physics = CpuPhysics(task.model(), 1, 1, task.control_dt)
        physics.reset(np.array([True]), np.zeros((1, 3)), np.array([[0.0, 0.0, 10.0]]))
        rates.append(physics.step(np.zeros((1, 2)))[0].qvel[0, 2])
    assert 10 > rates[0] > rates[1] > rates[2] > 0


def test_more_of_the_circle_is_upright_with_a_larger_angle():
    earned = []
    for angle in (0.1, 1.0, np.pi):
        envs = make("Pendulum", num_envs=256, upright_angle=angle)
        envs.reset(seed=0)
        earned.append(envs.step(np.zeros((256, 1)))[1].mean())
    np.testing.assert_allclose(earned, [0.1 / np.pi, 1 / np.pi, 1.0], atol=0.1)
    assert earned[0] < earned[1]


@pytest.mark.parametrize(
    ("name", "field", "margins"),
    [
        ("Pendulum", "height_margin", (0, 1, 2)),
        ("HopperStand", "height_margin", (0, 0.3, 0.6)),
        ("HumanoidStand", "height_margin", (0.35, 0.7, 1.4)),
        ("Acrobot", "target_margin", (1, 2, 4)),
        ("FingerTurnHard", "target_margin", (0, 0.1, 0.3)),
        ("BallInCup", "target_margin", (0, 0.2, 0.8)),
        ("ManipulatorBringBall", "target_margin", (0.02, 0.2, 0.8)),
        ("ManipulatorBringPeg", "target_margin", (0.02, 0.2, 0.8)),
        ("StackerStack2", "target_margin", (0.02, 0.2, 0.8)),
    ],
)
def test_a_reward_with_a_wider_margin_is_felt_from_farther_off(name, field, margins):
    earned = []
    for margin in margins:
        envs = make(name, num_envs=64, **{field: float(margin)})
        envs.reset(seed=0)
        for _ in range(40):
            reward = envs.step(np.zeros(envs.action_space.shape))[1]
        earned.append(reward)
    for narrow, wide in itertools.pairwise(earned):
        assert (narrow <= wide + 1e-12).all()
        assert narrow.mean() < wide.mean()
        np.testing.assert_array_equal(wide[narrow == 1], 1)


def test_only_a_spin_in_the_direction_of_the_stroke_counts():
    rates = np.array([-16.0, -15.0, -14.99, 0.0, 16.0])
    qvel = rates[:, None] * [0, 0, 1]
    task = make("FingerSpin").unwrapped.task
    physics = CpuPhysics(task.model(), 5, 1, task.control_dt).reset(np.ones(5, dtype=bool), np.zeros((5, 3)), qvel)
    t = Transition(physics, TaskState(), np.zeros((5, 2)), np.zeros((5, 2)), physics, np.zeros(5, dtype=bool))
    np.testing.assert_array_equal(task.reward(t)["spinning"], [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(task.metrics(t)["spinner_rate"], rates)
