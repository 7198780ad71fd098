"""The table of environments: id, task, time limit."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym

from motrix_gym.entry_points import entry_point, kind_and_task
from motrix_gym.fields import configured
from motrix_gym.multi_task import MultiTask
from motrix_gym.single_env import MotrixEnv
from motrix_gym.task import Task
from motrix_gym.vector_env import MotrixVectorEnv


@dataclass(frozen=True)
class Env:
    """One registered environment.

    Attributes:
        id: Gymnasium's id.
        task: ``module:Class`` of the task, or of the `MultiTask`, imported when the environment is made.
        max_episode_steps: The time limit in control steps.
        kwargs: Fields of the task that differ from its defaults.
    """

    id: str
    task: str
    max_episode_steps: int
    kwargs: dict[str, Any] = field(default_factory=dict)


ROUGH = {  # for robots with legs of 0.2 m
    "terrain": {"noise": 0.08, "slope_up": 0.35, "slope_down": 0.35, "blocks": 0.08},
    "swing_height": 0.1,
}

ENVS = (
    Env("Motrix/CartPole-v0", "motrix_gym.tasks.basic.cartpole:CartPole", max_episode_steps=1000),
    Env("Motrix/CartPoleBalance-v0", "motrix_gym.tasks.basic.cartpole_suite:CartPoleSuite", max_episode_steps=1000),
    Env(
        "Motrix/CartPoleSwingup-v0",
        "motrix_gym.tasks.basic.cartpole_suite:CartPoleSuite",
        max_episode_steps=1000,
        kwargs={"swing_up": True},
    ),
    Env("Motrix/Pendulum-v0", "motrix_gym.tasks.basic.pendulum:Pendulum", max_episode_steps=1000),
    Env("Motrix/Acrobot-v0", "motrix_gym.tasks.basic.acrobot:Acrobot", max_episode_steps=1000),
    Env("Motrix/PointMass-v0", "motrix_gym.tasks.basic.point_mass:PointMass", max_episode_steps=1000),
    Env("Motrix/ReacherEasy-v0", "motrix_gym.tasks.basic.reacher:Reacher", max_episode_steps=1000),
    Env(
        "Motrix/ReacherHard-v0",
        "motrix_gym.tasks.basic.reacher:Reacher",
        max_episode_steps=1000,
        kwargs={"target_radius": 0.015},
    ),
    Env("Motrix/FingerSpin-v0", "motrix_gym.tasks.basic.finger:FingerSpin", max_episode_steps=1000),
    Env("Motrix/FingerTurnEasy-v0", "motrix_gym.tasks.basic.finger:FingerTurn", max_episode_steps=1000),
    Env(
        "Motrix/FingerTurnHard-v0",
        "motrix_gym.tasks.basic.finger:FingerTurn",
        max_episode_steps=1000,
        kwargs={"target_radius": 0.03},
    ),
    Env("Motrix/CheetahRun-v0", "motrix_gym.tasks.basic.cheetah:Cheetah", max_episode_steps=1000),
    Env("Motrix/HopperStand-v0", "motrix_gym.tasks.basic.hopper:Hopper", max_episode_steps=1000),
    Env(
        "Motrix/HopperHop-v0",
        "motrix_gym.tasks.basic.hopper:Hopper",
        max_episode_steps=1000,
        kwargs={"move_speed": 2.0},
    ),
    Env("Motrix/WalkerStand-v0", "motrix_gym.tasks.basic.walker:Walker", max_episode_steps=1000),
    Env(
        "Motrix/WalkerWalk-v0",
        "motrix_gym.tasks.basic.walker:Walker",
        max_episode_steps=1000,
        kwargs={"move_speed": 1.0},
    ),
    Env(
        "Motrix/WalkerRun-v0",
        "motrix_gym.tasks.basic.walker:Walker",
        max_episode_steps=1000,
        kwargs={"move_speed": 8.0},
    ),
    Env("Motrix/HumanoidStand-v0", "motrix_gym.tasks.basic.humanoid:Humanoid", max_episode_steps=1000),
    Env(
        "Motrix/HumanoidWalk-v0",
        "motrix_gym.tasks.basic.humanoid:Humanoid",
        max_episode_steps=1000,
        kwargs={"move_speed": 1.0},
    ),
    Env(
        "Motrix/HumanoidRun-v0",
        "motrix_gym.tasks.basic.humanoid:Humanoid",
        max_episode_steps=1000,
        kwargs={"move_speed": 10.0},
    ),
    Env("Motrix/BounceBall-v0", "motrix_gym.tasks.basic.bounce_ball:BounceBall", max_episode_steps=1000),
    Env("Motrix/Go1-v0", "motrix_gym.tasks.locomotion.velocity:Go1", max_episode_steps=1000),
    Env(
        "Motrix/Go1Rough-v0",
        "motrix_gym.tasks.locomotion.velocity:Go1",
        max_episode_steps=1000,
        kwargs=ROUGH,
    ),
    Env("Motrix/Go1Stairs-v0", "motrix_gym.tasks.locomotion.stairs:Go1Stairs", max_episode_steps=1000),
    Env("Motrix/Go2-v0", "motrix_gym.tasks.locomotion.velocity:Go2", max_episode_steps=1000),
    Env(
        "Motrix/Go2Rough-v0",
        "motrix_gym.tasks.locomotion.velocity:Go2",
        max_episode_steps=1000,
        kwargs=ROUGH,
    ),
    Env("Motrix/AnymalC-v0", "motrix_gym.tasks.locomotion.velocity:AnymalC", max_episode_steps=1000),
    Env(
        "Motrix/AnymalCRough-v0",
        "motrix_gym.tasks.locomotion.velocity:AnymalC",
        max_episode_steps=1000,
        kwargs={"terrain": {"noise": 0.12, "slope_up": 0.4, "slope_down": 0.4, "blocks": 0.12}, "swing_height": 0.15},
    ),
    Env("Motrix/AnymalCNavigation-v0", "motrix_gym.tasks.navigation.goal:AnymalCNavigation", max_episode_steps=1000),
    Env("Motrix/FrankaLiftCube-v0", "motrix_gym.tasks.manipulation.lift_cube:FrankaLiftCube", max_episode_steps=125),
    Env(
        "Motrix/FrankaOpenCabinet-v0",
        "motrix_gym.tasks.manipulation.open_cabinet:FrankaOpenCabinet",
        max_episode_steps=125,
    ),
    Env("Motrix/MultiTask-v0", "motrix_gym.multi_task:MultiTask", max_episode_steps=1000),
)

_VECTOR_KWARGS = ("max_episode_steps", "num_threads", "autoreset_mode", "render_mode", "render_size", "render_camera")
_SINGLE_KWARGS = ("render_mode", "render_size", "render_camera")


def register_all() -> None:
    """Registers every environment of the table with Gymnasium."""
    for env in ENVS:
        register(env)


def register(env: Env) -> None:
    """Registers an environment with Gymnasium."""
    gym.register(
        env.id,
        entry_point=entry_point("single", env.task),
        vector_entry_point=entry_point("vector", env.task),
        max_episode_steps=env.max_episode_steps,
        kwargs=env.kwargs,
    )


@dataclass(frozen=True)
class EntryPoint:
    """What Gymnasium calls to make environments of one task.

    Attributes:
        make: `make_single` or `make_vector`.
        task: ``module:Class`` of the task.
        metadata: From this Gymnasium knows which of its wrappers for pictures apply.
    """

    make: Callable[..., MotrixEnv | MotrixVectorEnv]
    task: str
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def __call__(self, **kwargs: Any) -> MotrixEnv | MotrixVectorEnv:
        return self.make(self.task, **kwargs)


def __getattr__(name: str) -> EntryPoint:
    """The entry points, which Gymnasium looks up by name."""
    kind, task = kind_and_task(name) or ("", "")
    if kind not in _MAKERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return EntryPoint(_MAKERS[kind], task)


def make_vector(task: str, /, num_envs: int = 1, **kwargs: Any) -> MotrixVectorEnv:
    """The vector environment of a task; keyword arguments are its own and the task's fields."""
    own = {name: kwargs.pop(name) for name in _VECTOR_KWARGS if name in kwargs}
    return MotrixVectorEnv(configured(task_class(task), kwargs), num_envs, **own)


def make_single(task: str, /, **kwargs: Any) -> MotrixEnv:
    """The single environment of a task; keyword arguments are its own and the task's fields."""
    own = {name: kwargs.pop(name) for name in _SINGLE_KWARGS if name in kwargs}
    return MotrixEnv(configured(task_class(task), kwargs), **own)


_MAKERS: dict[str, Callable[..., MotrixEnv | MotrixVectorEnv]] = {"single": make_single, "vector": make_vector}


def task_class(task: str) -> type[Task] | type[MultiTask]:
    """The class that ``module:Class`` names."""
    module, _, name = task.partition(":")
    return getattr(importlib.import_module(module), name)
