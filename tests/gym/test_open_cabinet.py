"""What it means to open a drawer: where the cabinet is, what is rewarded, what counts, and that it can be done."""

import dataclasses
import functools

import gymnasium
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import BEFORE, CLOSE, PULL, TO, OpensDrawer

from motrix_gym.model_files import load_model
from motrix_gym.state import PhysicsState, Transition
from motrix_gym.tasks.manipulation.open_cabinet import TRAVEL, FrankaOpenCabinet, gripped
from motrix_gym.tasks.manipulation.panda import FINGERS
from motrix_gym.vector_env import MotrixVectorEnv

ENV_ID = "Motrix/FrankaOpenCabinet-v0"
TASK = FrankaOpenCabinet()
STEPS = 125
FRONT = 0.3245  # m, where the shut drawer's front is, along x of the cabinet
STAGED = ("reach", "align", "straddle", "grip", "open")
SEEDS = st.integers(0, 2**63 - 1)


def make(num_rows: int, **fields: object) -> MotrixVectorEnv:
    return gymnasium.make_vec(ENV_ID, num_envs=num_rows, num_threads=1, **fields).unwrapped


def model_of(envs: MotrixVectorEnv, row: int) -> mujoco.MjData:
    """One row as its own model has it, everything computed."""
    return envs.batch.physics.view(row)[1]


@dataclasses.dataclass(frozen=True)
class Shown:
    """What the script did in whole episodes of many rows, (T, N) each but the last.

    Attributes:
        stage: What each row was about in each step.
        terms: Reward terms, unweighted.
        drawer: How far the drawer was open, m.
        gripped: Whether the handle was gripped.
        success: Whether the last step was a success, (N,).
    """

    stage: np.ndarray
    terms: dict[str, np.ndarray]
    drawer: np.ndarray
    gripped: np.ndarray
    success: np.ndarray

    def mean(self, term: str, stage: int) -> float:
        """The mean of a term in the steps of a stage."""
        return float(self.terms[term][self.stage == stage].mean())


@pytest.fixture(scope="module")
def solved() -> Shown:
    """The script as it solves the task."""
    envs = make(24, max_episode_steps=STEPS + 1)
    envs.reset(seed=0)
    script = OpensDrawer(envs)
    stages, infos = [], []
    for _ in range(STEPS):
        action = script()
        stages.append(script.stage.copy())
        infos.append(envs.step(action)[4])
    weights = envs.task.weights
    return Shown(
        stage=np.stack(stages),
        terms={name: np.stack([i["reward_terms"][name] for i in infos]) / weights[name] for name in weights},
        drawer=np.stack([i["metrics"]["drawer"] for i in infos]),
        gripped=np.stack([i["metrics"]["gripped"] for i in infos]),
        success=infos[-1]["success"],
    )


def test_a_script_opens_the_drawer(solved):
    assert solved.success.mean() >= 0.9
    assert solved.drawer[-1][solved.success].min() >= 0.8 * TRAVEL


def test_the_drawer_comes_with_the_grip_only(solved):
    moved = np.diff(solved.drawer, axis=0) > 1e-3
    assert moved.sum() > 100
    assert solved.gripped[1:][moved].mean() > 0.9


def test_each_stage_of_the_reward_rises_with_the_motion_that_it_is_for(solved):
    for term in ("reach", "align", "straddle"):
        first = solved.terms[term][0].mean()
        assert first < solved.mean(term, TO) <= 1
        assert solved.mean(term, CLOSE) > 0.99
    assert solved.mean("reach", BEFORE) < solved.mean("reach", TO) < solved.mean("reach", CLOSE)
    assert solved.mean("grip", BEFORE) == 0
    assert solved.mean("grip", TO) < 0.2 < solved.mean("grip", CLOSE) < 0.9 < solved.mean("grip", PULL)
    assert solved.mean("open", CLOSE) < 0.01 < 0.5 < solved.mean("open", PULL)
    assert (solved.terms["open"][-1][solved.success] >= 0.8).all()


def test_the_staged_terms_are_from_0_to_1(solved):
    for term in STAGED:
        assert solved.terms[term].min() >= 0
        assert solved.terms[term].max() <= 1


