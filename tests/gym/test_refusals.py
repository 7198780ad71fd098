"""Bad input is refused at once, with the value and the remedy in one line; nothing is half done."""

import dataclasses
import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from motrix_gym.hierarchy import HierarchicalVectorEnv

CARTPOLE, GO1, MULTI = "Motrix/CartPole-v0", "Motrix/Go1-v0", "Motrix/MultiTask-v0"

BAD_KWARGS = [
    (CARTPOLE, {"num_envs": 0}, ValueError, ["num_envs is 0", "at least 1"]),
    (CARTPOLE, {"num_envs": -3}, ValueError, ["num_envs is -3", "at least 1"]),
    (CARTPOLE, {"num_envs": 2.0}, ValueError, ["num_envs is 2.0", "integer"]),
    (CARTPOLE, {"num_envs": True}, ValueError, ["num_envs is True", "integer"]),
    (CARTPOLE, {"num_threads": -1}, ValueError, ["num_threads is -1", "at least 0"]),
    (CARTPOLE, {"num_threads": "all"}, ValueError, ["num_threads is 'all'", "integer"]),
    (CARTPOLE, {"max_episode_steps": 0}, ValueError, ["max_episode_steps is 0", "at least 1"]),
    (CARTPOLE, {"autoreset_mode": "Sometimes"}, ValueError, ["'Sometimes'", "'SameStep'", "'NextStep'", "'Disabled'"]),
    (CARTPOLE, {"render_mode": "depth_array"}, ValueError, ["'depth_array'", "'rgb_array'"]),
    (CARTPOLE, {"render_size": 480}, ValueError, ["render_size is 480", "width and a height"]),
    (CARTPOLE, {"render_size": (480,)}, ValueError, ["render_size is (480,)", "width and a height"]),
    (CARTPOLE, {"render_size": (480, -1)}, ValueError, ["render_size is -1", "at least 1"]),
    (CARTPOLE, {"control_dt": 0.025}, ValueError, ["0.025 s", "0.01 s", "0.02 s"]),
    (GO1, {"control_dt": 0.001}, ValueError, ["0.001 s", "0.005 s"]),
    (CARTPOLE, {"control_dt": 0.0}, ValueError, ["control_dt is 0.0;", "above 0, up to 10"]),
    (CARTPOLE, {"control_dt": -0.01}, ValueError, ["control_dt is -0.01;", "above 0, up to 10"]),
    (GO1, {"control_dt": 1e9}, ValueError, ["control_dt is 1000000000.0;", "above 0, up to 10"]),
    (CARTPOLE, {"control_dt": float("nan")}, TypeError, ["control_dt is nan", "finite"]),
    (CARTPOLE, {"control_dt": "0.01"}, TypeError, ["control_dt is '0.01'", "number"]),
    (CARTPOLE, {"control_dt": True}, TypeError, ["control_dt is True", "number"]),
    (CARTPOLE, {"max_angel": 0.1}, TypeError, ["'max_angel'", "did you mean 'max_angle'?"]),
    (CARTPOLE, {"colour": "red"}, TypeError, ["'colour'", "known: ", "max_angle", "start_range"]),
    (CARTPOLE, {"start_range": float("inf")}, TypeError, ["start_range is inf", "finite"]),
    (CARTPOLE, {"start_range": 1e300}, ValueError, ["cannot begin at qpos [", "e+299", "reset()"]),
    (CARTPOLE, {"reward_weights": {"aliev": 1.0}}, ValueError, ["'aliev'", "did you mean 'alive'?"]),
    (CARTPOLE, {"reward_weights": {"alive": "much"}}, TypeError, ["reward_weights['alive'] is 'much'", "number"]),
    (CARTPOLE, {"reward_weights": {"alive": float("nan")}}, TypeError, ["reward_weights['alive'] is nan", "finite"]),
    (CARTPOLE, {"reward_weights": 2.0}, TypeError, ["reward_weights is 2.0", "mapping"]),
    (GO1, {"command_low": (0.0, 0.0)}, TypeError, ["command_low is (0.0, 0.0)", "3 values"]),
    (GO1, {"command_low": [0.0, "left", 0.0]}, TypeError, ["command_low[1] is 'left'", "number"]),
    (GO1, {"terrain": {"noise": 0.1}, "terrain_levels": 10**6}, ValueError, ["terrain_levels is 1000000", "1 to 100"]),
    ("Motrix/AnymalCNavigation-v0", {"position_tolerance": 1e9}, ValueError, ["position_tolerance", "up to 5"]),
]

