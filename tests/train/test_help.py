"""The help of every command: a screen, the common options first, an example last."""

import shlex
import subprocess
import sys

import pytest

from motrix_train.cli import COMMANDS, imported_command, run
from motrix_train.commands.program import PROGRAM

COLUMNS, LINES = 100, 50


@pytest.fixture
def helped(monkeypatch, capsys):
    """The lines of a help on a terminal of a usual width."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))

    def helped(*words: str) -> list[str]:
        assert run([*words, "--help"]) == 0
        return capsys.readouterr().out.rstrip().splitlines()

    return helped


@pytest.mark.parametrize("name", COMMANDS)
def test_it_fits_a_screen_and_ends_with_an_example(helped, name):
    lines = helped(name)
    assert len(lines) <= LINES
    example = f" Example: {PROGRAM} {name}"
    assert lines[-1].startswith(example)
    examples = [line for line in lines if "Example:" in line]
    assert examples == lines[-len(examples) :]  # each on a line of its own, and none in the middle
    for line in examples:
        assert line.startswith(example)
        assert shlex.split(line)


def test_the_first_one_has_a_line_for_each_command(helped):
    lines = helped()
    assert len(lines) <= LINES
    assert lines[-1].startswith(f" Example: {PROGRAM} ")
    [start] = [number for number, line in enumerate(lines) if line.startswith("╭─ Commands ")]
    table = lines[start + 1 : start + 1 + len(COMMANDS)]
    assert sorted(line.strip("│ ").split()[0] for line in table) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_most_people_need_comes_first(helped, name):
    panels = [line.split()[1] for line in helped(name) if line.startswith("╭─ ")]
    assert next(panel for panel in panels if panel != "Arguments") == "Options"
    assert "Machine" not in panels[:-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_its_line_in_the_first_one_is_that_of_its_own(name):
    _, line = COMMANDS[name]
    assert imported_command(name).help.splitlines()[0] == line


def test_the_first_one_comes_at_once():
    code = "import sys; from motrix_train.__main__ import main; main(); print(*sys.modules)"
    looked = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert not {"mujoco", "numpy", "gymnasium", "torch", "jax", "matplotlib"} & set(looked.stdout.split())
