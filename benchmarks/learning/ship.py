"""Puts trained policies into the package as its ready-made ones, with their rows of `results/`.

    python benchmarks/learning/learn.py Motrix/Go1-v0 --keep RUNS
    python benchmarks/learning/ship.py RUNS

Takes the best policy of every run in the folder, or of the last run of a curriculum, whose row is in `results/`, in
float32 and without the optimizer.
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motrix_train import pretrained
from motrix_train.pretrained import Pretrained
from motrix_train.storage import checkpoint
from motrix_train.storage.json_file import json_bytes
from motrix_train.storage.run_directory import RunDirectory

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of runs, as `learn.py --keep` leaves it")
    args = parser.parse_args()
    index = json.loads(pretrained.INDEX.read_text("utf-8"))
    for run in sorted(args.runs.iterdir()):
        *before, last = sorted(run.glob("*/progress.csv")) or [run / "progress.csv"]
        rows = sorted(RESULTS.glob(f"*_{run.name}.json" if before else f"{run.name}.json"))
        if len(rows) != 1:
            print(f"{run} has no row in {RESULTS}, left out")
            continue
        result = json.loads(rows[0].read_text("utf-8"))
        policy = last.parent / "checkpoints" / "best.safetensors"
        trained = checkpoint.read(policy).policy_alone()
        env_steps = trained.env_steps + sum(steps_of(progress.parent) for progress in before)
        if env_steps != result["evaluation"]["env_steps"]:
            parser.error(f"{policy} has {env_steps} env steps, its row {result['evaluation']['env_steps']}")
        path = pretrained.file_of(trained.env_id)
        checkpoint.write(path, dataclasses.replace(trained, state=single(trained.state), env_steps=env_steps))
        index[trained.env_id] = entry(rows[0].stem, result)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    pretrained.INDEX.write_bytes(json_bytes(dict(sorted(index.items()))))


def steps_of(run: Path) -> int:
    """Env steps of a run."""
    return int(RunDirectory.open(run).progress()["env_steps"][-1])


def entry(row: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of the index for a row, of its name and content."""
    known = {**result, **result["evaluation"], "row": row, "seed": result["seed"]}  # not the seed of the evaluation
    return {field.name: known[field.name] for field in dataclasses.fields(Pretrained)}


def single(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The same arrays, in single precision where they were in double."""
    return {
        name: single(x) if isinstance(x, Mapping) else np.asarray(x, np.float32) if np.asarray(x).dtype == float else x
        for name, x in tree.items()
    }


if __name__ == "__main__":
    main()
