"""Lifting a cube: it can be done, by friction alone, and each reward leads there."""

import dataclasses

import gymnasium
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panda_script import DOWN, Guide
from trajectories import actions_for

from motrix_gym.state import PhysicsState, Transition
from motrix_gym.tasks.manipulation import lift_cube
from motrix_gym.tasks.manipulation.lift_cube import FrankaLiftCube
from motrix_gym.tasks.manipulation.panda import MAX_LEAD, held

ENV_ID = "Motrix/FrankaLiftCube-v0"
TASK = FrankaLiftCube()
STAGED = ("reach", "grasp", "lift", "track", "hold")
CUBE = slice(9, 12)
ABOVE, DESCEND, CLOSE, CARRY = range(4)


def make(num_envs: int = 4, **kwargs):
    return gymnasium.make_vec(ENV_ID, num_envs=num_envs, num_threads=1, **kwargs).unwrapped


class Script:
    """Four waypoints for the rows of an environment: above the cube, down to it, close the fingers, to the goal."""

    def __init__(self, envs) -> None:
        self.envs, self.guide = envs, Guide(envs.task)
        self.phase = np.full(envs.num_envs, ABOVE)

    def __call__(self) -> np.ndarray:
        """The next actions, (N, 8)."""
        state = self.envs.get_state()
        return np.array([self._of_row(row, state) for row in range(self.envs.num_envs)])

    def _of_row(self, row: int, state: dict[str, np.ndarray]) -> np.ndarray:
        qpos, target = state["qpos"][row], state["memory.target"][row]
        guide = self.guide
        guide.see(qpos)
        opening = guide.axes[:, 1]
        edges = guide.data.body("cube").xmat.reshape(3, 3).T
        edges = np.concatenate([edges, -edges])
        phase = self.phase[row]
        level = np.array([*opening[:2], 0.0])
        along = max(edges, key=lambda edge: edge @ opening) if phase < CLOSE else level / np.linalg.norm(level)
        way = {
            ABOVE: qpos[CUBE] + [0, 0, 0.1] - guide.place,
            DESCEND: qpos[CUBE] - guide.place,
            CLOSE: np.zeros(3),
            CARRY: state["memory.goal"][row] - qpos[CUBE],
        }[phase]
        turn = guide.turn(DOWN, along)
        arrived = {
            ABOVE: np.linalg.norm(way) < 0.01 and np.linalg.norm(turn) < 0.05,
            DESCEND: np.linalg.norm(way) < 0.008,
            CLOSE: target[7] < qpos[7] - 0.012,
            CARRY: False,
        }[phase]
        self.phase[row] += arrived
        return np.append(guide.actions(target[:7], way, turn), -1.0 if self.phase[row] >= CLOSE else 1.0)


@pytest.fixture(scope="module")
def scripted() -> list[dict]:
    """What each step of 16 scripted episodes led to, until just before their limit."""
    envs = make(16)
    envs.reset(seed=0)
    script, found = Script(envs), []
    for _ in range(124):
        *_, terminated, truncated, info = envs.step(script())
        found.append({**info, "phase": script.phase.copy(), "state": envs.get_state(), "ended": terminated | truncated})
    return found


def test_a_script_of_four_waypoints_solves_it_without_dropping_a_cube(scripted):
    assert not any(step["ended"].any() for step in scripted)
    assert scripted[-1]["success"].all()
    state = scripted[-1]["state"]
    apart = np.linalg.norm(state["sensor.cube"] - state["sensor.tcp"], axis=1)
    assert apart.max() < 0.02
    assert np.abs(state["sensor.cube_velocity"]).max() < 0.05


def test_each_term_grows_in_its_stage_and_none_is_lost_later(scripted):
    """What is reached, grasped, lifted, brought near and held earns in this order."""
    mean = {term: np.mean([step["reward_terms"][term] for step in scripted], axis=1) for term in STAGED}
    for term in STAGED:
        assert mean[term][:3].max() < 0.25 * TASK.weights[term]
        assert mean[term][-10:].min() > 0.85 * TASK.weights[term]
    halfway = [np.argmax(mean[term] > TASK.weights[term] / 2) for term in STAGED]
    assert halfway == sorted(halfway)
    assert halfway[0] < halfway[1] < halfway[-1]


@pytest.mark.parametrize(
    ("phase", "grows"), [(ABOVE, "reach"), (DESCEND, "reach"), (CLOSE, "grasp"), (CARRY, "lift"), (CARRY, "track")]
)
def test_a_motion_earns_what_it_is_for(scripted, phase, grows):
    """From the first to the last step of a phase, in every row."""
    for row in range(16):
        steps = [k for k, step in enumerate(scripted) if step["phase"][row] == phase]
        first, last = (scripted[k]["reward_terms"][grows][row] for k in (steps[0], steps[-1]))
        assert last > first