BAD_ACTIONS = [
    (np.zeros(1), ["(1,)", "(3, 1)"]),
    (np.zeros((2, 1)), ["(2, 1)", "(3, 1)"]),
    (np.zeros((3, 2)), ["(3, 2)", "(3, 1)"]),
    (np.array([[0.0], [np.nan], [np.nan]]), ["environments 1, 2", "NaN"]),
]

BAD_SEEDS = [
    (-1, ["seed is -1", "at least 0"]),
    (1.5, ["seed is 1.5", "integer"]),
    ("zero", ["seed has 4 entries for 3 environments"]),
    (True, ["seed is True", "integer"]),
    ([1, 2], ["seed has 2 entries for 3 environments", "one integer"]),
    ([1, -2, 3], ["seed[1] is -2", "at least 0"]),
    ([1, 2.5, 3], ["seed[1] is 2.5", "integer"]),
    (np.array([1.0, 2.0, 3.0]), ["seed[0] is", "integer"]),
]

BAD_MASKS = [
    ([True, False, False], ["[True, False, False]", "NumPy array of 3 bools"]),
    (np.array([1, 0, 0]), ["int64 (3,)", "3 bools"]),
    (np.array([True, False]), ["bool (2,)", "3 bools"]),
    (np.zeros(3, dtype=bool), ["no True"]),
]


@pytest.fixture
def envs():
    """Three CartPoles in the midst of their first episode."""
    envs = gymnasium.make_vec(CARTPOLE, num_envs=3, num_threads=1)
    envs.reset(seed=0)
    envs.step(np.ones((3, 1)))
    return envs


def assert_says(caught: pytest.ExceptionInfo, words: list[str]) -> None:
    """The message is one line with all the words."""
    message = str(caught.value)
    assert "\n" not in message
    assert not [word for word in words if word not in message], message


def assert_untouched(envs) -> None:
    """The environment goes on as one to which nothing was done."""
    other = gymnasium.make_vec(CARTPOLE, num_envs=3, num_threads=1)
    other.reset(seed=0)
    other.step(np.ones((3, 1)))
    assert envs.unwrapped.np_random_seed == other.unwrapped.np_random_seed
    saved, expected = envs.unwrapped.get_state(), other.unwrapped.get_state()
    for name, x in expected.items():
        np.testing.assert_array_equal(saved[name], x, err_msg=name)


@pytest.mark.parametrize(("env_id", "kwargs", "error", "words"), BAD_KWARGS, ids=lambda x: str(x)[:40])
@pytest.mark.filterwarnings("ignore:.*not in the possible render_modes.*")
def test_bad_keyword_arguments(env_id, kwargs, error, words):
    with pytest.raises(error) as caught:
        gymnasium.make_vec(env_id, **{"num_envs": 2, "num_threads": 1, **kwargs}).reset(seed=0)
    assert_says(caught, words)
    if set(kwargs) <= {"num_envs", "num_threads", "autoreset_mode", "max_episode_steps"}:
        return
    with pytest.raises(error) as caught:
        gymnasium.make(env_id, **kwargs).reset(seed=0)
    assert_says(caught, words)


@pytest.mark.parametrize("limit", [0, -2, 1.5, "ten"])
def test_time_limits_that_are_none_are_refused_by_both(limit):
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises((TypeError, ValueError), match="max_episode_steps"):
            make(CARTPOLE, max_episode_steps=limit)


def test_a_time_limit_of_minus_one_is_none_in_both():
    """As Gymnasium's documentation of `make` has it."""
    env, envs = (make(CARTPOLE, max_episode_steps=-1, max_angle=9.0) for make in (gymnasium.make, gymnasium.make_vec))
    assert envs.unwrapped.max_episode_steps is None
    env.reset(seed=0)
    envs.reset(seed=0)
    for _ in range(gymnasium.spec(CARTPOLE).max_episode_steps + 1):
        assert not env.step(np.zeros(1, np.float32))[3]
        assert not envs.step(np.zeros((1, 1)))[3].any()


