"""Several tasks joined: which row has which, what a row sees and earns, and what is refused."""

import json
import re
from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trajectories import actions_for, of_row, play

from motrix_gym import Flip, Mirror, MultiTask, TaskState, check_vector_env, register
from motrix_gym.multi_task import cycle
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.rendering import RenderingUnavailable
from motrix_gym.tasks.basic.cartpole import CartPole

MULTI, CARTPOLE, GO1, SLIDER = "Motrix/MultiTask-v0", "Motrix/CartPole-v0", "Motrix/Go1-v0", "Test/Slider-v0"
MODEL = """
<mujoco><option timestep="0.01"/><worldbody><light pos="0 0 2"/><body>
  <joint name="slide" type="slide" axis="1 0 0" damping="1"/><geom size="0.1"/>
</body></worldbody><actuator><motor joint="slide" gear="20"/></actuator></mujoco>
"""


@dataclass(frozen=True)
class Counts(TaskState):
    """A part that `Numbers` has with another dtype, and one with another number of axes."""

    steps: np.ndarray  # (N,) int
    target: np.ndarray  # (N, 1)


@dataclass(frozen=True)
class Numbers(TaskState):
    """See `Counts`."""

    steps: np.ndarray  # (N,)
    target: np.ndarray  # (N,)


@dataclass(frozen=True, kw_only=True)
class Slider(CartPole):
    """Bring a mass to a target: another model, other blocks, terms, reasons and metrics than CartPole."""

    WEIGHTS: ClassVar = {"near": 0.5, "alive": 0.25}

    def model(self):
        return mujoco.MjModel.from_xml_string(MODEL)

    def reset(self, rng):
        return np.zeros((len(rng), 1)), np.zeros((len(rng), 1)), self._drawn(np.zeros(len(rng), int), rng)

    def observe(self, physics, task_state):
        return {"target": task_state.target, "velocity": np.repeat(physics.qvel, 2, axis=1)}

    def reward(self, t):
        return {"near": -abs(self._distance(t)), "alive": 1.0 - t.terminated}

    def terminated(self, t):
        return {"cart_left": abs(t.next_physics.qpos[:, 0]) > 0.3}

    def next_state(self, t, rng):
        return self._drawn(t.state.steps + 1, rng)

    def metrics(self, t):
        return {"distance": abs(self._distance(t))}

    def success(self, t):
        return self._distance(t) > 0

    def _drawn(self, steps, rng):
        return Counts(steps, rng.uniform(-1, 1))

    def _distance(self, t):
        return t.next_physics.qpos[:, 0] - t.state.target[:, 0]


@dataclass(frozen=True, kw_only=True)
class Clock(CartPole):
    """A CartPole whose memory is at odds with that of `Slider`, part by part."""

    def reset(self, rng):
        qpos, qvel, _ = super().reset(rng)
        return qpos, qvel, Numbers(np.zeros(len(rng)), rng.uniform()[:, 0])

    def observe(self, physics, task_state):
        return {**super().observe(physics, task_state), "time": task_state.steps[:, None]}

    def next_state(self, t, rng):
        return Numbers(t.state.steps + 0.5, t.state.target)


@dataclass(frozen=True, kw_only=True)
class Wide(CartPole):
    """A CartPole in which `velocity` is something else."""

    def observe(self, physics, task_state):
        return {"velocity": np.repeat(physics.qvel, 2, axis=1)}


@dataclass(frozen=True, kw_only=True)
class Named(CartPole):
    """A CartPole that has a block of the name of the one-hot block."""

    def observe(self, physics, task_state):
        return {"task": physics.qpos}


@dataclass(frozen=True, kw_only=True)
class Mirrored(CartPole):
    """A CartPole with a reflection: the sign of the action, and that of the observation."""

    signs: tuple[float, float] = (-1.0, -1.0)

    def mirror(self):
        action, observed = (Flip.signs(*np.full(n, sign)) for n, sign in zip((1, 2), self.signs, strict=True))
        return Mirror(
            observed, observed, action, {"position": observed, "velocity": observed}, lambda task_state: task_state
        )


for task in (Slider, Clock, Wide, Named, Mirrored):
    register(f"Test/{task.__name__}-v0", task, max_episode_steps=1000)