def test_opening_is_worth_more_than_all_before_it():
    weights = TASK.weights
    assert weights["open"] > sum(weights[term] for term in STAGED if term != "open")


@pytest.mark.parametrize("beside", [0.0, 0.15])
def test_no_finger_goes_through_what_it_presses_on_and_no_push_opens_the_drawer(beside):
    """The hand goes to a point before the bar, or beside it, and on into the drawer with shut fingers."""
    envs = make(4)
    envs.reset(seed=0)
    script = OpensDrawer(envs)
    script.beside = beside
    for k in range(100):
        script.stage[:] = BEFORE
        script.clear = 0.08 if k < 60 else -0.1
        action = script()
        action[:, -1] = -1
        envs.step(action)
    for row in range(4):
        data = model_of(envs, row)
        cabinet = data.body("cabinet")
        pads = np.stack([data.geom(name).xpos for name in ("left_pad", "right_pad")])
        ahead = ((pads - cabinet.xpos) @ cabinet.xmat.reshape(3, 3))[:, 0]
        assert ahead.min() > FRONT + 0.005
        assert ahead.min() < FRONT + 0.06
        assert abs(data.joint("drawer").qpos[0]) < 0.002


@settings(max_examples=10)
@given(seed=SEEDS)
def test_rows_that_begin_together_begin_differently(seed):
    """Each has a cabinet in a place of its own and an arm in a pose of its own."""
    envs = make(8)
    envs.reset(seed=seed)
    state = envs.get_state()
    places = np.stack([model_of(envs, row).site("handle").xpos.copy() for row in range(8)])
    for drawn in (*places[:, :2].T, *state["memory.place"].T, *state["qpos"][:, :7].T):
        assert len(np.unique(drawn)) == 8
    assert np.ptp(places[:, 2]) < 1e-9
    assert (np.abs(state["memory.place"]) <= [*TASK.cabinet_shift, TASK.cabinet_turn]).all()
    assert not state["qpos"][:, 9].any()
    envs.reset(options={"reset_mask": np.arange(8) < 4})
    again = envs.get_state()["memory.place"]
    assert (again[:4] != state["memory.place"][:4]).all()
    np.testing.assert_array_equal(again[4:], state["memory.place"][4:])


def test_cabinets_are_all_over_their_range():
    envs = make(512)
    envs.reset(seed=0)
    place = envs.get_state()["memory.place"] / [*TASK.cabinet_shift, TASK.cabinet_turn]
    np.testing.assert_allclose(place.mean(axis=0), 0, atol=0.1)
    assert (place.min(axis=0) < -0.97).all()
    assert (place.max(axis=0) > 0.97).all()


@settings(max_examples=5)
@given(seed=SEEDS)
def test_the_cabinet_is_simulated_seen_and_drawn_where_its_row_has_it(seed):
    envs = make(3)
    first, _ = envs.reset(seed=seed)
    usual = load_model("open_cabinet.xml").body("cabinet").pos
    for row, (x, y, turn) in enumerate(envs.get_state()["memory.place"]):
        data = model_of(envs, row)
        np.testing.assert_allclose(data.body("cabinet").xpos, usual + np.array([x, y, 0]), atol=1e-12)
        way = data.body("cabinet").xmat.reshape(3, 3)[:, 0]
        np.testing.assert_allclose(way, [-np.cos(turn), -np.sin(turn), 0], atol=1e-9)
        seen = data.site("tcp").xmat.reshape(3, 3) @ first[row, envs.observation_blocks["handle"]]
        np.testing.assert_allclose(data.site("tcp").xpos + seen, data.site("handle").xpos, atol=1e-6)


def test_a_restored_row_has_its_cabinet_back():
    envs, other = make(2), make(2)
    envs.reset(seed=0)
    other.reset(seed=5)
    other.set_state(envs.get_state())
    for row in range(2):
        np.testing.assert_array_equal(model_of(other, row).site("handle").xpos, model_of(envs, row).site("handle").xpos)


