"""Tasks of others, registered as ours are: made, saved as specs, and refused in one line where something is wrong."""

import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

import motrix_gym
from motrix_gym import MultiTask, register
from motrix_gym.entry_points import task_of
from motrix_gym.registration import ENVS
from motrix_gym.tasks.basic.cartpole import CartPole

TASK = '''
"""A task in a module of its own."""
import dataclasses

from motrix_gym import MultiTask, register
from motrix_gym.tasks.basic.cartpole import CartPole


@dataclasses.dataclass(frozen=True, kw_only=True)
class Balance(CartPole):
    """Balance, from a narrower range."""

    start_range: float = 0.01


class Holder:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Inner(Balance):
        """A class in a class."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Both(MultiTask):
    """Two at once."""

    tasks: tuple = ({"id": "Mine/Balance-v0", "name": "a"}, {"id": "Mine/Lazy-v0", "name": "b"})


register("Mine/Balance-v0", Balance, max_episode_steps=30, max_angle=0.15)
register("Mine/Lazy-v0", "mine:Balance", max_episode_steps=None, max_angle=0.1)
register("Mine/Inner-v0", Holder.Inner, max_episode_steps=30, reward_weights={"alive": 2})
register("Mine/Both-v0", Both, max_episode_steps=30)
'''
IDS = ("Mine/Balance-v0", "Mine/Lazy-v0", "Mine/Inner-v0", "Mine/Both-v0")
LAWS = """
import json, pickle, sys
import gymnasium, mine, numpy as np
from gymnasium.envs.registration import EnvSpec

if __name__ == "__main__":
    for env_id in sys.argv[1:]:
        registered = gymnasium.spec(env_id)
        assert EnvSpec.from_json(registered.to_json()) == pickle.loads(pickle.dumps(registered)) == registered
        for make, own in ((gymnasium.make, {}), (gymnasium.make_vec, {"num_envs": 3, "num_threads": 1})):
            env = make(env_id, **own)
            spec = EnvSpec.from_json(env.spec.to_json())
            assert spec == env.spec == pickle.loads(pickle.dumps(env.spec))
            assert pickle.loads(pickle.dumps(env.unwrapped.task)) == env.unwrapped.task
            again = make(spec)
            observation, _ = env.reset(seed=4)
            assert np.array_equal(observation, again.reset(seed=4)[0])
            assert again.unwrapped.task == env.unwrapped.task
        envs = gymnasium.make_vec(env_id, num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"})
        envs.reset(seed=0)
        envs.step(envs.action_space.sample())
        envs.close()
        print(json.dumps(spec.to_json()))
"""
ANEW = """
import json, sys
import gymnasium
from gymnasium.envs.registration import EnvSpec

for line in sys.stdin:
    env = gymnasium.make_vec(EnvSpec.from_json(json.loads(line)))
    env.reset(seed=0)
    print(type(env.unwrapped.task).__name__)
"""


@dataclass(frozen=True, kw_only=True)
class Needy(CartPole):
    """A task with a field that has no default."""

    policy: str


class Undecorated(CartPole):
    """A task whose field is none, for want of a decorator."""

    speed: float = 1.0


