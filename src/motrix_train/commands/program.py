"""How this program is called."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "motrix-train"


def command(*words: object) -> str:
    """A command line that calls this program in the shell of the user."""
    return shlex.join([*_program(), *map(str, words)])


def _program() -> list[str]:
    """The words that call this program: its name if the shell finds it, else its path, or `python -m`."""
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("motrix_train", "__main__.py"):
        return [sys.executable, "-m", "motrix_train"]
    found = shutil.which(PROGRAM)
    if called.name != PROGRAM or (found and Path(found).resolve() == called.resolve()):
        return [PROGRAM]
    return [os.path.relpath(called) if called.is_relative_to(Path.cwd()) else str(called)]
