"""The robots of the Control Suite that stand or move: what they earn for which speed."""

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.state import TaskState, Transition

MOVERS = ["CheetahRun", "HopperHop", "WalkerWalk", "HumanoidWalk"]
STANDERS = ["HopperStand", "WalkerStand", "HumanoidStand"]
FORWARD = {"CheetahRun": 0, "HopperHop": 0, "WalkerWalk": 1, "HumanoidWalk": 0}  # in qvel
UNMOVED = {"CheetahRun": 0.0, "HopperHop": 0.0, "WalkerWalk": 1 / 6, "HumanoidWalk": 1 / 6}


def make(name: str, num_envs: int = 1, **fields: float):
    return gymnasium.make_vec(f"Motrix/{name}-v0", num_envs=num_envs, num_threads=1, **fields).unwrapped


def earned(name: str, qvel: np.ndarray, action: float = 0.0, **fields: float) -> np.ndarray:
    """What the model's own pose, which stands in the air, earns at each velocity, (N,)."""
    task, n = make(name, **fields).task, len(qvel)
    model = task.model()
    physics = CpuPhysics(model, n, 1, task.control_dt).reset(np.ones(n, dtype=bool), np.tile(model.qpos0, (n, 1)), qvel)
    actions = np.full((n, model.nu), action)
    t = Transition(physics, TaskState(), actions, actions, physics, np.zeros(n, dtype=bool))
    [reward] = task.reward(t).values()
    return reward


@pytest.mark.parametrize("name", MOVERS)
def test_the_reward_grows_with_the_share_of_the_speed_that_is_reached(name):
    share = np.array([0.0, 0.25, 0.5, 1.0, 2.0])
    qvel = np.zeros((5, make(name).task.model().nv))
    qvel[:, FORWARD[name]] = 4.0 * share
    least = UNMOVED[name]
    expected = least + (1 - least) * np.minimum(share, 1)
    np.testing.assert_allclose(earned(name, qvel, move_speed=4.0), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["CheetahRun", "HopperHop", "WalkerWalk"])
def test_there_is_nothing_to_earn_in_going_backwards(name):
    qvel = np.zeros((2, make(name).task.model().nv))
    qvel[1, FORWARD[name]] = -4.0
    still, backwards = earned(name, qvel)
    assert still == backwards == pytest.approx(UNMOVED[name])


@pytest.mark.parametrize("name", STANDERS)
def test_standing_still_without_effort_earns_everything(name):
    still = np.zeros((1, make(name).task.model().nv))
    assert earned(name, still) == 1
    assert earned(name, still, action=1.0) == (1 if name == "WalkerStand" else pytest.approx(0.8))


@settings(max_examples=10)
@given(name=st.sampled_from(MOVERS), slow=st.floats(0.1, 3), faster=st.floats(0.1, 3), seed=st.integers(0, 99))
def test_asking_for_more_speed_never_earns_more(name, slow, faster, seed):
    rewards = []
    for speed in (slow, slow + faster):
        envs = make(name, num_envs=8, move_speed=speed)
        envs.reset(seed=seed)
        envs.action_space.seed(seed)
        rewards.append([envs.step(envs.action_space.sample())[1] for _ in range(5)])
    assert (np.array(rewards[0]) >= np.array(rewards[1])).all()


@pytest.mark.parametrize("name", MOVERS)
def test_speeds_below_zero_are_refused(name):
    with pytest.raises(ValueError, match=r"move_speed is -0\.5; it takes a number of at least 0"):
        make(name, move_speed=-0.5)
