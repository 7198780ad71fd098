"""Robot environments on MuJoCo as ordinary Gymnasium registrations; importing it registers every id.

>>> import gymnasium, motrix_gym
>>> env = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=2)
>>> env.reset(seed=0)[0].shape
(2, 4)

What is stable: the names in `__all__`, the ids, the classes of their tasks in `motrix_gym.tasks` with their fields and
documented methods, and saved states. What an id means changes with its version alone. Everything else may change.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

try:
    import mujoco
except Exception:
    if "MUJOCO_GL" not in os.environ:
        raise
    # MuJoCo looks for the OpenGL of this name as soon as it is imported. Without it there is all but pictures, which
    # say so themselves.
    _asked = os.environ["MUJOCO_GL"]
    os.environ["MUJOCO_GL"] = "disable"
    try:
        import mujoco  # noqa: F401
    finally:
        os.environ["MUJOCO_GL"] = _asked

from motrix_gym import arrays, fields, interop, rewards, rotations
from motrix_gym.contact_pairs import compile_for_simulation, load_for_simulation
from motrix_gym.installed import register_installed
from motrix_gym.model_files import load_model, load_spec
from motrix_gym.multi_task import MultiTask
from motrix_gym.physics.base import Override
from motrix_gym.random_streams import RandomStreams
from motrix_gym.registration import register
from motrix_gym.reward_terms import once_per_step, reward_term
from motrix_gym.single_env import MotrixEnv
from motrix_gym.state import PhysicsState, TaskState, Transition
from motrix_gym.symmetry import Flip, Mirror
from motrix_gym.task import Task
from motrix_gym.vector_env import MotrixVectorEnv

if TYPE_CHECKING:
    from motrix_gym.tasks.locomotion.biped import Biped
    from motrix_gym.tasks.locomotion.legged_robot import LeggedRobot
    from motrix_gym.tasks.locomotion.legged_task import LeggedTask
    from motrix_gym.tasks.locomotion.robot_model import Servo
    from motrix_gym.tasks.locomotion.velocity import VelocityTask
    from motrix_gym.testing import check_task, check_vector_env

__all__ = [
    "Biped",
    "Flip",
    "LeggedRobot",
    "LeggedTask",
    "Mirror",
    "MotrixEnv",
    "MotrixVectorEnv",
    "MultiTask",
    "Override",
    "PhysicsState",
    "RandomStreams",
    "Servo",
    "Task",
    "TaskState",
    "Transition",
    "VelocityTask",
    "arrays",
    "check_task",
    "check_vector_env",
    "compile_for_simulation",
    "fields",
    "interop",
    "load_for_simulation",
    "load_model",
    "load_spec",
    "once_per_step",
    "register",
    "reward_term",
    "rewards",
    "rotations",
]


_IMPORTED_WHEN_USED = {
    "Biped": "motrix_gym.tasks.locomotion.biped",
    "LeggedRobot": "motrix_gym.tasks.locomotion.legged_robot",
    "LeggedTask": "motrix_gym.tasks.locomotion.legged_task",
    "Servo": "motrix_gym.tasks.locomotion.robot_model",
    "VelocityTask": "motrix_gym.tasks.locomotion.velocity",
    "check_task": "motrix_gym.testing",
    "check_vector_env": "motrix_gym.testing",
}


def __getattr__(name: str) -> Any:
    """The names that most environments do not need."""
    if name in _IMPORTED_WHEN_USED:
        return getattr(importlib.import_module(_IMPORTED_WHEN_USED[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register_installed()
