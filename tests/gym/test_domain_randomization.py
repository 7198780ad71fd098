"""What differs between a robot and its model: each option changes the physics of its row and of no other."""

import gymnasium
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motrix_gym.tasks.locomotion.domain_randomization import QUANTITIES

OPTIONS = {
    "friction": (0.4, 1.2),
    "added_mass": (-1.0, 3.0),
    "com_shift": (0.05, 0.05, 0.05),
    "motor_strength": (0.2, 0.5),
    "stiffness": (0.7, 1.3),
    "damping": (0.5, 2.0),
    "joint_offset": 0.1,
    "action_delay": (0, 3),
}
NOISE = {"observation_noise": {"joint_velocity": 1.5, "gravity": 0.05}}
ALL = OPTIONS | NOISE | {"push_speed": 0.5, "push_interval": (0.1, 0.3)}
ROWS = 4


def make(num_envs: int = ROWS, **fields):
    return gymnasium.make_vec("Motrix/Go1-v0", num_envs=num_envs, num_threads=1, **fields).unwrapped


def walk(envs, steps: int = 40, size: float = 0.6) -> np.ndarray:
    """Positions after each step of some lively motion, (T, N, nq)."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(steps):
        envs.step(np.repeat(size * rng.uniform(-1, 1, (1, 12)), envs.num_envs, axis=0))
        found.append(envs.get_state()["qpos"])
    return np.array(found)


@pytest.mark.parametrize("option", [*OPTIONS, "push_speed"])
def test_an_option_changes_the_physics_of_its_row_and_of_no_other(option):
    """Row 2 alone gets other numbers: the rest of the state, and the actions, are the same."""
    fields = {option: OPTIONS[option]} if option in OPTIONS else {"push_speed": 0.5}
    envs = make(**fields)
    envs.reset(seed=0)
    state = envs.get_state()
    if option == "push_speed":
        state["memory.push"][2] = 0.5, 0.0, 0.0
    else:
        drawn = state["memory.drawn"]
        columns = envs.task.columns[option]
        drawn[2, columns] = -np.sign(drawn[2, columns]) * 0.9
    untouched = envs.get_state()
    envs.set_state(untouched)
    expected = walk(envs)
    envs.set_state(state)
    found = walk(envs)
    others = [0, 1, 3]
    np.testing.assert_array_equal(found[:, others], expected[:, others])
    assert np.abs(found[:, 2] - expected[:, 2]).max() > 1e-4


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_row_simulates_the_model_that_its_numbers_say(seed):
    envs = make(**OPTIONS)
    envs.reset(seed=seed)
    task_state, task, plain = envs.batch.state.task, envs.task, envs.task.model()
    trunk = plain.body("trunk").id
    of = {name: task.sampled(name, task_state) for name in QUANTITIES}
    assert len(np.unique(task_state.drawn, axis=0)) == ROWS
    for row in range(ROWS):
        model = envs.batch.physics._batch.get_model(row)
        robot = plain.geom_bodyid > 0
        friction, added = of["friction"][row], of["added_mass"][row]
        np.testing.assert_allclose(model.geom_friction[robot, 0], plain.geom_friction[robot, 0] * friction)
        np.testing.assert_array_equal(model.geom_friction[~robot], plain.geom_friction[~robot])
        np.testing.assert_allclose(model.body_mass[trunk], plain.body_mass[trunk] + added)
        np.testing.assert_allclose(
            model.body_inertia[trunk] / plain.body_inertia[trunk], model.body_mass[trunk] / plain.body_mass[trunk]
        )
        np.testing.assert_allclose(model.body_ipos[trunk] - plain.body_ipos[trunk], of["com_shift"][row])
        strength = of["motor_strength"][row][:, None]
        np.testing.assert_allclose(model.actuator_forcerange, plain.actuator_forcerange * strength)
        np.testing.assert_allclose(model.actuator_gainprm[:, 0], plain.actuator_gainprm[:, 0] * of["stiffness"][row])
        np.testing.assert_allclose(model.actuator_biasprm[:, 1], plain.actuator_biasprm[:, 1] * of["stiffness"][row])
        np.testing.assert_allclose(model.dof_damping[6:], plain.dof_damping[6:] * of["damping"][row])
        derived = [model.body_subtreemass.copy(), model.dof_invweight0.copy(), model.body_invweight0.copy()]
        mujoco.mj_setConst(model, mujoco.MjData(model))
        for before, after in zip(
            derived, (model.body_subtreemass, model.dof_invweight0, model.body_invweight0), strict=True
        ):
            np.testing.assert_allclose(before, after, rtol=1e-9)


@pytest.mark.parametrize("option", OPTIONS)
def test_what_is_drawn_fills_its_range_and_is_drawn_again(option):
    envs = make(256, **{option: OPTIONS[option]})
    envs.reset(seed=0)
    first = envs.task.sampled(option, envs.batch.state.task)
    given_range = OPTIONS[option]
    low, high = given_range if isinstance(given_range, tuple) and len(given_range) == 2 else (None, given_range)
    low = -np.asarray(high) if low is None else low
    assert (first >= np.asarray(low) - 1e-12).all()
    assert (first <= np.asarray(high) + 1e-12).all()
    assert (first.min(axis=0) < low + 0.1 * (np.asarray(high) - low)).all()
    assert (first.max(axis=0) > high - 0.1 * (np.asarray(high) - low)).all()
    envs.reset()
    assert not np.array_equal(first, envs.task.sampled(option, envs.batch.state.task))


OWN = [("friction", 1), ("motor_strength", 1), ("stiffness", 1), ("damping", 1), ("added_mass", 0), ("action_delay", 0)]
OTHER = [
    *[("friction", 0.5), ("motor_strength", 0.5), ("stiffness", 0.5), ("damping", 0.5)],
    *[("added_mass", 1), ("action_delay", 1), ("added_mass", -1), ("action_delay", 2)],
]


@pytest.mark.parametrize(("option", "value"), OWN + OTHER)
def test_a_range_may_be_one_number(option, value):
    envs, plain = make(**{option: (value, value)}), make()
    for each in (envs, plain):
        each.reset(seed=0)
    assert np.array_equal(walk(envs), walk(plain)) == ((option, value) in OWN)


def test_actions_come_late_by_the_steps_of_the_row():
    envs = make(64, action_delay=(0, 3))
    envs.reset(seed=0)
    delay = envs.task.sampled("action_delay", envs.batch.state.task)[:, 0]
    assert set(delay) == {0, 1, 2, 3}
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 64, 12))
    for k, action in enumerate(actions):
        ctrl = envs.task.control(envs.batch.state.physics, envs.batch.state.task, action)
        for row, late in enumerate(delay):
            reached = actions[k - late, row] if late <= k else np.zeros(12)
            expected = envs.task.ROBOT.default_joints + envs.task.action_scale * reached
            np.testing.assert_allclose(ctrl[row], expected)
        observation, *_ = envs.step(action)
        shown = observation[:, envs.observation_blocks["last_action"]]
        np.testing.assert_allclose(shown, action, atol=1e-6)


def test_noise_is_within_its_width_and_in_its_blocks_only():
    noisy, clean = make(64, **NOISE), make(64)
    noisy.reset(seed=0)
    blocks = noisy.observation_blocks
    differences = []
    for _ in range(20):
        observation, *_ = noisy.step(0.3 * noisy.action_space.sample())
        true = noisy.task.observe(noisy.batch.state.physics, noisy.batch.state.task)
        differences.append(observation - np.concatenate(list(true.values()), axis=1))
    off = np.abs(differences)
    for name, place in blocks.items():
        width = NOISE["observation_noise"].get(name, 0.0)
        assert off[..., place].max() <= width + 1e-5
        assert off[..., place].max() >= 0.95 * width
    assert off[:, 0].std(axis=0)[blocks["joint_velocity"]].min() > 0  # new at every step
    state = noisy.state()
    assert clean.state().shape[1] + 15 == state.shape[1]  # joint velocities and gravity, once more without noise
    true_velocity = noisy.get_state()["qvel"][:, 6:]
    assert any(np.allclose(state[:, k : k + 12], true_velocity, atol=1e-4) for k in range(50, state.shape[1] - 11))


def test_encoders_that_are_off_shift_what_is_seen_and_what_is_done():
    envs = make(8, joint_offset=0.1)
    observation, _ = envs.reset(seed=0)
    offset = envs.task.sampled("joint_offset", envs.batch.state.task)
    bend = envs.get_state()["qpos"][:, 7:] - envs.task.ROBOT.default_joints
    np.testing.assert_allclose(observation[:, envs.observation_blocks["joint_position"]], bend - offset, atol=1e-6)
    ctrl = envs.task.control(envs.batch.state.physics, envs.batch.state.task, np.zeros((8, 12)))
    np.testing.assert_allclose(ctrl, envs.task.ROBOT.default_joints + offset)


def test_a_push_changes_the_velocity_by_its_speed():
    envs = make(32, push_speed=0.5, push_interval=(0.2, 0.4))
    envs.reset(seed=0)
    jumps, pushes = [], []
    for _ in range(60):
        before = envs.get_state()
        envs.step(np.zeros(envs.action_space.shape))
        after = envs.get_state()
        pushed = before["memory.push"]
        pushes.append(np.linalg.norm(pushed, axis=1) > 0)
        jumps.append(np.where(pushes[-1], ((after["qvel"] - before["qvel"])[:, :3] * pushed).sum(axis=1) / 0.25, 0))
    pushes = np.array(pushes)
    assert 0.5 < np.array(jumps)[pushes].mean() < 1.1  # feet on the ground hold some of it
    times = [0.02 * np.diff(np.flatnonzero(row)) for row in pushes.T]
    assert min(t.min() for t in times) > 0.2 - 0.03
    assert max(t.max() for t in times) < 0.4 + 0.03


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), pause=st.integers(0, 12))
def test_a_saved_state_goes_on_with_everything_on(seed, pause):
    fields = ALL | {"terrain": {"noise": 0.05}, "terrain_levels": 2, "terrain_curriculum": True, "height_scan": True}
    first, second = make(**fields, max_episode_steps=9), make(**fields, max_episode_steps=9)
    first.reset(seed=seed)
    second.reset(seed=1)
    actions = np.random.default_rng(0).uniform(-1, 1, (25, ROWS, 12))
    for action in actions[:pause]:
        first.step(action)
    second.set_state(first.get_state())
    for action in actions[pause:]:
        for x, y in zip(first.step(action)[:4], second.step(action)[:4], strict=True):
            np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(first.state(), second.state())


def test_a_row_with_everything_on_depends_on_its_seed_only():
    together, alone = make(**ALL, max_episode_steps=12), make(1, **ALL, max_episode_steps=12)
    observation, _ = together.reset(seed=7)
    single, _ = alone.reset(seed=9)
    np.testing.assert_array_equal(observation[2], single[0])
    for action in np.random.default_rng(0).uniform(-1, 1, (30, ROWS, 12)):
        observation, reward, *_ = together.step(action)
        single, single_reward, *_ = alone.step(action[2:3])
        np.testing.assert_array_equal(observation[2], single[0])
        assert reward[2] == single_reward[0]


def test_disturbances_have_a_mirror_image():
    envs = make(**ALL)
    envs.reset(seed=0)
    walk(envs, 5)
    task_state, mirror = envs.batch.state.task, envs.task.mirror()
    twice = mirror.state(mirror.state(task_state))
    for name in ("drawn", "noise", "past_actions", "push"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(task_state, name))
    mirrored = mirror.state(task_state)
    for name, quantity in QUANTITIES.items():
        flip = quantity.mirror(envs.task.ROBOT.mirrored_joints)
        found, own = (envs.task.sampled(name, m) for m in (mirrored, task_state))
        np.testing.assert_allclose(found, flip(own))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"friction": (1.2, 0.4)}, r"friction is \(1.2, 0.4\); it takes 2 values in ascending"),
        ({"stiffness": (0.0, 1.0)}, r"stiffness\[0\] is 0.0; it takes a number above 0"),
        ({"added_mass": (-9.0, 0.0)}, r"added_mass is \(-9.0, 0.0\) kg; the trunk has 5.2 kg"),
        ({"joint_offset": -0.1}, "joint_offset is -0.1; it takes a number of at least 0"),
        ({"com_shift": (0.0, -0.1, 0.0)}, r"com_shift\[1\] is -0.1; it takes a number of at least 0"),
        ({"action_delay": (0.5, 1)}, r"action_delay\[0\] is 0.5; it takes a whole number"),
        ({"action_delay": (-1, 1)}, r"action_delay\[0\] is -1; it takes a whole number of at least 0"),
        ({"observation_noise": {"gravit": 0.1}}, "observation_noise has no block 'gravit'; did you mean 'gravity'"),
        ({"observation_noise": {"gravity": -0.1}}, r"observation_noise\['gravity'\] is -0.1"),
        ({"push_interval": (0.0, 1.0)}, r"push_interval\[0\] is 0.0; it takes a number above 0"),
    ],
)
def test_options_without_meaning_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        make(**fields)
