"""Every task computes on arrays of other libraries what it computes on NumPy's.

The proof is ``array_api_strict``: arrays that refuse all that the array API standard does not promise, here without
shapes that depend on values. Torch and JAX are tried where they are installed.
"""

import contextlib
import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest

from motrix_gym import arrays as xp
from motrix_gym import registration
from motrix_gym.entry_points import task_of
from motrix_gym.fields import configured
from motrix_gym.multi_task import MultiTask
from motrix_gym.physics.base import Override
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.random_streams import RandomStreams, stream_keys
from motrix_gym.state import Transition
from motrix_gym.task import Task

NUM_ENVS, NUM_STEPS = 3, 3
JUDGED = ("terminated", "reward", "metrics", "success")


@dataclass(frozen=True)
class Library:
    """An array library.

    Attributes:
        name: Its module.
        tolerance: How far off its numbers may be, absolutely and relatively.
        one: An array of it, to put others beside.
        number: The type of its arrays.
    """

    name: str
    tolerance: float
    one: Any
    number: type


@pytest.fixture(scope="module", params=["array_api_strict", "torch", "jax.numpy"])
def library(request: pytest.FixtureRequest) -> Iterator[Library]:
    """Each library in turn, with double precision."""
    module = pytest.importorskip(request.param)
    with contextlib.ExitStack() as stack:
        if request.param == "array_api_strict":
            stack.enter_context(module.ArrayAPIStrictFlags(boolean_indexing=False, data_dependent_shapes=False))
        elif request.param == "torch":
            pytest.importorskip("array_api_compat")
        else:
            stack.enter_context(importlib.import_module("jax").enable_x64(True))
        one = module.ones(1, dtype=module.float64)
        number = type(one) if request.param != "jax.numpy" else importlib.import_module("jax").Array
        yield Library(request.param, 1e-12 if request.param == "array_api_strict" else 1e-6, one, number)


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of dataclasses, mappings and tuples with `function` applied to its arrays and random streams."""
    if isinstance(tree, (np.ndarray, RandomStreams)):
        return function(tree)
    if isinstance(tree, Mapping):
        return {name: mapped(function, x) for name, x in tree.items()}
    if isinstance(tree, tuple):
        return tuple(mapped(function, x) for x in tree)
    if isinstance(tree, Override):
        return dataclasses.replace(tree, values=function(tree.values))
    if dataclasses.is_dataclass(tree):
        return type(tree)(**{f.name: mapped(function, getattr(tree, f.name)) for f in dataclasses.fields(tree)})
    return tree


def beside(tree: Any, one: Any) -> Any:
    """A tree of NumPy's arrays with arrays of another library."""
    return mapped(lambda x: x.beside(one) if isinstance(x, RandomStreams) else xp.like(x.copy(), one), tree)


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What is no dataclass, mapping or tuple in a tree, with what it is called."""
    if isinstance(tree, Mapping):
        for key, x in tree.items():
            yield from leaves(x, f"{name}[{key!r}]")
    elif isinstance(tree, tuple):
        for i, x in enumerate(tree):
            yield from leaves(x, f"{name}[{i}]")
    elif isinstance(tree, Override):
        yield f"{name}.values", tree.values
    elif dataclasses.is_dataclass(tree):
        for f in dataclasses.fields(tree):
            yield from leaves(getattr(tree, f.name), f"{name}.{f.name}")
    elif tree is not None:
        yield name, tree


def called(task: Task, method: str, given: tuple[Any, ...]) -> Any:
    """What a method returns, and the random streams as it leaves them."""
    given = tuple(dataclasses.replace(x) if isinstance(x, (RandomStreams, Transition)) else x for x in given)
    result = getattr(task, method)(*given)
    return result, {f"after {method}": x.counter for x in given if isinstance(x, RandomStreams)}


def trajectory(task: Task) -> list[tuple[str, tuple[Any, ...], Any]]:
    """Methods of a task, what each was given, and what it returned, during some steps."""
    calls: list[tuple[str, tuple[Any, ...], Any]] = []

    def ask(method: str, *given: Any) -> Any:
        kept = tuple(dataclasses.replace(x) if isinstance(x, RandomStreams) else x for x in given)
        calls.append((method, kept, called(task, method, kept)))
        return getattr(task, method)(*given)

    model, everywhere = task.model(), np.ones(NUM_ENVS, dtype=bool)
    physics = CpuPhysics(model, NUM_ENVS, 1, task.control_dt)
    rng, actions = RandomStreams(stream_keys(range(NUM_ENVS))), np.random.default_rng(0)
    qpos, qvel, state = ask("reset", rng)
    now = physics.reset(everywhere, qpos, qvel, ask("model_overrides", state))
    ask("is_valid_start", now)
    low, high = task.action_space().low, task.action_space().high
    for _ in range(NUM_STEPS):
        for method in ("observe", "privileged"):
            ask(method, now, state)
        for method in ("noise", "markers"):
            ask(method, state)
        action = actions.uniform(low, high, (NUM_ENVS, len(low)))
        ctrl = ask("control", now, state, action)
        after, _ = physics.step(ctrl, ask("external_force", state))
        t = Transition(now, state, action, ctrl, after, np.zeros(NUM_ENVS, dtype=bool))
        for method in JUDGED:
            ask(method, t)
        t = dataclasses.replace(t, terminated=actions.uniform(size=NUM_ENVS) < 0.5)
        ask("reward", t)
        now, state = after, ask("next_state", t, rng)
    ask("reset_after", rng, state)
    mirror = task.mirror()
    if mirror is not None:
        calls.append(("mirrored", (now, state, action), mirrored(task, now, state, action)))
    return calls


def mirrored(task: Task, physics: Any, state: Any, action: Any) -> Any:
    """The mirror image of a state and of an action."""
    mirror: Any = task.mirror()
    blocks = {name: mirror.blocks[name](x) for name, x in task.observe(physics, state).items()}
    return mirror.qpos(physics.qpos), mirror.qvel(physics.qvel), mirror.action(action), mirror.state(state), blocks


def assert_same(library: Library, expected: Any, found: Any, what: str) -> None:
    """Arrays of the library, of the shapes and kinds that NumPy's have, with their numbers."""
    for (name, numpys), (other, own) in zip(leaves(expected), leaves(found), strict=True):
        assert name == other, what
        assert isinstance(own, library.number), f"{what}{name} is {type(own)}"
        own = np.asarray(own)
        assert (own.dtype.kind, own.shape) == (numpys.dtype.kind, numpys.shape), f"{what}{name}"
        np.testing.assert_allclose(own, numpys, rtol=library.tolerance, atol=library.tolerance, err_msg=f"{what}{name}")


