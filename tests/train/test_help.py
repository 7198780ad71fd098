"""The help of every command: a screen, the common options first, an example last."""

import shlex

import pytest
import typer

from motrix_train.cli import app, run
from motrix_train.commands.options import PROGRAM

COLUMNS, LINES = 100, 50
COMMANDS = sorted(typer.main.get_command(app).commands)


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
    assert sorted(line.strip("│ ").split()[0] for line in table) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_what_most_people_need_comes_first(helped, name):
    panels = [line.split()[1] for line in helped(name) if line.startswith("╭─ ")]
    assert next(panel for panel in panels if panel != "Arguments") == "Options"
    assert "Machine" not in panels[:-1]
