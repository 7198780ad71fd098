"""`check_task` has nothing against our own tasks, and names each defect of a task that has just that one."""

import re
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from motrix_gym.multi_task import MultiTask
from motrix_gym.physics.base import Override
from motrix_gym.state import TaskState
from motrix_gym.symmetry import Flip, Mirror
from motrix_gym.task import Task
from motrix_gym.tasks.basic.cartpole import CartPole
from motrix_gym.tasks.basic.hopper import Hopper
from motrix_gym.testing import TaskViolation, check_task
from motrix_gym.testing.__main__ import main
from motrix_gym.testing.docstring_tables import COLUMNS

BEGIN_IN_THE_GROUND = {"Hopper", "Walker"}  # in a few of their start states
ONE, TWO = Flip.signs(-1), Flip.signs(-1, -1)
MIRROR = Mirror(TWO, TWO, ONE, {"position": TWO, "velocity": TWO}, lambda state: state)


@pytest.fixture(scope="module")
def task(env_id: str) -> Task:
    """The task of an id."""
    task = gymnasium.make_vec(env_id, num_envs=1, num_threads=1).unwrapped.task
    if isinstance(task, MultiTask):
        pytest.skip("each of the tasks that are joined has an id of its own")
    return task


def test_our_own_tasks_have_no_errors_and_all_tables(task):
    report = check_task(task, num_envs=16, steps=60)
    places = {remark.where for remark in report.remarks}
    assert not {place for place in places if place.startswith("docstring")}
    assert ("reset" in places) <= (report.task in BEGIN_IN_THE_GROUND)
    assert [term.name for term in report.terms] == list(task.weights)
    assert all(term.weight for term in report.terms)


def test_the_mirror_of_our_own_tasks_holds_on_a_plane(task):
    """Law 10: a hill is not its own mirror image."""
    if task.mirror() is None or not getattr(task, "terrain", None):
        pytest.skip("there is no mirror, or it was compared on the task as it is")
    report = check_task(replace(task, terrain={}), num_envs=32, steps=30)
    assert not [remark for remark in report.remarks if "mirror" in remark.where]


@dataclass(frozen=True)
class Remembered(TaskState):
    """Some numbers."""

    number: np.ndarray  # (N,)


def reset_with(number: Any):
    """A reset with a task state, from the method's arguments (task, rng)."""

    def reset(task, rng):
        qpos, qvel, _ = CartPole.reset(task, rng)
        return qpos, qvel, Remembered(number(rng))

    return reset


def observed_with(velocity: Any):
    """An observation whose block `velocity` is what a function of the physics state gives."""
    return lambda task, physics, state: {"position": physics.qpos, "velocity": velocity(physics)}


def documented(old: str, new: str) -> dict[str, Any]:
    """The docstring of CartPole with something else in it."""
    assert old in CartPole.__doc__
    return {"__doc__": CartPole.__doc__.replace(old, new)}


def asymmetric() -> mujoco.MjModel:
    """The model of CartPole with a cart that is not in the middle."""
    model = CartPole().model()
    model.body_pos[model.body("cart").id] += [0, 0.1, 0]
    return model


def hilly(gear: float = 100.0) -> mujoco.MjModel:
    """The model of CartPole over a height field."""
    spec = mujoco.MjSpec.from_string(
        '<mujoco><asset><hfield name="hill" nrow="2" ncol="2" size="1 1 1 1"/></asset><worldbody>'
        '<geom type="hfield" hfield="hill" pos="0 0 -9"/><body name="cart"><joint name="slide" type="slide"'
        ' axis="1 0 0"/><geom size="0.1"/><body name="pole"><joint name="hinge" axis="0 1 0"/><geom size="0.1"'
        f' pos="0 0 1"/></body></body></worldbody><actuator><motor joint="slide" gear="{gear}"/></actuator></mujoco>'
    )
    spec.option.timestep = 0.01
    return spec.compile()


def lowered(task, rng):
    qpos, qvel, state = Hopper.reset(task, rng)
    return qpos - [0, 0.9, *[0] * (qpos.shape[1] - 2)], qvel, state


