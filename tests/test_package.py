"""What the distribution declares: its dependencies, its pins, its types, and who imports whom."""

import contextlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
PINS = {canonicalize_name(name): version for name, version in PINS.items()}


def test_the_environments_need_three_packages():
    assert sorted(Requirement(text).name for text in PROJECT["dependencies"]) == ["gymnasium", "mujoco", "numpy"]
    mujoco = next(Requirement(text) for text in PROJECT["dependencies"] if text.startswith("mujoco"))
    assert "4.0.0" not in mujoco.specifier
    assert "3.16.0" not in mujoco.specifier


def test_both_backends_bring_the_same_trainer():
    own = {"torch": {"torch"}, "jax": {"jax", "flax"}}
    shared = {name: {Requirement(text).name for text in EXTRAS[name]} - packages for name, packages in own.items()}
    assert shared["torch"] == shared["jax"] == {"motrix-gym", "skrl"}
    assert "motrix-gym[play]" in EXTRAS["torch"]
    assert "motrix-gym[play]" in EXTRAS["jax"]


def test_every_declared_dependency_is_pinned_to_a_version_that_it_admits():
    declared = [Requirement(text) for texts in [PROJECT["dependencies"], *EXTRAS.values()] for text in texts]
    for requirement in declared:
        if requirement.name != PROJECT["name"]:
            assert PINS[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_pins_are_the_whole_closure():
    waiting, seen = ["motrix-gym[all,dev,types]"], set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # a leaf, as far as can be seen here
                needed = [Requirement(text) for text in importlib.metadata.requires(name) or ()]
                waiting += [str(n) for n in needed if n.marker is None or n.marker.evaluate({"extra": extra})]
    assert {name for name, _ in seen} - PINS.keys() == {"motrix-gym"}


def test_the_environments_import_no_library_that_they_do_not_need():
    code = (
        "import sys, motrix_gym.testing, gymnasium; gymnasium.make_vec('Motrix/Go1-v0', num_envs=1);"
        "print(sorted({'torch', 'jax', 'skrl', 'typer', 'warp', 'motrix_train'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_both_packages_are_typed_and_have_the_distributions_version():
    files = {str(file) for file in importlib.metadata.files("motrix-gym") or ()}
    editable = not any(file.startswith("motrix_gym/") for file in files)
    for package in ("motrix_gym", "motrix_train"):
        marker = f"{package}/py.typed"
        assert (ROOT / "src" / marker).is_file() if editable else marker in files
    assert importlib.metadata.version("motrix-gym") == PROJECT["version"]