@pytest.fixture
def evil(tmp_path, monkeypatch) -> Path:
    """What is there once somebody has imported `evil_mod`, which can be imported and has a task."""
    imported = tmp_path / "imported"
    lines = [f"open({str(imported)!r}, 'w').close()", "from motrix_gym.tasks.basic.cartpole import CartPole as X"]
    (tmp_path / "evil_mod.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    return imported


EVIL_FIELDS = [
    (CARTPOLE, {"task": "evil_mod:X"}, TypeError, ["CartPole got an unexpected keyword argument 'task'"]),
    (MULTI, {"task": "evil_mod:X"}, TypeError, ["'task'; did you mean 'tasks'?"]),
    (
        MULTI,
        {"tasks": [{"id": CARTPOLE, "kwargs": {"task": "evil_mod:X"}}]},
        TypeError,
        ["tasks[0]: CartPole got an unexpected keyword argument 'task'"],
    ),
    (MULTI, {"tasks": [{"id": CARTPOLE, "task": "evil_mod:X"}]}, TypeError, ["tasks[0]: Member", "'task'"]),
    (
        MULTI,
        {"tasks": [{"id": f"evil_mod:{CARTPOLE}"}]},
        ValueError,
        [f"tasks[0]: 'evil_mod:{CARTPOLE}' is of a module that is not imported; import evil_mod first"],
    ),
    (MULTI, {"tasks": [{"id": "Evil/X-v0"}]}, gymnasium.error.Error, ["tasks[0]", "once the package is imported"]),
]


@pytest.mark.parametrize(("env_id", "kwargs", "error", "words"), EVIL_FIELDS, ids=lambda x: str(x)[:60])
def test_fields_name_no_code(evil, env_id, kwargs, error, words):
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(error) as caught:
            make(env_id, **kwargs)
        assert_says(caught, words)
    assert not evil.exists()


def test_the_module_of_an_id_may_stand_before_it_once_it_is_imported():
    tasks = [{"id": f"motrix_gym:{CARTPOLE}"}]
    assert gymnasium.make_vec(MULTI, tasks=tasks).unwrapped.task_names == ("CartPole",)


def strange(default: object) -> st.SearchStrategy:
    """Values like a default of a field, some of them senseless."""
    match default:
        case None:
            return st.sampled_from([None, (), ("nonsense",), "nonsense", 1])
        case bool():
            return st.booleans()
        case int():
            return st.integers(-2, 12) | st.just(10**6)
        case float():
            return st.sampled_from([0.0, -1.0, 1e-9, 1.0, 1e9, float("nan"), float("inf")])
        case str():
            return st.sampled_from(["", "nonsense"])
        case tuple() | list():
            alike = strange(default[0]).map(lambda x: len(default) * (x,))
            return alike | st.tuples(*map(strange, default)) | st.sampled_from([default[:-1], default[::-1]])
        case dict():
            return st.fixed_dictionaries(
                {}, optional={"nonsense": st.just(1.0), **{k: strange(default[k]) for k in default}}
            )
    raise AssertionError(f"{default!r} is of no kind that a field is")


@settings(max_examples=15)
@given(data=st.data())
def test_a_field_is_refused_by_its_name_or_works(env_id, data):
    task = gymnasium.make_vec(env_id, num_envs=1, num_threads=1).unwrapped.task
    fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(strange(fields[name]))
    message = ""
    try:
        envs = gymnasium.make_vec(env_id, num_envs=2, num_threads=1, **{name: value})
    except (ValueError, TypeError) as refusal:
        message = str(refusal)
    if message:
        assert name in message
        assert "\n" not in message
        return
    envs.reset(seed=0)
    observations, rewards, *_ = envs.step(np.full(envs.action_space.shape, 0.5))
    assert np.isfinite(observations).all()
    assert np.isfinite(rewards).all()


def test_the_single_environment_has_no_rows_and_threads():
    with pytest.raises(TypeError, match="CartPole got an unexpected keyword argument 'num_threads'"):
        gymnasium.make(CARTPOLE, num_threads=2)


def test_unknown_environments_are_gymnasiums_to_refuse():
    with pytest.raises(gymnasium.error.NameNotFound, match="Did you mean: `CartPole`"):
        gymnasium.make_vec("Motrix/CartPol-v0", num_envs=1)
    with pytest.raises(gymnasium.error.VersionNotFound):
        gymnasium.make_vec("Motrix/CartPole-v7", num_envs=1)


@pytest.mark.parametrize(("action", "words"), BAD_ACTIONS, ids=["flat", "few", "wide", "nan"])
def test_bad_actions(envs, action, words):
    with pytest.raises(ValueError, match="actions") as caught:
        envs.step(action)
    assert_says(caught, words)
    assert_untouched(envs)


@pytest.mark.parametrize("action", [np.zeros(2), np.zeros((1, 1)), np.array([np.nan])], ids=["wide", "deep", "nan"])
def test_bad_actions_of_the_single_environment(action):
    env = gymnasium.make(CARTPOLE, disable_env_checker=True)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions"):
        env.step(action)


@pytest.mark.parametrize(("seed", "words"), BAD_SEEDS, ids=lambda x: str(x)[:20])
def test_bad_seeds(envs, seed, words):
    with pytest.raises(ValueError, match="seed") as caught:
        envs.reset(seed=seed)
    assert_says(caught, words)
    assert_untouched(envs)


@pytest.mark.parametrize(("mask", "words"), BAD_MASKS, ids=["list", "int", "short", "empty"])
def test_bad_masks(envs, mask, words):
    with pytest.raises(ValueError, match="reset_mask") as caught:
        envs.reset(options={"reset_mask": mask})
    assert_says(caught, words)
    assert_untouched(envs)


BAD_OPTIONS = [
    ({"mask": np.ones(3, dtype=bool)}, ["'mask'", "known: reset_mask"]),
    ({"reset_maks": np.ones(3, dtype=bool)}, ["'reset_maks'", "did you mean 'reset_mask'?"]),
    ({"reset_mask": np.ones(3, dtype=bool), "seed": 3}, ["'seed'", "known: reset_mask"]),
    ([True], ["options is [True]", "dictionary"]),
]


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS, ids=lambda x: str(x)[:20])
def test_bad_options(envs, options, words):
    joined = gymnasium.make_vec("Motrix/MultiTask-v0", num_envs=3, num_threads=1)
    walking = gymnasium.make_vec(GO1, num_envs=3, num_threads=1).unwrapped
    low_level, space = lambda x: np.zeros((len(x), 12)), gymnasium.spaces.Box(-1, 1, (3,))
    for others in (envs, joined, HierarchicalVectorEnv(walking, low_level, hold=2, command_space=space)):
        with pytest.raises(ValueError, match="option") as caught:
            others.reset(options=options)
        assert_says(caught, words)
    assert_untouched(envs)