NAN = float("nan")
ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "refused": (
        {"control": lambda task, physics, state, action: action[:, 0]},
        "Mine: Mine.control gives ctrl of shape",
    ),
    "a refused curriculum": (
        {"reset_after": lambda task, rng, last: (np.zeros((len(rng), 1)), *task.reset(rng)[1:])},
        "Mine: Mine.reset_after gives qpos of shape (8, 1)",
    ),
    "names that change": (
        {"metrics": lambda task, t: {"left" if t.next_physics.qpos[0, 0] < 0 else "right": t.next_physics.qpos[:, 0]}},
        "Mine: metrics gives left in one step, and right in another",
    ),
    "nan observed": (
        {"observe": observed_with(lambda physics: np.where(physics.qvel > 0, physics.qvel, NAN))},
        "observe 'velocity': is nan in",
    ),
    "nan in first observations alone": (
        {
            "reset": reset_with(lambda rng: np.zeros(len(rng))),
            "next_state": lambda task, t, rng: Remembered(np.full(len(t.action), 0.1)),
            "observe": lambda task, physics, state: {
                "position": physics.qpos,
                "velocity": physics.qvel + np.where(state.number > 0, 0, NAN)[:, None],
            },
        },
        "observe 'velocity': is nan in",
    ),
    "a task state that is not finite": (
        {"reset": reset_with(lambda rng: np.full(len(rng), np.inf))},
        "task state 'number': is inf in",
    ),
    "nan reward": (
        {"reward": lambda task, t: {"alive": np.where(t.next_physics.qpos[:, 0] > 0, 1.0, NAN)}},
        "reward 'alive': is nan in",
    ),
    "infinite metric": ({"metrics": lambda task, t: {"far": np.full(len(t.action), np.inf)}}, "metrics 'far': is inf"),
    "chance in reset": (
        {"reset": reset_with(lambda rng: np.random.default_rng().uniform(size=len(rng)))},
        "reset state.number: is another one when the method is called again; draw random numbers from `rng`",
    ),
    "chance in reset_after": (
        {
            "reset_after": lambda task, rng, last: (
                np.random.default_rng().uniform(size=(len(rng), 2)),
                *task.reset(rng)[1:],
            )
        },
        "reset_after qpos: is another one",
    ),
    "chance in next_state": (
        {
            "reset": reset_with(lambda rng: rng.uniform()[:, 0]),
            "next_state": lambda task, t, rng: Remembered(np.random.default_rng().uniform(size=len(t.action))),
        },
        "next_state state.number: is another one",
    ),
    "chance in the model": (
        {
            "reset": reset_with(lambda rng: rng.uniform()[:, 0]),
            "model_overrides": lambda task, state: {
                "body_mass": Override(np.random.default_rng().uniform(4, 5, len(state.number)), 1)
            },
        },
        "model_overrides 'body_mass': is another one",
    ),
    "a mean of all environments": (
        {"reward": lambda task, t: {"alive": t.next_physics.qpos[:, 0] - t.next_physics.qpos[:, 0].mean()}},
        "reward 'alive': of an environment depends on the other environments, or on their order; compute along",
    ),
    "the first environment's numbers": (
        {
            "reset": reset_with(lambda rng: rng.uniform()[:, 0]),
            "next_state": lambda task, t, rng: Remembered(np.repeat(rng.uniform()[:1, 0], len(rng))),
        },
        "next_state state.number: of an environment depends on",
    ),
    "weighted twice": (
        {"reward": lambda task, t: {"alive": task.weights["alive"] * (1.0 - t.terminated)}},
        "reward term 'alive': is not the same before it is weighted, when the weight of 'alive' is another; return it",
    ),
    "weights that are not read": (
        {"weights": property(lambda task: dict(task.WEIGHTS))},
        "reward term 'alive': has a weight of 1.0 where reward_weights asks for 3.0; have `weights` read",
    ),
    "a dead term": (
        {"reward": lambda task, t: {"alive": np.ones(len(t.action))}},
        "reward term 'alive': is always 1, whatever the states and actions are; correct its formula, or remove it",
    ),
    "a term of zero": (
        {"reward": lambda task, t: {"alive": 0 * t.action[:, 0]}},
        "reward term 'alive': is always 0, whatever",
    ),
    "a constant element": (
        {"observe": observed_with(lambda physics: physics.qvel * [1, 0] + [0, 7])},
        "observation velocity[1]: is always 7, whatever the state is; remove it",
    ),
    "a reason that always holds": (
        {"terminated": lambda task, t: {"late": np.full(len(t.action), True)}},
        "terminated 'late': holds in every step; correct its condition",
    ),
    "a mirror with a wrong sign": (
        {"mirror": lambda task: replace(MIRROR, blocks={"position": TWO, "velocity": Flip.signs(-1, 1)})},
        "mirror block 'velocity': element 1 is",
    ),
    "a mirror that is no reflection": (
        {
            "mirror": lambda task: replace(
                MIRROR, blocks={"position": TWO, "velocity": Flip(np.array([0, 0]), -np.ones(2))}
            )
        },
        "mirror block 'velocity': is not the original when it is reflected twice; correct its index or its signs",
    ),
    "a mirror of nothing": (
        {
            "mirror": lambda task: Mirror(
                *(Flip.signs(1, 1), Flip.signs(1, 1), Flip.signs(1)),
                {"position": Flip.signs(1, 1), "velocity": Flip.signs(1, 1)},
                lambda state: state,
            )
        },
        "mirror: reflects nothing; have it exchange left and right",
    ),
    "a mirror of the state that is no reflection": (
        {
            "reset": reset_with(lambda rng: rng.uniform()[:, 0]),
            "mirror": lambda task: replace(MIRROR, state=lambda state: Remembered(state.number + 1)),
        },
        "mirror state.number: is not the original when it is reflected twice",
    ),
    "an action space that is not symmetric": (
        {"action_space": lambda task: gymnasium.spaces.Box(-1.0, 3.0, (1,)), "mirror": lambda task: MIRROR},
        "mirror action: reflects actions to outside of the action space; make the space symmetric",
    ),
    "a reward that prefers a side": (
        {"reward": lambda task, t: {"alive": t.next_physics.qpos[:, 0]}, "mirror": lambda task: MIRROR},
        "mirror reward term 'alive': is",
    ),
    "a reason that prefers a side": (
        {"terminated": lambda task, t: {"right": t.next_physics.qpos[:, 0] > 0.001}, "mirror": lambda task: MIRROR},
        "mirror terminated 'right': is",
    ),
    "a table with a wrong index": (
        documented("| 2-3 | velocity", "| 2-4 | velocity"),
        "docstring, Observation: has velocity 2-4; the task has velocity 2-3",
    ),
    "a table with no index": (documented("| 2-3 |", "| last |"), "docstring, Observation: has an index 'last'"),
    "a table in another order": (
        documented("| 0-1 | position |", "| 2-3 | velocity | rates | 1/s |\n    | 0-1 | position |"),
        "docstring, Observation: has velocity 2-3, position 0-1; the task has position 0-1, velocity 2-3",
    ),
    "a table with a wrong weight": (
        documented("step | 1.0 |", "step | 2.0 |"),
        "docstring, Reward: has alive 2.0; the task has alive 1.0",
    ),
    "a table with no weight": (documented("step | 1.0 |", "step | one |"), "docstring, Reward: has a weight 'one'"),
    "a table without a reason": (
        documented("| cart_left |", "| cart_right |"),
        "docstring, Termination: has cart_right; the task has cart_left",
    ),
    "a table with other columns": (
        documented("| reason | condition |", "| cause | condition |"),
        "docstring, Termination: has the columns ['cause', 'condition']; write a table | reason | condition |",
    ),
    "a table with an empty cell": (
        documented("| diverged | the physics diverged |", "| diverged | |"),
        "docstring, Termination: has a row ['diverged', '']",
    ),
    "a table with a field that is none": (
        documented("`max_angle` |", "`most_angle` |"),
        "docstring, Termination: names a field `most_angle`; the task has no such field; it has control_dt",
    ),
}
REMARKS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a term that chance does not change": (
        {},
        {"max_angle": 1e3, "max_position": 1e3},
        "reward term 'alive': is 1 in all 640 steps; see that a policy that learns comes to where it changes",
    ),
    "a weight of zero": ({}, {"reward_weights": {"alive": 0.0}}, "reward term 'alive': has a weight of 0; give it"),
    "an element that chance does not change": (
        {
            "reset": reset_with(lambda rng: np.ones(len(rng))),
            "observe": lambda task, physics, state: {"position": physics.qpos, "velocity": state.number[:, None]},
        },
        {},
        "observation velocity[0]: is 1 in all 712 observations; see that it changes in training",
    ),
    "a block that a field switches on": (
        {
            "observe": observed_with(lambda physics: 0 * physics.qvel),
            **documented("velocity | cart", "velocity | with `start_range`: cart"),
        },
        {},
        "observation velocity[0, 1]: is 0 in all",
    ),
    "a huge element": (
        {"observe": observed_with(lambda physics: physics.qvel * [1, 1e7])},
        {},
        "observation velocity[1]: has a magnitude of",
    ),
    "a reason that does not occur": (
        {},
        {},
        "terminated 'cart_left': holds in none of 640 steps; see that it can occur",
    ),
    "no reason": ({"terminated": lambda task, t: {}}, {}, "terminated: gives no reason to end an episode; register"),
    "a physics that diverges": (
        {
            "action_space": lambda task: gymnasium.spaces.Box(-1e13, 1e13, (1,), np.float64),
            "model": lambda task: hilly(),
        },
        {},
        "model: the physics diverged in",
    ),
    "a mirror over a hill": (
        {"model": lambda task: hilly(), "mirror": lambda task: MIRROR},
        {},
        "mirror: was not compared with a step: the ground is not its own mirror image; check the task on a plane too",
    ),
    "a mirror of a model that has none": (
        {"model": lambda task: asymmetric(), "mirror": lambda task: MIRROR},
        {},
        "mirror: was not compared with a step: body 'cart' is",
    ),
    "a table of another class": (
        {"observe": lambda task, physics, state: {"place": physics.qpos}},
        {},
        "docstring, Observation: has position 0-1, velocity 2-3; the task has place 0-1",
    ),
}


