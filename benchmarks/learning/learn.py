"""Trains presets with several seeds through the command line, evaluates them, and writes the table and the curves.

    python benchmarks/learning/learn.py Motrix/Go1-v0 --seeds 0 1 2
    python benchmarks/learning/learn.py Motrix/Go1-v0 --backend jax --seeds 0
    python benchmarks/learning/learn.py Motrix/Pendulum-v0 --algorithm sac
    python benchmarks/learning/learn.py examples/go1_terrain.toml
    python benchmarks/learning/learn.py            # the table and the curves again, from the results kept

Each run is one `results/<env>_<backend>_seed<N>.json`, with `_sac` after the backend if SAC trained it, and each
curriculum one named after its plan, with its command, wall time, evaluation over 256 fresh episodes and curve;
README.md and the PNGs beside this file are made from those files alone.
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

from motrix_train.operating_system import usable_cpus

HERE = Path(__file__).parent
RESULTS = HERE / "results"
CURVE = ("env_steps", "mean_return", "metrics/velocity_error", "metrics/yaw_rate_error")
EVALUATED = "evaluation/mean_return"
TRAINER = [sys.executable, "-m", "motrix_train"]
UNSEEN = 101  # seed of a ground that no training walks on
POINTS = 60
INTRODUCTION = """# What the presets learn

Each line is a training that was run: `learn.py` beside this page calls the command, evaluates the policy that the run
calls its best over 256 episodes that training never saw (mean action), and writes this table and the pictures. That is
the policy that `motrix-train evaluate` takes; beside it stands after how many steps it was saved. The first runs, from
before a training evaluated its policies, were judged by their last one. Wall time is of the whole command, start
included; a run on one core shared its machine with another. Curves are of training, with its exploration noise and, for
some, shorter episodes; dots are of whole episodes with the mean action, 64 each. Where the ground is made from a seed,
falls are counted on ground of another seed as well. A curriculum that ends in an environment is a curve beside those of
its seeds, after the steps of its earlier stages.

| environment | backend | seed | env steps | wall time | policy | return | falls | metrics | command | machine |
|---|---|---|---|---|---|---|---|---|---|---|
"""


COMPARISON = """
## Beside a target, and beside PPO elsewhere

