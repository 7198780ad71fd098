"""What a task returns is looked at when an environment is made and in its first step, and refused in one line."""

import re
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest

from motrix_gym.physics.base import Override
from motrix_gym.state import TaskState
from motrix_gym.symmetry import Flip, Mirror
from motrix_gym.tasks.basic.cartpole import CartPole
from motrix_gym.vector_env import MotrixVectorEnv

ONE, TWO = Flip.signs(-1), Flip.signs(-1, -1)


@dataclass(frozen=True)
class Counted(TaskState):
    """A memory of steps."""

    steps: Any  # (N,)


def memory_of(steps: Any):
    """How an episode begins whose memory is of `steps`, a function of the number of rows."""
    return lambda task, rng: (np.zeros((len(rng), 2)), np.zeros((len(rng), 2)), Counted(steps(len(rng))))


def written_in_place(task, t, rng):
    t.state.steps[:] += 1
    return t.state


def reflected(blocks: dict[str, Flip]):
    """A task's mirror with these blocks."""
    return lambda task: Mirror(TWO, TWO, ONE, blocks, lambda task_state: task_state)


COUNTS = memory_of(np.zeros)
BAD_METHODS = [
    (
        {"reset": lambda _, d: (np.zeros((len(d), 1)), np.zeros((len(d), 2)), TaskState())},
        "reset gives qpos of shape (4, 1); it takes an array of shape (4, 2)",
    ),
    (
        {"reset": lambda _, d: (np.zeros((len(d), 2)), np.zeros(2), TaskState())},
        "reset gives qvel of shape (2,); it takes an array of shape (4, 2)",
    ),
    (
        {"reset": lambda _, d: (np.zeros((len(d), 2)), np.zeros((len(d), 2)))},
        "reset gives no three values; it takes qpos, qvel and the task state",
    ),
    ({"reset": memory_of(lambda n: 0.0)}, "reset gives state.steps 0.0; it takes an array of shape (4,)"),
    (
        {"reset": memory_of(lambda n: np.zeros(n + 1))},
        "reset gives state.steps of shape (5,); it takes an array of shape (4,)",
    ),
    (
        {"control": lambda _, f, m, a: np.concatenate([a, a], axis=1)},
        "control gives ctrl of shape (4, 2); it takes an array of shape (4, 1)",
    ),
    ({"control": lambda _, f, m, a: a[:, 0]}, "control gives ctrl of shape (4,); it takes an array of shape (4, 1)"),
    (
        {"observe": lambda _, f, m: {"angle": f.qpos[:, 1]}},
        "observe gives angle of shape (4,); it takes an array of shape (4, k)",
    ),
    ({"observe": lambda _, f, m: {}}, "observe gives no block"),
    ({"observe": lambda _, f, m: {"tip": f.sensor["tipp"]}}, "observe reads a sensor 'tipp'"),
    ({"privileged": lambda _, f, m: {"angle": f.qpos[:, 1]}}, "privileged gives angle of shape (4,)"),
    ({"is_valid_start": lambda _, f: True}, "is_valid_start gives the result True; it takes an array of shape (4,)"),
    (
        {"reward": lambda _, t: {"alive": np.ones((4, 1))}},
        "reward gives alive of shape (4, 1); it takes an array of shape (4,)",
    ),
    (
        {"reward": lambda _, t: {"alive": np.ones(4), "upright": np.ones(4)}},
        "reward gives 'upright', which has no weight (known: alive)",
    ),
    ({"reward": lambda _, t: {}}, "reward gives no 'alive', which has a weight"),
    ({"reward": lambda _, t: {"alive": 1.0}}, "reward gives alive 1.0; it takes an array of shape (4,)"),
    ({"terminated": lambda _, t: {"fell": False}}, "terminated gives fell False; it takes an array of shape (4,)"),
    ({"terminated": lambda _, t: {"fell": (abs(t.next_physics.qpos) > 9).any()}}, "terminated gives fell"),
    ({"terminated": lambda _, t: {"fell": np.zeros(4)}}, "terminated gives fell of float64; it takes bool"),
    (
        {"metrics": lambda _, t: {"place": np.zeros((4, 3))}},
        "metrics gives place of shape (4, 3); it takes an array of shape (4,)",
    ),
    ({"success": lambda _, t: np.zeros(4)}, "success gives the result of float64; it takes bool"),
    (
        {"reset": COUNTS, "next_state": written_in_place},
        "next_state writes to state.steps in place; it takes a new array",
    ),
    (
        {"reset": COUNTS, "next_state": lambda _, t, d: Counted(0.0)},
        "next_state gives state.steps 0.0; it takes an array of shape (4,)",
    ),
    (
        {"reset": COUNTS, "next_state": lambda _, t, d: Counted(np.zeros((4, 1)))},
        "next_state gives state.steps of shape (4, 1)",
    ),
    (
        {"reset": COUNTS, "next_state": lambda _, t, d: Counted(np.zeros(4, int))},
        "next_state gives state.steps of int64; it takes float64",
    ),
    ({"reset": COUNTS, "next_state": lambda _, t, d: TaskState()}, "next_state gives a TaskState; it takes a Counted"),
    (
        {"external_force": lambda _, m: {"polle": np.zeros((4, 6))}},
        "external_force names a body 'polle'; did you mean 'pole'?",
    ),
    (
        {"model_overrides": lambda _, m: {"body_mas": Override(np.zeros((4, 3)))}},
        "model_overrides names 'body_mas', which is no field of mujoco.MjModel",
    ),
    (
        {"reset": COUNTS, "model_overrides": lambda _, m: {"body_mass": Override(np.ones((4, 9)))}},
        "model_overrides gives body_mass of shape (4, 9)",
    ),
    (
        {"reset": COUNTS, "model_overrides": lambda _, m: {"body_mass": Override(np.ones((4, 3)), at=1)}},
        "model_overrides gives body_mass of shape (4, 3); it takes an array of shape (4,)",
    ),
    (
        {"reset": COUNTS, "model_overrides": lambda _, m: {"body_mass": 1.0}},
        "model_overrides gives body_mass 1.0; it takes an Override",
    ),
    (
        {"reset": COUNTS, "model_overrides": lambda _, m: {"body_mass": Override(np.ones(4), at=9)}},
        "model_overrides gives body_mass at 9",
    ),
    (
        {"mirror": reflected({"position": TWO})},
        "mirror reflects no block 'velocity'; give blocks for position, velocity",
    ),
    (
        {"mirror": reflected({"velocity": TWO, "position": TWO})},
        "mirror has the blocks velocity, position; the observation has position, velocity",
    ),
    (
        {"mirror": reflected({"position": TWO, "velocity": ONE})},
        "mirror reflects 1 elements of block 'velocity'; it has 2",
    ),
]


