"""What it means to walk to a goal: what is commanded, seen and rewarded, and when it has been reached."""

import dataclasses
import functools

import gymnasium
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from trajectories import actions_for

from motrix_gym import rotations
from motrix_gym.model_files import load_model
from motrix_gym.random_streams import RandomStreams, stream_keys
from motrix_gym.state import PhysicsState, Transition
from motrix_gym.tasks.locomotion.velocity import AnymalC
from motrix_gym.tasks.navigation.goal import AnymalCNavigation, NavigationState
from motrix_gym.vector_env import MotrixVectorEnv

ENV_ID = "Motrix/AnymalCNavigation-v0"
TASK = AnymalCNavigation()
EAGER = AnymalCNavigation(command_acceleration=1e6)  # its command is at once what leads to the goal
NUM_ROWS = 16
ANGLES = st.floats(-np.pi, np.pi)
LENGTHS = st.floats(-20.0, 20.0)


def make(num_rows: int = NUM_ROWS, **fields: object) -> MotrixVectorEnv:
    return gymnasium.make_vec(ENV_ID, num_envs=num_rows, num_threads=1, **fields).unwrapped


def seen(envs: MotrixVectorEnv, observation: np.ndarray, block: str) -> np.ndarray:
    return observation[:, envs.observation_blocks[block]]


def standing(
    x: float = 0.0, y: float = 0.0, heading: float = 0.0, slip: float = 0.0, turn: float = 0.0
) -> PhysicsState:
    """One row on its feet at a place, with a forward speed and a yaw rate."""
    qpos = np.concatenate([[x, y, 0.55], rotations.from_yaw(np.array(heading)), TASK.ROBOT.default_joints])[None]
    moving = {"linear_velocity": np.array([[slip, 0, 0]]), "angular_velocity": np.array([[0, 0, turn]])}
    return PhysicsState(qpos, np.zeros((1, 18)), {**at_rest(), **moving})


@functools.cache
def at_rest() -> dict[str, np.ndarray]:
    """The sensors of one row that measure nothing."""
    return {name: np.zeros_like(value) for name, value in make(1).batch.state.physics.sensor.items()}


def goal(x: float = 0.0, y: float = 0.0, heading: float = 0.0, *, arrived: bool = False) -> NavigationState:
    """What is remembered of one goal, before anything was done about it."""
    return dataclasses.replace(
        TASK.reset(RandomStreams(stream_keys([0])))[2],
        goal=np.array([[x, y]]),
        goal_heading=np.array([heading]),
        arrived=np.array([arrived]),
    )


def step(physics: PhysicsState, task_state: NavigationState) -> Transition:
    """One step of a row that stays as it is."""
    return Transition(physics, task_state, np.zeros((1, 12)), np.zeros((1, 12)), physics, np.zeros(1, dtype=bool))


def following(physics: PhysicsState, task_state: NavigationState, task: AnymalCNavigation = EAGER) -> NavigationState:
    """The memory after one step of a row that stays as it is."""
    return task.next_state(step(physics, task_state), RandomStreams(stream_keys([0])))


@given(x=LENGTHS, y=LENGTHS, heading=ANGLES, turn=ANGLES)
@example(x=20.0, y=0.0, heading=np.pi, turn=-np.pi)
def test_the_command_leads_to_the_goal_and_is_no_faster_than_allowed(x, y, heading, turn):
    task_state = following(standing(1.0, 2.0, heading), goal(1.0 + x, 2.0 + y, heading + turn))
    [[forward, leftward, rate]] = task_state.command
    if task_state.arrived[0]:
        assert not task_state.command.any()
        return
    velocity = np.exp(1j * heading) * (forward + 1j * leftward)  # in the world
    way = x + 1j * y
    assert (np.conj(way) * velocity).imag == pytest.approx(0, abs=1e-6)
    assert (np.conj(way) * velocity).real >= 0
    assert abs(velocity) <= TASK.approach_rate * abs(way) + 1e-9
    for value, low, high in zip(task_state.command[0], TASK.command_low, TASK.command_high, strict=True):
        assert low - 1e-9 <= value <= high + 1e-9
    assert rate == pytest.approx(np.clip(TASK.approach_rate * turn, TASK.command_low[2], TASK.command_high[2]))


@given(x=LENGTHS, y=LENGTHS, heading=ANGLES, turn=ANGLES)
def test_the_command_comes_to_what_leads_to_the_goal_no_faster_than_it_may(x, y, heading, turn):
    physics, task_state = standing(0, 0, heading), goal(x, y, heading + turn)
    task_state = dataclasses.replace(task_state, command=np.zeros((1, 3)))
    wanted = following(physics, task_state).command
    step_length = TASK.command_acceleration * TASK.control_dt
    for _ in range(int(2 / step_length)):
        now = following(physics, task_state, TASK)
        change = now.command - task_state.command
        assert np.linalg.norm(change[0, :2]) <= step_length + 1e-9
        assert abs(change[0, 2]) <= step_length + 1e-9
        task_state = now
    np.testing.assert_allclose(task_state.command, wanted, atol=1e-9)


