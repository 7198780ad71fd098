"""What the policy sees: some blocks of the observation, of some steps."""

import functools
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from trajectories import actions_for, play

from motrix_gym.batch_vector_env import BatchVectorEnv
from motrix_gym.hierarchy import HierarchicalVectorEnv
from motrix_gym.testing import check_vector_env

CARTPOLE, GO1 = "Motrix/CartPole-v0", "Motrix/Go1-v0"
NOISE = {"linear_velocity": 0.1, "joint_velocity": 1.5, "gravity": 0.05}
SUBJECTS = [
    (CARTPOLE, {}),
    ("Motrix/FingerTurnEasy-v0", {}),
    (GO1, {"observation_noise": NOISE, "height_scan": True}),
    ("Motrix/AnymalCNavigation-v0", {}),
    ("Motrix/FrankaOpenCabinet-v0", {}),
]
NUM_ENVS, NUM_ACTIONS = 3, 14

PAGE = (Path(__file__).parents[2] / "docs" / "vector_env.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=SUBJECTS, ids=[env_id for env_id, _ in SUBJECTS])
def subject(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """An id, and fields of its task."""
    return request.param


@pytest.fixture(scope="module")
def env_id(subject: tuple[str, dict[str, Any]]) -> str:
    return subject[0]


@pytest.fixture(scope="module")
def fields(subject: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return subject[1]


def make(env_id: str, num_envs: int = NUM_ENVS, **kwargs: Any) -> BatchVectorEnv:
    """The vector environment of an id."""
    return gymnasium.make_vec(env_id, num_envs=num_envs, num_threads=1, **kwargs).unwrapped  # type: ignore[return-value]


def test_the_page_says_what_happens(capsys):
    [example] = re.findall(r"^## What is observed$.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(example, {"gymnasium": gymnasium})
    assert f"# {capsys.readouterr().out.replace(', None)', ')').strip()}:" in example


@functools.cache
def blocks_of(env_id: str, **flags: bool) -> dict[str, slice]:
    """The columns of all blocks."""
    return make(env_id, 1, **flags).observation_blocks


def all_blocks(env_id: str, fields: dict[str, Any]) -> dict[str, slice]:
    return blocks_of(env_id, **{name: x for name, x in fields.items() if x is True})


def some_of(blocks: dict[str, slice]) -> st.SearchStrategy[list[str]]:
    """Some of the blocks, one at least, in their order."""
    chosen = st.sets(st.sampled_from(list(blocks)), min_size=1)
    return chosen.map(lambda names: [name for name in blocks if name in names])


def columns(blocks: dict[str, slice], names: list[str]) -> np.ndarray:
    return np.concat([np.arange(blocks[name].start, blocks[name].stop) for name in names])


def stacked(steps: list[np.ndarray], blocks: dict[str, slice], names: list[str]) -> np.ndarray:
    """What a policy sees of these steps, (k,): block by block, in each from the oldest to the newest."""
    return np.concat([step[blocks[name]] for name in names for step in steps])


@settings(max_examples=8)
@given(data=st.data())
def test_the_policy_sees_the_last_steps_of_the_blocks_that_it_observes(env_id, fields, data):
    """In every autoreset mode, and with partial resets: a history begins anew with its episode."""
    blocks = all_blocks(env_id, fields)
    observed, history = data.draw(some_of(blocks), "observed"), data.draw(st.integers(1, 5), "history")
    kwargs = {
        "max_episode_steps": data.draw(st.integers(1, NUM_ACTIONS), "max_episode_steps"),
        "autoreset_mode": data.draw(st.sampled_from(list(AutoresetMode)), "mode"),
        **fields,
    }
    when = st.tuples(st.integers(0, NUM_ENVS - 1), st.integers(0, NUM_ACTIONS - 1))
    resets = data.draw(st.sets(when, max_size=4), "resets")
    actions = actions_for(env_id, NUM_ENVS, NUM_ACTIONS, seed=3)
    whole = play(make(env_id, **kwargs), 7, actions, resets)
    found = play(make(env_id, observed=observed, history=history, **kwargs), 7, actions, resets)
    for one, other in zip(whole, found, strict=True):
        steps: list[np.ndarray] = []
        for expected, seen in zip(one, other, strict=True):
            name = "begin" if "begin" in expected else "observation"
            steps = [expected[name]] * history if name == "begin" else [*steps[1:], expected[name]]
            np.testing.assert_array_equal(seen[name], stacked(steps, blocks, observed))
            assert seen[name].dtype == np.float32
            for rest in expected.keys() - {name}:
                np.testing.assert_array_equal(seen[rest], expected[rest])


@pytest.mark.parametrize("history", [1, 3])
def test_the_blocks_say_where_their_columns_are(env_id, fields, history):
    blocks = all_blocks(env_id, fields)
    observed = list(blocks)[1:]
    envs = make(env_id, observed=observed, history=history, **fields)
    assert list(envs.observation_blocks) == observed
    assert envs.observation_history == dict.fromkeys(observed, history)
    observation, _ = envs.reset(seed=0)
    whole, _ = make(env_id, **fields).reset(seed=0)
    assert observation.shape == envs.observation_space.shape
    for name, at in envs.observation_blocks.items():
        np.testing.assert_array_equal(observation[:, at], np.tile(whole[:, blocks[name]], history))


def test_all_blocks_by_name_are_the_default(env_id, fields):
    blocks = all_blocks(env_id, fields)
    default, named = make(env_id, **fields), make(env_id, observed=list(blocks), **fields)
    assert named.observation_blocks == default.observation_blocks
    assert named.state_space == default.state_space
    np.testing.assert_array_equal(named.reset(seed=4)[0], default.reset(seed=4)[0])


@pytest.mark.parametrize("history", [1, 3])
def test_a_critic_sees_the_other_blocks_without_noise(env_id, fields, history):
    """Then what it sees of the task that shows all; in the step that ends an episode too."""
    blocks = all_blocks(env_id, fields)
    observed = list(blocks)[1::2]
    hidden = columns(blocks, [name for name in blocks if name not in observed])
    envs = make(env_id, observed=observed, history=history, max_episode_steps=4, **fields)
    whole = make(env_id, max_episode_steps=4, autoreset_mode="Disabled", **fields)
    width = whole.single_observation_space.shape[0]

    def expected(observation: np.ndarray) -> np.ndarray:
        state = whole.batch.state  # type: ignore[attr-defined]
        true = np.concat(list(whole.task.observe(state.physics, state.task).values()), axis=1).astype(np.float32)
        privileged = [] if whole.state_space is None else [whole.state()[:, width:]]
        return np.concat([observation, true[:, hidden], *privileged], axis=1)

    first, _ = envs.reset(seed=2)
    whole.reset(seed=2)
    np.testing.assert_array_equal(envs.state(), expected(first))
    assert envs.state_space is not None
    assert envs.state_space.shape == envs.state().shape[1:]
    for action in actions_for(env_id, NUM_ENVS, 4):
        *_, info = envs.step(action)
        whole.step(action)
    np.testing.assert_array_equal(info["final_state"], expected(info["final_obs"]))


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_the_laws_hold(env_id, fields, mode):
    """Saved states among them, in the middle of an episode."""
    observed = list(all_blocks(env_id, fields))[1:]
    kwargs = {"observed": observed, "history": 3, "max_episode_steps": 9, **fields}
    report = check_vector_env(
        lambda n: make(env_id, n, autoreset_mode=mode, **kwargs),
        single=lambda: gymnasium.make(env_id, **kwargs),
        steps=25,
    )
    assert report.skipped.keys() <= {"termination"}, report


def test_a_saved_state_goes_on_in_another_environment(env_id, fields):
    kwargs = {"observed": list(all_blocks(env_id, fields))[:-1], "history": 4, **fields}
    one, other = make(env_id, **kwargs), make(env_id, **kwargs)
    actions = actions_for(env_id, NUM_ENVS, 12)
    one.reset(seed=0)
    for action in actions[:6]:
        last = one.step(action)[0]
    state = one.get_state()
    np.testing.assert_array_equal(other.set_state(state), last)
    for name, x in other.get_state().items():
        np.testing.assert_array_equal(x, state[name])
    for action in actions[6:]:
        np.testing.assert_array_equal(one.step(action)[0], other.step(action)[0])


def test_only_a_history_is_saved(env_id, fields):
    """States of before fit: those of one step have no past observations."""
    observed = list(all_blocks(env_id, fields))[:1]
    plain, narrow, long = (
        make(env_id, **fields, **kwargs).get_state() for kwargs in ({}, {"observed": observed}, {"history": 2})
    )
    assert plain.keys() == narrow.keys() == long.keys() - {"past_observations"}
    assert long["past_observations"].shape == (NUM_ENVS, 1, make(env_id, **fields).single_observation_space.shape[0])
    assert long["past_observations"].dtype == np.float32
    with pytest.raises(ValueError, match="past_observations"):
        make(env_id, **fields).set_state(long)


def test_the_history_of_an_environment_that_waits_stays_as_it_is(env_id, fields):
    envs = make(env_id, history=3, **fields)
    envs.reset(seed=0)
    first, second = actions_for(env_id, NUM_ENVS, 2).clip(envs.single_action_space.low, envs.single_action_space.high)
    before, _ = envs.step(first)[:2]
    envs.batch.step(second, np.array([True, False, True]))
    changed = (envs.batch.observe() != before).any(axis=1)
    assert changed.tolist() == [True, False, True]


def test_the_mirror_image_of_a_history_is_that_of_its_steps(env_id, fields):
    blocks = all_blocks(env_id, fields)
    observed = list(blocks)[1:]
    plain, envs = make(env_id, **fields), make(env_id, observed=observed, history=3, **fields)
    if plain.mirror is None:
        assert envs.mirror is None
        return
    assert list(envs.mirror.blocks) == observed
    steps = np.random.default_rng(0).normal(size=(3, plain.single_observation_space.shape[0]))
    images = [plain.mirror.observation(step) for step in steps]
    image = envs.mirror.observation(stacked(list(steps), blocks, observed))
    np.testing.assert_array_equal(image, stacked(images, blocks, observed))
    np.testing.assert_array_equal(envs.mirror.observation(image), stacked(list(steps), blocks, observed))


def test_a_low_level_policy_sees_what_it_sees_without_a_hierarchy(env_id, fields):
    if env_id != GO1:
        pytest.skip("the task has no command of its own")
    kwargs: dict[str, Any] = {"observed": ["gravity", "joint_position", "command"], "history": 3, **fields}
    kwargs |= {"command_interval": (1e9, 1e9), "max_episode_steps": 25}
    seen: list[np.ndarray] = []

    def watched(observations: np.ndarray) -> np.ndarray:
        seen.append(observations[:NUM_ENVS].copy())
        return np.zeros((len(observations), 12))

    space = gymnasium.spaces.Box(-1.0, 1.0, (3,))
    held = HierarchicalVectorEnv(make(env_id, **kwargs), watched, hold=10, command_space=space)
    assert held.observation_history == dict.fromkeys(kwargs["observed"], 3)
    held.reset(seed=0)
    for command in (0.5, -0.5, 0.25):
        *_, truncated, _ = held.step(np.full((NUM_ENVS, 3), command))
    assert truncated.all()
    assert len(seen) == 25
    at = held.observation_blocks["command"]
    frames = np.stack([x[:, at].reshape(NUM_ENVS, 3, 3) for x in seen])  # (25, N, history, 3)
    np.testing.assert_array_equal(frames[1:, :, :-1], frames[:-1, :, 1:])
    np.testing.assert_array_equal(frames[10, 0], [[0.5] * 3, [0.5] * 3, [-0.5] * 3])
    np.testing.assert_array_equal(held.mirror.action(np.array([1.0, 2.0, 3.0])), [1.0, -2.0, -3.0])
    with pytest.raises(ValueError, match="does not see the command"):
        HierarchicalVectorEnv(make(env_id, observed=["gravity"]), watched, hold=2, command_space=space)


def test_joined_tasks_see_what_each_of_them_does(env_id, fields):
    blocks = all_blocks(env_id, fields)
    observed = [list(blocks)[1:], list(blocks)[:2]]
    kwargs = [{"observed": names, "history": 3, **fields} for names in observed]
    tasks = [{"id": env_id, "name": name, "kwargs": k} for name, k in zip("ab", kwargs, strict=True)]
    joined = make("Motrix/MultiTask-v0", 2, tasks=tasks)
    alone = [make(env_id, 1, **k) for k in kwargs]
    assert joined.observation_history == dict.fromkeys([*observed[0], observed[1][0]], 3) | {"task": 1}
    assert (joined.mirror is None) == (alone[0].mirror is None)
    joined.reset(seed=0)
    for row, env in enumerate(alone):
        env.reset(seed=row)
    for action in actions_for(env_id, 2, 6):
        observations, *_ = joined.step(action)
        for row, (env, names) in enumerate(zip(alone, observed, strict=True)):
            own, *_ = env.step(action[row : row + 1])
            for name in names:
                seen = observations[row, joined.observation_blocks[name]]
                np.testing.assert_array_equal(seen, own[0, env.observation_blocks[name]])
        for name in observed[0][1:]:
            assert not observations[1, joined.observation_blocks[name]].any()
        if joined.mirror is not None:
            own = alone[0].batch.observe()
            image, own_image = joined.mirror.observation(observations)[0], alone[0].mirror.observation(own)[0]
            for name in observed[0]:
                np.testing.assert_array_equal(
                    image[joined.observation_blocks[name]], own_image[alone[0].observation_blocks[name]]
                )
            assert joined.mirror.observation(observations)[0, -2:].tolist() == [1.0, 0.0]
    tasks[1]["kwargs"] = {**kwargs[1], "history": 2}
    with pytest.raises(ValueError, match="tasks 'a' and 'b' have different histories, 3 and 2"):
        make("Motrix/MultiTask-v0", 2, tasks=tasks)
    tasks[1]["kwargs"] = {**kwargs[1], "observed": ["nothing"]}
    with pytest.raises(ValueError, match=r"tasks\[1\]: observed names a block 'nothing' \(known: "):
        make("Motrix/MultiTask-v0", 2, tasks=tasks)


def test_what_cannot_be_observed_is_refused(env_id, fields):
    first, second, *_ = all_blocks(env_id, fields)
    for kwargs, error, said in [
        ({"observed": [first[:-1] + "x"]}, ValueError, f"observed names a block .*; did you mean '{first}'"),
        ({"observed": [first, second, first]}, ValueError, f"observed names the block '{first}' more than once"),
        ({"observed": [second, first]}, ValueError, f"in the order {second}, {first}; .* {first}, {second}$"),
        ({"observed": []}, ValueError, "observed names no block; name one or more"),
        ({"observed": first}, TypeError, f"observed is '{first}'; it takes a tuple \\(in JSON a list\\) or none"),
        ({"observed": [3]}, TypeError, r"observed is \(3,\); it takes a tuple \(in JSON a list\) or none"),
        ({"history": 0}, ValueError, "history is 0; it takes a whole number from 1 to 100"),
        ({"history": 101}, ValueError, "history is 101; it takes a whole number from 1 to 100"),
        ({"history": 2.5}, ValueError, "history is 2.5; it takes a whole number"),
        ({"history": "3"}, TypeError, "history is '3'; it takes a whole number"),
    ]:
        for make_it in (make, gymnasium.make):
            with pytest.raises(error, match=said) as refusal:
                make_it(env_id, **fields, **kwargs)
            assert "\n" not in str(refusal.value)
