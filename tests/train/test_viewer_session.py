"""A session of the viewer, without a page: steps, commands, goals, pushes, and what is told of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motrix_gym.registration import ENVS
from motrix_train import environment
from motrix_train.errors import UsageError
from motrix_train.training.evaluation import first_env_seed
from motrix_train.viewer.pace import SPEEDS, Pace
from motrix_train.viewer.report import TRACE_SECONDS, Traces
from motrix_train.viewer.session import Session

GO1, NAVIGATION, JOINED = "Motrix/Go1-v0", "Motrix/AnymalCNavigation-v0", "Motrix/MultiTask-v0"


def session(env_id: str, num_envs: int = 2, policy=None, **fields) -> Session:
    """A session on one thread."""
    return Session(env_id, fields, policy, num_envs=num_envs, num_threads=1)


def state(watched: Session, name: str) -> np.ndarray:
    """A part of the state of the environment that is shown."""
    return watched._inner.get_state()[name][watched.env]


def test_steps_are_due_as_time_passes():
    pace = Pace(0.02)
    assert [pace.due(now) for now in (5.0, 5.01, 5.02, 5.08)] == [0, 0, 1, 3]
    assert pace.due(65.0) == 5, "a pause of the process is not made up for"
    pace.speed = 0.5
    assert [pace.due(65.02), pace.due(65.04)] == [0, 1]
    pace.faster(+10)
    assert pace.speed == SPEEDS[-1]
    pace.faster(-1)
    assert pace.speed == SPEEDS[-2]


def test_a_pause_takes_the_steps_that_are_asked_for():
    pace = Pace(0.02)
    pace.due(0.0)
    pace.paused = True
    assert pace.due(1.0) == 0
    pace.request_step()
    pace.request_step()
    assert [pace.due(2.0), pace.due(3.0)] == [2, 0]
    pace.paused = False
    assert pace.due(3.02) == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "ab"]), st.floats(-1, 1)), max_size=40))
def test_traces_are_the_newest_entries_of_one_episode(entries):
    traces = Traces(step_seconds=TRACE_SECONDS / 7)
    kept: list[tuple[float, dict[str, float]]] = []
    for later, names, value in entries:
        seconds = later and (kept[-1][0] if kept else 0.0) + later  # zero: an episode begins
        values = dict.fromkeys(names, value)
        goes_on = kept and kept[-1][0] < seconds and kept[-1][1].keys() == values.keys()
        kept = [*kept[-6:], (seconds, values)] if goes_on else [(seconds, values)]
        traces.add(seconds, values)
        assert traces.times.tolist() == [at for at, _ in kept]
        assert {name: column.tolist() for name, column in traces.columns().items()} == {
            name: [values[name] for _, values in kept] for name in names
        }
    traces.clear()
    assert not traces.times.size
    assert not traces.columns()


@pytest.mark.parametrize("env_id", [env.id for env in ENVS])
def test_every_environment_can_be_watched_and_driven(env_id):
    with session(env_id) as watched:
        for handle in watched.handles:
            watched.set(handle, 0.1)
        watched.push(0.5)
        watched.step()
        report = watched.report(watched.scene())
    assert report.step == 1
    assert report.reward == pytest.approx(sum(report.terms.values()))
    assert [value for _, value in report.handles] == pytest.approx([0.1] * len(watched.handles))
    assert np.isfinite(np.concatenate([np.zeros(3), *[np.ravel(x) for x in report.traces.values()]])).all()


def test_one_who_only_watches_changes_nothing():
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (40, 2, 12)).astype(np.float32)
    played = iter(actions)
    with session(GO1, policy=lambda observations: next(played)) as watched:
        for _ in actions:
            watched.step()
            watched.report(watched.scene())
        after = watched._inner.get_state()
    env = environment.make_env(GO1, 2, {}, 1)
    env.reset(seed=first_env_seed(0))
    for action in actions:
        env.step(action)
    for name, values in env.unwrapped.get_state().items():  # pyright: ignore[reportAttributeAccessIssue]
        np.testing.assert_array_equal(after[name], values, err_msg=name)
    env.close()


@pytest.mark.parametrize(("env_id", "row"), [(GO1, 1), (JOINED, 0), (JOINED, 1)])
def test_a_command_is_held_until_it_is_left_to_the_task(env_id, row):
    seen = []

    def policy(observations: np.ndarray) -> np.ndarray:
        seen.append(observations.copy())
        return np.zeros((len(observations), 12), np.float32)

    with session(env_id, policy=policy) as watched:
        watched.show(row)
        forward, leftward, turn = watched.handles
        assert (forward.label, turn.label) == ("forward, m/s", "turn left, rad/s")
        before = watched.value(turn)
        watched.set(forward, 0.4)
        for _ in range(500):  # longer than a task leaves a command as it is
            watched.step()
        block = watched._inner.observation_blocks["command"]
        commands = np.array([observations[:, block] for observations in seen])
        np.testing.assert_allclose(commands[:, row, 0], 0.4, atol=1e-6)
        np.testing.assert_allclose(commands[:, row, 2], before, atol=1e-6)  # who sets a part holds the whole
        assert len(np.unique(commands[:, 1 - row, 0])) > 1, "the other environment is left alone"
        assert watched.is_held
        watched.set(forward, 99.0)
        assert watched.value(forward) == forward.high
        watched.release()
        assert not watched.is_held
        for _ in range(500):
            watched.step()
        assert watched.value(forward) != forward.high
        assert leftward in watched.handles


def test_joined_tasks_are_told_apart():
    with session(JOINED, num_envs=2) as watched:
        watched.step()
        first = watched.report(watched.scene())
        watched.show(1)
        watched.step()
        second = watched.report(watched.scene())
    assert {first.task, second.task} == {"walk", "run"}
    for report in (first, second):
        names = [*report.terms, *report.metrics]
        assert len(names) > 10
        assert all(name.startswith(f"{report.task}/") for name in names)


def test_a_goal_is_held_until_the_episode_ends():
    with session(NAVIGATION, num_envs=1) as watched:
        x, y, heading = watched.handles
        for handle, value in ((x, 1.5), (y, -2.0), (heading, 0.3)):
            watched.set(handle, value)
        watched.step()
        np.testing.assert_allclose(state(watched, "memory.goal"), [1.5, -2.0])
        assert state(watched, "memory.goal_heading") == pytest.approx(0.3)
        marker = watched.scene()[1].body("goal").xpos
        np.testing.assert_allclose(marker[:2], [1.5, -2.0], atol=1e-6)
        for _ in range(1000):
            watched.step()
            if watched.report(watched.scene()).ending:
                break
        assert not watched.is_held
        assert not np.allclose(state(watched, "memory.goal"), [1.5, -2.0])


@pytest.mark.parametrize("env_id", [GO1, "Motrix/CartPole-v0"])
def test_a_push_moves_one_robot(env_id):
    with session(env_id) as watched, session(env_id) as alone:
        watched.show(1)
        watched.push(0.0)
        assert state(watched, "qvel")[0] == pytest.approx(alone._inner.get_state()["qvel"][1][0], abs=1e-9)
        for one in (watched, alone):
            one.step()
        pushed, left = (one._inner.get_state()["qvel"][:, 0] for one in (watched, alone))
    assert pushed[0] == left[0]
    assert pushed[1] - left[1] > 0.5


def test_a_body_is_pulled_for_as_long_as_it_is_held():
    force = np.array([0.0, 0.0, 400.0, 0.0, 0.0, 0.0])  # more than the weight of the robot
    with session(GO1) as watched:
        body = watched.scene()[0].body("trunk").id
        watched.pull(body, force)
        for _ in range(12):
            watched.step()
        height = watched._inner.get_state()["qpos"][:, 2]
        watched.pull(body, np.zeros(6))
        speed = state(watched, "qvel")[2]
        watched.step()
        assert state(watched, "qvel")[2] < speed, "it falls again"
    assert height[0] > height[1] + 0.4


def test_why_episodes_ended_is_told():
    with session("Motrix/CartPole-v0", policy=lambda x: np.full((len(x), 1), 3.0, np.float32)) as watched:
        while not watched.report(watched.scene()).ending:
            watched.step()
        report = watched.report(watched.scene())
        assert report.ending.startswith("pole_fell after 0.")
        assert report.endings == {"pole_fell": 1}
        watched.reset()
        assert watched.report(watched.scene()).step == 0
    with session("Motrix/FrankaLiftCube-v0", num_envs=1) as watched:
        for _ in range(125):
            watched.step()
        assert watched.report(watched.scene()).endings == {"time limit": 1}


def test_commanded_and_actual_velocity_are_drawn():
    with session(GO1) as watched:
        forward, leftward, turn = watched.handles
        for handle, value in ((forward, 1.0), (leftward, 0.0), (turn, 0.5)):
            watched.set(handle, value)
        model, data = watched.scene()
        asked, actual, turning = watched.report((model, data)).shapes
        ahead = data.body("trunk").xmat.reshape(3, 3)[:, 0]
    np.testing.assert_allclose(asked.vector[:2], 0.5 * ahead[:2] / np.linalg.norm(ahead[:2]), atol=1e-6)
    np.testing.assert_allclose(actual.vector[:2], 0.5 * data.qvel[:2], atol=1e-6)
    assert np.linalg.norm(turning.vector) == pytest.approx(0.25)


def test_environments_of_others_are_refused():
    with pytest.raises(UsageError, match="CartPole-v1 is no environment of motrix_gym"):
        Session("CartPole-v1", {})