def test_what_is_near_is_approached_slowly():
    speeds = [np.linalg.norm(following(standing(), goal(x)).command[0, :2]) for x in (2.0, 1.0, 0.4, 0.2)]
    np.testing.assert_allclose(speeds, [1.0, 1.0, 0.4 * TASK.approach_rate, 0.2 * TASK.approach_rate])


@given(x=LENGTHS, y=LENGTHS, heading=ANGLES)
def test_at_its_goal_it_is_told_to_stand(x, y, heading):
    task_state = following(standing(x, y, heading), goal(x, y, heading))
    assert task_state.arrived[0]
    assert not task_state.command.any()


@pytest.mark.parametrize(
    ("distance", "angle", "coming", "leaving"),
    [(0.1, 0.1, True, True), (0.2, 0.0, False, True), (0.0, -0.2, False, True), (0.4, 0.0, False, False)],
)
def test_it_is_told_to_stand_well_within_the_tolerances_until_it_is_outside(distance, angle, coming, leaving):
    physics = standing()
    for arrived, expected in ((False, coming), (True, leaving)):
        task_state = following(physics, goal(distance, 0, angle, arrived=arrived))
        assert task_state.arrived[0] == expected
        assert task_state.command.any() != expected


@given(turn=ANGLES, x=LENGTHS, y=LENGTHS)
def test_nothing_depends_on_where_in_the_world_it_takes_place(turn, x, y):
    """Both are moved and turned, the robot and its goal: it sees the same and earns the same."""
    envs = make(4)
    physics, task_state = envs.batch.state.physics, envs.batch.state.task

    def moved(place: np.ndarray) -> np.ndarray:
        return place @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + [x, y]

    qpos = physics.qpos.copy()
    qpos[:, :2] = moved(physics.qpos[:, :2])
    qpos[:, 3:7] = rotations.from_yaw(rotations.yaw(physics.qpos[:, 3:7]) + turn)
    elsewhere = dataclasses.replace(physics, qpos=qpos)
    remembered = dataclasses.replace(
        task_state, goal=moved(task_state.goal), goal_heading=task_state.goal_heading + turn
    )
    found = []
    for before, remembers in ((physics, task_state), (elsewhere, remembered)):
        t = Transition(before, remembers, np.zeros((4, 12)), np.zeros((4, 12)), before, np.zeros(4, dtype=bool))
        after = TASK.next_state(t, RandomStreams(stream_keys(range(4))))
        found.append({**TASK.observe(before, after), **TASK.reward(t), **TASK.metrics(t)})
    here, there = found
    for name, value in here.items():
        np.testing.assert_allclose(there[name], value, atol=1e-9, err_msg=name)


def test_the_goal_is_seen_from_the_robot():
    physics = standing(1.0, 1.0, np.pi / 2)
    blocks = TASK.observe(physics, goal(1.0, 3.0, np.pi))
    np.testing.assert_allclose(blocks["goal"], [[2, 0]], atol=1e-9)  # straight ahead
    np.testing.assert_allclose(blocks["goal_heading"], [[1, 0]], atol=1e-9)  # a quarter turn to the left
    np.testing.assert_allclose(TASK.observe(physics, goal(21.0, 1.0))["goal"], [[0, -5]], atol=1e-9)  # far to the right


@given(place=st.tuples(LENGTHS, LENGTHS), heading=ANGLES, slip=st.floats(-2, 2), turn=st.floats(-2, 2))
def test_no_reward_of_the_goal_is_larger_than_that_of_standing_there(place, heading, slip, turn):
    terms = "goal_position", "goal_heading", "standing"
    best = TASK.reward(step(standing(), goal()))
    found = TASK.reward(step(standing(slip=slip, turn=turn), goal(*place, heading)))
    for term in terms:
        assert best[term] == pytest.approx(1)
        assert 0 <= found[term][0] <= 1
    assert found["goal_position"] >= found["goal_heading"] >= found["standing"]


def test_success_is_a_whole_second_of_standing_at_the_goal():
    task_state, physics = goal(5.0, 5.0, 1.0), standing(5.1, 5.0, 0.9)
    steps = round(TASK.hold_time / TASK.control_dt)
    found = []
    for _ in range(steps + 5):
        found += TASK.success(step(physics, task_state)).tolist()
        task_state = following(physics, task_state)
    assert found == [False] * (steps - 1) + [True] * 6


@pytest.mark.parametrize(
    "away",
    [{"x": 0.31}, {"y": -0.31}, {"heading": 0.27}, {"heading": np.pi}, {"slip": 0.11}, {"turn": -0.21}],
    ids=lambda away: next(iter(away)),
)
def test_one_step_away_from_it_starts_the_second_anew(away):
    task_state = dataclasses.replace(goal(), held=np.array([3.0]))
    assert TASK.success(step(standing(), task_state))[0]
    assert not TASK.success(step(standing(**away), task_state))[0]
    assert following(standing(**away), task_state).held[0] == 0