def tasks_of(env_id: str) -> list[Task]:
    """The tasks of an id: one, or those that it joins."""
    spec = gymnasium.spec(env_id)
    path = task_of(spec)
    assert path is not None
    task = configured(registration.task_class(path), spec.kwargs)
    return list(task.members().values()) if isinstance(task, MultiTask) else [task]


@functools.cache
def trajectories(env_id: str) -> list[tuple[Task, list[tuple[str, tuple[Any, ...], Any]]]]:
    """The trajectory of each task of an id."""
    return [(task, trajectory(task)) for task in tasks_of(env_id)]


def assert_runs_on(library: Library, task: Task, calls: list[tuple[str, tuple[Any, ...], Any]]) -> None:
    for method, given_numpy, expected in calls:
        given_own = beside(given_numpy, library.one)
        if method == "mirrored":
            assert_same(library, expected, mirrored(task, *given_own), method)
            continue
        (result, counters), (found, own_counters) = expected, called(task, method, given_own)
        assert_same(library, result, found, method)
        for name, counter in counters.items():
            np.testing.assert_array_equal(np.asarray(own_counters[name]).view(np.uint64), counter)


def test_a_task_computes_the_same_on_every_library(library, env_id):
    for task, calls in trajectories(env_id):
        assert_runs_on(library, task, calls)
