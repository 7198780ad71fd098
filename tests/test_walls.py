"""Who touches simulations. Who imports whom is held by the contracts of import-linter, in `nox -s lint`."""

import ast
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"
SIMULATION = {"Batch", "MjData", "mj_step", "mj_step1", "mj_step2", "mj_forward", "mj_kinematics", "mj_extractState"}
ALLOWED = {
    "motrix_gym/physics/cpu.py": {"Batch", "MjData", "mj_forward"},
    "motrix_gym/physics/base.py": {"MjData"},  # as a type
    "motrix_gym/batch.py": {"MjData"},  # as a type
    "motrix_gym/joined_batch.py": {"MjData"},  # as a type
    "motrix_gym/hierarchy.py": {"MjData"},  # as a type
    "motrix_gym/rendering.py": {"MjData"},  # draws what it is given
    "motrix_gym/tasks/locomotion/legged_robot.py": {"MjData", "mj_kinematics"},  # the standing pose, in data of its own
    "motrix_gym/tasks/locomotion/robot_model.py": {"MjData"},  # as a type
    "motrix_gym/tasks/manipulation/lift_cube.py": {"MjData", "mj_kinematics"},  # inverse kinematics, on a copy
    "motrix_gym/testing/symmetric_model.py": {"MjData"},  # as a type
    "motrix_train/export/actuation.py": {"mj_extractState"},  # reads a saved state
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
