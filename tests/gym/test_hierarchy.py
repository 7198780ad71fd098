"""A higher task over a low-level policy: what a held command comes to, told again control step by control step."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trajectories import GROUPS, Event, assert_same, play

from motrix_gym.hierarchy import HierarchicalVectorEnv
from motrix_gym.state import TaskState
from motrix_gym.tasks.basic.cartpole import HINGE, CartPole
from motrix_gym.tasks.locomotion.velocity import Go1
from motrix_gym.testing import check_vector_env
from motrix_gym.vector_env import MotrixVectorEnv

PAGE = Path(__file__).parents[2] / "docs" / "hierarchy.md"
SPACE = Box(-2.0, 2.0, (1,))
COMMAND = slice(4, 5)
NUM_ACTIONS = 12
MUJOCO: dict[str, Any] = {"num_threads": 1}
WARP: dict[str, Any] = {"physics": "warp", "device": "cpu"}
INPUT_WEIGHTS, OUTPUT_WEIGHTS = (
    np.random.default_rng(0).normal(size=size).astype(np.float32) for size in ((5, 50), (50, 1))
)


@dataclass(frozen=True)
class CommandState(TaskState):
    """The command, (N, 1)."""

    command: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Commanded(CartPole):
    """CartPole that shows a command; what becomes of it is the policy's affair."""

    WEIGHTS: ClassVar = {"alive": 1.0, "effort": -0.01}
    max_angle: float = 0.1

    def reset(self, rng):
        qpos, qvel, _ = super().reset(rng)
        return qpos, qvel, CommandState(command=np.zeros((len(rng), 1)))

    def observe(self, physics, task_state):
        return super().observe(physics, task_state) | {"command": task_state.command}

    def reward(self, t):
        return super().reward(t) | {"effort": np.square(t.action[:, 0])}

    def metrics(self, t):
        return {"angle": abs(t.next_physics.qpos[:, HINGE]), "commanded": t.state.command[:, 0]}

    def success(self, t):
        return t.next_physics.qpos[:, HINGE] > 0


def follow(observations: np.ndarray) -> np.ndarray:
    """The command itself."""
    return observations[:, COMMAND]


def balance(observations: np.ndarray) -> np.ndarray:
    """Keeps the pole up where the command is positive; elsewhere, as without a command, it soon falls."""
    command = observations[:, COMMAND]
    upright = 3 * observations[:, 1:2] + observations[:, 3:4]
    return np.where(command > 0, upright + 0.1 * command, command - 3)


def network(observations: np.ndarray) -> np.ndarray:
    """Matrix products, whose rounding depends on the size of the batch."""
    return observations[:, COMMAND] + np.tanh(observations @ INPUT_WEIGHTS) @ OUTPUT_WEIGHTS


def hierarchy(
    num_rows: int = 1,
    low_level: Callable[[np.ndarray], np.ndarray] = balance,
    hold: int = 4,
    limit: int | None = 22,
    mode: AutoresetMode = AutoresetMode.SAME_STEP,
    engine: Mapping[str, Any] = MUJOCO,
) -> HierarchicalVectorEnv:
    env = MotrixVectorEnv(Commanded(), num_rows, max_episode_steps=limit, autoreset_mode=mode, **engine)
    return HierarchicalVectorEnv(env, low_level, hold=hold, command_space=SPACE)


def commands(num_rows: int, num_actions: int = NUM_ACTIONS, seed: int = 0) -> np.ndarray:
    """Commands over their whole space and a little beyond, (num_actions, num_rows, 1)."""
    return np.random.default_rng(seed).uniform(-2.2, 2.2, (num_rows, num_actions, 1)).transpose(1, 0, 2)


