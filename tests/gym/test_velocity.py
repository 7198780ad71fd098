"""What the velocity task rewards, shows and remembers, told again from what is seen from outside."""

import dataclasses
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
from trajectories import actions_for

from motrix_gym.registration import ENVS, task_class
from motrix_gym.tasks.locomotion.biped import Biped
from motrix_gym.tasks.locomotion.velocity import VelocityTask
from motrix_gym.vector_env import MotrixVectorEnv

TASKS = {env.id: cls for env in ENVS if issubclass(cls := task_class(env.task), VelocityTask)}
IDS = list(TASKS)
FOUR_LEGGED = [env_id for env_id, cls in TASKS.items() if not issubclass(cls, Biped)]
BIPEDS = [env_id for env_id in IDS if env_id not in FOUR_LEGGED]
SAMPLED = [env_id for env_id, cls in TASKS.items() if "command_interval" in {f.name for f in dataclasses.fields(cls)}]
NUM_ROWS, NUM_STEPS = 16, 60
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(scope="module", params=SAMPLED)
def run(request: pytest.FixtureRequest) -> tuple[MotrixVectorEnv, list[dict]]:
    """An environment, and what was there after its reset and after each step of rows that do not end."""
    make = {"num_envs": NUM_ROWS, "num_threads": 1, "command_interval": (0.3, 0.5), "still_probability": 0.3}
    if request.param in BIPEDS:  # which topple, and are to lie until the end
        make |= {"max_tilt": 3.0, "min_height": 0.0}
    envs = gymnasium.make_vec(request.param, **make).unwrapped
    moments = [{"observation": envs.reset(seed=1)[0], "state": envs.get_state()}]
    ended = np.zeros(NUM_ROWS, dtype=bool)
    for action in 0.6 * actions_for(request.param, NUM_ROWS, NUM_STEPS):
        observation, _, terminated, truncated, info = envs.step(action)
        ended |= terminated | truncated
        terms = {name: x / envs.task.weights[name] for name, x in info["reward_terms"].items()}
        moments.append({"observation": observation, "state": envs.get_state(), "terms": terms, "action": action})
    standing = np.flatnonzero(~ended)
    assert len(standing) >= NUM_ROWS // 4
    return envs, [{name: _rows(x, standing) for name, x in moment.items()} for moment in moments]


def test_a_step_is_rewarded_for_the_command_that_was_shown_before_it(run):
    envs, moments = run
    blocks, task = envs.observation_blocks, envs.task
    for before, now in pairwise(moments):
        command = before["observation"][:, blocks["command"]]
        velocity = now["observation"][:, blocks["linear_velocity"]]
        rate = now["observation"][:, blocks["angular_velocity"]]
        error = np.square(command[:, :2] - velocity[:, :2]).sum(axis=1)
        np.testing.assert_allclose(now["terms"]["tracking_lin_vel"], np.exp(-error / task.tracking_variance), **CLOSE)
        error = np.square(command[:, 2] - rate[:, 2])
        np.testing.assert_allclose(now["terms"]["tracking_ang_vel"], np.exp(-error / task.tracking_variance), **CLOSE)


def test_feet_are_rewarded_once_for_each_landing(run):
    envs, moments = run
    in_the_air = np.zeros_like(moments[0]["state"]["sensor.contact"])
    landings = 0
    for before, now in pairwise(moments):
        contact = now["state"]["sensor.contact"] > 0
        landed = contact & (in_the_air > 0)
        expected = (landed * (in_the_air - 0.1)).sum(axis=1)
        moving = np.abs(before["observation"][:, envs.observation_blocks["gait_clock"]]).sum(axis=1) > 0
        np.testing.assert_allclose(now["terms"]["feet_air_time"], expected * moving, atol=1e-9)
        in_the_air = np.where(contact, 0.0, in_the_air + envs.task.control_dt)
        np.testing.assert_allclose(now["state"]["memory.air_time"], in_the_air, atol=1e-9)
        landings += landed.sum()
    assert landings > 10


