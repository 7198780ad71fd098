"""`gymnasium.make`: one row of the vector environment behind Gymnasium's own wrappers."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import ClipAction, TimeLimit


@pytest.fixture
def env(env_id: str) -> gymnasium.Env:
    """Every environment in turn."""
    return gymnasium.make(env_id, max_episode_steps=5)


def test_gymnasiums_checker_passes_without_a_warning(env_id):
    env = gymnasium.make(env_id, disable_env_checker=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Box observation space (min|max)imum value is -?inf.*")
        warnings.filterwarnings("ignore", message=".*recommend using a symmetric and normalized space.*")
        check_env(env.unwrapped, skip_render_check=True)


def test_it_has_the_spaces_of_a_row(env, env_id):
    envs = gymnasium.make_vec(env_id, num_envs=2, num_threads=1)
    assert env.observation_space == envs.single_observation_space
    assert env.action_space == envs.single_action_space
    assert env.unwrapped.observation_blocks == envs.unwrapped.observation_blocks
    assert env.spec.max_episode_steps == 5


def test_results_are_plain_numbers(env):
    observation, info = env.reset(seed=0)
    assert observation.shape == env.observation_space.shape
    assert info == {}
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert observation.dtype == np.float32
    assert [type(x) for x in (reward, terminated, truncated)] == [float, bool, bool]
    assert list(info)[:3] == ["reward_terms", "termination", "metrics"]
    assert all(type(x) in (bool, int) for x in list(info.values())[3:])
    assert all(type(x) is float for x in (info["reward_terms"] | info["metrics"]).values())
    assert all(type(x) is bool for x in info["termination"].values())
    assert sum(info["reward_terms"].values()) == pytest.approx(reward, abs=1e-12)


def test_the_time_limit_is_gymnasiums(env):
    env.reset(seed=0)
    truncations = [env.step(np.zeros(env.action_space.shape))[3] for _ in range(5)]
    assert truncations == [False] * 4 + [True]
    assert env.unwrapped.get_state()["elapsed"] == 5


def test_the_seed_is_reported(env):
    env.reset(seed=11)
    assert env.unwrapped.np_random_seed == 11


def test_a_saved_state_goes_on(env):
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(4)]
    observation = env.step(actions[0])[0]
    state = env.unwrapped.get_state()
    expected = [env.step(action)[:3] for action in actions[1:]]
    np.testing.assert_array_equal(env.unwrapped.set_state(state), observation)
    for (x, *rest), action in zip(expected, actions[1:], strict=True):
        y, *others = env.unwrapped.step(action)[:3]
        np.testing.assert_array_equal(x, y)
        assert rest == others


@pytest.mark.parametrize(("limit", "wrap"), [(5, lambda env: env), (4, lambda env: ClipAction(TimeLimit(env, 4)))])
def test_the_steps_that_a_time_limit_has_counted_are_in_the_state(env_id, limit, wrap):
    """Law 8: a state goes on to its limit from wherever it is set, with more steps behind it and with fewer."""
    env, other = (wrap(gymnasium.make(env_id, max_episode_steps=5)) for _ in range(2))
    action = np.zeros(env.action_space.shape)

    def truncations(env: gymnasium.Env) -> list[bool]:
        """What each step to the end of the episode says."""
        said = [env.step(action)[3]]
        while not said[-1]:
            said.append(env.step(action)[3])
        return said

    env.reset(seed=0)
    states = [env.unwrapped.get_state()]
    for _ in range(3):
        env.step(action)
        states.append(env.unwrapped.get_state())
    other.reset(seed=1)
    for elapsed in (3, 0, 2, 1):
        for somewhere in (env, other):
            somewhere.unwrapped.set_state(states[elapsed])
            assert truncations(somewhere) == [False] * (limit - elapsed - 1) + [True]
            somewhere.reset()
            assert truncations(somewhere) == [False] * (limit - 1) + [True]
            somewhere.reset()


@pytest.mark.parametrize("options", [{"mask": np.array([True])}, {"reset_mask": np.array([True])}, [1]])
def test_options_are_refused(env, options):
    env.reset(seed=0, options={})
    with pytest.raises(ValueError, match="option"):
        env.unwrapped.reset(options=options)


def test_an_episode_that_ended_wants_a_reset(env_id):
    env = gymnasium.make(env_id).unwrapped
    env.reset(seed=0)
    state = env.get_state()
    state["simulation"][:] = np.nan
    env.set_state(state)
    assert env.step(np.zeros(env.action_space.shape))[2]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(env.action_space.shape))
    env.reset()
    env.step(np.zeros(env.action_space.shape))


def test_without_a_render_mode_there_is_no_picture_but_a_warning(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=2, num_threads=1)
    for env in (gymnasium.make(env_id).unwrapped, envs):
        env.reset(seed=0)
        with pytest.warns(UserWarning, match=f'without specifying any render mode.*"{env_id}"'):
            assert env.render() is None
    with pytest.warns(UserWarning, match="without specifying any render mode"):
        assert envs.call("render") == (None, None)