def made_and_stepped(task: Any) -> None:
    """All that it takes for a task to have been looked at."""
    envs = MotrixVectorEnv(task, 4, num_threads=1)
    envs.reset(seed=0)
    envs.step(np.zeros((4, 1)))


@pytest.mark.parametrize(("methods", "words"), BAD_METHODS, ids=[words[:45] for _, words in BAD_METHODS])
def test_a_task_that_does_not_keep_to_it_is_refused_at_once(methods, words):
    task: Any = type("Mine", (CartPole,), methods)()
    with pytest.raises(ValueError, match=re.escape(f"Mine.{words}")) as caught:
        made_and_stepped(task)
    assert "\n" not in str(caught.value)


def test_the_nearest_sensor_is_named():
    envs = gymnasium.make_vec("Motrix/Go1-v0", num_threads=1).unwrapped

    def observe(task, physics, task_state):
        return {"gyro": physics.sensor["angular_velocty"]}

    task: Any = type("Mine", (type(envs.task),), {"observe": observe})()
    with pytest.raises(ValueError, match=r"reads a sensor 'angular_velocty'; did you mean 'angular_velocity'\?"):
        MotrixVectorEnv(task)


def test_after_the_first_step_the_task_itself_is_asked():
    asked = []

    def reward(task, t):
        asked.append(type(t.next_physics.sensor))
        return CartPole.reward(task, t)

    task: Any = type("Mine", (CartPole,), {"reward": reward})()
    envs = MotrixVectorEnv(task, 2, num_threads=1)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(np.zeros((2, 1)))
    assert asked[0] is not dict
    assert asked[1:] == [dict, dict]


def test_to_be_looked_at_changes_nothing(env_id):
    """The same steps from a fresh environment, and from one that has stepped before."""
    actions = np.random.default_rng(0).uniform(-1, 1, 4)
    results = []
    for before in (0, 2):
        envs = gymnasium.make_vec(env_id, num_envs=2, num_threads=1)
        for _ in range(before):
            envs.reset(seed=7)
            envs.step(np.zeros(envs.action_space.shape))
        results.append([envs.reset(seed=3)[0]])
        results[-1] += [x for a in actions for x in envs.step(np.full(envs.action_space.shape, a))[:4]]
    for x, y in zip(*results, strict=True):
        np.testing.assert_array_equal(x, y)
