"""The environments among Gymnasium's own parts: wrappers, specs, vectorisers, a fresh process."""

import dataclasses
import importlib.util
import multiprocessing
import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from trajectories import actions_for

from motrix_gym.registration import ENVS
from motrix_gym.testing import check_vector_env

NEXT_STEP = AutoresetMode.NEXT_STEP


def in_a_fresh_process(code: str) -> str:
    """What Python code prints."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_id_with_the_package_before_it_needs_no_import():
    code = (
        "import gymnasium, sys\n"
        f"for id in {[env.id for env in ENVS]}:\n"
        "    envs = gymnasium.make_vec(f'motrix_gym:{id}', num_envs=2, num_threads=1)\n"
        "    print(envs.reset(seed=0)[0].shape[0], gymnasium.make(f'motrix_gym:{id}').spec.id == id)\n"
    )
    assert in_a_fresh_process(code).splitlines() == ["2 True"] * len(ENVS)


def test_importing_brings_no_learning_library_and_no_task():
    code = (
        "import motrix_gym, sys\n"
        "print(sorted(m for m in sys.modules if m.partition('.')[0] in {'torch', 'jax', 'skrl', 'typer'}"
        " or m.startswith('motrix_gym.tasks.')))"
    )
    assert in_a_fresh_process(code) == "[]"


def test_ids_are_registered_once():
    ids = [env.id for env in ENVS]
    assert len(set(ids)) == len(ids)
    assert all(id in gymnasium.registry for id in ids)


@pytest.mark.parametrize("vector", [False, True], ids=["single", "vector"])
def test_a_spec_goes_through_json_and_pickle(env_id, vector):
    make = gymnasium.make_vec if vector else gymnasium.make
    kwargs = {"num_envs": 2, "autoreset_mode": "NextStep", "num_threads": 1} if vector else {"max_episode_steps": 7}
    env = make(env_id, reward_weights={}, **kwargs)
    spec = EnvSpec.from_json(env.spec.to_json())
    assert spec == env.spec == pickle.loads(pickle.dumps(env.spec))
    again = make(spec)
    assert again.spec == env.spec
    assert again.unwrapped.task == env.unwrapped.task
    if vector:
        assert again.num_envs == 2
        assert again.metadata["autoreset_mode"] is NEXT_STEP


def as_numpy(value: object) -> object:
    """A field as a program has it that computes with NumPy."""
    match value:
        case None:
            return None
        case bool() | int() | float() | str():
            return np.array(value)[()]
        case dict():
            return {name: as_numpy(x) for name, x in value.items()}
        case (float(), *_):
            return np.array(value)
        case tuple():
            return [as_numpy(x) for x in value]
    raise AssertionError(f"no field is a {type(value)}")


def fields_of(task: Any) -> dict[str, object]:
    """The fields of a task by name."""
    return {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}


def kinds(value: object) -> set[type]:
    """The types of all that is in a field."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
    return {type(value)}.union(*map(kinds, inner))


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec], ids=["single", "vector"])
def test_fields_may_be_numpys(env_id, make):
    plain = fields_of(make(env_id).unwrapped.task)
    env = make(env_id, **{name: as_numpy(x) for name, x in plain.items()})
    found = fields_of(env.unwrapped.task)
    assert found == plain
    assert kinds(found) <= {bool, int, float, str, tuple, dict, type(None)}
    spec = EnvSpec.from_json(env.spec.to_json())
    assert spec == env.spec
    assert make(spec).unwrapped.task == env.unwrapped.task


def test_numpys_other_numbers_are_taken_for_what_they_are():
    fields = {"max_angle": np.float32(0.3), "start_range": np.array(0.25), "reward_weights": {"alive": np.int8(2)}}
    envs = gymnasium.make_vec(
        "Motrix/CartPole-v0",
        num_threads=np.int64(1),
        render_size=np.array([64, 48]),
        autoreset_mode=NEXT_STEP,
        **fields,
    )
    assert envs.unwrapped.task.max_angle == pytest.approx(0.3)
    assert envs.unwrapped.task == gymnasium.make_vec(EnvSpec.from_json(envs.spec.to_json())).unwrapped.task
    with pytest.raises(TypeError, match="swing_up is 1; it takes true or false"):
        gymnasium.make_vec("Motrix/CartPoleSwingup-v0", swing_up=np.int64(1))
    with pytest.raises(TypeError, match=r"command_low is .*; it takes 3 values"):
        gymnasium.make_vec("Motrix/Go1-v0", command_low=np.zeros(2))


def test_gymnasium_collects_frames(env_id, opengl):
    env = gymnasium.make(env_id, render_mode="rgb_array_list", render_size=(64, 48))
    env.reset(seed=0)
    env.step(np.zeros(env.action_space.shape, np.float32))
    frames = env.render()
    assert [physics.shape for physics in frames] == [(48, 64, 3)] * 2
    assert env.spec.kwargs["render_mode"] == "rgb_array"
    assert EnvSpec.from_json(env.spec.to_json()) == env.spec
    env.close()


