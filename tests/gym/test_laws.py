"""The laws of the environments, each over every registered id."""

import dataclasses

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripts import SCRIPTS
from trajectories import GROUPS, actions_for, assert_same, play

from motrix_gym.multi_task import MultiTask
from motrix_gym.task import Task
from motrix_gym.testing import check_vector_env
from motrix_gym.vector_env import MotrixVectorEnv

NUM_ACTIONS = 16
SEEDS = st.integers(0, 2**63 - 1)
EXCEPTIONS = {  # lowest and highest value of terms that may be negative, or as high as they like
    "feet_air_time": (-np.inf, np.inf),  # what a step was longer than it had to be
    "in_the_middle": (-np.inf, 1.0),  # 1 less a square, as in dm_control
}
MODES = st.sampled_from(list(AutoresetMode))


@pytest.fixture(scope="module")
def task(env_id: str) -> Task | MultiTask:
    """The task, or the tasks joined, of an id with its default fields."""
    return gymnasium.make_vec(env_id, num_envs=1, num_threads=1).unwrapped.task


def test_the_checker_finds_nothing(env_id, mode):
    report = check_vector_env(
        lambda n: gymnasium.make_vec(env_id, num_envs=n, num_threads=1, max_episode_steps=25, autoreset_mode=mode),
        single=lambda: gymnasium.make(env_id, max_episode_steps=25),
        steps=60,
    )
    assert report.skipped.keys() <= {"termination"}, report


@settings(max_examples=12)
@given(data=st.data())
def test_a_row_depends_on_its_seed_and_actions_only(task, env_id, data):
    """Law 2, bit for bit: neither neighbours nor their number, threads, autoreset mode or resets matter."""
    num_rows = data.draw(st.integers(2, 5), "rows")
    seeds = data.draw(st.lists(SEEDS, min_size=num_rows, max_size=num_rows), "seeds")
    limit = data.draw(st.integers(1, NUM_ACTIONS), "max_episode_steps")
    resets = data.draw(
        st.sets(st.tuples(st.integers(0, num_rows - 1), st.integers(0, NUM_ACTIONS - 1)), max_size=4), "resets"
    )
    actions = actions_for(env_id, num_rows, NUM_ACTIONS, data.draw(st.integers(0, 99), "actions"))
    together = MotrixVectorEnv(
        task,
        num_rows,
        max_episode_steps=limit,
        num_threads=data.draw(st.integers(1, 2), "threads"),
        autoreset_mode=data.draw(MODES, "mode"),
    )
    trajectories = play(together, seeds, actions, resets)
    for row in range(num_rows):
        alone = MotrixVectorEnv(task, max_episode_steps=limit, num_threads=1)
        [expected] = play(alone, [seeds[row]], actions[:, row : row + 1], {(0, k) for r, k in resets if r == row})
        assert_same(expected, trajectories[row])


@settings(max_examples=5)
@given(seed=SEEDS, limit=st.integers(2, 12))
def test_a_row_is_the_single_environment(env_id, seed, limit):
    """Law 2: row i of a batch seeded s is what `gymnasium.make` gives, seeded s + i, episode after episode."""
    num_rows = 3
    actions = actions_for(env_id, num_rows, NUM_ACTIONS)
    envs = gymnasium.make_vec(env_id, num_envs=num_rows, num_threads=1, max_episode_steps=limit)
    for row, events in enumerate(play(envs, seed, actions)):
        env = gymnasium.make(env_id, max_episode_steps=limit)
        observation, _ = env.reset(seed=seed + row)
        for k, event in enumerate(events):
            if "begin" in event:
                if k > 0:
                    observation, _ = env.reset()
                np.testing.assert_array_equal(event["begin"], observation)
                continue
            action = actions[sum("reward" in e for e in events[:k]), row]
            observation, reward, terminated, truncated, info = env.step(action)
            np.testing.assert_array_equal(event["observation"], observation)
            assert (event["reward"], event["terminated"]) == (reward, terminated)
            assert event["truncated"] == (truncated and not terminated)
            assert {n: x for n, x in event.items() if "." in n} == {
                f"{group}.{name}": x for group in GROUPS for name, x in info[group].items()
            }
            assert event.get("success") == info.get("success")


def test_a_row_at_the_limit_terminates_or_truncates(env_id):
    """Law 3: with every limit, each episode ends in one of the two ways, and what terminates has a reason."""
    for limit in (1, 3):
        envs = gymnasium.make_vec(env_id, num_envs=4, num_threads=1, max_episode_steps=limit)
        envs.reset(seed=0)
        for k in range(1, 7):
            _, _, terminated, truncated, info = envs.step(envs.action_space.sample())
            reasons = np.any(list(info["termination"].values()), axis=0)
            np.testing.assert_array_equal(reasons, terminated)
            assert not (terminated & truncated).any()
            if k % limit == 0 and not terminated.any():
                assert truncated.all()


BAD_NUMBERS = st.sampled_from([np.nan, np.inf, -np.inf, 1e12, -1e300])


