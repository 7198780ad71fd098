"""The guides are followed as they stand: their files are written to an empty folder, imported, checked and stepped."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from motrix_gym import Task
from motrix_gym.tasks.locomotion.velocity import Go1
from motrix_train.config import PPOCfg

STEP = {"observations", "rng", "terminated", "truncated", "num_envs"}
REGISTRATION = {"max_episode_steps", "timestep"}
DOCS = Path(__file__).parents[1] / "docs"
FILE = re.compile(r"^\*\*(\S+)\*\*\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
STEP_IT = """
import gymnasium, sys
import motrix_gym
import {module}
[env_id] = [env_id for env_id in gymnasium.registry if env_id.startswith("Mine/")]
envs = gymnasium.make_vec(env_id, num_envs=8, num_threads=1)
motrix_gym.check_vector_env(envs)
motrix_gym.check_task(envs.unwrapped.task)
single = gymnasium.make(env_id)
single.reset(seed=0)
print(env_id, *single.step(single.action_space.sample())[0].shape)
"""


def files_of(page: str, folder: Path) -> list[str]:
    """Writes the files that a page shows, and returns their names."""
    found = FILE.findall((DOCS / page).read_text("utf-8"))
    for name, content in found:
        (folder / name).write_text(content, "utf-8")
    return [name for name, _ in found]


def run(folder: Path, *arguments: str) -> str:
    """What Python prints in a folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_your_own_task(tmp_path):
    assert files_of("own_task.md", tmp_path) == ["beam.xml", "beam.py", "check.py"]
    run(tmp_path, "check.py")
    assert run(tmp_path, "-c", STEP_IT.format(module="beam")) == "Mine/BallAndBeam-v0 5\n"
    options = ["--num-envs", "8", "--max-env-steps", "1", "--set", "rollouts=8", "--run-dir", "run"]
    run(tmp_path, "-m", "motrix_train", "train", "beam:Mine/BallAndBeam-v0", *options)
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").is_file()


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("frugal", "Mine/FrugalGo1-v0 50"),
        ("feeling", "Mine/FeelingGo1-v0 54"),
        ("straight", "Mine/StraightGo1-v0 50"),
    ],
)
def test_change_an_existing_task(tmp_path, module, line):
    assert f"{module}.py" in files_of("change_task.md", tmp_path)
    assert run(tmp_path, "-c", STEP_IT.format(module=module)) == f"{line}\n"


@pytest.mark.parametrize(
    ("page", "file", "said"),
    [
        ("motrixlab", "hello.py", "reward terms: tracking_lin_vel, "),
        ("isaac_lab", "powerful.py", "(64,) ['diverged', 'tilted', 'too_high', 'trunk_contact']\n"),
        ("mujoco_playground", "branch.py", "{'backward': "),
        (
            "dm_control",
            "suite.py",
            "{'orientations': (8, 14), 'height': (8, 1), 'velocity': (8, 9)}\nall episodes are over: True",
        ),
        ("stable_baselines3", "learn.py", "best True\n"),
    ],
)
def test_coming_from_another_project(tmp_path, page, file, said):
    if page == "stable_baselines3":
        pytest.importorskip("torch")
    assert files_of(f"coming_from/{page}.md", tmp_path) == [file]
    assert run(tmp_path, file).startswith(said)


@pytest.mark.parametrize("page", sorted((DOCS / "coming_from").glob("*.md")), ids=lambda page: page.stem)
def test_what_is_said_to_be_here_is_here(page):
    here = re.findall(r"^\| .+? \| (.+) \|$", page.read_text("utf-8"), re.MULTILINE)
    words = [word for cell in here for word in re.findall(r"`([^`]+)`", cell)]
    assert words
    fields = {field.name for cls in (Go1, PPOCfg) for field in dataclasses.fields(cls)}
    assert {word for word in words if re.fullmatch("[a-z]+(_[a-z]+)*", word)} <= fields | STEP | REGISTRATION
    assert {word for word in words if re.fullmatch(r"Motrix/\w+-v0", word)} <= gymnasium.registry.keys()
    assert {word.partition(".")[2].partition("(")[0] for word in words if word.startswith("Task.")} <= set(dir(Task))
    assert set(re.findall(r"--set (\w+)", " ".join(words))) <= fields


def test_a_mistake_in_the_first_step_of_a_training_is_one_line(tmp_path):
    files_of("own_task.md", tmp_path)
    task = (tmp_path / "beam.py").read_text("utf-8")
    (tmp_path / "beam.py").write_text(task.replace("return rewards.sum_squares(t.action)", "return t.action"), "utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "motrix_train", "train", "beam:Mine/BallAndBeam-v0", "--num-envs", "8", "--quiet"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("motrix-train: BallAndBeam.reward gives effort of shape (")