UNLIKE = [
    {"id": CARTPOLE, "name": "pole", "weight": 2, "kwargs": {"max_angle": 0.1}},
    {"id": SLIDER},
    {"id": "Test/Clock-v0", "kwargs": {"max_angle": 0.1}},
]
COLUMNS = {"pole": [0, 1, 2, 3], "Slider": [4, 2, 3], "Clock": [0, 1, 2, 3, 5]}


def make(num_envs: int, tasks: list[dict] = UNLIKE, **kwargs):
    """Rows of joined tasks."""
    return gymnasium.make_vec(MULTI, num_envs=num_envs, num_threads=1, tasks=tasks, **kwargs)


def tasks_of(observations: np.ndarray, count: int) -> list[int]:
    """The task of each row as the one-hot block tells it."""
    block = observations[:, -count:]
    assert (block.sum(axis=1) == 1).all()
    assert set(np.unique(block)) <= {0.0, 1.0}
    return block.argmax(axis=1).tolist()


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any))
@example([3, 1])
def test_a_cycle_holds_each_task_by_its_weight_evenly_spread(shares):
    order = cycle(shares)
    assert np.bincount(order, minlength=len(shares)).tolist() == shares
    for index, share in enumerate(shares):
        places = np.flatnonzero(np.tile(order, 2) == index)
        assert (abs(np.diff(places) - len(order) / max(share, 1)) <= len(shares)).all()


def test_cycles_stay_what_they_are():
    assert cycle([2, 1]).tolist() == [0, 1, 0]
    assert cycle([3, 0, 1]).tolist() == [0, 0, 2, 0]
    assert cycle([50, 50, 50]).tolist() == [0, 1, 2] * 50


@settings(max_examples=15)
@given(seed=st.integers(0, 2**80), num_envs=st.integers(1, 9))
def test_the_task_of_a_row_follows_from_its_seed(seed, num_envs):
    envs = make(num_envs)
    order = cycle([2, 1, 1])
    expected = [int(order[(seed + row) % 4]) for row in range(num_envs)]
    assert tasks_of(envs.reset(seed=seed)[0], 3) == expected
    assert tasks_of(envs.reset()[0], 3) == expected
    observations, *_, info = envs.step(envs.action_space.sample())
    assert tasks_of(observations, 3) == info["task"].tolist() == expected


def test_without_a_seed_the_weights_still_split_the_rows():
    tasks = tasks_of(make(8).reset()[0], 3)
    assert np.bincount(tasks).tolist() == [4, 2, 2]


def test_rows_that_are_seeded_anew_may_change_their_task_and_others_go_on():
    envs, other = make(8, max_episode_steps=6), make(8, max_episode_steps=6)
    actions = actions_for(CARTPOLE, 8, 20)
    for env in (envs, other):
        env.reset(seed=0)
        for action in actions[:4]:
            env.step(action)
    mask = np.array([True, False, True, False, False, True, False, False])
    before, *_ = other.step(actions[4])
    envs.step(actions[4])
    after, _ = envs.reset(seed=1, options={"reset_mask": mask})
    np.testing.assert_array_equal(after[~mask], before[~mask])
    fresh, _ = make(8).reset(seed=1)
    np.testing.assert_array_equal(after[mask], fresh[mask])
    assert (np.array(tasks_of(after, 3)) != tasks_of(before, 3))[mask].any()
    assert envs.unwrapped.np_random_seed == (1, 1, 3, 3, 4, 6, 6, 7)
    for action in actions[5:]:
        for x, y in zip(envs.step(action)[:4], other.step(action)[:4], strict=True):
            np.testing.assert_array_equal(x[~mask], y[~mask])


def test_a_None_among_seeds_keeps_the_task():
    envs = make(4)
    before = tasks_of(envs.reset(seed=0)[0], 3)
    after = tasks_of(envs.reset(seed=[None, 0, None, 0])[0], 3)
    assert [after[row] for row in (0, 2)] == [before[row] for row in (0, 2)]
    assert [after[row] for row in (1, 3)] == [before[0], before[0]]


