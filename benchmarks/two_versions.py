"""How much faster a training is with one version of the source than with another.

    git worktree add ../before v0.5.0
    python benchmarks/two_versions.py ../before .                    # of Motrix/Go1-v0
    python benchmarks/two_versions.py ../before . Motrix/G1-v0 --threads 1

Both trainings run, and take turns of one rollout and its update, so that both see the same machine. The ratio is the
median over pairs of turns. With one thread a turn is measured in seconds of the processor, which other programs disturb
less, else in seconds of the wall.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

TURNS, WARM_UP = 30, 3
TRAINING = """
import sys, tempfile, time
import motrix_train
from motrix_train.training.callbacks import Callback

clock = time.process_time if sys.argv[2] == "1" else time.perf_counter

class Turns(Callback):
    def started(self, plan):
        self.wait()
    def rollout(self, stats):
        print(clock() - self.start, stats.seconds_env, stats.seconds_policy, stats.seconds_update, flush=True)
        self.wait()
    def wait(self):
        sys.stdin.readline()
        self.start = clock()

with tempfile.TemporaryDirectory() as folder:
    motrix_train.train(
        sys.argv[1], backend=sys.argv[3], seed=0, num_threads=int(sys.argv[2]), run_dir=folder + "/run", quiet=True,
        settings={"evaluation_interval": 0}, callbacks=[Turns()],
    )
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a tree of the source")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("env_id", nargs="?", default="Motrix/Go1-v0")
    parser.add_argument("--threads", type=int, default=0, help="physics threads; 0 is one a CPU")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--turns", type=int, default=TURNS)
    args = parser.parse_args(arguments)
    trainings = [start(tree, args) for tree in (args.before, args.after)]
    try:
        turns = np.array([[take_turn(training) for training in trainings] for _ in range(WARM_UP + args.turns)])
    finally:
        for training in trainings:
            training.kill()
    before, after = turns[WARM_UP:].swapaxes(0, 1)
    for name, column in (("whole turn", 0), ("environments", 1), ("policy", 2), ("update", 3)):
        ratios = before[:, column] / after[:, column]
        low, high = np.quantile(ratios, (0.25, 0.75))
        seconds = f"{np.median(before[:, column]):.3f} and {np.median(after[:, column]):.3f} s"
        print(f"{name:12} {seconds}; {np.median(ratios):.2f} times as fast, quartiles {low:.2f} and {high:.2f}")


def start(tree: Path, args: argparse.Namespace) -> subprocess.Popen[str]:
    source = tree.resolve() / "src"
    if not source.is_dir():
        raise SystemExit(f"{tree} has no src: give a tree of the source")
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, args.env_id, str(args.threads), args.backend],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def take_turn(training: subprocess.Popen[str]) -> list[float]:
    """The seconds of one rollout with its update: whole, environments, policy, update."""
    assert training.stdout is not None
    assert training.stdin is not None
    training.stdin.write("\n")
    training.stdin.flush()
    line = training.stdout.readline()
    if not line:
        raise SystemExit("a training ended: its error is above")
    return [float(number) for number in line.split()]


if __name__ == "__main__":
    main()