def mine(methods: dict[str, Any], base: type = CartPole, **fields: Any) -> Any:
    return type("Mine", (base,), methods)(**fields)


@pytest.mark.parametrize(("methods", "words"), ERRORS.values(), ids=ERRORS)
def test_a_defect_is_an_error_with_a_remedy(methods, words):
    with pytest.raises(TaskViolation, match=re.escape(words)) as caught:
        check_task(mine(methods), num_envs=8, steps=40)
    assert all("\n" not in str(found) and found.remedy for found in caught.value.report.errors)


@pytest.mark.parametrize(("methods", "fields", "words"), REMARKS.values(), ids=REMARKS)
def test_what_chance_may_explain_is_a_remark(methods, fields, words):
    report = check_task(mine(methods, **fields), num_envs=8, steps=40)
    assert any(words in str(remark) for remark in report.remarks), report


def test_a_table_that_is_missing_is_a_remark(monkeypatch):
    monkeypatch.setattr(CartPole, "__doc__", "Keep the pole upright.")
    remarks = [str(remark) for remark in check_task(CartPole(), num_envs=8, steps=4).remarks]
    for heading, columns in COLUMNS.items():
        if heading != "Weights":
            table = f"| {' | '.join(columns)} |"
            assert f"docstring, {heading}: is missing; add the heading `{heading}:` and a table {table}" in remarks


