"""Every task computes on arrays of other libraries what it computes on NumPy's.

The proof is ``array_api_strict``: arrays that refuse all that the array API standard does not promise, here without
shapes that depend on values. Torch and JAX are tried where they are installed.
"""

import contextlib
import dataclasses
import functools
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest
from array_trees import beside, leaves, mapped
from hypothesis import given, settings
from hypothesis import strategies as st

from motrix_gym import arrays as xp
from motrix_gym import observation, registration, rewards
from motrix_gym.entry_points import task_of
from motrix_gym.fields import configured
from motrix_gym.multi_task import MultiTask
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.random_streams import RandomStreams, stream_keys
from motrix_gym.state import State, Transition, where
from motrix_gym.task import Task
from motrix_gym.tasks.basic.finger import FingerTurn
from motrix_gym.tasks.basic.hopper import Hopper
from motrix_gym.tasks.locomotion.domain_randomization import QUANTITIES
from motrix_gym.tasks.locomotion.velocity import Go1
from motrix_gym.tasks.manipulation.lift_cube import FrankaLiftCube

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
    for action in actions.uniform(low, high, (NUM_STEPS, NUM_ENVS, len(low))):
        for method in ("observe", "privileged"):
            ask(method, now, state)
        for method in ("noise", "markers"):
            ask(method, state)
        ctrl = ask("control", now, state, action)
        after, _ = physics.step(ctrl, ask("external_force", state))
        t = Transition(now, state, action, ctrl, after, np.zeros(NUM_ENVS, dtype=bool))
        for method in JUDGED:
            ask(method, t)
        t = dataclasses.replace(t, terminated=actions.uniform(size=NUM_ENVS) < 0.5)
        ask("reward", t)
        now, state = after, ask("next_state", t, rng)
    ask("reset_after", rng, state)
    if task.mirror() is not None:
        last = now, state, actions.uniform(low, high, (NUM_ENVS, len(low)))
        calls.append(("mirrored", last, mirrored(task, *last)))
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


def assert_traceable(task: Task, calls: list[tuple[str, tuple[Any, ...], Any]], one: Any) -> None:
    """JAX can compile the methods: none looks at a number, or makes a shape of one."""
    jax = importlib.import_module("jax")
    for method, given_numpy, _ in calls:

        def compiled(arrays: list[Any], method: str = method, given_numpy: tuple[Any, ...] = given_numpy) -> Any:
            left = iter(arrays)
            given_own = mapped(
                lambda x: RandomStreams(next(left), next(left)) if isinstance(x, RandomStreams) else next(left),
                given_numpy,
            )
            found = mirrored(task, *given_own) if method == "mirrored" else called(task, method, given_own)
            return [x for _, x in leaves(found)]

        jax.make_jaxpr(compiled)([x for _, x in leaves(beside(given_numpy, one))])


def test_a_task_computes_the_same_on_every_library(library, env_id):
    for task, calls in trajectories(env_id):
        assert_runs_on(library, task, calls)
        if library.name == "jax.numpy":
            assert_traceable(task, calls, library.one)


def test_what_an_id_leaves_out_computes_the_same_too(library):
    randomized = Go1(
        friction=(0.5, 1.2),
        added_mass=(-1.0, 2.0),
        com_shift=(0.05, 0.03, 0.02),
        motor_strength=(0.8, 1.0),
        stiffness=(0.8, 1.2),
        damping=(0.5, 2.0),
        joint_offset=0.02,
        action_delay=(0, 2),
        observation_noise={"gravity": 0.05, "joint_velocity": 1.5},
        push_speed=1.0,
        push_interval=(0.02, 0.06),
        terrain={"noise": 0.05, "stairs_up": 0.1},
        terrain_curriculum=True,
        height_scan=True,
    )
    assert all(map(randomized._differs, QUANTITIES))
    for task in (
        randomized,
        FrankaLiftCube(in_hand_share=0.5),
        Hopper(height_margin=0.1),
        FingerTurn(target_margin=0.1),
    ):
        assert_runs_on(library, task, trajectory(task))


