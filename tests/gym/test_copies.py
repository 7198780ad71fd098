"""A copy of an environment, also by way of a file, goes on as its original does."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from trajectories import actions_for

from motrix_gym.hierarchy import HierarchicalVectorEnv

NUM_ENVS, BEFORE, AFTER = 3, 6, 5
WAYS = {"pickle": lambda env: pickle.loads(pickle.dumps(env)), "deepcopy": copy.deepcopy}


@pytest.fixture(params=list(WAYS))
def copied(request: pytest.FixtureRequest):
    """A way to copy an environment."""
    return WAYS[request.param]


def lower(observations: np.ndarray) -> np.ndarray:
    """Twelve actions of a low-level policy, which a copy finds by its name."""
    return np.repeat(np.tanh(observations[:, :1]), 12, axis=1)


def assert_alike(env: VectorEnv, other: VectorEnv, actions: np.ndarray) -> None:
    for action in actions:
        results = [each.step(action) for each in (env, other)]
        for a, b in zip(*(result[:4] for result in results), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_vector_environment_in_the_middle_of_episodes(env_id):
    env = gymnasium.make_vec(env_id, num_envs=NUM_ENVS, num_threads=1, max_episode_steps=9)
    actions = actions_for(env_id, NUM_ENVS, BEFORE + AFTER)
    env.reset(seed=5)
    for action in actions[:BEFORE]:
        env.step(action)
    env.action_space.seed(1)
    other = pickle.loads(pickle.dumps(env))
    assert other.spec == env.spec
    assert other.np_random_seed == env.np_random_seed
    np.testing.assert_array_equal(other.action_space.sample(), env.action_space.sample())
    assert_alike(env, other, actions[BEFORE:])
    np.testing.assert_array_equal(env.reset()[0], other.reset()[0])


def test_episodes_that_have_ended_and_wait_for_their_reset(mode, copied):
    env = gymnasium.make_vec(
        "Motrix/CartPole-v0", num_envs=NUM_ENVS, num_threads=1, autoreset_mode=mode, max_episode_steps=BEFORE
    )
    actions = actions_for("Motrix/CartPole-v0", NUM_ENVS, BEFORE + 1)
    env.reset(seed=5)
    for action in actions[:BEFORE]:
        env.step(action)
    other = copied(env)
    assert other.autoreset_mode is mode
    for each in (env, other):
        if mode is AutoresetMode.DISABLED:
            with pytest.raises(gymnasium.error.ResetNeeded):
                each.step(actions[BEFORE])
            each.reset(options={"reset_mask": np.ones(NUM_ENVS, dtype=bool)})
    assert_alike(env, other, actions[BEFORE:])


def test_a_single_environment_under_its_wrappers(env_id):
    env = gymnasium.make(env_id)
    env.reset(seed=3)
    actions = actions_for(env_id, 1, 4)[:, 0].astype(np.float32)
    actions = np.clip(actions, env.action_space.low, env.action_space.high)
    env.step(actions[0])
    other = copy.deepcopy(env)
    state = env.unwrapped.get_state()
    for action in actions[1:]:
        a, b = env.step(action), other.step(action)
        np.testing.assert_array_equal(a[0], b[0])
        assert a[1:4] == b[1:4]
        if a[2] or a[3]:
            break
    other.unwrapped.set_state(state)
    assert other.get_wrapper_attr("_elapsed_steps") == 1
    assert env.get_wrapper_attr("_elapsed_steps") > 1


def test_a_copy_has_a_life_of_its_own(copied):
    env = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=2, num_threads=1)
    env.reset(seed=0)
    other = copied(env)
    before = env.unwrapped.get_state()
    other.step(np.ones((2, 1)))
    other.action_space.sample()
    after = env.unwrapped.get_state()
    assert all((before[name] == after[name]).all() for name in before)


def test_one_that_was_never_reset_wants_a_reset(copied):
    env = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=2, num_threads=1)
    with pytest.raises(gymnasium.error.ResetNeeded):
        copied(env).step(np.zeros((2, 1)))
    seeded = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=2, num_threads=1)
    assert copied(seeded).np_random_seed != seeded.np_random_seed
    assert copied(seeded).np_random_seed == seeded.np_random_seed  # now that it has one


def test_a_hierarchy(copied):
    env = gymnasium.make_vec("Motrix/Go1-v0", num_envs=NUM_ENVS, num_threads=1).unwrapped
    higher = HierarchicalVectorEnv(
        env, lower, hold=2, command_space=Box(-0.5, 0.5, (3,), np.float32), blocks=["angular_velocity", "command"]
    )
    higher.reset(seed=1)
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (4, NUM_ENVS, 3))
    higher.step(actions[0])
    assert_alike(higher, copied(higher), actions[1:])


def test_another_process_goes_on(tmp_path: Path):
    env = gymnasium.make_vec("motrix_gym:Motrix/Go1-v0", num_envs=2, num_threads=1)
    env.reset(seed=0)
    env.step(np.zeros((2, 12)))
    (tmp_path / "env").write_bytes(pickle.dumps(env))
    code = (
        "import numpy, pathlib, pickle, sys\n"
        "env = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "sys.stdout.buffer.write(env.step(numpy.zeros((2, 12)))[0].tobytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "env")], capture_output=True, check=True)
    assert done.stdout == env.step(np.zeros((2, 12)))[0].tobytes()
