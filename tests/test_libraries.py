"""The examples that train with other libraries run as their page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples" / "libraries").glob("*.py"))
PAGE = (ROOT / "docs" / "libraries.md").read_text("utf-8")
UNCOMMON = {"rllib_ppo": "ray", "sbx_ppo": "sbx"}  # what the extra `dev` does not bring; `nox -s libraries` does
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_trains_and_says_what_came_of_it(example: Path, tmp_path: Path):
    pytest.importorskip(UNCOMMON.get(example.stem, "numpy"))
    assert f"(../examples/libraries/{example.name})" in PAGE
    command = [sys.executable, str(example), "--env-steps", "16384"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    [mean_return] = re.findall(r"^mean return (\d+) of 1000$", done.stdout, re.MULTILINE)
    assert 10 < int(mean_return) <= 1000


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_what_the_page_shows_runs(block: int, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS[block]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
