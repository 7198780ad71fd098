"""Puts trained policies into the package as its ready-made ones, with their rows of `results/`.

    python benchmarks/learning/learn.py Motrix/Go1-v0 --keep RUNS
    python benchmarks/learning/ship.py RUNS

Takes the best policy of every run in the folder whose row is in `results/`, in float32 and without the optimizer.
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

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of runs, as `learn.py --keep` leaves it")
    args = parser.parse_args()
    index = json.loads(pretrained.INDEX.read_text("utf-8"))
    for policy in sorted(args.runs.glob("*/checkpoints/best.safetensors")):
        row = RESULTS / f"{policy.parts[-3]}.json"
        if not row.exists():
            print(f"{policy}: {row.name} is not in {RESULTS}, left out")
            continue
        result = json.loads(row.read_text("utf-8"))
        trained = checkpoint.read(policy).policy_alone()
        if trained.env_steps != result["evaluation"]["env_steps"]:
            parser.error(f"{policy} has {trained.env_steps} env steps, its row {result['evaluation']['env_steps']}")
        path = pretrained.file_of(trained.env_id)
        checkpoint.write(path, dataclasses.replace(trained, state=single(trained.state)))
        index[trained.env_id] = entry(result)
        print(
            f"{pretrained.file_of(trained.env_id)}: {pretrained.file_of(trained.env_id).stat().st_size / 1000:.0f} kB"
        )
    pretrained.INDEX.write_bytes(json_bytes(dict(sorted(index.items()))))


def entry(result: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of the index for a row."""
    known = {**result, **result["evaluation"]}
    return {field.name: known[field.name] for field in dataclasses.fields(Pretrained)}


def single(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The same arrays, in single precision where they were in double."""
    return {
        name: single(x) if isinstance(x, Mapping) else np.asarray(x, np.float32) if np.asarray(x).dtype == float else x
        for name, x in tree.items()
    }


if __name__ == "__main__":
    main()