@pytest.mark.parametrize("hold", [1, 4])
@pytest.mark.parametrize("low_level", [balance, network])
def test_the_checker_finds_nothing(low_level, hold, mode):
    report = check_vector_env(lambda n: hierarchy(n, low_level, hold, mode=mode), steps=120 // (hold + 2))
    assert report.skipped.keys() == {"single"}


def held_by_hand(
    seed: int, hold: int, limit: int, actions: np.ndarray, engine: Mapping[str, Any] = MUJOCO
) -> list[Event]:
    """The events of one row: its control steps one after the other, in an environment that resets nothing itself."""
    env = MotrixVectorEnv(Commanded(), max_episode_steps=limit, autoreset_mode=AutoresetMode.DISABLED, **engine)
    observation, _ = env.reset(seed=seed)
    events = [{"begin": observation[0]}]
    for action in actions:
        command = np.clip(action, SPACE.low, SPACE.high)[None]
        observation = env.set_state(env.get_state() | {"memory.command": command})
        rewards, infos = [], []
        ended = np.zeros(1, dtype=bool)
        while len(infos) < hold and not ended:
            observation, reward, terminated, truncated, info = env.step(balance(observation))
            ended = terminated | truncated
            rewards.append(reward[0])
            infos.append(info)
        event = {"observation": observation[0], "reward": sum(rewards)}
        event |= {"terminated": terminated[0], "truncated": truncated[0]}
        reduce = {"reward_terms": sum, "termination": any, "metrics": lambda x: sum(x) / len(x)}
        for group in GROUPS:
            held = {name: [info[group][name][0] for info in infos] for name in infos[0][group]}
            event |= {f"{group}.{name}": reduce[group](values) for name, values in held.items()}
        event["success"] = infos[-1]["success"][0]
        events.append(event)
        if ended:
            observation, _ = env.reset()
            events.append({"begin": observation[0]})
    return events


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**62),
    num_rows=st.integers(1, 4),
    hold=st.integers(1, 30),
    limit=st.integers(1, 60),
    mode=st.sampled_from(list(AutoresetMode)),
)
@example(seed=0, num_rows=4, hold=30, limit=60, mode=AutoresetMode.SAME_STEP)
@example(seed=0, num_rows=3, hold=9, limit=13, mode=AutoresetMode.DISABLED)
@example(seed=0, num_rows=3, hold=9, limit=13, mode=AutoresetMode.NEXT_STEP)
@example(seed=0, num_rows=3, hold=9, limit=13, mode=AutoresetMode.SAME_STEP)
def test_a_step_is_its_control_steps_up_to_the_end_of_the_episode(seed, num_rows, hold, limit, mode):
    """Bit for bit: sums, reasons, the last observation, where the next episode begins, beside rows that go on."""
    actions = commands(num_rows, seed=seed)
    trajectories = play(hierarchy(num_rows, hold=hold, limit=limit, mode=mode), seed, actions)
    for row, found in enumerate(trajectories):
        expected = held_by_hand(seed + row, hold, limit, actions[:, row])
        assert_same(expected[: len(found)], found)


def test_so_it_is_with_mujoco_warp():
    pytest.importorskip("mujoco_warp")
    hold, limit, actions = 9, 13, commands(2)
    trajectories = play(hierarchy(2, hold=hold, limit=limit, engine=WARP), 0, actions)
    for row, found in enumerate(trajectories):
        expected = held_by_hand(row, hold, limit, actions[:, row], WARP)
        assert len(found) > NUM_ACTIONS + 1  # an episode ends
        assert_same(expected[: len(found)], found)


def test_episodes_of_that_test_end_within_holds_in_both_ways():
    hold, limit = 9, 13
    events = [event for seed in range(4) for event in held_by_hand(seed, hold, limit, commands(1, seed=seed)[:, 0])]
    steps = [event for event in events if "reward" in event]
    lengths = np.array([event["reward_terms.alive"] + event["terminated"] for event in steps])
    terminated, truncated = (np.array([event[name] for event in steps]) for name in ("terminated", "truncated"))
    assert (lengths[terminated] < hold).sum() > 5
    assert truncated.sum() > 5
    assert (lengths[truncated] == limit - hold).all()


@pytest.mark.parametrize("low_level", [balance, network])
def test_a_row_does_not_depend_on_how_many_others_there_are(low_level):
    """Beyond the rows that the policy is given at a time."""
    actions = commands(70, 6)
    together = play(hierarchy(70, low_level, hold=9), 5, actions)
    for row in (0, 63, 64, 69):
        [alone] = play(hierarchy(1, low_level, hold=9), 5 + row, actions[:, row : row + 1])
        assert_same(alone, together[row])