def test_a_policy_sees_the_same_on_every_library(library):
    task = Go1(history=3, observed=("gravity", "joint_position"), observation_noise={"gravity": 0.1})
    physics, task_state = next(x for method, x, _ in trajectory(task) if method == "observe")
    blank = np.zeros(NUM_ENVS, dtype=bool)
    state = State(physics, task_state, RandomStreams(stream_keys(range(NUM_ENVS))), blank, blank, blank, blank)
    state = dataclasses.replace(state, past_observations=observation.first_past(task, state))
    own = beside(state, library.one)
    for seen in (observation.observation, observation.first_past, observation.next_past):
        assert_same(library, {"": seen(task, state)}, {"": seen(task, own)}, seen.__name__)
    moved = dataclasses.replace(state, physics=mapped(lambda x: x + 1.0, state.physics))
    mask = np.arange(NUM_ENVS) > 0
    chosen = where(xp.like(mask, library.one), own.physics, beside(moved.physics, library.one))
    assert_same(library, where(mask, state.physics, moved.physics), chosen, "where")


@given(seeds=st.tuples(*2 * [st.integers(0, 2**128)]), size=st.sampled_from([1, 4, 6]))  # JAX compiles for each shape
@settings(max_examples=20)
def test_random_streams_have_the_same_bits_on_every_library(library, seeds, size):
    counter = stream_keys([seed + 1 for seed in seeds])[:, 0]  # some number of 64 bits
    numpys = RandomStreams(stream_keys(seeds), counter)
    own = numpys.beside(library.one)
    expected, found = numpys.words(size), own.words(size)
    np.testing.assert_array_equal(np.asarray(found).view(np.uint64), expected)
    np.testing.assert_array_equal(np.asarray(own.counter).view(np.uint64), numpys.counter)
    np.testing.assert_array_equal(np.asarray(own.uniform(size=size)), numpys.uniform(size=size))
    np.testing.assert_allclose(np.asarray(own.normal(size)), numpys.normal(size), rtol=1e-12, atol=1e-12)


def test_a_counter_that_overflows_begins_anew(library):
    counter = np.array([2**64 - 1, 2**63 - 1], dtype=np.uint64)
    numpys = RandomStreams(stream_keys([0, 1]), counter)
    own = numpys.beside(library.one)
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(own.words(7)).view(np.uint64), numpys.words(7))


@pytest.mark.parametrize("sigmoid", list(rewards._SIGMOIDS))
def test_tolerance_is_the_same_on_every_library(library, sigmoid):
    x = np.linspace(-3.0, 3.0, 31)
    found = rewards.tolerance(xp.like(x, library.one), (-0.5, 0.5), 1.0, sigmoid)
    np.testing.assert_allclose(
        np.asarray(found), rewards.tolerance(x, (-0.5, 0.5), 1.0, sigmoid), rtol=1e-12, atol=1e-12
    )


def test_constants_take_the_floating_dtype_of_what_they_stand_beside(library):
    half = library.one + 0.0
    half = xp.library(half).astype(half, xp.library(half).float32)
    assert xp.like((1.0, 2.0), half).dtype == half.dtype
    assert xp.zeros((2,), half).dtype == half.dtype
    assert xp.like(np.array([1, 2]), half).dtype == xp.library(half).int64
    assert xp.full((2,), False, half).dtype == xp.library(half).bool
    constant = np.arange(3.0)
    if library.name == "torch":
        assert xp.like(constant, half) is xp.like(constant, half), "a constant goes to the device once"


def test_jax_without_64_bit_numbers_is_refused():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(False), pytest.raises(ValueError, match="JAX_ENABLE_X64"):
        RandomStreams(stream_keys([0])).beside(jax.numpy.ones(1))
