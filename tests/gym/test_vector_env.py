"""The vector environment beside its laws: spaces, infos, seeds, what is asked of it by name."""

import dataclasses
from dataclasses import dataclass

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from trajectories import actions_for, assert_same, play

from motrix_gym.registration import ENVS
from motrix_gym.state import TaskState
from motrix_gym.tasks.basic.cartpole import CartPole
from motrix_gym.vector_env import MotrixVectorEnv


@pytest.fixture
def envs(env_id: str) -> VectorEnv:
    """Three rows of every environment in turn, with short episodes."""
    return gymnasium.make_vec(env_id, num_envs=3, num_threads=1, max_episode_steps=4)


def test_spaces_are_float32_boxes_and_actions_are_bounded(envs):
    assert envs.single_observation_space.dtype == envs.single_action_space.dtype == np.float32
    assert np.isfinite([envs.single_action_space.low, envs.single_action_space.high]).all()
    assert envs.observation_space.shape == (3, *envs.single_observation_space.shape)


def test_blocks_cover_the_observation_in_order(envs):
    stop = 0
    for block in envs.unwrapped.observation_blocks.values():
        assert block.start == stop < block.stop
        stop = block.stop
    assert (stop,) == envs.single_observation_space.shape


def test_the_limit_is_that_of_the_registration(env_id):
    [registered] = [env for env in ENVS if env.id == env_id]
    envs = gymnasium.make_vec(env_id, num_envs=1, num_threads=1)
    assert envs.unwrapped.max_episode_steps == registered.max_episode_steps == envs.spec.max_episode_steps
    assert envs.metadata["render_fps"] == round(1 / envs.unwrapped.task.control_dt)


def test_a_video_of_slow_control_has_a_frame_a_second():
    assert gymnasium.make_vec("Motrix/Go1-v0", num_envs=1, control_dt=4.0).metadata["render_fps"] == 1


def test_same_step_autoreset_is_the_default_and_told_in_both_places(envs):
    assert envs.autoreset_mode is envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_a_mode_can_be_given_by_its_value(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=1, num_threads=1, autoreset_mode="NextStep")
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


def test_infos_are_dense_and_masked(envs):
    envs.reset(seed=0)
    actions = actions_for(envs.spec.id, 3, 4)
    for k, action in enumerate(actions, start=1):
        observation, reward, terminated, truncated, info = envs.step(action)
        for group in ("reward_terms", "termination", "metrics"):
            assert info[f"_{group}"].all()
            assert all(x.shape == (3,) for x in info[group].values())
        assert all(x.dtype == bool for x in info["termination"].values())
        assert list(info["reward_terms"]) == list(envs.unwrapped.task.weights)
        ended = terminated | truncated
        assert ("final_obs" in info) == ended.any()
        if k == 4:
            np.testing.assert_array_equal(info["_final_obs"], ended)
            np.testing.assert_array_equal(info["_final_info"], ended)
            np.testing.assert_array_equal(info["final_info"]["_reward_terms"], ended)
            assert info["final_obs"].shape == observation.shape
            assert info["final_obs"].dtype == np.float32
            assert not (info["final_obs"][ended] == observation[ended]).all()
            for name, x in info["final_info"]["reward_terms"].items():
                np.testing.assert_array_equal(x[ended], info["reward_terms"][name][ended])
    assert reward.dtype == np.float64
    assert ended.all()


def test_what_was_returned_is_no_part_of_the_state(envs):
    """Law 6: the caller may write to it."""
    envs.reset(seed=0)
    for action in actions_for(envs.spec.id, 3, 5):
        observations, rewards, terminated, truncated, info = envs.step(action)
        before = envs.unwrapped.get_state()
        groups = [info[name] for name in ("reward_terms", "termination", "metrics")]
        for x in [observations, rewards, terminated, truncated, *(x for group in groups for x in group.values())]:
            x[...] = ~x if x.dtype == bool else 77
        for name, x in envs.unwrapped.get_state().items():
            np.testing.assert_array_equal(x, before[name], err_msg=name)


def test_the_metrics_of_a_row_being_reset_are_masked_out(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=2, num_threads=1, max_episode_steps=1, autoreset_mode="NextStep")
    envs.reset(seed=0)
    action = envs.action_space.sample()
    assert envs.step(action)[4]["_metrics"].all()
    *_, info = envs.step(action)
    assert not info["_metrics"].any()
    assert not info["_reward_terms"].any()


def test_actions_outside_the_space_are_clipped_to_it(envs):
    results = []
    for factor in (1, 5):
        envs.reset(seed=0)
        observation, reward, *_ = envs.step(factor * envs.action_space.high)
        results.append((observation, reward))
    for x, y in zip(*results, strict=True):
        np.testing.assert_array_equal(x, y)


def test_infinite_actions_are_clipped_too(envs):
    envs.reset(seed=0)
    expected = envs.step(envs.action_space.low)[0]
    envs.reset(seed=0)
    np.testing.assert_array_equal(envs.step(np.full(envs.action_space.shape, -np.inf))[0], expected)


def test_actions_may_be_lists(envs):
    envs.reset(seed=0)
    action = envs.action_space.sample()
    expected = envs.step(action)[0]
    envs.reset(seed=0)
    np.testing.assert_array_equal(envs.step(action.tolist())[0], expected)