def test_holding_one_step_for_an_identity_is_the_plain_environment(mode):
    plain = MotrixVectorEnv(Commanded(), 3, num_threads=1, max_episode_steps=15, autoreset_mode=mode)
    held = hierarchy(3, follow, hold=1, limit=15, mode=mode)
    assert (held.task, held.max_episode_steps, held.metadata) == (plain.task, 15, plain.metadata)
    np.testing.assert_array_equal(*(env.reset(seed=0)[0] for env in (plain, held)))
    endings = 0
    for action in commands(3, 60).astype(np.float32):
        expected, found = plain.step(action.clip(SPACE.low, SPACE.high)), held.step(action)
        for x, y in zip(expected, found, strict=True):
            _assert_equal_but_for_the_command(x, y)
        ended = found[2] | found[3]
        endings += ended.sum()
        if mode is AutoresetMode.DISABLED and ended.any():
            for env in (plain, held):
                env.reset(options={"reset_mask": ended})
    assert endings > 9


def _assert_equal_but_for_the_command(expected: Any, found: Any) -> None:
    if isinstance(expected, dict):
        assert expected.keys() == found.keys()
        for name in expected.keys() - {"commanded"}:
            _assert_equal_but_for_the_command(expected[name], found[name])
    elif expected.ndim == 2:
        np.testing.assert_array_equal(expected[:, : COMMAND.start], found[:, : COMMAND.start])
    else:
        np.testing.assert_array_equal(expected, found)


def test_holding_three_steps_twice_is_holding_six():
    def nested(num_rows: int) -> HierarchicalVectorEnv:
        return HierarchicalVectorEnv(hierarchy(num_rows, balance, hold=3), follow, hold=2, command_space=SPACE)

    actions = commands(3).astype(np.float32)
    flat, twice = hierarchy(3, balance, hold=6), nested(3)
    assert (twice.task.control_dt, twice.max_episode_steps) == (flat.task.control_dt, flat.max_episode_steps)
    for expected, found in zip(play(flat, 0, actions), play(twice, 0, actions), strict=True):
        for a, b in zip(expected, found, strict=True):
            assert a.keys() == b.keys()
            for name in a.keys() & {"begin", "observation", "terminated", "truncated"}:
                np.testing.assert_array_equal(a[name], b[name])
            np.testing.assert_allclose(a.get("reward", 0), b.get("reward", 0))
    assert check_vector_env(nested, steps=20).skipped.keys() == {"single"}


@pytest.mark.parametrize(("hold", "steps"), [(1, 7), (2, 4), (3, 3), (7, 1), (9, 1)])
def test_the_time_limit_counts_control_steps(hold, steps):
    env = hierarchy(2, hold=hold, limit=7)
    assert env.max_episode_steps == steps
    env.reset(seed=0)
    taken = [env.step(np.ones((2, 1))) for _ in range(steps)]
    assert [bool(step[3].all()) for step in taken] == [False] * (steps - 1) + [True]
    assert sum(step[4]["reward_terms"]["alive"] for step in taken).tolist() == [7, 7]
    assert hierarchy(limit=None).max_episode_steps is None


def test_the_policy_sees_its_blocks_in_its_order_with_the_command_in_them():
    seen = []

    def watched(observations: np.ndarray) -> np.ndarray:
        seen.append(observations.copy())
        return np.zeros((len(observations), 1))

    blocks = ("command", "velocity")
    plain = MotrixVectorEnv(Commanded(), 3, num_threads=1)
    env = HierarchicalVectorEnv(plain, watched, hold=5, command_space=SPACE, blocks=blocks)
    first, _ = env.reset(seed=0)
    for action in commands(3, 4):
        now, *_, info = env.step(action)
        clipped = np.clip(action, SPACE.low, SPACE.high)
        assert len(seen) == 5
        for observations in seen:
            np.testing.assert_array_equal(observations[:3, :1], clipped.astype(np.float32))
            assert not observations[3:].any()
        np.testing.assert_array_equal(seen[0][:3, 1:], first[:, 2:4])
        np.testing.assert_array_equal(now[:, COMMAND], clipped.astype(np.float32))
        np.testing.assert_allclose(info["metrics"]["commanded"], clipped[:, 0])
        first = now
        seen.clear()