def test_gymnasium_shows_frames_to_people(env_id, opengl, monkeypatch):
    """As far as it goes without a screen: pygame is Gymnasium's to ask for."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with pytest.warns(UserWarning, match="HumanRendering wrapper is being applied"):
        env = gymnasium.make(env_id, render_mode="human", render_size=(64, 48))
    assert env.render_mode == "human"
    if importlib.util.find_spec("pygame") is None:
        with pytest.raises(gymnasium.error.DependencyNotInstalled, match="pygame is not installed"):
            env.reset(seed=0)
    else:
        env.reset(seed=0)
        env.step(env.action_space.sample())
    env.close()


def test_a_library_that_tries_arguments_goes_on_without_them(env_id):
    """TorchRL gives every environment of Gymnasium's a `frameskip`, and looks for Python's words in the refusal."""
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'frameskip'.* \(known: "):
            make(env_id, frameskip=1)


def test_episode_statistics_are_recorded(env_id):
    limit = 5
    envs = gymnasium.make_vec(env_id, num_envs=3, num_threads=1, max_episode_steps=limit)
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    envs.reset(seed=0)
    returns, lengths = np.zeros(3), np.zeros(3, dtype=int)
    recorded = []
    for action in actions_for(env_id, 3, 2 * limit):
        _, rewards, terminated, truncated, info = envs.step(action)
        returns, lengths = returns + rewards, lengths + 1
        ended = terminated | truncated
        if ended.any():
            np.testing.assert_array_equal(info["_episode"], ended)
            np.testing.assert_allclose(info["episode"]["r"][ended], returns[ended], rtol=1e-6)
            np.testing.assert_array_equal(info["episode"]["l"][ended], lengths[ended])
            recorded += lengths[ended].tolist()
            returns, lengths = returns * ~ended, lengths * ~ended
    assert len(recorded) >= 6


def test_statistics_outlive_a_reset_by_mask(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=2, num_threads=1, max_episode_steps=3, autoreset_mode="Disabled")
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    envs.reset(seed=0)
    for _ in range(2):
        for _ in range(3):
            *_, info = envs.step(np.zeros(envs.action_space.shape))
        assert info["episode"]["l"].tolist() == [3, 3]
        envs.reset(options={"reset_mask": np.ones(2, dtype=bool)})


def test_gymnasiums_wrappers_of_observations_and_rewards_apply(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=2, num_threads=1, autoreset_mode="NextStep")
    envs = gymnasium.wrappers.vector.NormalizeObservation(gymnasium.wrappers.vector.ClipReward(envs, -1, 1))
    envs.reset(seed=0)
    observation, reward, *_ = envs.step(envs.action_space.sample())
    assert np.isfinite(observation).all()
    assert (np.abs(reward) <= 1).all()


def test_gymnasium_can_step_single_environments_instead(env_id):
    limit = {"max_episode_steps": 20}
    actions = actions_for(env_id, 2, 45)
    results = []
    for how in ("sync", "vector_entry_point"):
        own = {} if how == "sync" else {"num_threads": 1, "autoreset_mode": "NextStep"}
        envs = gymnasium.make_vec(env_id, num_envs=2, vectorization_mode=how, **limit, **own)
        first, _ = envs.reset(seed=9)
        clipped = np.clip(actions, envs.action_space.low, envs.action_space.high).astype(np.float32)
        results.append([(first,)] + [envs.step(action)[:4] for action in clipped])
    for mine, gymnasiums in zip(*results, strict=True):
        for x, y in zip(mine[:3], gymnasiums[:3], strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", sorted(set(multiprocessing.get_all_start_methods()) & {"fork", "spawn"}))
@pytest.mark.parametrize("some_id", ["Motrix/CartPole-v0", "Motrix/Go1-v0"])
def test_gymnasium_can_step_them_in_processes_instead(some_id, method):
    limit = {"max_episode_steps": 7}
    theirs = gymnasium.make_vec(
        some_id, num_envs=2, vectorization_mode="async", vector_kwargs={"context": method}, **limit
    )
    ours = gymnasium.make_vec(some_id, num_envs=2, num_threads=1, autoreset_mode="NextStep", **limit)
    np.testing.assert_array_equal(ours.reset(seed=9)[0], theirs.reset(seed=9)[0])
    for action in actions_for(some_id, 2, 17):
        action = np.clip(action, ours.action_space.low, ours.action_space.high).astype(np.float32)
        for mine, gymnasiums in zip(ours.step(action)[:4], theirs.step(action)[:4], strict=True):
            np.testing.assert_array_equal(mine, gymnasiums)
    theirs.close()


def test_wrapped_environments_keep_the_laws():
    envs = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=3, num_threads=1, max_episode_steps=25)
    report = check_vector_env(gymnasium.wrappers.vector.RecordEpisodeStatistics(envs), steps=60)
    assert {"autoreset", "ownership", "independence", "position", "reset_mask"} <= set(report.checked)