def test_the_drawer_slides_alone_as_far_as_it_should_and_stays_where_it_is():
    model = load_model("open_cabinet.xml")
    drawer = model.joint("drawer")
    assert drawer.range.tolist() == [0, TRAVEL]
    assert model.nv == 10
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.site("handle").xpos, [0.6435, 0, 0.7272], atol=1e-9)
    data.qpos[drawer.qposadr] = 0.2
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.site("handle").xpos, [0.4435, 0, 0.7272], atol=1e-9)
    mujoco.mj_step(model, data, 400)
    assert data.qpos[drawer.qposadr] == pytest.approx(0.2, abs=1e-3)


@functools.cache
def a_frame() -> PhysicsState:
    """One row at the beginning of an episode."""
    envs = make(1)
    envs.reset(seed=0)
    return envs.batch.state.physics


def at_bar(*, handle=(0.0, 0.0, 0.0), contact=(1.0, 1.0), drawer=0.0, opening=0.022) -> PhysicsState:
    """One row whose hand is turned as it should be, with the bar where it is said to be."""
    physics = a_frame()
    qpos = physics.qpos.copy()
    qpos[:, FINGERS] = opening / 2
    sensor = {
        "handle": np.array([handle]),
        "handle_axes/way": np.array([[0.0, 0.0, -1.0]]),
        "handle_axes/up": np.array([[0.0, 1.0, 0.0]]),
        "bar_contact": np.array([contact]),
        "drawer": np.array([[drawer]]),
    }
    return dataclasses.replace(physics, qpos=qpos, sensor={**physics.sensor, **sensor})


def step(physics: PhysicsState) -> Transition:
    """One step of a row that stays as it is."""
    envs = make(1)
    envs.reset(seed=0)
    return Transition(
        physics, envs.batch.state.task, np.zeros((1, 8)), np.zeros((1, 8)), physics, np.zeros(1, dtype=bool)
    )


@pytest.mark.parametrize(
    ("away", "holds"),
    [
        ({}, True),
        ({"handle": (0.04, 0.0, 0.0)}, True),
        ({"handle": (0.0, 0.0, 0.023)}, False),  # before the tips
        ({"handle": (0.0, 0.0, -0.015)}, False),  # behind the pads, which hook it
        ({"handle": (0.0, 0.03, 0.0)}, False),  # beside both fingers
        ({"handle": (0.06, 0.0, 0.0)}, False),  # beside the bar
        ({"contact": (1.0, 0.0)}, False),
        ({"contact": (0.0, 1.0)}, False),
    ],
)
def test_a_grip_has_the_bar_between_both_pads(away, holds):
    physics = at_bar(drawer=0.4, **away)
    t = step(physics)
    assert gripped(physics)[0] == holds
    assert TASK.success(t)[0] == holds
    assert TASK.reward(t)["open"][0] == holds


def test_success_is_a_share_of_the_travel():
    for share in (0.5, 0.8, 1.0):
        task = FrankaOpenCabinet(open_share=share)
        for drawer, expected in ((share * TRAVEL - 0.001, False), (share * TRAVEL + 1e-9, True)):
            t = step(at_bar(drawer=drawer))
            assert task.success(t)[0] == expected
            assert task.reward(t)["open"][0] == pytest.approx(drawer / TRAVEL)


@given(
    handle=st.tuples(*[st.floats(-1, 1)] * 3),
    opening=st.floats(0, 0.08),
    contact=st.tuples(*[st.sampled_from([0.0, 1.0])] * 2),
    drawer=st.floats(-0.01, 0.41),
)
def test_nothing_earns_more_than_a_drawer_that_is_held_open(handle, opening, contact, drawer):
    best = TASK.reward(step(at_bar(drawer=0.4)))
    found = TASK.reward(step(at_bar(handle=handle, opening=opening, contact=contact, drawer=drawer)))
    for term in STAGED:
        assert best[term][0] == pytest.approx(1)
        assert 0 <= found[term][0] <= 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("open_share", 0.0),
        ("open_share", 1.1),
        ("cabinet_shift", [-0.1, 0.1]),
        ("cabinet_turn", -0.1),
        ("reach_margin", 0.0),
        ("straddle_margin", -1.0),
        ("joint_speed", 0.0),
    ],
)
def test_a_field_out_of_its_range_is_named_with_its_value(field, value):
    with pytest.raises(ValueError, match=field) as refusal:
        make(1, **{field: value})
    assert str(value[0] if isinstance(value, list) else value) in str(refusal.value)
