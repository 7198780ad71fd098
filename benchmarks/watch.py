"""What `train --watch` costs a training while a page is connected: `python benchmarks/watch.py [--seconds 300]`.

One Go1 training runs; its viewer is stopped and let go again in turns, and the rate of each turn with the viewer is
divided by that of the turn without it. The page is a WebSocket that only reads. Linux and macOS.
"""

import argparse
import csv
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from websockets.sync.client import connect

TURN, BETWEEN = 8.0, 0.7  # s that are measured, and that the training has to notice the change
VIEWER = "motrix_train.viewer.companion"


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=300.0)
    seconds = options.parse_args(arguments).seconds
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = ["train", "Motrix/Go1-v0", "--backend", "torch", "--seed", "0", "--watch", "--run-dir", str(run)]
        training = subprocess.Popen(
            [sys.executable, "-m", "motrix_train", *command, "--set", "evaluation_interval=0"],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert training.stderr is not None
            port = next(int(found[1]) for line in training.stderr if (found := re.search(r"127\.0\.0\.1:(\d+)", line)))
            for job in (lambda: list(training.stderr or ()), lambda: _look(port)):
                threading.Thread(target=job, daemon=True).start()
            viewer = int(subprocess.check_output(["pgrep", "-P", str(training.pid), "-f", VIEWER], text=True))
            _tell(_ratios(run / "progress.csv", viewer, seconds))
        finally:
            training.send_signal(signal.SIGINT)
            training.wait()


def _look(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/state", origin="http://localhost", max_size=None) as page:  # pyright: ignore[reportArgumentType]
        for _ in page:
            pass


def _ratios(progress: Path, viewer: int, seconds: float) -> list[float]:
    """Rates with the viewer over rates without it, a number for each pair of turns."""
    while not (progress.exists() and len(progress.read_text().splitlines()) > 2):
        time.sleep(0.1)
    found = []
    for _ in range(round(seconds / (2 * (TURN + BETWEEN)))):
        rates = []
        for order in (signal.SIGCONT, signal.SIGSTOP):
            os.kill(viewer, order)
            time.sleep(BETWEEN)
            first = _reached(progress)
            time.sleep(TURN)
            last = _reached(progress)
            rates.append((last[0] - first[0]) / (last[1] - first[1]))
        found.append(rates[0] / rates[1])
    os.kill(viewer, signal.SIGCONT)
    return found


def _reached(progress: Path) -> tuple[float, float]:
    """Env steps and seconds of the last whole line of the table of progress."""
    header, *lines = csv.reader(progress.read_text().rpartition("\n")[0].splitlines())
    steps, seconds = (float(lines[-1][header.index(name)]) for name in ("env_steps", "seconds"))
    return steps, seconds


def _tell(ratios: Sequence[float]) -> None:
    spread = np.std(ratios, ddof=1) / np.sqrt(len(ratios))
    print(f"rate with the viewer over rate without it: {np.mean(ratios):.3f} +- {spread:.3f} ({len(ratios)} pairs)")


if __name__ == "__main__":
    main()
