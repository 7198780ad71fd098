"""Real processes are killed at random moments; what comes of them is the run that was never killed.

``MOTRIX_KILLS=50 pytest -s tests/train/test_crash.py`` kills as often as one likes; the suite is content with a few.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comparison import everything

from motrix_train.storage.run_directory import RunDirectory

KILLS = int(os.environ.get("MOTRIX_KILLS", "3"))
UPDATES_PER_KILL = 15
TRAIN = [sys.executable, "-m", "motrix_train", "train"]


def begin(backend: str, directory: Path) -> list[str]:
    budget = 8 * 16 * UPDATES_PER_KILL * (KILLS + 1)
    return [
        *(*TRAIN, "Motrix/CartPole-v0", f"--backend={backend}", f"--run-dir={directory}", "--seed=9", "--quiet"),
        *("--num-envs=8", "--num-threads=1", f"--max-env-steps={budget}", "--set=rollouts=16"),
        *("--set=check_point_interval=48", "--set=evaluation_interval=20", "--set=evaluation_episodes=4"),
        *("--set=policy_hidden_layer_sizes=8", "--set=value_hidden_layer_sizes=8"),
    ]


def killed(command: list[str], progress: Path, moment: float) -> bool:
    """Runs a training and kills it some seconds after it went on, or before it does for a negative moment.

    Returns whether it was killed; a training that ends by itself must end well.
    """
    before = progress.stat().st_mtime_ns if progress.exists() else None
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while moment > 0 and process.poll() is None:
        if progress.exists() and progress.stat().st_mtime_ns != before:
            break
        time.sleep(0.01)
    try:
        _, said = process.communicate(timeout=abs(moment))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    assert process.returncode == 0, said
    return False


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_killed_at_random_moments(backend: str, tmp_path: Path):
    pytest.importorskip(backend)
    subprocess.run(begin(backend, tmp_path / "whole"), check=True, stdout=subprocess.DEVNULL)
    run, moments = RunDirectory(tmp_path / "killed"), random.Random(time.time_ns())
    lives = []
    for kill in range(KILLS + 1):
        command = [*TRAIN, "--resume", str(run.path), "--quiet"] if run.path.exists() else begin(backend, run.path)
        moment = moments.choice([1, 1, 1, -3]) * moments.uniform(0.001, 0.5) if kill < KILLS else 1e6
        if not killed(command, run.progress_path, moment):
            break
        lives.append(len(run.progress().get("env_steps", ())))
    print(f"{backend}: killed {len(lives)} times, after these updates: {lives}")
    assert lives
    assert everything(run) == everything(RunDirectory.open(tmp_path / "whole"))
    hidden = [path for path in tmp_path.rglob(".*") if path.is_dir()]
    assert not hidden
