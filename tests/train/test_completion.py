"""Completion in a real, interactive bash, installed as a newcomer does it."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROMPT = "typing here: "
PATIENCE = 60.0  # s without a character
pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two runs in it, where completion was installed."""
    folder = tmp_path_factory.mktemp("home")
    for seed in (0, 1):
        run = folder / "runs" / "Motrix" / "Go1-v0" / f"2026-01-01_00-00-00_torch_seed{seed}"
        run.mkdir(parents=True)
        (run / "config.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def completed(home: Path) -> Iterator[Callable[[str, str], str]]:
    """What a shell has made of typed words and a tabulator, once it ends in what is expected."""
    terminal, of_bash = pty.openpty()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = os.environ | {"HOME": str(home), "PATH": path, "TERM": "dumb", "COLUMNS": "300"}
    words = ["bash", "--norc", "--noprofile", "-i"]
    streams = {"stdin": of_bash, "stdout": of_bash, "stderr": of_bash}
    shell = subprocess.Popen(words, cwd=home, env=environ, start_new_session=True, **streams)
    os.close(of_bash)

    def until(ending: str) -> str:
        seen = ""
        while not seen.endswith(ending):
            assert select.select([terminal], [], [], PATIENCE)[0], seen
            seen += os.read(terminal, 4096).decode().replace("\x07", "")
        return seen

    def completed(typed: str, ending: str) -> str:
        os.write(terminal, f"{typed}\t".encode())
        shown = until(ending)
        os.write(terminal, b"\x15")  # the line is taken back
        return shown

    start = ["bind 'set enable-bracketed-paste off'", "motrix-train --install-completion", ". ~/.bashrc"]
    os.write(terminal, f"{'; '.join(start)}; PS1='{PROMPT[:6]}''{PROMPT[6:]}'\n".encode())
    until(PROMPT)
    yield completed
    shell.kill()
    shell.wait()
    os.close(terminal)


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("motrix-train eval", "motrix-train evaluate "),
        ("motrix-train train Motrix/Go1S", "motrix-train train Motrix/Go1Stairs-v0 "),
        ("motrix-train play Motrix/HopperH", "motrix-train play Motrix/HopperHop-v0 "),
        ("motrix-train evaluate x --env-id Motrix/Go1R", "--env-id Motrix/Go1Rough-v0 "),
        ("motrix-train train --backend to", "motrix-train train --backend torch "),
        ("motrix-train plot ru", "motrix-train plot runs/Motrix/Go1-v0/2026-01-01_00-00-00_torch_seed"),
        (
            "motrix-train train --resume runs/Motrix/Go1-v0/2026-01-01_00-00-00_torch_seed1",
            "--resume runs/Motrix/Go1-v0/2026-01-01_00-00-00_torch_seed1 ",
        ),
    ],
)
def test_the_tabulator_completes(completed, typed, becomes):
    assert completed(typed, becomes).endswith(becomes)


def test_other_paths_are_completed_by_the_shell(completed, home):
    (home / "my_plan.toml").touch()
    assert completed("motrix-train curriculum my", "my_plan.toml ")