@pytest.mark.parametrize("seed", [0, 1])
def test_staged_terms_are_within_their_weights_whatever_is_done(seed):
    envs = make(16)
    envs.reset(seed=seed)
    for action in actions_for(ENV_ID, 16, 60, seed):
        terms = envs.step(action)[4]["reward_terms"]
        for term in STAGED:
            assert (terms[term] >= 0).all()
            assert (terms[term] <= TASK.weights[term]).all()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**63 - 1))
def test_rows_differ_in_cube_size_goal_and_arm(seed):
    envs = make(6)
    envs.reset(seed=seed)
    for _ in range(2):
        state = envs.get_state()
        drawn = [state["qpos"][:, :7], state["qpos"][:, 9:11], state["qpos"][:, 12:13], state["qpos"][:, 15:]]
        drawn += [state["memory.goal"], state["memory.half"][:, None]]
        for x in drawn:
            for column in x.T:
                assert len(np.unique(column)) == envs.num_envs
        envs.reset()


def test_beginnings_are_where_they_should_be():
    envs = make(256)
    envs.reset(seed=0)
    state = envs.get_state()
    cube, goal, half = state["qpos"][:, CUBE], state["memory.goal"], state["memory.half"]
    for x, low, high in (
        (cube[:, :2], lift_cube.CUBE_LOW, lift_cube.CUBE_HIGH),
        (goal, lift_cube.GOAL_LOW, lift_cube.GOAL_HIGH),
        (half[:, None], TASK.cube_size[:1], TASK.cube_size[1:]),
        (state["qpos"][:, :7] - TASK.HOME, [-TASK.home_noise] * 7, [TASK.home_noise] * 7),
    ):
        size = np.subtract(high, low)
        assert (x >= low).all()
        assert (x <= high).all()
        assert (x.min(axis=0) < low + 0.05 * size).all()
        assert (x.max(axis=0) > high - 0.05 * size).all()
    np.testing.assert_array_equal(cube[:, 2], half)
    assert not state["qvel"].any()


def test_a_row_has_the_model_of_its_cube():
    envs = make(3)
    envs.reset(seed=0)
    half, model = envs.get_state()["memory.half"], TASK.model()
    cube, geoms = model.body("cube").id, [model.geom(name).id for name in ("cube", "goal")]
    for row in range(3):
        own, _ = envs.batch.physics.view(row)
        mass = 1000 * (2 * half[row]) ** 3
        np.testing.assert_allclose(own.geom_size[geoms], half[row])
        np.testing.assert_allclose(own.body_mass[cube], mass)
        np.testing.assert_allclose(own.body_inertia[cube], mass * (2 * half[row]) ** 2 / 6)
        for name, changed in (("geom_size", geoms), ("body_mass", cube), ("body_inertia", cube)):
            of_row, of_all = getattr(own, name), getattr(model, name)
            same = np.delete(np.arange(len(of_all)), changed)
            np.testing.assert_array_equal(of_row[same], of_all[same])


def test_actions_move_targets_and_the_gripper_obeys():
    envs = make(2)
    envs.reset(seed=0)
    before = envs.get_state()["memory.target"]
    action = np.array([[0.5] * 7 + [-1.0], [-1.0] * 7 + [-0.5]])
    envs.step(action)
    state = envs.get_state()
    speed = np.array([TASK.joint_speed] * 7 + [TASK.finger_speed])
    np.testing.assert_allclose(state["memory.target"], before + speed * TASK.control_dt * action)
    np.testing.assert_array_equal(state["memory.action"], action)
    for _ in range(20):
        envs.step(np.repeat([[0.0] * 7 + [-1.0]], 2, axis=0))
    assert (envs.get_state()["qpos"][:, 7:9] < 1e-3).all()
    for _ in range(20):
        envs.step(np.repeat([[0.0] * 7 + [1.0]], 2, axis=0))
    assert (envs.get_state()["qpos"][:, 7:9] > 0.039).all()


def test_targets_do_not_wind_up():
    envs = make(8)
    envs.reset(seed=0)
    low, high = TASK.model().actuator_ctrlrange.T
    for action in np.sign(actions_for(ENV_ID, 8, 10)).repeat(8, axis=0):
        before = held(envs.batch.state.physics)
        _, _, terminated, *_ = envs.step(action)
        target = envs.get_state()["memory.target"]
        assert (np.abs(target - before) <= MAX_LEAD + 1e-12)[~terminated].all()
        assert (target >= low).all()
        assert (target <= high).all()


def step(task_state, *, cube=(0.5, 0.0, 0.3), tcp=(0.5, 0.0, 0.3), pointing=DOWN, rate=0.0, bend=0.0) -> Transition:
    """A step of one row that leads to a cube and fingertips at these places."""
    qpos = np.array([[*TASK.HOME, 0.02, 0.02, *cube, 1, 0, 0, 0]])
    qpos[0, 1] += bend
    qvel = np.zeros((1, 15))
    qvel[0, 3] = rate
    sensor = {name: np.array([x], dtype=float) for name, x in (("cube", cube), ("tcp", tcp), ("pointing", pointing))}
    physics = PhysicsState(qpos, qvel, sensor)
    action = np.zeros((1, 8))
    return Transition(
        physics, task_state, action, TASK.control(physics, task_state, action), physics, np.zeros(1, dtype=bool)
    )


