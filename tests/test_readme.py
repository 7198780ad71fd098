"""What the README and the pages say is so: the table of ids, the commands, the snippets, the flags."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from motrix_gym.registration import ENVS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").rglob("*.md")))
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SETUP_COMMANDS = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
TRAINER_COMMANDS = re.findall(r"^motrix-train (?:[^#\n\\]|\\\n)+", README + PAGES, re.MULTILINE)


def test_the_table_of_ids_is_the_registry():
    rows = re.findall(r"^\| \[`(.+?)`\]\((.+?)\) \| .+? \| (\d+) \| (\d+) \| (\d+) steps, (\d+) s \|$", README, re.M)
    assert [row[0] for row in rows] == [env.id for env in ENVS]
    for (env_id, page, *numbers), env in zip(rows, ENVS, strict=True):
        envs = gymnasium.make_vec(env_id, num_envs=1)
        seconds = env.max_episode_steps * envs.unwrapped.task.control_dt
        observation, action = envs.single_observation_space.shape[0], envs.single_action_space.shape[0]
        assert [int(number) for number in numbers] == [observation, action, env.max_episode_steps, seconds]
        assert f"| [`{env_id}`](#" in (ROOT / page).read_text(encoding="utf-8")


def test_there_are_two_setup_commands_and_ci_runs_the_second():
    train, check = SETUP_COMMANDS
    assert train.endswith("motrix-train train Motrix/Go1-v0")
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == check


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_the_snippets_run(snippet):
    small = re.sub(r"num_envs=\d+", "num_envs=4", snippet).replace("range(1000)", "range(3)")
    names = {"gymnasium": gymnasium}
    exec(small, names)
    assert names["envs"].num_envs == 4


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_the_commands_have_the_flags_they_are_shown_with(command):
    pytest.importorskip("typer", reason="the command line needs an extra")
    from motrix_train.cli import imported_command

    _, name, *arguments = shlex.split(command)
    parameters = imported_command(name).params
    known = {flag for parameter in parameters for flag in parameter.opts + parameter.secondary_opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known


def test_the_example_runs():
    example = subprocess.run([sys.executable, ROOT / "examples" / "rollout.py"], capture_output=True, text=True)
    assert example.returncode == 0, example.stderr
    assert re.fullmatch(r"\d+ falls; \{.*'tracking_lin_vel': .*\}\n", example.stdout)


def test_the_example_of_exactness_finds_the_same_bits():
    pytest.importorskip("torch")
    command = [sys.executable, ROOT / "examples" / "exact.py"]
    example = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert example.returncode == 0, example.stdout + example.stderr
    shown = re.sub(r"\d[\d,]*", "N", re.search(r"```text\n(.*?)```", README, re.DOTALL)[1])
    assert re.sub(r"\d[\d,]*", "N", example.stdout) == shown