@pytest.fixture
def in_a_fresh_process(tmp_path):
    """Runs Python code with `mine` beside it; gives what it prints."""
    (tmp_path / "mine.py").write_text(TASK)

    def run(code: str, *arguments: str, given: str = "") -> str:
        (tmp_path / "script.py").write_text(code)
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, str(tmp_path / "script.py"), *arguments]
        done = subprocess.run(
            command, input=given, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def unregistered():
    """Ids that a test registers are gone after it."""
    before = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def test_tasks_of_another_module_are_made_and_saved_as_ours_are(in_a_fresh_process):
    specs = in_a_fresh_process(LAWS, *IDS)
    assert in_a_fresh_process(ANEW, given="\n".join(specs.splitlines()[:3])).split() == ["Balance", "Balance", "Inner"]


def test_a_class_of_the_script_works_in_its_process(in_a_fresh_process):
    code = (
        "import gymnasium\n"
        "from mine import Balance\n"
        "from motrix_gym import register\n"
        "class Own(Balance): pass\n"
        "for _ in range(2):\n"
        "    register('Script/Own-v0', Own, max_episode_steps=5)\n"
        "print(type(gymnasium.make('Script/Own-v0').unwrapped.task) is Own)"
    )
    assert in_a_fresh_process(code) == "True\n"


@pytest.mark.usefixtures("unregistered")
def test_what_was_registered_is_told_and_reaches_the_task():
    env = register("Test/Told-v0", CartPole, max_episode_steps=np.int64(7), start_range=np.float64(0.02))
    assert env == motrix_gym.registration.Env(
        "Test/Told-v0", f"{CartPole.__module__}:CartPole", 7, {"start_range": 0.02}
    )
    spec = gymnasium.spec("Test/Told-v0")
    assert (task_of(spec), spec.max_episode_steps, spec.kwargs) == (env.task, 7, env.kwargs)
    envs = gymnasium.make_vec("Test/Told-v0").unwrapped
    assert (envs.max_episode_steps, envs.task.start_range) == (7, 0.02)


@pytest.mark.usefixtures("unregistered")
def test_the_values_that_were_given_may_change_later():
    weights = {"alive": 2.0}
    register("Test/Weights-v0", CartPole, max_episode_steps=7, reward_weights=weights)
    weights["alive"] = 3.0
    assert gymnasium.make_vec("Test/Weights-v0").unwrapped.task.weights == {"alive": 2.0}


def test_the_same_registration_again_changes_nothing():
    before = dict(gymnasium.registry)
    for env in ENVS:
        assert register(env.id, env.task, max_episode_steps=env.max_episode_steps, **env.kwargs) == env
    assert gymnasium.registry == before


def local_class() -> type[CartPole]:
    class Local(CartPole):
        """Not found by its name."""

    return Local


GOOD = {"id": "Test/Bad-v0", "task": CartPole, "max_episode_steps": 10}
BAD = [
    ({"id": "Balance"}, ValueError, ["id is 'Balance'", "'Mine/Balance-v0'"]),
    ({"id": "Balance-v0"}, ValueError, ["id is 'Balance-v0'", "a namespace"]),
    ({"id": "Mine/Balance"}, ValueError, ["id is 'Mine/Balance'", "a version"]),
    ({"id": "mine:Mine/Balance-v0"}, ValueError, ["id is 'mine:Mine/Balance-v0'"]),
    ({"id": "Mine/Balance-v0\n"}, ValueError, ["id is 'Mine/Balance-v0\\n'"]),
    ({"id": None}, ValueError, ["id is None"]),
    ({"max_episode_steps": 0}, ValueError, ["max_episode_steps is 0", "at least 1"]),
    ({"max_episode_steps": -1}, ValueError, ["max_episode_steps is -1", "at least 1"]),
    ({"max_episode_steps": 10.0}, ValueError, ["max_episode_steps is 10.0", "integer"]),
    ({"max_episode_steps": True}, ValueError, ["max_episode_steps is True", "integer"]),
    ({"start_rnage": 0.1}, TypeError, ["'start_rnage'", "did you mean 'start_range'?"]),
    ({"start_range": "wide"}, TypeError, ["start_range is 'wide'", "number"]),
    ({"control_dt": 0.0}, ValueError, ["control_dt is 0.0", "above 0"]),
    ({"reward_weights": {"aliev": 1.0}}, ValueError, ["'aliev'", "did you mean 'alive'?"]),
    ({"task": MultiTask, "tasks": [{"id": "Motrix/Go9-v0"}]}, gymnasium.error.Error, ["tasks[0]", "Go9"]),
    ({"task": local_class()}, ValueError, ["local_class.<locals>.Local", "at the top of its module"]),
    ({"task": Undecorated}, TypeError, ["Undecorated has a field 'speed'", "@dataclass(frozen=True, kw_only=True)"]),
    ({"task": Needy}, TypeError, ["missing", "'policy'"]),
    ({"task": lambda: CartPole}, TypeError, ["task is <function", "subclass of motrix_gym.Task"]),
    ({"task": dict}, TypeError, ["task is <class 'dict'>", "motrix_gym.MultiTask"]),
    ({"task": CartPole()}, TypeError, ["task is CartPole(", "subclass of motrix_gym.Task"]),
    ({"task": "mine.Balance"}, ValueError, ["task is 'mine.Balance'", "'module:Class'"]),
    ({"task": "mine/task:Balance"}, ValueError, ["task is 'mine/task:Balance'", "'module:Class'"]),
    ({"id": "Motrix/CartPole-v0"}, ValueError, ["'Motrix/CartPole-v0' is already registered", "time limit 1000"]),
    ({"id": "Motrix/CartPole-v0", "max_episode_steps": 1000, "max_angle": 0.1}, ValueError, ["already registered"]),
    ({"id": "phys2d/CartPole-v1"}, ValueError, ["already registered with gymnasium.envs", "another name"]),
]


@pytest.mark.parametrize(("given", "error", "words"), BAD)
def test_mistakes_are_refused_in_one_line_and_register_nothing(given, error, words):
    before = dict(gymnasium.registry)
    with pytest.raises(error) as caught:
        register(**{**GOOD, **given})
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)
    assert gymnasium.registry == before


LATE = [
    ("mine_there_is_not:X", {}, ValueError, "task 'mine_there_is_not:X' cannot be imported: ModuleNotFoundError"),
    ("motrix_gym:Balance", {}, ValueError, "task 'motrix_gym:Balance' cannot be imported: AttributeError"),
    ("motrix_gym:register", {}, TypeError, "motrix_gym:register is <function register"),
    (f"{CartPole.__module__}:CartPole", {"max_angel": 1}, TypeError, "did you mean 'max_angle'?"),
]


@pytest.mark.parametrize(("task", "fields", "error", "words"), LATE)
@pytest.mark.usefixtures("unregistered")
def test_a_task_that_is_named_is_checked_when_it_is_made(task, fields, error, words):
    register("Test/Late-v0", task, max_episode_steps=10, **fields)
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(error, match=re.escape(words)):
            make("Test/Late-v0")


def test_every_public_name_is_there_and_documented():
    names = motrix_gym.__all__
    assert names == sorted(names)
    for name in names:
        assert getattr(motrix_gym, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'regsiter'"):
        _ = motrix_gym.regsiter  # type: ignore[attr-defined]


def test_pickled_specs_go_between_processes(in_a_fresh_process, tmp_path):
    in_a_fresh_process(
        "import gymnasium, mine, pathlib, pickle\n"
        f"pathlib.Path({str(tmp_path / 'spec')!r}).write_bytes(pickle.dumps(gymnasium.make('Mine/Balance-v0').spec))"
    )
    spec: EnvSpec = pickle.loads(Path(tmp_path / "spec").read_bytes())
    assert spec.kwargs["max_angle"] == 0.15
    made = in_a_fresh_process(
        "import gymnasium, pathlib, pickle\n"
        f"spec = pickle.loads(pathlib.Path({str(tmp_path / 'spec')!r}).read_bytes())\n"
        "print(gymnasium.make(spec).unwrapped.task.max_angle)"
    )
    assert made == "0.15\n"
