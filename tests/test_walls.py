"""Who touches simulations, and what one operating system alone has.

Who imports whom is held by the contracts of import-linter, in `nox -s lint`."""

import ast
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"
SIMULATION = {"Batch", "MjData", "mj_step", "mj_step1", "mj_step2", "mj_forward", "mj_kinematics", "mj_extractState"}
ALLOWED = {
    "motrix_gym/physics/cpu.py": {"Batch", "MjData", "mj_forward"},
    "motrix_gym/physics/base.py": {"MjData"},  # as a type
    "motrix_gym/physics/warp.py": {"MjData", "mj_forward"},  # what is drawn, in data of its own
    "motrix_gym/physics/warp_model.py": {"MjData"},  # the constants of the model that is drawn
    "motrix_gym/batch.py": {"MjData"},  # as a type
    "motrix_gym/joined_batch.py": {"MjData"},  # as a type
    "motrix_gym/hierarchy.py": {"MjData"},  # as a type
    "motrix_gym/rendering.py": {"MjData"},  # draws what it is given
    "motrix_gym/tasks/basic/quadruped.py": {"MjData", "mj_kinematics"},  # the shape of the robot, in data of its own
    "motrix_gym/tasks/locomotion/legged_robot.py": {"MjData", "mj_kinematics"},  # the standing pose, in data of its own
    "motrix_gym/tasks/locomotion/robot_model.py": {"MjData", "mj_kinematics"},  # the pose to weld, in data of its own
    "motrix_gym/tasks/manipulation/lift_cube.py": {"MjData", "mj_kinematics"},  # inverse kinematics, on a copy
    "motrix_gym/testing/symmetric_model.py": {"MjData"},  # as a type
    "motrix_train/export/actuation.py": {"mj_extractState"},  # reads a saved state
}
MODULES_OF_ONE_SYSTEM = {"fcntl", "msvcrt", "resource", "pwd", "termios", "winreg"}
NAMES_OF_ONE_SYSTEM = {"fork", "register_at_fork", "sched_getaffinity", "geteuid", "getuid", "killpg", "setsid", "nice"}
NAMES_OF_ONE_SYSTEM |= {"SIGHUP", "SIGKILL", "SIGALRM", "platform", "system"}  # sys.platform, platform.system()
KNOW_THE_SYSTEM = {
    "motrix_train/operating_system.py",
    "motrix_gym/forks.py",  # where nothing is forked
    "motrix_gym/rendering.py",  # OpenGL of Linux without a screen
}


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_only_the_physics_touches_simulations(path):
    found = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in SIMULATION
        if "mujoco" in ast.unparse(node.value)
    }
    assert found <= ALLOWED.get(path.relative_to(SOURCES).as_posix(), set())


def test_what_differs_between_operating_systems_is_in_few_places():
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names = [node.attr] if isinstance(node, ast.Attribute) else []
            if MODULES_OF_ONE_SYSTEM.intersection(modules) or NAMES_OF_ONE_SYSTEM.intersection(names):
                found.add(path.relative_to(SOURCES).as_posix())
    assert found == KNOW_THE_SYSTEM