def test_seeds_are_reported_by_row(envs):
    envs.reset(seed=7)
    assert envs.unwrapped.np_random_seed == (7, 8, 9)
    envs.reset(seed=[1, None, 2**80])
    assert envs.unwrapped.np_random_seed == (1, 8, 2**80)
    envs.reset(seed=40, options={"reset_mask": np.array([False, True, False])})
    assert envs.unwrapped.np_random_seed == (1, 41, 2**80)
    saved = envs.unwrapped.get_state()
    envs.unwrapped.set_state(saved)
    assert envs.unwrapped.np_random_seed == (1, 41, 2**80)
    envs.reset(seed=[1, 5, 6])
    envs.unwrapped.set_state(saved)
    assert envs.unwrapped.np_random_seed == (1, -1, -1)


def test_without_a_seed_no_two_environments_are_alike(env_id):
    first, second = (gymnasium.make_vec(env_id, num_envs=2, num_threads=1).reset()[0] for _ in range(2))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


def test_asking_for_seeds_begins_no_episode(envs):
    assert len(envs.unwrapped.np_random_seed) == 3
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(envs.action_space.sample())


def test_a_None_among_seeds_lets_a_stream_go_on(envs):
    envs.reset(seed=0)
    expected, _ = envs.reset()
    envs.reset(seed=0)
    observation, _ = envs.reset(seed=[5, None, 5])
    np.testing.assert_array_equal(observation[1], expected[1])
    np.testing.assert_array_equal(observation[0], observation[2])


def test_the_callers_options_are_left_alone(envs):
    envs.reset(seed=0)
    options = {"reset_mask": np.array([True, False, False])}
    envs.reset(options=options)
    assert options["reset_mask"].tolist() == [True, False, False]


def test_call_and_get_attr_have_a_value_for_every_row(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=2, num_threads=1)
    assert envs.call("render_size") == ((480, 360), (480, 360))
    assert envs.get_attr("max_episode_steps") == (gymnasium.spec(env_id).max_episode_steps,) * 2
    assert envs.get_attr("observation_space") == (envs.single_observation_space,) * 2
    assert envs.get_attr("action_space") == (envs.single_action_space,) * 2
    envs.reset(seed=3)
    assert envs.get_attr("np_random_seed") == (3, 4)
    if envs.unwrapped.state_space is not None:
        np.testing.assert_array_equal(envs.call("state"), envs.unwrapped.state())
        assert envs.call("state")[1].shape == envs.unwrapped.state_space.shape


def test_the_fields_of_the_task_are_the_keyword_arguments(env_id):
    task = gymnasium.make_vec(env_id, num_envs=1, num_threads=1).unwrapped.task
    term = next(iter(task.weights))
    changed = gymnasium.make_vec(env_id, num_envs=1, num_threads=1, reward_weights={term: 0.125})
    assert changed.unwrapped.task.weights == {**task.weights, term: 0.125}


def test_the_physics_threads_can_be_chosen(env_id):
    assert gymnasium.make_vec(env_id, num_envs=3, num_threads=2).unwrapped.num_threads == 2


def test_closing_twice_is_closing_once(envs):
    envs.close()
    envs.close()
    assert envs.closed


@dataclass(frozen=True)
class Dice(TaskState):
    """What was drawn last, (N, 6)."""

    drawn: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Gambler(CartPole):
    """A CartPole that draws numbers in every step and shows them."""

    def reset(self, rng):
        qpos, qvel, _ = super().reset(rng)
        return qpos, qvel, Dice(rng.uniform(size=6))

    def observe(self, physics, task_state):
        return {**super().observe(physics, task_state), "dice": task_state.drawn}

    def next_state(self, t, rng):
        return dataclasses.replace(t.state, drawn=rng.uniform(size=6))


def test_no_random_number_is_drawn_twice(mode):
    envs = MotrixVectorEnv(Gambler(), 4, max_episode_steps=5, num_threads=1, autoreset_mode=mode)
    resets = {(1, 2), (2, 2), (2, 7)}
    events = play(envs, 3, np.zeros((20, 4, 1)), resets)
    drawn = [e["begin" if "begin" in e else "observation"][4:] for row in events for e in row]
    assert len(drawn) > 4 * 20 + 4 + len(resets)
    assert len(np.unique(np.concatenate(drawn))) == 6 * len(drawn)


def test_draws_in_every_step_are_those_of_the_row_alone(mode):
    actions = np.random.default_rng(0).uniform(-3, 3, (40, 4, 1))
    resets = {(1, 2), (2, 2), (2, 7)}
    together = MotrixVectorEnv(Gambler(), 4, max_episode_steps=25, num_threads=2, autoreset_mode=mode)
    for row, events in enumerate(play(together, 3, actions, resets)):
        alone = MotrixVectorEnv(Gambler(), max_episode_steps=25, num_threads=1)
        [expected] = play(alone, 3 + row, actions[:, row : row + 1], {(0, k) for r, k in resets if r == row})
        assert_same(expected, events)


@pytest.mark.parametrize("part", ["qpos", "qvel"])
def test_an_edit_that_would_be_ignored_is_refused_and_changes_nothing(part):
    """The simulation counts: its positions and velocities stand in the state once more, to be read."""
    envs = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=3, num_threads=1)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    present, edited = envs.unwrapped.get_state(), envs.unwrapped.get_state()
    edited[part][1] += 0.1
    with pytest.raises(ValueError, match=f"state '{part}' of environments 1 was edited, and would be ignored"):
        envs.unwrapped.set_state(edited)
    after = envs.unwrapped.get_state()
    assert all(np.array_equal(present[name], after[name]) for name in present)
    edited = present | {"simulation": present["simulation"] + 0.0}
    edited["simulation"][1, 1] += 0.1
    envs.unwrapped.set_state(edited)
    envs.close()
