"""Ground from numbers: its heights, where episodes begin on it, and the level that a row has reached."""

import itertools

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from motrix_gym import rotations, terrain
from motrix_gym.registration import ENVS, task_class
from motrix_gym.tasks.locomotion.velocity import Go1, VelocityTask

SIZES = st.dictionaries(st.sampled_from(list(terrain.KINDS)), st.floats(0.01, 0.4), min_size=1, max_size=3)
ROBOTS = sorted({env.id for env in ENVS if issubclass(task_class(env.task), VelocityTask)})
EVERYTHING = dict.fromkeys(terrain.KINDS, 0.15)
DOWN = np.array([0.0, 0.0, -1.0])


def make(env_id: str = "Motrix/Go1-v0", num_envs: int = 8, **fields):
    return gymnasium.make_vec(env_id, num_envs=num_envs, num_threads=1, **fields).unwrapped


def seen_by_a_ray(model: mujoco.MjModel, points: np.ndarray) -> np.ndarray:
    """The height of what a ray from high above meets first at `points`, (n, 2), without the robot."""
    data = mujoco.MjData(model)
    data.qpos[2] = 100.0
    mujoco.mj_forward(model, data)
    geom = np.zeros(1, dtype=np.int32)
    return np.array([20.0 - mujoco.mj_ray(model, data, np.array([*p, 20.0]), DOWN, None, 1, -1, geom) for p in points])


@settings(max_examples=10)
@given(sizes=SIZES, levels=st.integers(1, 3), seed=st.integers(0, 99))
def test_heights_are_those_that_a_ray_meets(sizes, levels, seed):
    task = Go1(terrain=sizes, terrain_levels=levels, terrain_seed=seed)
    reach = task.ground.half_size.max() + 2.0
    points = np.random.default_rng(seed).uniform(-reach, reach, (200, 2))
    np.testing.assert_allclose(task.ground.height(points), seen_by_a_ray(task.model(), points), atol=1e-7)


@settings(max_examples=10)
@given(sizes=SIZES, levels=st.integers(1, 4), seed=st.integers(0, 99))
def test_tiles_join_at_height_zero_and_grow_with_their_level(sizes, levels, seed):
    ground = terrain.generate(sizes, levels, seed)
    half = terrain.TILE / 2
    for tile, size in enumerate(sizes.values()):
        extents = []
        for level in range(levels):
            middle = ground.middles[level, tile]
            steps = np.linspace(-half, half, 101)
            rim = np.concatenate([np.stack([steps, sign * half + 0 * steps], axis=1) for sign in (-1, 1)])
            np.testing.assert_allclose(ground.height(middle + rim), 0, atol=1e-6)
            np.testing.assert_allclose(ground.height(middle + rim[:, ::-1]), 0, atol=1e-6)
            inside = middle + np.random.default_rng(0).uniform(-half, half, (500, 2))
            extents.append(np.abs(ground.height(inside)).max())
        assert all(low < high for low, high in itertools.pairwise(extents))
        assert extents[-1] > 0.3 * size


@pytest.mark.parametrize(("kind", "sign"), [("stairs_up", 1), ("slope_up", 1), ("stairs_down", -1), ("slope_down", -1)])
def test_up_and_down_are_the_ways_out_of_the_middle(kind, sign):
    ground = terrain.generate({kind: 0.1}, 1, 0)
    out = np.linspace(0, terrain.TILE / 2, 200)
    for direction in ([1, 0], [0, -1]):
        heights = ground.height(ground.middles[0, 0] + out[:, None] * direction)
        assert (sign * np.diff(heights) >= -1e-9).all()
        assert sign * (heights[-1] - heights[0]) > 0.1
    if kind.startswith("stairs"):
        assert abs(heights[-1] - heights[0]) == pytest.approx(0.5, abs=1e-6)  # five stairs


@settings(max_examples=15)
@given(
    env_id=st.sampled_from(ROBOTS),
    sizes=SIZES,
    seed=st.integers(0, 2**32 - 1),
    terrain_seed=st.integers(0, 20),
    curriculum=st.booleans(),
)
def test_no_episode_begins_in_the_ground(env_id, sizes, seed, terrain_seed, curriculum):
    fields = {"terrain": sizes, "terrain_seed": terrain_seed, "terrain_levels": 3, "terrain_curriculum": curriculum}
    envs = make(env_id, 16, **fields)
    envs.reset(seed=seed)
    for row in range(16):
        _, data = envs.batch.physics.view(row)
        assert all(contact.dist > 0 for contact in data.contact[: data.ncon])
    feet = envs.get_state()["sensor.position"].reshape(16, -1, 3)
    above = feet[:, :, 2] - envs.task.ROBOT.foot_height - envs.task.ground.height(feet[:, :, :2])
    assert above.min() > 0
    assert above.max() < 0.1 + max(sizes.values())