def test_tasks_without_rows_cost_no_step(monkeypatch):
    stepped = []
    step = CpuPhysics.step
    monkeypatch.setattr(
        CpuPhysics, "step", lambda self, ctrl, *more: stepped.append(len(ctrl)) or step(self, ctrl, *more)
    )
    envs = make(4, [{**UNLIKE[0], "weight": 3}, {**UNLIKE[1], "weight": 0}, UNLIKE[2]])
    envs.reset(seed=0)
    stepped.clear()
    envs.step(envs.action_space.sample())
    assert stepped == [3, 1]
    assert envs.single_observation_space.shape == make(1).single_observation_space.shape


def test_joined_tasks_keep_the_laws(mode):
    report = check_vector_env(
        lambda n: make(n, max_episode_steps=25, autoreset_mode=mode),
        single=lambda: gymnasium.make(MULTI, tasks=UNLIKE, max_episode_steps=25),
        steps=80,
    )
    assert report.skipped == {}


@settings(max_examples=5)
@given(seed=st.integers(0, 2**40), mode=st.sampled_from(AutoresetMode))
def test_a_row_is_a_row_of_its_task(seed, mode):
    num_rows, kwargs = 4, {"max_episode_steps": 20, "autoreset_mode": mode}
    actions = actions_for(CARTPOLE, num_rows, 50)
    envs = make(num_rows, **kwargs)
    together = play(envs, seed, actions)
    for row, k in enumerate(tasks_of(envs.reset(seed=seed)[0], 3)):
        name = envs.unwrapped.task_names[k]
        own = gymnasium.make_vec(UNLIKE[k]["id"], num_envs=1, num_threads=1, **UNLIKE[k].get("kwargs", {}), **kwargs)
        [alone] = play(own, seed + row, actions[:, row : row + 1])
        assert len(alone) == len(together[row])
        for mine, joint in zip(alone, together[row], strict=True):
            for what in mine.keys() & {"begin", "observation"}:
                seen = joint[what].copy()
                np.testing.assert_array_equal(seen[COLUMNS[name]], mine[what])
                seen[COLUMNS[name]] = 0
                np.testing.assert_array_equal(seen, np.eye(3)[k] @ np.eye(3, 9, 6))
            for what in mine.keys() - {"begin", "observation"}:
                group, _, inner = what.partition(".")
                named = f"{group}.{name}/{inner}" if group in ("reward_terms", "metrics") else what
                assert ("success" in mine) == ("success" in joint) == (name == "Slider")
                np.testing.assert_array_equal(joint[named], mine[what], err_msg=what)


def test_blocks_of_the_same_name_share_their_columns():
    blocks = make(1).unwrapped.observation_blocks
    assert list(blocks) == ["position", "velocity", "target", "time", "task"]
    assert [blocks[name].start for name in blocks] == [0, 2, 4, 5, 6]


def test_terms_are_zero_and_metrics_masked_in_the_rows_of_other_tasks():
    envs = make(6, max_episode_steps=4)
    envs.reset(seed=0)
    for step in range(1, 5):
        *_, terminated, truncated, info = envs.step(envs.action_space.sample())
        assert list(info["reward_terms"]) == ["pole/alive", "Slider/near", "Slider/alive", "Clock/alive"]
        assert list(info["termination"]) == ["pole_fell", "cart_left", "diverged"]
        slides = info["task"] == 1
        assert not info["reward_terms"]["Slider/near"][~slides].any()
        assert info["reward_terms"]["Slider/near"][slides].all()
        assert list(info["metrics"]) == ["Slider/distance", "_Slider/distance"]
        np.testing.assert_array_equal(info["metrics"]["_Slider/distance"], slides)
        ended = terminated | truncated
        if step == 4:
            final = info["final_info"]
            np.testing.assert_array_equal(final["metrics"]["_Slider/distance"], slides & ended)
            np.testing.assert_array_equal(final["_task"], ended)
    assert ended.all()