@settings(max_examples=6)
@given(
    bad=BAD_NUMBERS, where=st.sampled_from(["position", "velocity"]), row=st.integers(0, 2), threads=st.integers(1, 2)
)
def test_a_row_that_diverges_ends_alone(task, mode, bad, where, row, threads):
    """Law 7: finite numbers everywhere, terminated as diverged, and no other row notices."""
    envs = MotrixVectorEnv(task, 3, num_threads=threads, autoreset_mode=mode)
    envs.reset(seed=0)
    actions = np.zeros((8, *envs.action_space.shape))
    for action in actions[:3]:
        envs.step(action)
    healthy = envs.get_state()
    sick = {name: x.copy() for name, x in healthy.items()}
    component = {"position": mujoco.mjtState.mjSTATE_QPOS, "velocity": mujoco.mjtState.mjSTATE_QVEL}[where]
    sick["simulation"][row, _component(model_of(task, sick, row), component)] = bad
    others = np.arange(3) != row

    def continued(state: dict[str, np.ndarray]) -> list[tuple]:
        envs.set_state(state)
        results = []
        for action in actions[3:]:
            results.append(envs.step(action))
            ended = results[-1][2] | results[-1][3]
            if mode is AutoresetMode.DISABLED and ended.any():
                envs.reset(options={"reset_mask": ended})
        return results

    expected, found = continued(healthy), continued(sick)
    _, _, terminated, truncated, info = found[0]
    assert terminated[row]
    assert not truncated[row]
    assert [name for name, holds in info["termination"].items() if holds[row]] == ["diverged"]
    for step, undisturbed in zip(found, expected, strict=True):
        assert all(np.isfinite(x).all() for x in _arrays(step))
        for x, y in zip(_arrays(step[:4]), _arrays(undisturbed[:4]), strict=True):
            np.testing.assert_array_equal(x[others], y[others])
    assert not any(step[4]["termination"]["diverged"].any() for step in found[1:])