def test_a_robot_that_begins_at_its_goal_and_does_nothing_succeeds():
    envs = make(8, still_probability=1.0)
    envs.reset(seed=0)
    found = [envs.step(np.zeros(envs.action_space.shape)) for _ in range(150)]
    assert found[-1][4]["success"].all()
    assert not found[20][4]["success"].any()
    assert not seen(envs, found[-1][0], "command").any()


def test_goals_lie_all_around_as_far_as_they_should_and_stay():
    envs = make(256, goal_distance=[1.0, 3.0], still_probability=0.0)
    first, _ = envs.reset(seed=0)
    goals = envs.get_state()["memory.goal"]
    distance = np.linalg.norm(goals, axis=1)
    assert 1.0 <= distance.min() < 1.1
    assert 2.9 < distance.max() <= 3.0
    np.testing.assert_allclose(np.linalg.norm(seen(envs, first, "goal"), axis=1), distance, rtol=1e-5)
    for block in ("goal", "goal_heading"):
        quadrants = np.unique(np.sign(seen(envs, first, block)), axis=0)
        assert len(quadrants) == 4
    _, _, terminated, *_ = envs.step(np.zeros(envs.action_space.shape))
    np.testing.assert_array_equal(envs.get_state()["memory.goal"][~terminated], goals[~terminated])


def test_the_robot_is_that_of_the_velocity_task():
    """The marks of the goal change nothing in how it moves."""
    navigation, velocity = make(4), gymnasium.make_vec("Motrix/AnymalC-v0", num_envs=4, num_threads=1).unwrapped
    actions = actions_for(ENV_ID, 4, 40)
    for envs in (navigation, velocity):
        envs.reset(seed=0)
        for action in actions:
            envs.step(action)
    np.testing.assert_array_equal(navigation.get_state()["qpos"], velocity.get_state()["qpos"])
    robot, marked = load_model(TASK.ROBOT.model), TASK.model()
    assert marked.nbody == robot.nbody + 2
    assert AnymalC().weights.items() <= TASK.weights.items()


def test_the_goal_is_marked_where_it_is_with_a_smaller_mark_ahead():
    envs = make(3)
    envs.reset(seed=0)
    state = envs.get_state()
    markers = TASK.markers(envs.batch.state.task)
    for row in range(3):
        _, data = envs.batch.physics.view(row, {name: x[row] for name, x in markers.items()})
        place, ahead = (data.body(name).xpos for name in ("goal", "goal_ahead"))
        np.testing.assert_allclose(place[:2], state["memory.goal"][row])
        heading = np.arctan2(*(ahead - place)[1::-1])
        assert np.cos(heading - state["memory.goal_heading"][row]) == pytest.approx(1)


@given(yaw=ANGLES, tilt=st.floats(-1.4, 1.4))
def test_a_yaw_is_read_back_whatever_the_tilt(yaw, tilt):
    """Turned about z after it was pitched: what is straight ahead stays above the same line on the ground."""
    w, z = np.cos(yaw / 2), np.sin(yaw / 2)
    c, s = np.cos(tilt / 2), np.sin(tilt / 2)
    pitched = np.array([[w * c, -z * s, w * s, z * c]])
    assert np.cos(rotations.yaw(pitched)[0] - yaw) == pytest.approx(1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("approach_rate", 0.0),
        ("position_tolerance", -0.3),
        ("hold_time", 0.0),
        ("goal_distance", [3.0, 1.0]),
        ("goal_distance", [-1.0, 1.0]),
        ("command_low", [0.0, -0.8, -1.0]),
        ("command_high", [1.0, 0.8, 0.0]),
    ],
)
def test_a_field_out_of_its_range_is_named_with_its_value(field, value):
    with pytest.raises(ValueError, match=field) as refusal:
        make(1, **{field: value})
    assert str(value[0] if isinstance(value, list) else value) in str(refusal.value)


def test_as_many_goals_as_asked_for_are_where_the_robot_begins():
    envs = make(400, still_probability=0.25, goal_distance=[1.0, 3.0])
    first, _ = envs.reset(seed=0)
    there = np.linalg.norm(seen(envs, first, "goal"), axis=1) < 1e-6
    assert 0.15 < there.mean() < 0.35
    np.testing.assert_allclose(seen(envs, first, "goal_heading")[there], [[0, 1]] * there.sum(), atol=1e-6)
    np.testing.assert_array_equal((seen(envs, first, "command") == 0).all(axis=1), there)


def test_how_long_a_command_lasts_is_no_field():
    with pytest.raises(TypeError, match="unexpected keyword argument 'command_interval'"):
        make(1, command_interval=[1.0, 2.0])