def test_a_biped_is_rewarded_for_legs_that_swing_as_the_clock_asks(run):
    envs, moments = run
    robot, blocks = envs.task.ROBOT, envs.observation_blocks
    if not isinstance(envs.task, Biped):
        pytest.skip("a robot with four legs has no such term")
    assert robot.spread[robot.joints.index("right_ankle_roll_joint")] == 0.1
    for before, now in pairwise(moments):
        sine = before["observation"][:, blocks["gait_clock"]][
            :, :1
        ]  # of the left leg; the right one is half a turn off
        asked = np.zeros((len(sine), len(robot.joints)))
        for side, lift in (("left", sine), ("right", -sine)):
            bent = [f"{side}_{joint}_joint" for joint in ("hip_pitch", "knee", "ankle_pitch")]
            asked[:, [robot.joints.index(name) for name in bent]] = np.maximum(lift, 0) * [-0.25, 0.5, -0.25]
        off = (now["observation"][:, blocks["joint_position"]] - asked) / robot.spread
        np.testing.assert_allclose(now["terms"]["pose"], np.exp(-(off**2)).mean(axis=1), **CLOSE)


def test_commands_last_as_long_as_they_should_and_lie_where_they_should(run):
    envs, moments = run
    task = envs.task
    commands = np.stack([m["state"]["memory.command"] for m in moments])  # (T, N, 3)
    assert (commands >= np.minimum(task.command_low, 0)).all()
    assert (commands <= np.maximum(task.command_high, 0)).all()
    lengths, still, drawn = [], 0, 0
    for row in range(commands.shape[1]):
        changes = np.flatnonzero(np.diff(commands[:, row, 0])) + 1  # the others may be steered with
        lengths += np.diff(changes).tolist()
        drawn += len(changes)
        still += int((commands[changes, row] == 0).all(axis=1).sum())
    seconds = task.control_dt * np.array(lengths)
    assert seconds.min() > task.command_interval[0] - task.control_dt
    assert 0 < still < drawn
    # A still command after a still one is no change, so some intervals look twice as long.
    assert np.median(seconds) < task.command_interval[1] + task.control_dt


def test_gravity_is_down_as_the_trunk_sees_it(run):
    envs, moments = run
    for moment in moments:
        w, x, y, z = moment["state"]["qpos"][:, 3:7].T
        down = -np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=1)
        shown = moment["observation"][:, envs.observation_blocks["gravity"]]
        np.testing.assert_allclose(shown, down, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(shown, axis=1), 1, atol=1e-6)


def test_the_last_action_is_shown_as_it_was_clipped(run):
    envs, moments = run
    for moment in moments[1:]:
        shown = moment["observation"][:, envs.observation_blocks["last_action"]]
        np.testing.assert_allclose(shown, moment["action"].clip(-1, 1), atol=1e-6)


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize(("angle", "reasons"), [(0.9, []), (1.2, ["tilted"])])
def test_tilted_too_far_it_has_fallen(env_id, angle, reasons):
    assert reasons_of(env_id, height=1.0, roll=angle) == reasons


@pytest.mark.parametrize("env_id", FOUR_LEGGED)
def test_on_its_back_it_has_fallen(env_id):
    assert reasons_of(env_id, height=0.05, roll=3.1) == ["tilted", "trunk_contact"]


@pytest.mark.parametrize("env_id", BIPEDS)
@pytest.mark.parametrize(
    ("height", "joints", "reasons"),
    [
        (0.47, {"hip_pitch": 0.0, "knee": 2.6}, ["too_low"]),  # on its knees
        (0.13, {"hip_pitch": -1.6, "knee": 0.0}, ["trunk_contact", "too_low"]),  # it sits
    ],
)
def test_a_biped_that_kneels_or_sits_has_fallen(env_id, height, joints, reasons):
    assert reasons_of(env_id, height, **joints) == reasons


def reasons_of(env_id: str, height: float, roll: float = 0.0, **joints: float) -> list[str]:
    """For which reasons an episode ends in which a robot at rest is put somewhere, with joints at some angles."""
    envs = gymnasium.make_vec(env_id, num_envs=1, num_threads=1).unwrapped
    envs.reset(seed=0)
    state = envs.get_state()
    time, nq = 1, state["qpos"].shape[1]
    qpos = state["simulation"][:, time : time + nq]
    qpos[:, 2] = height + envs.task.ground.height(qpos[:, :2])
    qpos[:, 3:7] = np.cos(roll / 2), np.sin(roll / 2), 0, 0
    for part, angle in joints.items():
        qpos[:, [7 + k for k, name in enumerate(envs.task.ROBOT.joints) if part in name]] = angle
    state["simulation"][:, time + nq : time + nq + state["qvel"].shape[1]] = 0
    envs.set_state(state)
    *_, info = envs.step(np.zeros(envs.action_space.shape))
    return [name for name, holds in info["termination"].items() if holds[0]]


