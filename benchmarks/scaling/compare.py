"""Trains CartPole with one process of 256 environments and with two of 128, and draws the curves of both.

    python benchmarks/scaling/compare.py --seeds 0 1 2          # trains, and draws
    python benchmarks/scaling/compare.py --backend jax --seeds 0
    python benchmarks/scaling/compare.py                        # the picture again, from the results kept

Both have the same rows, budget and number of updates. Every run is one entry of results.json.
"""

import argparse
import csv
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
ENVS = 256
ENV_STEPS = 983_040  # twelve checkpoint intervals, the whole budget of the preset
CURVES = {"mean_return": "mean return while training", "evaluation/mean_return": "mean return without exploration"}
COLOURS = {1: "tab:blue", 2: "tab:orange"}
COMMAND = Path(sys.executable).with_name("motrix-train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="torch", choices=("torch", "jax"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    args = parser.parse_args()
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else []
    for seed in args.seeds:
        for workers in (1, 2):
            result = train(args.backend, seed, workers)
            results = [other for other in results if any(other[name] != result[name] for name in list(result)[:3])]
            results.append(result)
            RESULTS.write_text(json.dumps(results) + "\n", "utf-8")
    draw(results, HERE / "cartpole.png")


def train(backend: str, seed: int, workers: int) -> dict:
    """One training with one thread for each worker, and its curve."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        options = ["train", "Motrix/CartPole-v0", "--backend", backend, "--seed", str(seed), "--device", "cpu"]
        budget = ["--num-envs", str(ENVS // workers), "--max-env-steps", str(ENV_STEPS), "--num-threads", "1"]
        more = ["--set", "evaluation_interval=6", "--run-dir", str(run), "--quiet"]
        command = [*launcher(backend, workers), str(COMMAND), *options, *budget, *more]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with (run / "progress.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    curves = {
        name: [(int(row["env_steps"]), round(float(row[name]), 1)) for row in rows if row[name]] for name in CURVES
    }
    return {"backend": backend, "workers": workers, "seed": seed, "curves": curves}


def launcher(backend: str, workers: int) -> list[str]:
    """What starts so many workers of a Python script on this machine."""
    if workers == 1:
        return [sys.executable]
    if backend == "torch":
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"--coordinator-address=127.0.0.1:{listening.getsockname()[1]}"
    return [sys.executable, "-m", "skrl.utils.distributed.jax", f"--nproc-per-node={workers}", address]


def draw(results: list[dict], path: Path) -> None:
    """The mean returns of every run over the env steps of all its workers."""
    backends = sorted({result["backend"] for result in results}, reverse=True)
    figure = Figure(figsize=(9, 3 * len(backends)), layout="constrained")
    for row, backend in zip(figure.subplots(len(backends), 2, squeeze=False), backends, strict=True):
        for axis, (name, title) in zip(row, CURVES.items(), strict=True):
            for result in (result for result in results if result["backend"] == backend):
                workers = result["workers"]
                label = f"{workers} x {ENVS // workers} environments" if result["seed"] == 0 else None
                axis.plot(*zip(*result["curves"][name], strict=True), COLOURS[workers], linewidth=1.2, label=label)
            axis.set_title(f"CartPole, {backend}: {title}", fontsize=9, loc="left")
            axis.set_xlabel("environment steps", fontsize=8)
            axis.xaxis.set_major_formatter(EngFormatter())
            axis.tick_params(labelsize=8)
            axis.grid(alpha=0.3)
        row[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