def test_a_row_that_diverges_keeps_its_last_frame_and_has_one_reason(task):
    """Law 7, with a last frame in which the task would end the episode for reasons of its own."""
    envs = MotrixVectorEnv(task, 2, num_threads=1, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    envs.step(np.zeros(envs.action_space.shape))
    state = envs.get_state()
    state["simulation"][0] = np.nan
    state["qpos"][0] += 10.0
    for name in [name for name in state if name.startswith("sensor.")]:
        state[name][0] = abs(state[name][0]) + 1.0
    envs.set_state(state)
    *_, info = envs.step(np.zeros(envs.action_space.shape))
    assert [name for name, holds in info["termination"].items() if holds[0]] == ["diverged"]
    after = envs.get_state()
    for name in [name for name in state if name in ("qpos", "qvel") or name.startswith("sensor.")]:
        np.testing.assert_array_equal(after[name][0], state[name][0])


@pytest.mark.parametrize("speed", [1e3, 1e6, 9e9])
def test_speeds_too_low_to_count_as_divergence_stay_finite(task, speed):
    """Law 7: MuJoCo calls a simulation diverged at 1e10."""
    envs = MotrixVectorEnv(task, 2, num_threads=1)
    envs.reset(seed=0)
    state = envs.get_state()
    state["simulation"][0, _component(model_of(task, state, 0), mujoco.mjtState.mjSTATE_QVEL)] = speed
    envs.set_state(state)
    for _ in range(4):
        assert all(np.isfinite(x).all() for x in _arrays(envs.step(np.zeros(envs.action_space.shape))))


@settings(max_examples=6)
@given(seed=SEEDS, pause=st.integers(0, NUM_ACTIONS - 1), mode=MODES, threads=st.permutations([1, 2]))
@example(seed=0, pause=7, mode=AutoresetMode.NEXT_STEP, threads=[1, 2])  # the rows wait for their reset
def test_a_saved_state_goes_on_in_a_fresh_environment(task, env_id, tmp_path_factory, seed, pause, mode, threads):
    """Law 8: mid-episode, with other threads, from a file."""
    first, second = (MotrixVectorEnv(task, 3, num_threads=n, max_episode_steps=7, autoreset_mode=mode) for n in threads)
    actions = actions_for(env_id, 3, NUM_ACTIONS)
    observation, _ = first.reset(seed=seed)
    for action in actions[:pause]:
        observation = _stepped(first, action)[0]
    path = tmp_path_factory.mktemp("state") / "state.npz"
    np.savez(path, **first.get_state())
    second.reset(seed=1)
    second.step(actions[0])
    with np.load(path) as state:
        np.testing.assert_array_equal(second.set_state(dict(state)), observation)
    for action in actions[pause:]:
        for x, y in zip(_arrays(_stepped(first, action)), _arrays(_stepped(second, action)), strict=True):
            np.testing.assert_array_equal(x, y)


def test_what_a_critic_sees_is_the_observation_and_more(task, env_id):
    """The state is a function of `get_state`, and the last one of an episode is there when the next has begun."""
    envs = MotrixVectorEnv(task, 3, num_threads=1, max_episode_steps=5)
    observation, _ = envs.reset(seed=0)
    if envs.state_space is None:
        with pytest.raises(RuntimeError, match="no more than the policy"):
            envs.state()
        return
    single: gymnasium.Env = gymnasium.make(env_id)
    single.reset(seed=1)
    assert single.unwrapped.state_space == envs.state_space
    np.testing.assert_array_equal(single.unwrapped.state(), envs.state()[1])
    other = MotrixVectorEnv(task, 3, num_threads=1, max_episode_steps=5, autoreset_mode=AutoresetMode.DISABLED)
    other.reset(seed=0)
    width = observation.shape[1]
    for action in actions_for(env_id, 3, 5):
        observation, _, terminated, truncated, info = envs.step(action)
        other.step(action)
        ended = terminated | truncated
        state = envs.state()
        assert (state.dtype, state.shape) == (np.float32, (3, *envs.state_space.shape))
        np.testing.assert_array_equal(state[:, :width], observation)
        assert ("final_state" in info) == ended.any()
        last = np.where(ended[:, None], info.get("final_state", state), state)
        np.testing.assert_array_equal(last, other.state())
        if ended.any():
            np.testing.assert_array_equal(info["_final_state"], ended)
            break
    assert ended.any()
    fresh = MotrixVectorEnv(task, 3, num_threads=1)
    fresh.set_state(envs.get_state())
    np.testing.assert_array_equal(fresh.state(), envs.state())


def test_doubling_a_weight_doubles_its_term_and_no_other(task, env_id):
    """Law 9."""
    actions = actions_for(env_id, 2, 12)

    def terms(weights: dict[str, float]) -> list[dict[str, np.ndarray]]:
        envs = MotrixVectorEnv(dataclasses.replace(task, reward_weights=weights), 2, num_threads=1)
        envs.reset(seed=0)
        return [envs.step(action)[4]["reward_terms"] for action in actions]

    plain = terms({})
    for doubled, weight in task.weights.items():
        for expected, found in zip(plain, terms({doubled: 2 * weight}), strict=True):
            for name, value in found.items():
                np.testing.assert_array_equal(value, (2 if name == doubled else 1) * expected[name])


@pytest.fixture(scope="module")
def long_run(task, env_id) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Observations, (T, N, k), and reward terms, (T, N), of many rows under random actions, or under a script."""
    envs = MotrixVectorEnv(task, 32, num_threads=1)
    envs.reset(seed=0)
    act = SCRIPTS[env_id](envs) if env_id in SCRIPTS else iter(actions_for(env_id, 32, 250)).__next__
    steps = [envs.step(act()) for _ in range(250)]
    return np.stack([s[0] for s in steps]), {
        n: np.stack([s[4]["reward_terms"][n] for s in steps]) for n in task.weights
    }


def test_every_reward_term_acts(task, long_run):
    """Law 9: a term with a weight is zero neither everywhere nor by a weight of zero; all terms are weighted."""
    _, terms = long_run
    assert not [name for name, weight in task.weights.items() if weight == 0]
    assert not [name for name, x in terms.items() if not x.any()]


def test_a_bonus_is_from_0_to_1_and_a_cost_is_never_negative(task, long_run):
    """Law 9: what a term without its weight can be."""
    _, terms = long_run
    for name, weight in task.weights.items():
        low, high = EXCEPTIONS.get(name.rpartition("/")[2], (0.0, 1.0 if weight > 0 else np.inf))
        unweighted = terms[name] / weight
        assert low <= unweighted.min(), name
        assert unweighted.max() <= high, name


def test_every_observation_element_varies(task, long_run):
    """Law 9."""
    observations, _ = long_run
    assert not np.flatnonzero(np.ptp(observations, axis=(0, 1)) == 0).tolist()


def model_of(task: Task | MultiTask, state: dict[str, np.ndarray], row: int) -> mujoco.MjModel:
    """The model that a row of a saved state simulates."""
    return (task if isinstance(task, Task) else list(task.members().values())[state["task"][row]]).model()


def _component(model: mujoco.MjModel, component: mujoco.mjtState) -> slice:
    """Where a component lies in a row of the saved simulation."""
    start = mujoco.mj_stateSize(model, int(component) - 1)
    return slice(start, start + mujoco.mj_stateSize(model, int(component)))


def _stepped(envs: MotrixVectorEnv, action: np.ndarray) -> tuple:
    """A step; where autoreset is disabled, rows that end are reset and observed anew."""
    result = envs.step(action)
    ended = result[2] | result[3]
    if envs.autoreset_mode is AutoresetMode.DISABLED and ended.any():
        return (envs.reset(options={"reset_mask": ended})[0], *result[1:])
    return result


def _arrays(x: object) -> list[np.ndarray]:
    """All arrays in a result, in order."""
    if isinstance(x, dict):
        return [array for key in sorted(x) for array in _arrays(x[key])]
    return [array for item in x for array in _arrays(item)] if isinstance(x, tuple) else [np.asarray(x)]