def test_the_whole_task_knows_the_command_from_the_first_control_step():
    """The gait clock of a standing Go1 runs as soon as it is told to walk."""
    clocks = []
    plain = MotrixVectorEnv(Go1(still_probability=1.0, command_interval=(1e9, 1e9)), 2, num_threads=1)

    def stand(observations: np.ndarray) -> np.ndarray:
        clocks.append(np.hypot(*observations[:2, plain.observation_blocks["gait_clock"]].T))
        return np.zeros((len(observations), 12))

    env = HierarchicalVectorEnv(plain, stand, hold=4, command_space=Box(-1.0, 1.0, (3,)))
    env.reset(seed=0)
    for _ in range(10):
        env.step(np.zeros((2, 3)))
    assert not np.any(clocks[-4:])
    clocks.clear()
    env.step(np.array([[0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(clocks, [[1.0, 0.0]] * 4, atol=1e-6)


def test_the_mirror_image_of_the_action_is_that_of_the_command():
    plain = MotrixVectorEnv(Go1(), 2, num_threads=1)
    env = HierarchicalVectorEnv(plain, lambda x: np.zeros((len(x), 12)), hold=2, command_space=Box(-1.0, 1.0, (3,)))
    np.testing.assert_array_equal(env.mirror.action(np.array([0.1, 0.2, 0.3])), [0.1, -0.2, -0.3])
    x = env.reset(seed=0)[0]
    np.testing.assert_array_equal(env.mirror.observation(x), plain.mirror.observation(x))
    assert hierarchy().mirror is None


def test_what_gymnasium_asks_of_an_environment():
    env = hierarchy(2, hold=20)
    assert env.unwrapped is env
    assert env.metadata == {
        "render_modes": ["rgb_array"],
        "render_fps": 5,
        "deterministic": True,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    assert env.task == replace(Commanded(), control_dt=0.2)
    env.reset(seed=7)
    assert env.np_random_seed == (7, 8)
    with pytest.warns(UserWarning, match="without specifying any render mode"):
        assert env.render() is None
    with pytest.raises(RuntimeError, match="render_mode"):
        env.render_envs([0])
    env.close()
    assert env.env.closed


MISTAKES = {
    "hold is 0": {"hold": 0},
    "hold is 2.5": {"hold": 2.5},
    "hold is True": {"hold": True},
    "remembers no 'position'; it remembers command": {"command": "position"},
    "no observation block 'speed'; there are position, velocity, command": {"blocks": ["speed"]},
    "does not see the command: 'command' is not in position": {"blocks": ["position"]},
    "command_space is Discrete": {"command_space": Discrete(3)},
    "command_space is Box.*finite bounds": {"command_space": Box(-np.inf, 1.0, (1,))},
    r"command_space has shape \(2,\); the task's command has \(1,\)": {"command_space": Box(-1.0, 1.0, (2,))},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_what_does_not_fit_is_refused(message):
    arguments = {"hold": 3, "command_space": SPACE} | MISTAKES[message]
    with pytest.raises(ValueError, match=message):
        HierarchicalVectorEnv(MotrixVectorEnv(Commanded(), 2, num_threads=1), balance, **arguments)


def test_steps_that_cannot_be_taken_are_refused():
    env = hierarchy(2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros((2, 1)))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(2, 2\); 2 environments take \(2, 1\)"):
        env.step(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="actions of environments 1 are NaN"):
        env.step(np.array([[0.0], [np.nan]]))
    wide = hierarchy(2, lambda x: np.zeros((len(x), 3)))
    wide.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(2, 3\); 2 environments take \(2, 1\)"):
        wide.step(np.zeros((2, 1)))


def test_the_snippet_of_the_page_runs():
    [snippet] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(re.sub(r"num_envs=\d+", "num_envs=2", snippet), names)
    assert names["observations"].shape == (2, 50)
