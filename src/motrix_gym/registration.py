"""Registers tasks with Gymnasium; the table of environments: id, task, time limit, fields."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from motrix_gym.arguments import whole_number
from motrix_gym.entry_points import entry_point, imported, kind_and_task, task_of
from motrix_gym.fields import configured, plain
from motrix_gym.multi_task import MultiTask
from motrix_gym.single_env import MotrixEnv
from motrix_gym.task import Task
from motrix_gym.vector_env import MotrixVectorEnv


@dataclass(frozen=True)
class Env:
    """One registered environment.

    Attributes:
        id: Gymnasium's id.
        task: ``module:Class`` of the task, or of the `MultiTask`.
        max_episode_steps: The time limit in control steps; None for none.
        kwargs: Fields of the task that differ from its defaults.
    """

    id: str
    task: str
    max_episode_steps: int | None
    kwargs: dict[str, Any] = field(default_factory=dict)


_ID = re.compile(r"[\w-]+/[\w.-]+-v\d+")
_PATH = re.compile(r"[\w.]+:[\w.]+")
_SINGLE_KWARGS = ("physics", "device", "render_mode", "render_size", "render_camera")
_VECTOR_KWARGS = ("max_episode_steps", "num_threads", "arrays", "autoreset_mode", *_SINGLE_KWARGS)


def register(id: str, task: type[Task] | type[MultiTask] | str, *, max_episode_steps: int | None, **fields: Any) -> Env:
    """Registers a task with Gymnasium: `gymnasium.make` and `gymnasium.make_vec` then know the id.

    The same registration once more changes nothing.

    Args:
        id: Namespace, name and version: ``"Mine/Balance-v0"``.
        task: A subclass of `Task` or of `MultiTask`, or ``"module:Class"``, which is imported when an environment is
            made. A class of ``__main__`` is known in this process alone.
        max_episode_steps: The time limit in control steps; None for none.
        **fields: Fields of the task that differ from its defaults. They are checked now if `task` is a class, else
            when an environment is made.

    Returns:
        What was registered.

    Raises:
        TypeError: `task` is no task, or no dataclass; an unknown field, or a value of another type than the field's.
        ValueError: The id has another form, or is that of something else; a class that is not found by its name; a
            time limit below 1; a value outside of a field's limits.
    """
    if not (isinstance(id, str) and _ID.fullmatch(id)):
        raise ValueError(f"id is {id!r}; it takes a namespace, a name and a version, as 'Mine/Balance-v0'")
    if max_episode_steps is not None:
        max_episode_steps = whole_number("max_episode_steps", max_episode_steps, at_least=1)
    if isinstance(task, str):
        if not _PATH.fullmatch(task):
            raise ValueError(f"task is {task!r}; it takes a class or 'module:Class'")
        path = task
    else:
        configured(_as_task(task, "task"), fields)
        path = _path_of(task)
    env = Env(id, path, max_episode_steps, plain(fields, sequence=list))
    registration: dict[str, Any] = {
        "entry_point": entry_point("single", path),
        "vector_entry_point": entry_point("vector", path),
        "max_episode_steps": max_episode_steps,
        "kwargs": env.kwargs,
    }
    known = gym.registry.get(id)
    if known is None:
        gym.register(id, **registration)
    elif known != EnvSpec(id, **registration):
        what = f"{task_of(known) or known.entry_point}, time limit {known.max_episode_steps}, fields {known.kwargs}"
        raise ValueError(f"id {id!r} is already registered with {what}; take another name or another version")
    return env


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
    """The class that ``module:Class`` names.

    Raises:
        TypeError: It is no task.
        ValueError: There is no such class, or its module cannot be imported.
    """
    return _as_task(imported(task), task)


def _as_task(task: Any, name: str) -> type[Task] | type[MultiTask]:
    if not (isinstance(task, type) and issubclass(task, (Task, MultiTask))):
        raise TypeError(f"{name} is {task!r}; it takes a subclass of motrix_gym.Task or of motrix_gym.MultiTask")
    fields = [name for name, kind in inspect.get_annotations(task).items() if "ClassVar" not in str(kind)]
    if fields and "__dataclass_fields__" not in vars(task):
        raise TypeError(
            f"{task.__name__} has a field {fields[0]!r} and is no dataclass; put @dataclass(frozen=True, kw_only=True) "
            "above the class"
        )
    return task


def _path_of(task: type) -> str:
    """``module:Class`` of a class.

    Raises:
        ValueError: The class is not found by that name.
    """
    found: Any = sys.modules.get(task.__module__)
    for name in task.__qualname__.split("."):
        found = getattr(found, name, None)
    path = f"{task.__module__}:{task.__qualname__}"
    if found is not task:
        raise ValueError(f"task {path} cannot be found by that name; define the class at the top of its module")
    return path


ROUGH = {  # for robots with legs of 0.2 m
    "terrain": {"noise": 0.08, "slope_up": 0.35, "slope_down": 0.35, "blocks": 0.08},
    "swing_height": 0.1,
}

ENVS = (
    register("Motrix/CartPole-v0", "motrix_gym.tasks.basic.cartpole:CartPole", max_episode_steps=1000),
    register(
        "Motrix/CartPoleBalance-v0", "motrix_gym.tasks.basic.cartpole_suite:CartPoleSuite", max_episode_steps=1000
    ),
    register(
        "Motrix/CartPoleSwingup-v0",
        "motrix_gym.tasks.basic.cartpole_suite:CartPoleSuite",
        max_episode_steps=1000,
        swing_up=True,
    ),
    register("Motrix/Pendulum-v0", "motrix_gym.tasks.basic.pendulum:Pendulum", max_episode_steps=1000),
    register("Motrix/Acrobot-v0", "motrix_gym.tasks.basic.acrobot:Acrobot", max_episode_steps=1000),
    register("Motrix/PointMass-v0", "motrix_gym.tasks.basic.point_mass:PointMass", max_episode_steps=1000),
    register("Motrix/ReacherEasy-v0", "motrix_gym.tasks.basic.reacher:Reacher", max_episode_steps=1000),
    register(
        "Motrix/ReacherHard-v0", "motrix_gym.tasks.basic.reacher:Reacher", max_episode_steps=1000, target_radius=0.015
    ),
    register("Motrix/FingerSpin-v0", "motrix_gym.tasks.basic.finger:FingerSpin", max_episode_steps=1000),
    register("Motrix/FingerTurnEasy-v0", "motrix_gym.tasks.basic.finger:FingerTurn", max_episode_steps=1000),
    register(
        "Motrix/FingerTurnHard-v0",
        "motrix_gym.tasks.basic.finger:FingerTurn",
        max_episode_steps=1000,
        target_radius=0.03,
    ),
    register("Motrix/CheetahRun-v0", "motrix_gym.tasks.basic.cheetah:Cheetah", max_episode_steps=1000),
    register("Motrix/HopperStand-v0", "motrix_gym.tasks.basic.hopper:Hopper", max_episode_steps=1000),
    register("Motrix/HopperHop-v0", "motrix_gym.tasks.basic.hopper:Hopper", max_episode_steps=1000, move_speed=2.0),
    register("Motrix/WalkerStand-v0", "motrix_gym.tasks.basic.walker:Walker", max_episode_steps=1000),
    register("Motrix/WalkerWalk-v0", "motrix_gym.tasks.basic.walker:Walker", max_episode_steps=1000, move_speed=1.0),
    register("Motrix/WalkerRun-v0", "motrix_gym.tasks.basic.walker:Walker", max_episode_steps=1000, move_speed=8.0),
    register("Motrix/HumanoidStand-v0", "motrix_gym.tasks.basic.humanoid:Humanoid", max_episode_steps=1000),
    register(
        "Motrix/HumanoidWalk-v0", "motrix_gym.tasks.basic.humanoid:Humanoid", max_episode_steps=1000, move_speed=1.0
    ),
    register(
        "Motrix/HumanoidRun-v0", "motrix_gym.tasks.basic.humanoid:Humanoid", max_episode_steps=1000, move_speed=10.0
    ),
    register("Motrix/BallInCup-v0", "motrix_gym.tasks.basic.ball_in_cup:BallInCup", max_episode_steps=1000),
    register("Motrix/FishUpright-v0", "motrix_gym.tasks.basic.fish:FishUpright", max_episode_steps=1000),
    register("Motrix/FishSwim-v0", "motrix_gym.tasks.basic.fish:FishSwim", max_episode_steps=1000),
    register("Motrix/Swimmer6-v0", "motrix_gym.tasks.basic.swimmer:Swimmer", max_episode_steps=1000),
    register("Motrix/Swimmer15-v0", "motrix_gym.tasks.basic.swimmer:Swimmer15", max_episode_steps=1000),
    register("Motrix/LQR2_1-v0", "motrix_gym.tasks.basic.lqr:LQR", max_episode_steps=1000),
    register("Motrix/LQR6_2-v0", "motrix_gym.tasks.basic.lqr:LQR6", max_episode_steps=1000),
    register("Motrix/QuadrupedWalk-v0", "motrix_gym.tasks.basic.quadruped:QuadrupedMove", max_episode_steps=1000),
    register(
        "Motrix/QuadrupedRun-v0",
        "motrix_gym.tasks.basic.quadruped:QuadrupedMove",
        max_episode_steps=1000,
        move_speed=5.0,
    ),
    register("Motrix/QuadrupedFetch-v0", "motrix_gym.tasks.basic.quadruped:QuadrupedFetch", max_episode_steps=1000),
    register(
        "Motrix/ManipulatorBringBall-v0",
        "motrix_gym.tasks.basic.manipulator:ManipulatorBall",
        max_episode_steps=1000,
    ),
    register(
        "Motrix/ManipulatorBringPeg-v0", "motrix_gym.tasks.basic.manipulator:ManipulatorPeg", max_episode_steps=1000
    ),
    register(
        "Motrix/ManipulatorInsertBall-v0",
        "motrix_gym.tasks.basic.manipulator:ManipulatorBall",
        max_episode_steps=1000,
        insert=True,
    ),
    register(
        "Motrix/ManipulatorInsertPeg-v0",
        "motrix_gym.tasks.basic.manipulator:ManipulatorPeg",
        max_episode_steps=1000,
        insert=True,
    ),
    register("Motrix/StackerStack2-v0", "motrix_gym.tasks.basic.stacker:Stacker", max_episode_steps=1000),
    register("Motrix/StackerStack4-v0", "motrix_gym.tasks.basic.stacker:Stacker4", max_episode_steps=1000),
    register("Motrix/BounceBall-v0", "motrix_gym.tasks.basic.bounce_ball:BounceBall", max_episode_steps=1000),
    register("Motrix/Go1-v0", "motrix_gym.tasks.locomotion.velocity:Go1", max_episode_steps=1000),
    register("Motrix/Go1Rough-v0", "motrix_gym.tasks.locomotion.velocity:Go1", max_episode_steps=1000, **ROUGH),
    register("Motrix/Go1Stairs-v0", "motrix_gym.tasks.locomotion.stairs:Go1Stairs", max_episode_steps=1000),
    register("Motrix/Go1Getup-v0", "motrix_gym.tasks.locomotion.skills:Go1Getup", max_episode_steps=300),
    register("Motrix/Go1Handstand-v0", "motrix_gym.tasks.locomotion.skills:Go1Handstand", max_episode_steps=500),
    register("Motrix/Go2-v0", "motrix_gym.tasks.locomotion.velocity:Go2", max_episode_steps=1000),
    register("Motrix/Go2Rough-v0", "motrix_gym.tasks.locomotion.velocity:Go2", max_episode_steps=1000, **ROUGH),
    register("Motrix/AnymalC-v0", "motrix_gym.tasks.locomotion.velocity:AnymalC", max_episode_steps=1000),
    register(
        "Motrix/AnymalCRough-v0",
        "motrix_gym.tasks.locomotion.velocity:AnymalC",
        max_episode_steps=1000,
        terrain={"noise": 0.12, "slope_up": 0.4, "slope_down": 0.4, "blocks": 0.12},
        swing_height=0.15,
    ),
    register("Motrix/G1-v0", "motrix_gym.tasks.locomotion.biped:G1", max_episode_steps=1000),
    register("Motrix/G1Full-v0", "motrix_gym.tasks.locomotion.biped:G1Full", max_episode_steps=1000),
    register(
        "Motrix/G1Rough-v0",
        "motrix_gym.tasks.locomotion.biped:G1",
        max_episode_steps=1000,
        terrain={"noise": 0.06, "slope_up": 0.25, "slope_down": 0.25, "blocks": 0.06},
        swing_height=0.09,
    ),
    register(
        "Motrix/AnymalCNavigation-v0", "motrix_gym.tasks.navigation.goal:AnymalCNavigation", max_episode_steps=1000
    ),
    register(
        "Motrix/FrankaLiftCube-v0", "motrix_gym.tasks.manipulation.lift_cube:FrankaLiftCube", max_episode_steps=125
    ),
    register(
        "Motrix/FrankaOpenCabinet-v0",
        "motrix_gym.tasks.manipulation.open_cabinet:FrankaOpenCabinet",
        max_episode_steps=125,
    ),
    register("Motrix/MultiTask-v0", "motrix_gym.multi_task:MultiTask", max_episode_steps=1000),
)
