"""Where the wall time of a training goes: physics, task, networks, update, and what the trainer adds to them.

python benchmarks/overhead.py                      # Motrix/Go1-v0, Torch, 60 updates of its preset
python benchmarks/overhead.py --backend jax
"""

import argparse
import functools
import importlib
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.vector_env import MotrixVectorEnv
from motrix_train import presets
from motrix_train.training import trainer as training
from motrix_train.training.progress import TrainingProgress
from motrix_train.training.records import RolloutStats, TrainingSummary
from motrix_train.training.request import TrainRequest
from motrix_train.training.run import train_run

WARM_UP = 3  # updates, in which JAX compiles and the first threads start


class Clocks:
    """Seconds spent in functions that are called one inside another; each counts without those inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside = [0.0]

    def watch(self, owner: object, method: str, name: str, wait: Callable[[Any], Any] = lambda result: result) -> None:
        """Count the time of a function from now on, until `wait` has what it gave."""
        function = getattr(owner, method)

        @functools.wraps(function)
        def timed(*args, **kwargs):
            start = time.perf_counter()
            self._inside.append(0.0)
            try:
                return wait(function(*args, **kwargs))
            finally:
                spent = time.perf_counter() - start
                self.seconds[name] += spent - self._inside.pop()
                self._inside[-1] += spent

        setattr(owner, method, timed)


class Measured(TrainingProgress):
    """The progress that a user sees, which also starts and reads the clocks."""

    def __init__(self, clocks: Clocks, *args) -> None:
        super().__init__(*args)
        self._clocks, self._updates, self._start = clocks, 0, 0.0
        self.wall = 0.0

    def rollout(self, stats: RolloutStats) -> None:
        super().rollout(stats)
        self._updates += 1
        if self._updates == WARM_UP:
            self._clocks.seconds.clear()
            self._start = time.perf_counter()

    def finished(self, summary: TrainingSummary) -> None:
        super().finished(summary)
        self.wall = time.perf_counter() - self._start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_id", nargs="?", default="Motrix/Go1-v0")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--updates", type=int, default=60)
    args = parser.parse_args()
    preset = presets.preset(args.env_id, args.backend)
    steps = preset.rollouts * preset.num_envs * (args.updates + WARM_UP)
    cfg = replace(preset, seed=0, max_env_steps=steps, check_point_interval=30 * preset.rollouts)
    clocks = Clocks()
    ppo = importlib.import_module(f"skrl.agents.{args.backend}.ppo").PPO
    clocks.watch(CpuPhysics, "step", "physics")
    clocks.watch(MotrixVectorEnv, "step", "task: rewards, observations, resets")
    wait = importlib.import_module("jax").block_until_ready if args.backend == "jax" else lambda result: result
    clocks.watch(ppo, "act", "networks: actions and values", wait)
    clocks.watch(ppo, "record_transition", "networks: values at time limits, storing")
    clocks.watch(ppo, "update", "update: gradients and optimizer")
    clocks.watch(training, "evaluate_policy", "evaluation: physics and network")
    with TemporaryDirectory() as folder:
        request = TrainRequest(env_id=args.env_id, env_kwargs={}, backend=args.backend, cfg=cfg)
        run = request.create_run("", Path(folder) / "run")
        with Measured(clocks, run, Console(stderr=True)) as progress:
            train_run(run, progress)
    wall = progress.wall
    trainer = wall - sum(clocks.seconds.values())
    print(f"{args.env_id}, {args.backend}, {args.updates} updates of {preset.num_envs} x {preset.rollouts} steps")
    for name, seconds in [*clocks.seconds.items(), ("trainer: statistics, logs, checkpoints, pictures", trainer)]:
        print(f"  {name:50}{seconds:8.2f} s {seconds / wall:7.1%}")
    print(f"  {'wall':50}{wall:8.2f} s")


if __name__ == "__main__":
    main()
