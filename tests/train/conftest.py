"""What several tests of the command line share."""

import os
from pathlib import Path

import pytest

from motrix_train.cli import run
from motrix_train.storage.run_directory import RunDirectory


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Options of `train` with which a CartPole run takes a second: 128 vector steps, two checkpoints."""
    return (
        "--backend=torch",
        "--num-envs=8",
        "--max-env-steps=1024",
        "--num-threads=1",
        "--set=rollouts=32",
        "--set=check_point_interval=64",
    )


@pytest.fixture(scope="session")
def trained(tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run of CartPole, to be read only."""
    home = Path.cwd()
    work = tmp_path_factory.mktemp("trained")
    os.chdir(work)
    try:
        assert run(["train", "Motrix/CartPole-v0", "--seed=3", *tiny]) == 0
    finally:
        os.chdir(home)
    return RunDirectory.find_newest(work / "runs", "Motrix/CartPole-v0")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