def test_a_start_state_in_the_ground_is_an_error_and_a_few_are_a_remark():
    with pytest.raises(TaskViolation, match=r"error +reset: 16 of 16 start states have geoms up to .* mm inside"):
        check_task(mine({"reset": lowered}, Hopper), num_envs=8, steps=4)
    report = check_task(Hopper(), num_envs=32, steps=2)
    assert any(re.search(r"reset: \d of 64 start states have geoms up to", str(x)) for x in report.remarks)


def test_episodes_that_end_at_once_are_an_error_and_a_few_are_a_remark():
    with pytest.raises(TaskViolation, match="'pole_fell': 8 of 8 episodes end within 2 steps with zero actions"):
        check_task(CartPole(max_angle=1e-6), num_envs=8, steps=4)
    report = check_task(CartPole(max_angle=0.005), num_envs=8, steps=4)
    assert any(re.search(r"'pole_fell': [1-7] of 8 episodes end", str(x)) for x in report.remarks)


def test_the_report_is_a_table_of_the_reward_terms_and_a_line_for_each_finding():
    lines = str(check_task(CartPole(), num_envs=8, steps=40)).splitlines()
    assert lines[0] == "CartPole: 0 errors, 1 remark"
    assert lines[2].split() == ["reward", "term", "weight", "lowest", "highest", "mean"]
    assert lines[3].split()[:3] == ["alive", "1", "0"]
    assert lines[5].startswith("remark  terminated 'cart_left': ")


def test_the_order_of_findings_and_the_report_are_the_same_in_every_check():
    assert check_task(CartPole(), num_envs=8, steps=40) == check_task(CartPole(), num_envs=8, steps=40)


def test_a_class_is_refused():
    with pytest.raises(TypeError, match="it takes an instance of a Task"):
        check_task(CartPole)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("few", [{"num_envs": 1}, {"steps": 0}])
def test_too_few_are_refused(few):
    with pytest.raises(ValueError, match=r"is [01]; it takes 2 or more"):
        check_task(CartPole(), **few)


def test_the_command_line_prints_the_report():
    task = "motrix_gym.tasks.basic.cartpole:CartPole"
    command = [sys.executable, "-m", "motrix_gym.testing", task]
    right = subprocess.run(command, capture_output=True, text=True)
    assert (right.returncode, right.stdout.splitlines()[0]) == (0, "CartPole: 0 errors, 1 remark")
    wrong = subprocess.run([*command, "--set", "max_angle=1e-6"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert "episodes end within 2 steps" in wrong.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["motrix_gym.tasks.basic.cartpole:CartPool"], "no attribute 'CartPool'"),
        (["no_such_package.tasks:Mine"], "No module named 'no_such_package'"),
        (["motrix_gym.tasks.basic.cartpole:CartPole", "--set", "max_angel=1"], "did you mean 'max_angle'?"),
        (["motrix_gym.tasks.basic.cartpole:CartPole", "--set", "max_angle=wide"], "max_angle is 'wide'"),
    ],
)
def test_the_command_line_refuses_in_one_line(monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(sys, "argv", ["check", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert words in capsys.readouterr().err.splitlines()[-1]
