"""The workflows call the checks of the noxfile, on the systems and Pythons that are meant."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
SESSIONS = set(re.findall(r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE))


def workflow(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["tests", "publish"])
def test_every_command_is_one_of_the_noxfile(name: str):
    steps = [step for job in workflow(name)["jobs"].values() for step in job["steps"]]
    called = [step["run"] for step in steps if "nox" in step.get("run", "") and "pip install" not in step["run"]]
    assert called
    for command in called:
        assert re.fullmatch(r"python -m nox( -s( \w+)+)?", command)
        assert set(command.partition(" -s ")[2].split()) <= SESSIONS


def test_the_tests_run_on_three_systems_and_four_pythons():
    matrix = workflow("tests")["jobs"]["systems"]["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={matrix['python'][0]}"
    declared = [version for text in project["classifiers"] for version in re.findall(r":: (3\.\d+)$", text)]
    assert matrix["python"][: len(declared)] == declared
    assert matrix["python"][-1] == "3.14"


def test_what_is_published_was_built_and_checked_before():
    jobs = workflow("publish")["jobs"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}  # a trusted publisher has no password
    built, uploaded = jobs["build"]["steps"][-2:]
    assert built["run"] == "python -m nox -s package"
    assert uploaded["with"]["path"] == jobs["publish"]["steps"][0]["with"]["path"] == "dist/"
