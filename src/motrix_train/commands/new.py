"""`motrix-train new`: a package for a robot of one's own, which works and is to be changed."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from motrix_train.commands.program import command
from motrix_train.errors import RunError, UsageError
from motrix_train.storage.files import move_to_free

TEMPLATE = Path(__file__).parents[1] / "template"
NAME = re.compile(r"(?=.{1,50}$)[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the package, such as my_robot.")],
    parent: Annotated[
        Path, typer.Option("--in", metavar="DIR", help="The directory that the package's own is made in.")
    ] = Path(),
) -> None:
    """Writes a Python package with a robot, a task, its registration, a preset and tests.

    The robot balances on two wheels. It can be trained at once, and every part of it is to be replaced by your own.

    Example: motrix-train new my_robot
    """
    package = parent / name
    _check(name, package)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=parent) as temporary:
            write_package(name, Path(temporary) / name)
            written = move_to_free(Path(temporary) / name, package)
    except OSError as refusal:
        raise RunError(
            f"cannot write {package}: {refusal.strerror or refusal}; give another directory with --in"
        ) from refusal
    if not written:
        raise _taken(package)
    print(_next_steps(name, package))


def _check(name: str, package: Path) -> None:
    """Refuses what cannot become a package."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot be the name of a package: take small letters, digits and single underscores, 50 at most, "
            "such as my_robot"
        )
    if not package.parent.is_dir():
        raise UsageError(f"there is no directory {package.parent}: make it, or give another with --in")
    if os.path.lexists(package):
        raise _taken(package)
    found = importlib.util.find_spec(name)
    if found is not None and found.origin is not None:
        raise UsageError(f"there is a module {name!r} already ({found.origin}): give another name")


def _taken(package: Path) -> UsageError:
    return UsageError(f"{package} exists: give another name, or another directory with --in")


def write_package(name: str, package: Path) -> None:
    """Copies the template, with a name in the place of its own."""
    namespace = _namespace(name)
    for source in sorted(TEMPLATE.rglob("*")):
        inside = source.relative_to(TEMPLATE)
        if source.is_file() and not any(part.startswith((".", "__pycache__")) for part in inside.parts):
            target = package / str(inside).replace("my_robot", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8")
            target.write_text(text.replace("my_robot", name).replace("MyRobot", namespace), encoding="utf-8")


def _next_steps(name: str, package: Path) -> str:
    """What to type next, and what to change."""
    env_id = f"{_namespace(name)}/Drive-v0"
    found = shutil.which("python")
    python = "python" if found and Path(found) == Path(sys.executable) else shlex.quote(sys.executable)
    place = str(package) if package.is_absolute() else f"./{package}"  # else pip takes it for a name
    source = package / "src" / name
    return "\n".join(
        [
            f"{package} has the environment {env_id}. Install it, test it and train it:",
            "",
            f"  {python} -m pip install -e {shlex.quote(f'{place}[test]')}",
            f"  {python} -m pytest {shlex.quote(place)}",
            f"  {command('train', env_id)}",
            "",
            f"Then put your robot into {source / 'robot.xml'} and change {source / 'tasks.py'}.",
        ]
    )


def _namespace(name: str) -> str:
    """The namespace of the ids: MyRobot for my_robot."""
    return name.title().replace("_", "")