def test_a_step_before_the_first_reset():
    for make in (lambda: gymnasium.make_vec(CARTPOLE, num_envs=1), lambda: gymnasium.make(CARTPOLE).unwrapped):
        env = make()
        with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
            env.step(env.action_space.sample())


def test_a_first_reset_that_leaves_rows_out():
    envs = gymnasium.make_vec(CARTPOLE, num_envs=3, num_threads=1)
    with pytest.raises(gymnasium.error.ResetNeeded, match="environments 0, 2; the first reset"):
        envs.reset(seed=0, options={"reset_mask": np.array([False, True, False])})
    envs.reset(seed=0, options={"reset_mask": np.ones(3, dtype=bool)})
    envs.step(np.zeros((3, 1)))


def test_a_step_after_an_end_that_nobody_reset():
    envs = gymnasium.make_vec(
        CARTPOLE, num_envs=2, num_threads=1, max_episode_steps=1, autoreset_mode=AutoresetMode.DISABLED
    )
    envs.reset(seed=0)
    envs.step(np.zeros((2, 1)))
    envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"environments 1 have ended.*reset_mask"):
        envs.step(np.zeros((2, 1)))


def test_states_of_others(envs):
    state = envs.unwrapped.get_state()
    others = [
        gymnasium.make_vec(CARTPOLE, num_envs=2, num_threads=1),
        gymnasium.make_vec(GO1, num_envs=3, num_threads=1),
    ]
    for other in others:
        with pytest.raises(ValueError, match="the kwargs and the num_envs it was saved with") as caught:
            other.unwrapped.set_state(state)
        assert_says(caught, ["state '"])
    for wrong in ({**state, "counter": state["counter"].astype(float)}, {**state, "mood": np.zeros(3)}):
        with pytest.raises(ValueError, match=r"counter|mood"):
            envs.unwrapped.set_state(wrong)
    del state["elapsed"]
    with pytest.raises(ValueError, match="'elapsed' is None"):
        envs.unwrapped.set_state(state)
    assert_untouched(envs)


def test_frames_without_a_render_mode(envs):
    with pytest.raises(RuntimeError, match='render_mode="rgb_array"'):
        envs.unwrapped.render_envs([0])


def test_keyword_arguments_are_plain_json(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=1, num_threads=1)
    fields = json.loads(json.dumps(dataclasses.asdict(envs.unwrapped.task)))
    again = gymnasium.make_vec(env_id, num_envs=1, num_threads=1, **fields)
    assert again.unwrapped.task == envs.unwrapped.task