def test_infos_are_those_that_gymnasium_makes_of_single_environments():
    actions = actions_for(CARTPOLE, 4, 30).clip(-3, 3).astype(np.float32)
    native = make(4, max_episode_steps=9, autoreset_mode="NextStep")
    sync = gymnasium.make_vec(MULTI, num_envs=4, vectorization_mode="sync", tasks=UNLIKE, max_episode_steps=9)
    for envs in (native, sync):
        envs.reset(seed=5)
    for action in actions:
        mine, gymnasiums = native.step(action)[4], sync.step(action)[4]
        for group in ("reward_terms", "termination", "metrics"):
            for row in np.flatnonzero(mine[f"_{group}"]):
                assert of_row(mine[group], row) == of_row(gymnasiums[group], row)
        told = mine["_task"]
        if told.any():
            np.testing.assert_array_equal(mine["task"][told], gymnasiums["task"][told])
            np.testing.assert_array_equal(told, gymnasiums["_task"])
            for mask in (mine["metrics"]["_Slider/distance"], mine["_success"]):
                np.testing.assert_array_equal(mask, told & (mine["task"] == 1))
            for row in np.flatnonzero(mine["_success"]):
                assert gymnasiums["_success"][row]
                assert mine["success"][row] == gymnasiums["success"][row]


def test_the_single_environment_tells_what_its_task_has():
    env = gymnasium.make(MULTI, tasks=UNLIKE)
    for seed, metrics in ((0, []), (1, ["Slider/distance"])):  # of the pole and of the slider
        env.reset(seed=seed)
        info = env.step(env.action_space.sample())[4]
        assert (info["task"], list(info["metrics"]), "success" in info) == (seed, metrics, bool(metrics))


def test_the_reflection_is_that_of_the_tasks():
    envs = gymnasium.make_vec(MULTI, num_envs=4, num_threads=1)
    alone = gymnasium.make_vec(GO1, num_envs=1).unwrapped.mirror
    observations, _ = envs.reset(seed=0)
    mirror = envs.unwrapped.mirror
    image = mirror.observation(observations)
    np.testing.assert_array_equal(image[:, :-2], alone.observation(observations[:, :-2]))
    np.testing.assert_array_equal(image[:, -2:], observations[:, -2:])
    np.testing.assert_array_equal(mirror.observation(image), observations)
    action = envs.action_space.sample()
    np.testing.assert_array_equal(mirror.action(action), alone.action(action))
    assert make(1).unwrapped.mirror is None


@pytest.mark.parametrize(("signs", "agree"), [([-1, -1], True), ([-1, 1], False), ([1, -1], False)])
def test_tasks_that_are_reflected_otherwise_have_no_reflection_together(signs, agree):
    other = {"id": "Test/Mirrored-v0", "name": "other", "kwargs": {"signs": signs}}
    mirror = make(1, [{"id": "Test/Mirrored-v0"}, other]).unwrapped.mirror
    assert (mirror is not None) == agree


def test_what_the_docstring_names_is_there():
    envs = gymnasium.make_vec(MULTI, num_envs=1, num_threads=1)
    envs.reset(seed=0)
    info = envs.step(envs.action_space.sample())[4]
    named = set(re.findall(r"[`\"](_?walk/\w+)[`\"]", MultiTask.__doc__))
    assert len(named) == 3
    assert named <= info["reward_terms"].keys() | info["metrics"].keys()


def test_weights_are_replaced_by_task_and_term():
    weights = {"Slider/near": 3.0}
    given = [{**UNLIKE[1], "kwargs": {"reward_weights": {"near": 7.0, "alive": 2.0}}}, UNLIKE[0]]
    assert make(1, given).unwrapped.task.weights == {"Slider/near": 7.0, "Slider/alive": 2.0, "pole/alive": 1.0}
    replaced = make(1, given, reward_weights=weights).unwrapped.task.weights
    assert replaced == {"Slider/near": 3.0, "Slider/alive": 2.0, "pole/alive": 1.0}


def test_parts_of_a_state_that_are_at_odds_are_kept_apart():
    envs = make(4)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(envs.action_space.sample())
    state = envs.unwrapped.get_state()
    assert {"Slider.memory.steps", "Clock.memory.steps"} <= state.keys()
    assert {"memory.steps", "Slider.qpos"}.isdisjoint(state)
    assert state["qpos"].shape == (4, 2)
    rows = state["task"] == 1
    assert state["Slider.memory.steps"][rows].tolist() == [3]
    assert state["Clock.memory.steps"][state["task"] == 2].tolist() == [1.5]
    assert not state["qpos"][rows, 1].any()