@pytest.mark.parametrize("env_id", ROBOTS)
def test_the_scan_is_what_rays_meet_around_the_trunk(env_id):
    envs = make(env_id, 6, terrain=EVERYTHING, terrain_levels=2, height_scan=True)
    envs.reset(seed=3)
    for _ in range(25):
        observations, *_ = envs.step(0.5 * envs.action_space.sample())
    qpos = envs.get_state()["qpos"]
    ahead = np.linspace(-0.5, 0.8, 11)
    left = np.linspace(-0.42, 0.42, 7)
    for row, yaw in enumerate(rotations.yaw(qpos[:, 3:7])):
        points = [[x * np.cos(yaw) - y * np.sin(yaw), x * np.sin(yaw) + y * np.cos(yaw)] for x in ahead for y in left]
        ground = seen_by_a_ray(envs.task.model(), qpos[row, :2] + np.array(points))
        expected = np.clip(ground - (qpos[row, 2] - envs.task.ROBOT.standing_height), -1, 1)
        np.testing.assert_allclose(observations[row, envs.observation_blocks["height_scan"]], expected, atol=1e-6)


def test_a_row_rises_when_it_walks_and_sinks_when_it_falls():
    task = Go1(terrain=EVERYTHING, terrain_levels=5, terrain_curriculum=True)
    envs = make(terrain=EVERYTHING, terrain_levels=5, terrain_curriculum=True, num_envs=6)
    envs.reset(seed=0)
    fields = {  # the level, how far the commands led, how far it came, whether it fell; and the level that follows
        "walked": (2, 10.0, 8.0, False, 3),
        "walked, then fell": (2, 10.0, 8.0, True, 2),
        "fell early": (2, 10.0, 3.0, True, 1),
        "stood": (2, 10.0, 1.0, False, 1),
        "told to stand": (2, 0.5, 0.1, False, 2),
        "fell on the easiest": (0, 10.0, 0.0, True, 0),
    }
    state = envs.get_state()
    columns = zip(*fields.values(), strict=True)
    *past, expected = (np.array(column) for column in columns)
    for name, values in zip(("level", "asked", "walked", "fell"), past, strict=True):
        state[f"memory.{name}"] = values.astype(state[f"memory.{name}"].dtype)
    envs.set_state(state)
    envs.reset()
    after = envs.get_state()
    np.testing.assert_array_equal(after["memory.level"], expected)
    assert not after["memory.walked"].any()
    middles = task.ground.middles[expected]  # (row, tile, 2)
    assert (np.abs(after["qpos"][:, None, :2] - middles).max(axis=2).min(axis=1) <= 0.2).all()


def test_beyond_the_hardest_level_a_row_is_anywhere():
    envs = make(terrain={"noise": 0.05}, terrain_levels=4, terrain_curriculum=True, num_envs=200)
    envs.reset(seed=0)
    state = envs.get_state()
    state["memory.level"][:], state["memory.asked"][:], state["memory.walked"][:] = 3, 8.0, 8.0
    envs.set_state(state)
    envs.reset()
    assert np.bincount(envs.get_state()["memory.level"], minlength=4).min() > 20


def test_a_new_seed_forgets_the_level_and_no_other_row_notices():
    fields = {"terrain": EVERYTHING, "terrain_levels": 9, "terrain_curriculum": True, "num_envs": 4}
    envs, other = make(**fields), make(**fields)
    for each in (envs, other):
        each.reset(seed=5)
        state = each.get_state()
        state["memory.level"][:], state["memory.asked"][:], state["memory.walked"][:] = 7, 8.0, 8.0
        each.set_state(state)
    envs.reset(seed=[5, None, None, 8])
    other.reset()
    new = make(**fields)
    new.reset(seed=5)
    expected = other.get_state()["memory.level"].copy()
    expected[[0, 3]] = new.get_state()["memory.level"][[0, 3]]
    found = envs.get_state()
    np.testing.assert_array_equal(found["memory.level"], expected)
    assert expected.tolist()[1:3] == [8, 8]
    np.testing.assert_array_equal(found["qpos"][[1, 2]], other.get_state()["qpos"][[1, 2]])
    np.testing.assert_array_equal(found["qpos"][[0, 3]], new.get_state()["qpos"][[0, 3]])


def test_levels_do_not_depend_on_how_rows_are_reset():
    """They are of the memory that an episode ended with, also where another step passes before the reset."""
    found = [levels_begun_on(mode) for mode in AutoresetMode]
    assert all(len(levels) == 3 for levels in found[0])
    assert len({level for levels in found[0] for level in levels}) > 2
    assert found[0] == found[1] == found[2]