Mean return of 1000 over the seeds above. The target is what the preset is meant to reach. Elsewhere are the returns
that SLM-Lab reports for PPO with 100 M env steps on MuJoCo Playground's versions of the same tasks
(https://github.com/kengz/SLM-Lab, docs/BENCHMARKS.md). [FINDINGS.md](FINDINGS.md) says what is behind the targets that
are missed.

| environment | target | torch | jax | PPO elsewhere, 100 M steps |
|---|---|---|---|---|
"""
BESIDE_SAC = """
## SAC beside PPO

The same task with both, each with its preset: the return over 256 episodes, the env steps after which an evaluation
first reached the target above, all env steps, and the wall time of the whole command. PPO makes more of a minute, SAC
more of an env step.

| environment | backend | seed | PPO | to target | env steps | wall time | SAC | to target | env steps | wall time |
|---|---|---|---|---|---|---|---|---|---|---|
"""
TARGETS = {  # Motrix/<name>-v0: the target, and the return elsewhere where there is one
    "CartPoleBalance": (950, 968),
    "CartPoleSwingup": (800, 729),
    "Pendulum": (700, 637),
    "Acrobot": (150, 253),
    "PointMass": (850, 868),
    "ReacherEasy": (900, 955),
    "ReacherHard": (850, 947),
    "FingerSpin": (700, 713),
    "FingerTurnEasy": (700, 664),
    "FingerTurnHard": (500, 590),
    "CheetahRun": (700, 883),
    "HopperStand": (850, 237),
    "HopperHop": (200, 22),
    "WalkerStand": (950, 948),
    "WalkerWalk": (900, 945),
    "WalkerRun": (500, 760),
    "HumanoidStand": (500, 115),
    "BallInCup": (900, 942),
    "FishSwim": (400, 581),
    "Swimmer6": (500, 591),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", help="train and evaluate this environment, or this curriculum, first")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--algorithm", default="ppo", choices=("ppo", "sac"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--keep", type=Path, help="folder in which the runs are kept")
    args = parser.parse_args()
    if args.what:
        folder = args.keep or Path(tempfile.mkdtemp())
        if args.what.endswith(".toml"):
            keep(follow(args.what, folder))
        else:
            for seed in args.seeds:
                keep(train(args.what, args.backend, args.algorithm, seed, folder))
    results = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    write_table(results)
    for name in sorted({_name(result) for result in results}):
        draw([result for result in results if _name(result) == name], HERE / f"{name}.png")


def keep(result: dict) -> None:
    """Writes what came of one training or curriculum into `results/`."""
    RESULTS.mkdir(exist_ok=True)
    file = f"{_name(result)}_{_label(result).replace(' ', '')}.json"
    (RESULTS / file).write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def train(env_id: str, backend: str, algorithm: str, seed: int, folder: Path) -> dict:
    """One training through the command line and what came of it."""
    run = folder / f"{_named(env_id, backend, algorithm)}_seed{seed}"
    chosen = [] if algorithm == "ppo" else ["--algorithm", algorithm]
    arguments = ["train", env_id, *chosen, "--backend", backend, "--seed", str(seed)]
    seconds = _timed([*TRAINER, *arguments, "--run-dir", str(run)])
    return summary(arguments, [run], seconds)


def follow(plan: str, folder: Path) -> dict:
    """One curriculum through the command line and what came of it in its last stage."""
    run = folder / Path(plan).stem
    arguments = ["curriculum", plan]
    seconds = _timed([*TRAINER, *arguments, "--run-dir", str(run)])
    return {**summary(arguments, sorted(path.parent for path in run.glob("*/progress.csv")), seconds), "plan": run.name}


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


def write_table(results: list[dict]) -> None:
    """README.md with one line a run."""
    lines = []
    for result in results:
        found = result["evaluation"]
        success = {} if found.get("success") is None else {"success": found["success"]}
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in (success | found["metrics"]).items()) or "-"
        falls = ", unseen ground ".join(_falls(result[where]) for where in ("evaluation", "unseen") if where in result)
        lines.append(
            f"| {result['env_id']} | {_trainer(result)} | {result['seed']} | {result['env_steps'] / 1e6:.2f} M "
            f"| {result['wall_seconds'] / 60:.1f} min | {result['judged']}, {found['env_steps'] / 1e6:.2f} M "
            f"| {found['mean_return']:.0f} | {falls} | {metrics} "
            f"| `{result['command']}` | {result['machine']} |"
        )
    of_ppo = [result for result in results if _algorithm(result) == "ppo"]
    lines += [COMPARISON + "\n".join(_compared(name, of_ppo) for name in TARGETS)]
    lines += [BESIDE_SAC + "\n".join(_beside(result, results) for result in results if _algorithm(result) == "sac")]
    pictures = [f"\n![{path.stem}]({path.name})" for path in sorted({HERE / f"{_name(r)}.png" for r in results})]
    (HERE / "README.md").write_text(INTRODUCTION + "\n".join(lines + pictures) + "\n", "utf-8")


def _falls(evaluation: dict) -> str:
    return f"{100 * sum(evaluation['termination'].values()):.1f} %"


def _compared(name: str, results: list[dict]) -> str:
    target, elsewhere = TARGETS[name]
    cells = []
    for backend in ("torch", "jax"):
        returns = [
            result["evaluation"]["mean_return"]
            for result in results
            if (result["env_id"], result["backend"]) == (f"Motrix/{name}-v0", backend)
        ]
        cells.append(f"{sum(returns) / len(returns):.0f}" if returns else "-")
    return f"| Motrix/{name}-v0 | {target} | {' | '.join(cells)} | {elsewhere} |"


def _beside(result: dict, results: list[dict]) -> str:
    """A line of the comparison: a run of SAC, and that of PPO with the same backend and seed, or with Torch."""
    env_id, seed = result["env_id"], result["seed"]
    others = {
        other["backend"]: other
        for other in results
        if (other["env_id"], other["seed"], _algorithm(other)) == (env_id, seed, "ppo") and "plan" not in other
    }
    other = others.get(result["backend"], others.get("torch"))
    return f"| {env_id} | {result['backend']} | {seed} | {_costs(other)} | {_costs(result)} |"


def _costs(result: dict | None) -> str:
    """Return, env steps until the target, all env steps and wall time, as cells."""
    if result is None:
        return "- | - | - | -"
    target = TARGETS[result["env_id"].removeprefix("Motrix/").removesuffix("-v0")][0]
    steps, returns = result.get("evaluations", {}).values() or ([], [])
    first = next((step for step, reached in zip(steps, returns, strict=True) if reached >= target), None)
    cells = (
        f"{result['evaluation']['mean_return']:.0f}",
        "-" if first is None else _thousands(first),
        _thousands(result["env_steps"]),
        f"{result['wall_seconds'] / 60:.1f} min",
    )
    return " | ".join(cells)


def _thousands(steps: float) -> str:
    return f"{steps / 1000:,.0f} k"


def draw(results: list[dict], path: Path) -> None:
    """The curves of one environment and backend, a line a seed."""
    columns = [name for name in CURVE[1:] if name in results[0]["curve"]]
    figure = Figure(figsize=(4 * len(columns), 3), layout="constrained")
    figure.suptitle(f"{results[0]['env_id']}, {_trainer(results[0])}", fontsize=10)
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


def _name(result: dict) -> str:
    return _named(result["env_id"], result["backend"], _algorithm(result))


def _named(env_id: str, backend: str, algorithm: str) -> str:
    return "_".join([env_id.rpartition("/")[2], backend, *([] if algorithm == "ppo" else [algorithm])])


def _algorithm(result: dict) -> str:
    return result.get("algorithm", "ppo")


def _trainer(result: dict) -> str:
    """The backend, and the algorithm if it is not PPO."""
    return result["backend"] + ("" if _algorithm(result) == "ppo" else f", {_algorithm(result).upper()}")


def _label(result: dict) -> str:
    return result.get("plan", f"seed {result['seed']}")


def _cores() -> str:
    count = len(usable_cpus())
    return "1 core" if count == 1 else f"{count} cores"


def _number(text: str) -> float | None:
    return float(f"{float(text):.5g}") if text else None


if __name__ == "__main__":
    main()