@pytest.fixture
def task_state():
    """Fingers pressed on a cube of 4 cm, at its goal."""
    envs = make(1)
    envs.reset(seed=0)
    target = np.array([[*TASK.HOME, 0.0]])
    return dataclasses.replace(
        envs.batch.state.task, goal=np.array([[0.5, 0.0, 0.3]]), half=np.array([0.02]), held=np.zeros(1), target=target
    )


def test_success_is_half_a_second_at_the_goal_without_a_break(task_state):
    found = []
    for k in range(40):
        t = step(task_state, cube=(0.5, 0.0, 0.329 if k != 20 else 0.331))
        found += TASK.success(t).tolist()
        task_state = dataclasses.replace(task_state, held=TASK.time_held(t))
    steps = 13  # 0.5 s at least, of 40 ms
    assert found == [False] * (steps - 1) + [True] * (20 - steps + 1) + [False] * steps + [True] * (19 - steps + 1)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({}, None),
        ({"cube": (0.5, 0.0, -0.06)}, "cube_fallen"),
        ({"rate": 5.1}, "joint_limits"),
        ({"rate": -5.1}, "joint_limits"),
        ({"bend": 2.05}, "joint_limits"),
        ({"bend": -1.65}, "joint_limits"),
    ],
)
def test_what_ends_an_episode(task_state, state, reason):
    found = TASK.terminated(step(task_state, **state))
    assert [name for name, holds in found.items() if holds[0]] == ([reason] if reason else [])


def test_a_cube_that_is_pushed_over_the_edge_ends_the_episode():
    envs = make(1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    state = envs.get_state()
    position = mujoco.mj_stateSize(TASK.model(), int(mujoco.mjtState.mjSTATE_TIME))
    state["simulation"][0, position + 10] = 0.6
    envs.set_state(state)
    for _ in range(30):
        _, _, terminated, _, info = envs.step(np.zeros((1, 8)))
        if terminated.any():
            break
    assert info["termination"]["cube_fallen"].all()


@pytest.mark.parametrize(
    "away",
    [{"tcp": (0.5, 0.0, 0.35)}, {"cube": (0.55, 0, 0.3), "tcp": (0.55, 0, 0.3)}, {"pointing": (1, 0, 0)}],
    ids=["beside it", "elsewhere", "tilted"],
)
def test_a_firm_grasp_at_the_goal_earns_all_and_anything_else_less(task_state, away):
    best, found = TASK.reward(step(task_state)), TASK.reward(step(task_state, **away))
    for term in STAGED:
        assert best[term][0] == pytest.approx(1)
        assert found[term][0] <= best[term][0]
    assert found["hold"][0] < 0.5
    loose = dataclasses.replace(task_state, target=np.array([[*TASK.HOME, 0.02]]))
    assert [TASK.reward(step(loose))[term][0] for term in STAGED] == [1, 0, 0, 0, 0]


def test_the_goal_is_marked_where_it_is_in_the_size_of_the_cube():
    envs = make(2)
    envs.reset(seed=0)
    state, markers = envs.get_state(), TASK.markers(envs.batch.state.task)
    goal = TASK.model().geom("goal").id
    for row in range(2):
        own, data = envs.batch.physics.view(row, {name: x[row] for name, x in markers.items()})
        np.testing.assert_allclose(data.body("goal").xpos, state["memory.goal"][row])
        np.testing.assert_allclose(own.geom_size[goal], state["memory.half"][row])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("joint_speed", 0.0),
        ("finger_speed", -0.1),
        ("max_joint_speed", 0.0),
        ("home_noise", -0.1),
        ("cube_size", [0.02, 0.01]),
        ("cube_size", [0.0, 0.02]),
        ("cube_size", [0.02, 0.05]),
        ("goal_tolerance", 0.0),
        ("hold_time", -1.0),
        ("grasp_margin", 0.0),
        ("lift_height", 0.0),
        ("track_margin", 0.0),
        ("in_hand_share", 1.1),
    ],
)
def test_a_field_out_of_its_range_is_named_with_its_value(field, value):
    with pytest.raises(ValueError, match=field) as refusal:
        make(1, **{field: value})
    assert any(str(x) in str(refusal.value) for x in (value if isinstance(value, list) else [value]))


def test_as_many_episodes_as_asked_for_begin_with_the_cube_held_in_the_air():
    envs = make(64, in_hand_share=0.4)
    envs.reset(seed=0)
    in_hand = envs.get_state()["qpos"][:, 11] > 0.1
    assert 0.2 < in_hand.mean() < 0.6
    for _ in range(50):
        envs.step(np.zeros((64, 8)))
    state = envs.get_state()
    apart = np.linalg.norm(state["sensor.cube"] - state["sensor.tcp"], axis=1)
    np.testing.assert_array_equal(apart < 0.005, in_hand)
    assert (state["qpos"][in_hand, 11] > 0.1).all()