def levels_begun_on(mode: AutoresetMode) -> list[list[int]]:
    """The levels of the three episodes that follow the first, by row."""
    envs = make(
        terrain={"blocks": 0.3, "slope_up": 0.6},
        terrain_levels=8,
        terrain_curriculum=True,
        max_episode_steps=40,
        autoreset_mode=mode,
        max_tilt=0.25,
    )
    envs.reset(seed=2)
    begun: list[list[int]] = [[] for _ in range(envs.num_envs)]
    waiting = np.zeros(envs.num_envs, dtype=bool)
    for _ in range(170):
        _, _, terminated, truncated, _ = envs.step(np.zeros(envs.action_space.shape))
        ended = terminated | truncated
        if mode is AutoresetMode.DISABLED and ended.any():
            envs.reset(options={"reset_mask": ended})
        for row in np.flatnonzero(waiting if mode is AutoresetMode.NEXT_STEP else ended):
            begun[row].append(int(envs.get_state()["memory.level"][row]))
        waiting = ended
    return [levels[:3] for levels in begun]


def test_walking_is_counted_along_the_command():
    envs = make(num_envs=1, terrain={"noise": 0.02}, command_low=(1, 0, 0), command_high=(1, 0, 0), still_probability=0)
    envs.reset(seed=0)
    walked = 0.0
    for _ in range(20):
        observation, *_ = envs.step(0.3 * envs.action_space.sample())
        walked += 0.02 * float(observation[0, 0])
    state = envs.get_state()
    assert state["memory.asked"][0] == pytest.approx(20 * 0.02)
    assert state["memory.walked"][0] == pytest.approx(walked, abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"terrain": {"stair": 0.1}}, "kind 'stair'.*stairs_up"),
        ({"terrain": {"noise": 0.0}}, r"terrain\['noise'\] is 0.0; it takes a number above 0"),
        ({"terrain": {"noise": "high"}}, r"terrain\['noise'\] is 'high'; it takes a finite number"),
        ({"terrain": {"noise": 0.1}, "terrain_levels": 0}, "terrain_levels is 0"),
        ({"terrain": {"noise": 0.1}, "terrain_levels": 2.5}, "terrain_levels is 2.5"),
        ({"terrain": {"noise": 0.1}, "terrain_seed": -1}, "terrain_seed is -1"),
        ({"terrain_curriculum": True}, "terrain_curriculum is true on a plane.*give it a terrain"),
    ],
)
def test_ground_that_cannot_be_is_refused(fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(**fields)


def test_stairs_are_crossed_by_who_comes_to_the_next_middle():
    envs = make("Motrix/Go1Stairs-v0", 32)
    envs.reset(seed=0)
    state = envs.get_state()
    ahead = np.stack([np.cos(state["memory.heading"]), np.sin(state["memory.heading"])], axis=1)
    there = state["qpos"][:, :2] + terrain.TILE * ahead
    middles = envs.task.ground.middles.reshape(-1, 2)
    assert (np.linalg.norm(there[:, None] - middles, axis=2).min(axis=1) < 0.9).all()
    for distance, reached in ((4.0, False), (4.6, True)):
        moved = envs.get_state()
        moved["memory.start"] = moved["qpos"][:, :2] - distance * ahead
        envs.set_state(moved)
        *_, info = envs.step(np.zeros(envs.action_space.shape))
        assert (info["success"] == reached).all()
    *_, info = envs.step(np.zeros(envs.action_space.shape))
    assert info["success"].all()  # it stays so when the robot goes on


@pytest.mark.parametrize("env_id", [env_id for env_id in ROBOTS if "Rough" in env_id or "Stairs" in env_id])
@pytest.mark.parametrize("beyond", [terrain.OUTSIDE - 0.1, terrain.OUTSIDE + 0.3, 1e6])
def test_the_ground_has_no_end(env_id, beyond):
    """A robot that leaves the flat surroundings lands: it goes on there, or ends with a reason."""
    envs = make(env_id, 4, autoreset_mode="Disabled", max_episode_steps=None)
    envs.reset(seed=0)
    state, ground = envs.get_state(), envs.task.ground
    for sign, row in zip((1, -1, 1, -1), range(4), strict=True):
        axis, at = row // 2, sign * (ground.half_size[row // 2] + beyond)
        state["qpos"][row, axis] = at
        state["simulation"][row, 1 + axis] = at  # after the time
        state["simulation"][row, 3] += 0.1
    envs.set_state(state)
    alive, lowest = np.ones(4, dtype=bool), ground.heights.min() - terrain.THICKNESS
    for _ in range(100):
        _, rewards, terminated, _, info = envs.step(np.zeros(envs.action_space.shape))
        assert (abs(rewards) < 1e3).all()
        np.testing.assert_array_equal(terminated, np.any(list(info["termination"].values()), axis=0))
        alive &= ~terminated
        if terminated.any():
            envs.reset(options={"reset_mask": terminated})
    height = envs.get_state()["qpos"][alive, 2]
    assert (height > lowest).all()
    assert (height < ground.heights.max() + 1).all()
