"""Environments of installed packages: known to both packages without an import, and never in the way of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENTS = """
import motrix_gym
from motrix_gym import register

register("Outside/Balance-v0", "outside.tasks:Balance", max_episode_steps=50, max_angle=0.15)
register("Outside/Lost-v0", "outside.tasks:Lost", max_episode_steps=None)
"""
TASKS = '''
from dataclasses import dataclass

from motrix_gym.tasks.basic.cartpole import CartPole


@dataclass(frozen=True, kw_only=True)
class Balance(CartPole):
    """Balance a pole [of another package].

    More of it.
    """
'''
BESIDE = """
from outside.tasks import Balance

from motrix_gym import register

register("Second/Pole-v0", Balance, max_episode_steps=20)
"""


def install(site: Path, package: str, entry_points: str, **modules: str) -> None:
    """A distribution with a package, as pip leaves it."""
    facts = site / f"{package}-1.0.dist-info"
    for folder in (facts, site / package):
        folder.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[motrix_gym.environments]\n{entry_points}\n")
    (site / package / "__init__.py").touch()
    for name, text in modules.items():
        (site / package / f"{name}.py").write_text(text)


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder of installed packages: one that names its tasks, and one that imports its task."""
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, "outside", "any = outside.environments", environments=ENVIRONMENTS, tasks=TASKS)
    install(folder, "second", "any = second.environments", environments=BESIDE)
    return folder


@pytest.fixture
def python(site, tmp_path):
    """Runs Python with arguments, and with these packages; gives what it has printed."""

    def run(*arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
        environ = os.environ | {"PYTHONPATH": path, "COLUMNS": "80"} | environ
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done

    return run


def test_importing_motrix_gym_registers_them(python):
    done = python(
        "-W",
        "error",
        "-c",
        "import gymnasium, motrix_gym\n"
        "print([i for i in gymnasium.registry if i.split('/')[0] in ('Outside', 'Second')])\n"
        "for id in ('Outside/Balance-v0', 'Second/Pole-v0'):\n"
        "    print(gymnasium.make_vec(id, num_envs=2).reset(seed=0)[0].shape)\n",
    )
    ids = ["Outside/Balance-v0", "Outside/Lost-v0", "Second/Pole-v0"]
    assert done.stdout.splitlines() == [str(ids), "(2, 4)", "(2, 4)"]


@pytest.mark.parametrize("first", ["outside", "outside.environments", "second.environments"])
def test_they_may_be_imported_before_motrix_gym(python, first):
    """The import of motrix_gym within them then loads them while they are being imported."""
    made = "print(*[gymnasium.make(id).spec.id for id in ('Outside/Balance-v0', 'Second/Pole-v0')])"
    done = python("-W", "error", "-c", f"import {first}, motrix_gym, gymnasium; {made}")
    assert done.stdout == "Outside/Balance-v0 Second/Pole-v0\n"


def test_one_that_imports_a_task_which_is_being_imported_is_told_what_to_do(python):
    done = python("-c", "import outside.tasks, gymnasium; print(gymnasium.make('Outside/Balance-v0').spec.id)")
    assert done.stdout == "Outside/Balance-v0\n"
    [warning] = [line for line in done.stderr.splitlines() if "UserWarning" in line]
    assert "the environments of second are not registered" in warning
    assert warning.endswith("; register the task as 'module:Class'")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import there_is_none", "ModuleNotFoundError: No module named 'there_is_none'"),
        ("1 +", "SyntaxError: "),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("import sys; sys.exit('enough')", "SystemExit: enough"),
        ("from motrix_gym import register; register('Broken', 'a:B', max_episode_steps=1)", "id is 'Broken'"),
        (None, "ModuleNotFoundError: No module named 'broken.environments'"),
    ],
)
def test_one_that_fails_is_a_warning_with_its_name_and_the_reason(python, site, module, reason):
    install(site, "broken", "any = broken.environments", **({} if module is None else {"environments": module}))
    done = python("-c", "import gymnasium, motrix_gym; print(gymnasium.make('Outside/Balance-v0').spec.id)")
    assert done.stdout == "Outside/Balance-v0\n"
    assert done.stderr.count("UserWarning") == 1
    assert "the environments of broken are not registered: importing broken.environments fails with" in done.stderr
    assert reason in done.stderr


def test_list_shows_them_in_a_part_of_their_own(python):
    own, _, part = python("-m", "motrix_train", "list", COLUMNS="150").stdout.partition(
        "\nOutside (outside, without a preset)\n"
    )
    assert "Outside/" not in own
    balance, lost, _, heading, pole, *_ = part.splitlines()
    assert balance.split(maxsplit=5) == [
        *("Outside/Balance-v0", "4", "1", "-", "-"),
        "Balance a pole [of another package]. (max_angle 0.15)",
    ]
    assert lost.split()[:5] == ["Outside/Lost-v0", "-", "-", "-", "-"]
    assert "task 'outside.tasks:Lost' cannot be imported" in lost
    assert heading == "Second (outside, without a preset)"
    assert pole.split()[:3] == ["Second/Pole-v0", "4", "1"]


def test_a_misspelt_id_is_told_the_nearest_of_them(python):
    done = python("-m", "motrix_train", "show", "Outside/Balanse-v0", code=2)
    assert done.stderr == "motrix-train: no environment 'Outside/Balanse-v0': did you mean Outside/Balance-v0?\n"


def test_the_shell_completes_them(python):
    words = {"COMP_WORDS": "motrix-train train Out", "COMP_CWORD": "2"}
    done = python("-m", "motrix_train", _MOTRIX_TRAIN_COMPLETE="complete_bash", **words)
    assert done.stdout.split() == ["Outside/Balance-v0", "Outside/Lost-v0"]


def test_they_are_trained_and_measured_by_their_ids_alone(python):
    tiny = ["--backend=torch", "--num-envs=4", "--max-env-steps=128", "--set=rollouts=32", "--set=mini_batches=1"]
    python("-m", "motrix_train", "train", "Outside/Balance-v0", "--run-dir=mine", "-q", "--num-threads=1", *tiny)
    python("-m", "motrix_train", "evaluate", "mine", "--episodes=2", "--num-threads=1")


def test_a_task_that_cannot_be_imported_is_one_line(python):
    done = python("-m", "motrix_train", "show", "Outside/Lost-v0", "--backend=torch", code=2)
    assert done.stderr.count("\n") == 1
    assert "Outside/Lost-v0: task 'outside.tasks:Lost' cannot be imported: AttributeError" in done.stderr
