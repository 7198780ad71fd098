"""`motrix-train new`: a package that works, or one line and nothing on the disk."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from motrix_train.cli import run
from motrix_train.commands import new

ROOT = Path(__file__).parents[2]
USE = """
import gymnasium, motrix_gym, {name}.environments
from {name}.presets import PRESETS
from {name}.tasks import Drive
motrix_gym.check_task(Drive())
[env_id] = PRESETS
print(env_id, *gymnasium.make_vec(env_id, num_envs=2, num_threads=1).reset(seed=0)[0].shape)
"""


def contents(folder: Path) -> dict[str, str]:
    """The files in a folder, without what tools leave there."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file() and not any("cache" in part or part in ("runs", "dist") for part in path.parts)
    }


@pytest.mark.parametrize(("name", "env_id"), [("walker2", "Walker2/Drive-v0"), ("my_first_bot", "MyFirstBot/Drive-v0")])
def test_what_it_writes_can_be_imported_and_is_a_right_task(work: Path, name: str, env_id: str):
    assert run(["new", name]) == 0
    assert os.listdir(work) == [name]
    assert (work / name / "tests" / f"test_{name}.py").is_file()
    for path, text in contents(work / name).items():
        assert "my_robot" not in path + text
        assert "MyRobot" not in text
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(work / name / "src"), os.environ.get("PYTHONPATH", "")])}
    code = USE.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.stdout == f"{env_id} 2 10\n", done.stderr


def test_the_balancer_among_the_examples_is_what_it_writes(work: Path):
    new.write_package("balancer", work / "balancer")
    assert contents(work / "balancer") == contents(ROOT / "examples" / "balancer")


def test_it_ends_with_what_to_type_next(tmp_path: Path, capsys):
    folder = tmp_path / "my robots"
    folder.mkdir()
    assert run(["new", "crab", "--in", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert f"pip install -e '{folder}/crab[test]'\n" in shown
    assert f"pytest '{folder}/crab'\n" in shown
    assert "train Crab/Drive-v0\n" in shown
    named = shown.rstrip().splitlines()[-1]
    for file in ("robot.xml", "tasks.py"):
        path = folder / "crab" / "src" / "crab" / file
        assert str(path) in named
        assert path.is_file()


def test_the_files_have_the_rights_of_new_files(work: Path):
    before = os.umask(0o022)
    try:
        assert run(["new", "crab"]) == 0
    finally:
        os.umask(before)
    assert (work / "crab").stat().st_mode & 0o777 == 0o755
    assert (work / "crab" / "pyproject.toml").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my-robot"], "'my-robot' cannot be the name of a package: take small letters, digits and single underscores"),
        (["MyRobot"], "'MyRobot' cannot be the name"),
        (["2legs"], "'2legs' cannot be the name"),
        (["class"], "'class' cannot be the name"),
        (["_robot"], "'_robot' cannot be the name"),
        (["robot_"], "'robot_' cannot be the name"),
        (["robot\n"], r"'robot\n' cannot be the name"),
        (["róbot"], "'róbot' cannot be the name"),
        (["../robot"], "'../robot' cannot be the name"),
        ([""], "'' cannot be the name"),
        (["r" * 51], "50 at most"),
        (["numpy"], "there is a module 'numpy' already ("),
        (["sys"], "there is a module 'sys' already (built-in): give another name"),
        (["motrix_gym"], "there is a module 'motrix_gym' already"),
        (["crab", "--in", "nowhere"], "there is no directory nowhere: make it, or give another with --in"),
        (["crab", "--in", "file"], "there is no directory file"),
        (["taken"], "taken exists: give another name, or another directory with --in"),
        (["dangling"], "dangling exists: give another name"),
        ([], "Missing argument"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(arguments: list[str], message: str, work: Path, capsys):
    (work / "taken").mkdir()
    (work / "file").touch()
    (work / "dangling").symlink_to("nowhere")
    before = sorted(os.listdir(work))
    assert run(["new", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("motrix-train: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(os.listdir(work)) == before


@pytest.mark.parametrize("refusal", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_package_is_written_whole_or_not_at_all(refusal: BaseException, work: Path, monkeypatch, capsys):
    write, written = Path.write_text, []

    def refuse_the_fourth(path: Path, *args, **kwargs) -> int:
        written.append(path)
        if len(written) == 4:
            raise refusal
        return write(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", refuse_the_fourth)
    assert run(["new", "crab"]) == (130 if isinstance(refusal, KeyboardInterrupt) else 1)
    assert len(written) == 4
    assert os.listdir(work) == []
    if isinstance(refusal, OSError):
        line = "motrix-train: cannot write crab: No space left on device; give another directory with --in\n"
        assert capsys.readouterr().err == line


@pytest.mark.posix
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_one_line(work: Path, capsys):
    (work / "locked").mkdir(mode=0o555)
    assert run(["new", "crab", "--in", "locked"]) == 1
    assert capsys.readouterr().err == (
        "motrix-train: cannot write locked/crab: Permission denied; give another directory with --in\n"
    )


def test_what_appears_in_the_meantime_is_kept(work: Path, monkeypatch, capsys):
    write = new.write_package

    def write_beside_another(name: str, package: Path) -> None:
        write(name, package)
        (work / "crab").mkdir()
        (work / "crab" / "mine").touch()

    monkeypatch.setattr(new, "write_package", write_beside_another)
    assert run(["new", "crab"]) == 2
    assert "crab exists: give another name" in capsys.readouterr().err
    assert os.listdir(work) == ["crab"]
    assert os.listdir(work / "crab") == ["mine"]


@pytest.mark.parametrize("folder", ["src/my_robot/__pycache__", ".pytest_cache", ".ruff_cache/0.1"])
def test_what_tools_leave_beside_the_template_is_left_out(folder: str, work: Path, monkeypatch):
    plain, template = work / "plain", work / "template"
    new.write_package("crab", plain)
    shutil.copytree(new.TEMPLATE, template)
    (template / folder).mkdir(parents=True, exist_ok=True)
    (template / folder / "file").write_bytes(b"\xff\xfe")
    monkeypatch.setattr(new, "TEMPLATE", template)
    new.write_package("crab", work / "crab")
    assert [path.relative_to(plain) for path in sorted(plain.rglob("*"))] == [
        path.relative_to(work / "crab") for path in sorted((work / "crab").rglob("*"))
    ]