@pytest.mark.parametrize("tasks", [UNLIKE, UNLIKE[:2], UNLIKE[::-1]], ids=["all", "two", "reversed"])
def test_a_state_brings_its_tasks_along(tasks):
    envs, other = make(5, tasks, max_episode_steps=7), make(5, tasks, max_episode_steps=7)
    actions = actions_for(CARTPOLE, 5, 20)
    envs.reset(seed=0)
    other.reset(seed=2)
    for action in actions[:4]:
        observations, *_ = envs.step(action)
    state = envs.unwrapped.get_state()
    np.testing.assert_array_equal(other.unwrapped.set_state(state), observations)
    for x in state.values():
        x[:] = 0
    for action in actions[4:]:
        for x, y in zip(envs.step(action)[:4], other.step(action)[:4], strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_state_knows_which_rows_have_ended():
    envs, other = (make(3, max_episode_steps=2, autoreset_mode="Disabled") for _ in range(2))
    action = np.zeros((3, 1))
    for env in (envs, other):
        env.reset(seed=0)
        env.step(action)
    running = envs.unwrapped.get_state()
    envs.step(action)
    other.unwrapped.set_state(envs.unwrapped.get_state())
    with pytest.raises(gymnasium.error.ResetNeeded, match="environments 0, 1, 2 have ended"):
        other.step(action)
    other.unwrapped.set_state(running)
    other.step(action)


def test_a_state_before_the_first_reset_is_one_that_can_be_stepped():
    envs = gymnasium.make_vec(MULTI, num_envs=3, num_threads=1).unwrapped
    state = envs.get_state()
    np.testing.assert_allclose(np.linalg.norm(state["qpos"][:, 3:7], axis=1), 1.0)
    envs.set_state(state)
    envs.step(envs.action_space.sample())


def test_a_state_with_a_task_that_there_is_not_is_refused():
    envs = make(2)
    envs.reset(seed=0)
    state = envs.unwrapped.get_state()
    for wrong in (3, -1):
        state["task"][0] = wrong
        with pytest.raises(ValueError, match=f"has a task {wrong}; the tasks are pole, Slider, Clock"):
            envs.unwrapped.set_state(state)
    envs.step(envs.action_space.sample())


def test_rows_are_drawn_with_the_model_of_their_task():
    size = {"render_mode": "rgb_array", "render_size": (64, 48)}
    envs = make(4, **size)
    try:
        assert len(envs.render()) == 4
    except RenderingUnavailable as missing:
        pytest.skip(str(missing))
    envs.reset(seed=0)
    pictures = envs.render()
    for row, k in enumerate(envs.unwrapped.get_state()["task"]):
        own = gymnasium.make_vec(UNLIKE[k]["id"], num_envs=1, num_threads=1, **size)
        own.reset(seed=row)
        np.testing.assert_array_equal(pictures[row], own.render()[0])
        own.close()
    envs.close()


def pole(**entry):
    """A task as it is listed."""
    return {"id": CARTPOLE, "name": "pole", **entry}


BAD_TASKS = [
    ({"tasks": []}, ValueError, ["tasks is empty"]),
    ({"tasks": "Motrix/Go1-v0"}, TypeError, ["tasks is 'Motrix/Go1-v0'", "a list"]),
    ({"tasks": ["Motrix/Go1-v0"]}, TypeError, ["tasks[0] is 'Motrix/Go1-v0'", "a mapping"]),
    ({"tasks": [{}]}, ValueError, ["tasks[0]", '"id"']),
    ({"tasks": [pole(), {"id": CARTPOLE, "wieght": 2}]}, TypeError, ["tasks[1]", "did you mean 'weight'?"]),
    ({"tasks": [pole(id=3)]}, TypeError, ["tasks[0]", "id is 3", "string"]),
    ({"tasks": [pole(name="a/b")]}, ValueError, ["tasks[0]", "name is 'a/b'", "letters"]),
    ({"tasks": [pole(weight=0.5)]}, ValueError, ["tasks[0]", "weight is 0.5", "whole number"]),
    ({"tasks": [pole(weight=-1)]}, ValueError, ["tasks[0]", "weight is -1", "whole number"]),
    ({"tasks": [pole(weight=0)]}, ValueError, ["weights of tasks sum up to 0"]),
    ({"tasks": [pole(weight=10**9)]}, ValueError, ["sum up to 1000000000", "10000"]),
    ({"tasks": [pole(), pole()]}, ValueError, ["'pole' more than once", '"name"']),
    ({"tasks": [{"id": CARTPOLE}, {"id": CARTPOLE}]}, ValueError, ["'CartPole' more than once"]),
    ({"tasks": [pole(kwargs={"max_angel": 1})]}, TypeError, ["tasks[0]", "did you mean 'max_angle'?"]),
    ({"tasks": [pole(kwargs={"control_dt": -1.0})]}, ValueError, ["tasks[0]", "control_dt is -1.0"]),
    ({"tasks": [pole(kwargs={"max_episode_steps": 5})]}, TypeError, ["tasks[0]", "'max_episode_steps'"]),
    ({"tasks": [pole(id="Motrix/CartPol-v0")]}, gymnasium.error.NameNotFound, ["tasks[0]", "CartPole"]),
    ({"tasks": [pole(id="CartPole-v1")]}, ValueError, ["tasks[0]", "'CartPole-v1'", "one task of motrix_gym"]),
    ({"tasks": [pole(id=MULTI)]}, ValueError, ["tasks[0]", f"{MULTI!r}", "one task of motrix_gym"]),
    ({"tasks": [pole(), {"id": GO1}]}, ValueError, ["'pole' and 'Go1'", "control steps, 0.01 s and 0.02 s"]),
    (
        {"tasks": [pole(kwargs={"control_dt": 0.02}), {"id": GO1}]},
        ValueError,
        ["'pole' and 'Go1'", "action spaces, Box(-3.0, 3.0, (1,), float32) and Box(-1.0, 1.0, (12,), float32)"],
    ),
    (
        {"tasks": [pole(), {"id": "Test/Wide-v0"}]},
        ValueError,
        ["block 'velocity' has 4 columns in task 'Wide' and 2 elsewhere", "names of their own"],
    ),
    ({"tasks": [{"id": "Test/Named-v0"}]}, ValueError, ["block 'task' has 2 columns in task 'Named' and 1 elsewhere"]),
    ({"reward_weights": {"torques": 0.0}}, ValueError, ["'torques'", "run/torques"]),
    ({"reward_weights": {"walk/torqus": 0.0}}, ValueError, ["'torqus'", "did you mean 'torques'?"]),
    ({"reward_weights": {"crawl/torques": 0.0}}, ValueError, ["'crawl/torques'", "walk/torques"]),
    ({"reward_weights": {"walk/torques": "no"}}, TypeError, ["reward_weights['walk/torques'] is 'no'", "number"]),
]


@pytest.mark.parametrize(("kwargs", "error", "words"), BAD_TASKS, ids=lambda x: str(x)[:60])
def test_bad_tasks(kwargs, error, words):
    for made in (lambda: gymnasium.make_vec(MULTI, num_envs=2, **kwargs), lambda: gymnasium.make(MULTI, **kwargs)):
        with pytest.raises(error) as caught:
            made()
        message = str(caught.value)
        assert "\n" not in message
        assert not [word for word in words if word not in message], message


def test_errors_name_rows_as_the_caller_counts_them():
    envs = make(5, max_episode_steps=1, autoreset_mode="Disabled")
    envs.reset(seed=0)
    action = np.zeros((5, 1))
    action[[1, 4]] = np.nan
    before = envs.unwrapped.get_state()
    with pytest.raises(ValueError, match="actions of environments 1, 4 are NaN"):
        envs.step(action)
    for name, x in envs.unwrapped.get_state().items():
        np.testing.assert_array_equal(x, before[name])
    envs.step(np.zeros((5, 1)))
    envs.reset(options={"reset_mask": np.array([True, False, True, False, True])})
    with pytest.raises(gymnasium.error.ResetNeeded, match="environments 1, 3 have ended"):
        envs.step(np.zeros((5, 1)))


def test_tasks_go_through_json():
    envs = make(3)
    spec = EnvSpec.from_json(envs.spec.to_json())
    again = gymnasium.make_vec(spec)
    assert again.unwrapped.task == envs.unwrapped.task
    text = json.dumps(UNLIKE)
    assert make(3, json.loads(text)).unwrapped.task_names == ("pole", "Slider", "Clock")