@pytest.mark.parametrize("env_id", IDS)
def test_an_episode_begins_on_its_feet_just_above_the_ground(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=64, num_threads=1).unwrapped
    envs.reset(seed=0)
    state = envs.get_state()
    feet = state["sensor.position"].reshape(64, -1, 3)
    heights = feet[:, :, 2] - envs.task.ROBOT.foot_height - envs.task.ground.height(feet[:, :, :2])
    assert heights.min() > -0.003
    rough = envs.task.terrain.get("noise", 0.0)
    assert heights.max() < 0.1 + rough
    assert not state["sensor.body_contact"].any()
    np.testing.assert_allclose(state["sensor.gravity_direction"], [[0, 0, -1]] * 64, atol=1e-12)


@pytest.mark.parametrize("env_id", FOUR_LEGGED)
def test_without_actions_it_stands_to_the_end(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=4, num_threads=1).unwrapped
    envs.reset(seed=0)
    lowest = 0.7 * envs.task.ROBOT.standing_height
    for _ in range(envs.max_episode_steps - 1):
        _, _, terminated, _, _ = envs.step(np.zeros(envs.action_space.shape))
        assert not terminated.any()
    qpos = envs.get_state()["qpos"]
    assert (qpos[:, 2] - envs.task.ground.height(qpos[:, :2]) > lowest).all()


@pytest.mark.parametrize("env_id", IDS)
def test_pushed_ahead_it_sees_a_forward_velocity(env_id):
    envs = gymnasium.make_vec(env_id, num_envs=8, num_threads=1).unwrapped
    envs.reset(seed=0)
    state = envs.get_state()
    time, nq = 1, state["qpos"].shape[1]
    _, _, _, w, x, y, z = state["qpos"].T[:7]
    ahead = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z)], axis=1)
    if env_id in FOUR_LEGGED:
        feet = state["sensor.position"].reshape(8, 4, 3)[:, :2].mean(axis=1) - state["qpos"][:, :3]
        assert ((feet[:, :2] * ahead).sum(axis=1) > 0.1).all()  # the first two legs are those in front
    qpos = state["simulation"][:, time : time + nq]
    qvel = state["simulation"][:, time + nq : time + nq + state["qvel"].shape[1]]
    qpos[:, 2] += 1.0
    qpos[:, 7:] = envs.task.ROBOT.default_joints
    qvel[:] = 0
    qvel[:, :2] = 2.0 * ahead
    qvel[:, 5] = 0.5
    envs.set_state(state)
    observation, *_ = envs.step(np.zeros(envs.action_space.shape))
    blocks = envs.observation_blocks
    np.testing.assert_allclose(observation[:, blocks["linear_velocity"]][:, :2], [[2, 0]] * 8, atol=0.2)
    np.testing.assert_allclose(observation[:, blocks["angular_velocity"]][:, 2], 0.5, atol=0.2)


def _rows(x: object, rows: np.ndarray) -> object:
    return {name: value[rows] for name, value in x.items()} if isinstance(x, dict) else x[rows]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tracking_variance", 0.0),
        ("gait_frequency", -1.0),
        ("still_probability", 2.0),
        ("command_interval", [8.0, 4.0]),
        ("command_interval", [0.0, 4.0]),
        ("command_low", [0.0, 1.0, 0.0]),
    ],
)
def test_a_field_out_of_its_range_is_named_with_its_value(field, value):
    with pytest.raises(ValueError, match=field) as refusal:
        gymnasium.make_vec("Motrix/Go1-v0", num_envs=1, **{field: value})
    assert str(value[0] if isinstance(value, list) else value) in str(refusal.value)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_lowest_trunk_that_is_no_share_of_its_height_is_refused(value):
    with pytest.raises(ValueError, match=f"min_height.*{value}"):
        gymnasium.make_vec("Motrix/G1-v0", num_envs=1, min_height=value)
