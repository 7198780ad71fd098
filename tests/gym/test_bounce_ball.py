"""The ball, the paddle, and what counts as a bounce."""

import gymnasium
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.state import PhysicsState
from motrix_gym.tasks.basic.bounce_ball import (
    BALL_ON_PADDLE,
    GRAVITY,
    HOME,
    PADDLE,
    BounceBall,
    apex,
    landing_distance,
)

RESTITUTION = 0.85
MODEL = BounceBall().model()
TIMESTEP = MODEL.opt.timestep


def dropped(ball: np.ndarray, velocity: np.ndarray, seconds: float) -> list[PhysicsState]:
    """A ball let go over the paddle at home, after each physics step of 2 ms; places from the paddle's middle."""
    physics = CpuPhysics(MODEL, 1, 1, TIMESTEP)
    qpos = np.concatenate([HOME, PADDLE + ball, [1, 0, 0, 0]])[None]
    qvel = np.concatenate([np.zeros(6), velocity, np.zeros(3)])[None]
    frames = [physics.reset(np.ones(1, dtype=bool), qpos, qvel)]
    for _ in range(round(seconds / TIMESTEP)):
        frames.append(physics.step(HOME[None])[0])
    return frames


def heights(frames: list[PhysicsState]) -> np.ndarray:
    return np.array([physics.sensor["ball_position"][0, 2] - PADDLE[2] for physics in frames])


def make(num_envs: int = 1, **fields):
    return gymnasium.make_vec("Motrix/BounceBall-v0", num_envs=num_envs, num_threads=1, **fields).unwrapped


def test_home_holds_the_paddle_level_where_the_task_has_it():
    data = mujoco.MjData(MODEL)
    data.qpos[:6] = HOME
    mujoco.mj_forward(MODEL, data)
    np.testing.assert_allclose(data.site("paddle").xpos, PADDLE, atol=1e-6)
    np.testing.assert_allclose(data.site("paddle").xmat[6:], [0, 0, 1], atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(height=st.floats(0.1, 0.8))
def test_the_ball_comes_off_with_its_share_of_the_speed(height):
    frames = dropped(np.array([0, 0, BALL_ON_PADDLE + height]), np.zeros(3), 2 * np.sqrt(2 * height / GRAVITY))
    speed = np.array([physics.sensor["ball_velocity"][0, 2] for physics in frames])
    assert speed.max() == pytest.approx(RESTITUTION * -speed.min(), rel=0.05)


@settings(max_examples=25, deadline=None)
@given(
    ball=st.tuples(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03), st.floats(0.2, 0.6)),
    velocity=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(-1, 1)),
)
def test_a_flight_has_one_apex_and_one_place_to_land(ball, velocity):
    frames = dropped(np.array(ball), np.array(velocity), 1.0)
    height = heights(frames)
    lands = int(np.argmax(height < BALL_ON_PADDLE))
    flight = frames[:lands]
    apexes = np.concatenate([apex(physics) for physics in flight])
    np.testing.assert_allclose(apexes, apexes[0], atol=0.01)
    if velocity[2] > 0:
        assert height[:lands].max() == pytest.approx(apexes[0], abs=0.01)
    landing = np.linalg.norm(frames[lands].sensor["ball_position"][0, :2] - PADDLE[:2])
    np.testing.assert_allclose([landing_distance(physics)[0] for physics in flight], landing, atol=0.002)


def test_bounces_are_the_upward_turns_that_rise_high_enough():
    envs = make(8, joint_reach=0.01, rest_time=10.0)
    envs.reset(seed=3)
    height, bounces = [], []
    for _ in range(100):
        *_, terminated, _, _ = envs.step(np.zeros(envs.action_space.shape))
        state = envs.get_state()
        height.append(np.where(terminated, np.nan, state["sensor.ball_position"][:, 2] - PADDLE[2]))
        bounces.append(state["memory.bounces"])
    counts = []
    for row, trace in enumerate(np.transpose(height)):
        first = np.flatnonzero(np.isnan(trace))[:1]
        trace = trace[: first[0]] if first.size else trace
        middle = trace[1:-1]
        peaks = (middle > trace[:-2]) & (middle >= trace[2:]) & (middle > envs.task.bounce_height)
        falling = trace[-1] <= trace[-2] or trace[-1] < envs.task.bounce_height
        if falling:  # no bounce is counted whose peak is yet to come
            counts.append(int(peaks.sum()))
            assert bounces[len(trace) - 1][row] == counts[-1]
    assert max(counts) >= 2


def test_an_episode_succeeds_with_its_last_bounce_needed_and_not_before():
    envs = make(8, successful_bounces=2, joint_reach=0.01)
    envs.reset(seed=0)
    seen = set()
    for _ in range(100):
        *_, info = envs.step(np.zeros(envs.action_space.shape))
        bounces = envs.get_state()["memory.bounces"]
        going = ~info.get("_final_info", np.zeros(8, bool))
        np.testing.assert_array_equal(info["success"][going], bounces[going] >= 2)
        seen |= set(info["success"][going].tolist())
    assert seen == {False, True}


def test_a_ball_that_comes_to_rest_ends_the_episode():
    envs = make(1, rest_time=0.3, joint_reach=1e-6)
    envs.reset(seed=0)
    state = envs.get_state()
    bodies = CpuPhysics(MODEL, 1, 1, 0.02)
    start = np.concatenate([HOME, [*PADDLE[:2], PADDLE[2] + BALL_ON_PADDLE + 0.05], [1, 0, 0, 0]])[None]
    physics = bodies.reset(np.ones(1, dtype=bool), start, np.zeros((1, MODEL.nv)))
    state["simulation"][:] = bodies.save()
    state |= {"qpos": physics.qpos, "qvel": physics.qvel, "memory.joint_target": HOME[None]}
    state |= {f"sensor.{name}": x for name, x in physics.sensor.items()}
    envs.set_state(state)
    infos = []
    while len(infos) < 30 and (not infos or "final_info" not in infos[-1]):
        infos.append(envs.step(np.zeros((1, 6)))[4])
    assert infos[-1]["termination"]["at_rest"][0]
    assert not infos[-1]["final_info"]["success"][0]
    assert len(infos) == 16  # the first one beyond 0.3 s


def test_the_arm_goes_where_actions_send_it_and_no_further():
    envs = make(2, joint_speed=2.5, joint_reach=0.2)
    envs.reset(seed=0)
    action = np.array([[1.0] * 6, [-1.0] * 6])
    targets = []
    for _ in range(6):
        envs.step(action)
        targets.append(envs.get_state()["memory.joint_target"] - HOME)
    np.testing.assert_allclose(targets[1] - targets[0], 0.05 * action, atol=1e-12)
    np.testing.assert_allclose(targets[-1], 0.2 * action, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"apex_range": [0.05, 0.3]}, "apex_range is"),
        ({"apex_range": [0.4, 0.3]}, "apex_range is"),
        ({"joint_speed": 0.0}, "joint_speed is 0.0"),
        ({"successful_bounces": 0}, "successful_bounces is 0"),
    ],
)
def test_fields_that_make_no_task_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        make(**fields)
