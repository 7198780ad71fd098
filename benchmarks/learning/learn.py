"""Trains presets with several seeds through the command line, evaluates them, and writes the table and the curves.

    python benchmarks/learning/learn.py Motrix/Go1-v0 --seeds 0 1 2
    python benchmarks/learning/learn.py Motrix/Go1-v0 --backend jax --seeds 0
    python benchmarks/learning/learn.py Motrix/Pendulum-v0 --algorithm sac
    python benchmarks/learning/learn.py Motrix/Go1Rough-v0 --env height_scan=true
    python benchmarks/learning/learn.py examples/go1_terrain.toml
    python benchmarks/learning/learn.py            # the table and the curves again, from the results kept

Each run is one `results/<env>_<backend>_seed<N>.json`, with `_sac` after the backend if SAC trained it, and with the
fields of the task that `--env` changed; each curriculum is one named after its plan. They hold the command, wall time,
evaluation over 256 fresh episodes and curve; README.md and the PNGs beside this file are made from those files alone.
"""

import argparse
import csv
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from tables import name_of, named, page, trainer

from motrix_train.operating_system import usable_cpus

HERE = Path(__file__).parent
RESULTS = HERE / "results"
CURVE = ("env_steps", "mean_return", "metrics/velocity_error", "metrics/yaw_rate_error")
EVALUATED = "evaluation/mean_return"
TRAINER = [sys.executable, "-m", "motrix_train"]
UNSEEN = 101  # seed of a ground that no training walks on
POINTS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", help="train and evaluate this environment, or this curriculum, first")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--algorithm", default="ppo", choices=("ppo", "sac"))
    parser.add_argument("--env", action="append", default=[], metavar="FIELD=VALUE", help="field of the task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--keep", type=Path, help="folder in which the runs are kept")
    args = parser.parse_args()
    if args.what:
        folder = args.keep or Path(tempfile.mkdtemp())
        if args.what.endswith(".toml"):
            keep(follow(args.what, folder))
        else:
            for seed in args.seeds:
                keep(train(args.what, args.backend, args.algorithm, seed, args.env, folder))
    results = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    (HERE / "README.md").write_text(page(results), "utf-8")
    for name in sorted({name_of(result) for result in results}):
        draw([result for result in results if name_of(result) == name], HERE / f"{name}.png")


def keep(result: dict) -> None:
    """Writes what came of one training or curriculum into `results/`."""
    RESULTS.mkdir(exist_ok=True)
    file = f"{name_of(result)}_{_label(result).replace(', ', '_').replace(' ', '')}.json"
    (RESULTS / file).write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def train(env_id: str, backend: str, algorithm: str, seed: int, fields: Sequence[str], folder: Path) -> dict:
    """One training through the command line and what came of it."""
    run = folder / "_".join([named(env_id, backend, algorithm), *fields, f"seed{seed}"])
    chosen = [] if algorithm == "ppo" else ["--algorithm", algorithm]
    changed = [argument for field in fields for argument in ("--env", field)]
    arguments = ["train", env_id, *changed, *chosen, "--backend", backend, "--seed", str(seed)]
    seconds = _timed([*TRAINER, *arguments, "--run-dir", str(run)])
    result = summary(arguments, [run], seconds)
    return {**result, "variant": ", ".join([*fields, f"seed {seed}"])} if fields else result


def follow(plan: str, folder: Path) -> dict:
    """One curriculum through the command line and what came of it in its last stage."""
    run = folder / Path(plan).stem
    arguments = ["curriculum", plan]
    seconds = _timed([*TRAINER, *arguments, "--run-dir", str(run)])
    return {
        **summary(arguments, sorted(path.parent for path in run.glob("*/progress.csv")), seconds),
        "variant": run.name,
    }


def summary(arguments: list[str], runs: Sequence[Path], seconds: float) -> dict:
    """What is kept of runs that went on from one another: the policy of the last, and its environment's curve."""
    configs = [json.loads((run / "config.json").read_text("utf-8")) for run in runs]
    config, [policy] = configs[-1], (runs[-1] / "checkpoints").glob("best.*")
    tables = [_lines(run) for run in runs]
    lengths = (int(table[-1]["env_steps"]) for table in tables)
    *starts, _ = accumulate(lengths, initial=0)  # env steps before each run
    lines = [
        {**line, "env_steps": str(start + int(line["env_steps"]))}
        for each, table, start in zip(configs, tables, starts, strict=True)
        if each["env_id"] == config["env_id"]
        for line in table
    ]
    step = max(1, len(lines) // POINTS)
    evaluation = _judged(policy, starts[-1])
    on_ground = "terrain_level" in evaluation["metrics"]
    return {
        "command": "motrix-train " + " ".join(arguments),
        "env_id": config["env_id"],
        "backend": config["backend"],
        "algorithm": config["config"]["algorithm"],
        "seed": config["seed"],
        "env_steps": int(lines[-1]["env_steps"]),
        "wall_seconds": round(seconds, 1),
        "judged": policy.stem,
        "machine": f"{platform.system()} {platform.machine()}, {_cores()}",
        "evaluation": evaluation,
        **({"unseen": _judged(policy, starts[-1], "--env", f"terrain_seed={UNSEEN}")} if on_ground else {}),
        "curve": _columns(lines[step - 1 :: step], CURVE),
        "evaluations": _columns([line for line in lines if line.get(EVALUATED)], ("env_steps", EVALUATED)),
    }


def _timed(command: list[str]) -> float:
    """How long a command takes, s."""
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def _judged(policy: Path, before: int, *fields: str) -> dict:
    """What `motrix-train evaluate` says over 256 episodes of a policy that had so many steps before its own run."""
    command = [*TRAINER, "evaluate", str(policy), "--episodes", "256", "--json", *fields]
    evaluation = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    del evaluation["policy"]  # where it lay on the machine that measured it
    return {**evaluation, "env_steps": before + evaluation["env_steps"]}


def _lines(run: Path) -> list[dict[str, str]]:
    with open(run / "progress.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw(results: list[dict], path: Path) -> None:
    """The curves of one environment and backend, a line a seed."""
    columns = [name for name in CURVE[1:] if name in results[0]["curve"]]
    figure = Figure(figsize=(4 * len(columns), 3), layout="constrained")
    figure.suptitle(f"{results[0]['env_id']}, {trainer(results[0])}", fontsize=10)
    for axis, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        for result in results:
            curve = result["curve"]
            values = [float("nan") if y is None else y for y in curve[column]]
            [line] = axis.plot(curve["env_steps"], values, label=_label(result), linewidth=1.2)
            if column == "mean_return" and EVALUATED in result.get("evaluations", {}):
                axis.plot(*result["evaluations"].values(), ".", color=line.get_color(), markersize=5)
        axis.set_title(column.removeprefix("metrics/"), fontsize=9, loc="left")
        axis.set_xlabel("environment steps", fontsize=8)
        axis.xaxis.set_major_formatter(EngFormatter())
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=100)


def _columns(rows: list[dict[str, str]], names: Sequence[str]) -> dict[str, list[float | None]]:
    """Those columns of some lines of progress.csv that it has."""
    return {name: [_number(row[name]) for row in rows] for name in names if rows and name in rows[0]}


def _label(result: dict) -> str:
    return result.get("variant", f"seed {result['seed']}")


def _cores() -> str:
    count = len(usable_cpus())
    return "1 core" if count == 1 else f"{count} cores"


def _number(text: str) -> float | None:
    return float(f"{float(text):.5g}") if text else None


if __name__ == "__main__":
    main()
