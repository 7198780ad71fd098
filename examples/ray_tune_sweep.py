"""Ray Tune looks for a learning rate and a discount for CartPole: `pip install "ray[tune]"`, then run this.

Every trial is an ordinary run below runs/sweep. Trials that lag behind are ended early, by the evaluations of the
policy without exploration.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ray import tune  # pyright: ignore[reportMissingImports]
from ray.tune.schedulers import ASHAScheduler  # pyright: ignore[reportMissingImports]

from motrix_train import presets
from motrix_train.training.callbacks import Callback
from motrix_train.training.records import RolloutStats
from motrix_train.training.request import TrainRequest
from motrix_train.training.run import train_run

ENV = "Motrix/CartPole-v0"
SPACE = {"learning_rate": tune.loguniform(1e-4, 1e-2), "discount_factor": tune.choice([0.97, 0.98, 0.99, 0.995])}


class Reporter(Callback):
    """Tells Ray of every evaluation."""

    def rollout(self, stats: RolloutStats) -> None:
        if stats.evaluation:
            tune.report({"mean_return": stats.evaluation["mean_return"], "env_steps": stats.env_steps})


def trial(chosen: dict[str, Any], env_steps: int, runs: Path) -> None:
    """One training with the settings that Ray chose."""
    cfg = dataclasses.replace(
        presets.preset(ENV, "torch"), **chosen, max_env_steps=env_steps, evaluation_interval=4, check_point_interval=32
    )
    request = TrainRequest(env_id=ENV, env_kwargs={}, backend="torch", cfg=cfg, device="cpu", num_threads=1)
    train_run(request.create_run("examples/ray_tune_sweep.py", root=runs), Reporter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--env-steps", type=int, default=500_000)
    args = parser.parse_args()
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trial, env_steps=args.env_steps, runs=Path("runs/sweep").resolve()), {"cpu": 1}
        ),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="mean_return",
            mode="max",
            num_samples=args.trials,
            scheduler=ASHAScheduler(
                time_attr="env_steps", max_t=args.env_steps, grace_period=max(1, args.env_steps // 4)
            ),
        ),
    )
    best = tuner.fit().get_best_result()
    print(best.config, best.metrics["mean_return"])


if __name__ == "__main__":
    main()
