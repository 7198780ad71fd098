"""Ready-made policies, which MuJoCo trained, judged in MuJoCo Warp on Warp's CPU device; a table of docs/warp.md.

    python benchmarks/other_engine.py                     # of all ids that other_engine.json does not have yet
    python benchmarks/other_engine.py Motrix/Go1-v0       # one id once more

Both engines simulate the same episodes: the same start states, commands and terrain.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motrix_train.pretrained import index

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "warp_parity" / "other_engine.json"
PAGE = ROOT / "docs" / "warp.md"
GENERATED = re.compile(r"(?<=<!-- other engine -->\n).*?(?=<!-- end of other engine -->)", re.DOTALL)

EPISODES = 16
ENGINES = {"mujoco": (), "warp": ("--physics", "warp", "--env", "device=cpu")}
DIGITS = 3  # significant, of a metric


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", help="all that have a policy and no result, by default")
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args(arguments)
    results = json.loads(args.results.read_text("utf-8")) if args.results.exists() else {}
    for env_id in args.ids or [env_id for env_id in index() if env_id not in results]:
        results[env_id] = {engine: evaluation(env_id, engine, args.episodes) for engine in ENGINES}
        print(env_id, *(f"{engine} {result['mean_return']:.0f}" for engine, result in results[env_id].items()))
        args.results.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    page = args.page.read_text("utf-8")
    args.page.write_text(GENERATED.sub(lambda _: table(results), page), "utf-8")
    return 0


def evaluation(env_id: str, engine: str, episodes: int) -> dict[str, Any]:
    """What `motrix-train evaluate` says of the ready-made policy with one engine, as far as the table needs it."""
    command = [sys.executable, "-m", "motrix_train", "evaluate", env_id, "--pretrained", "--json"]
    command += ["--episodes", str(episodes), *ENGINES[engine]]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return {name: result[name] for name in ("episodes", "mean_return", "return_ci95", "termination", "metrics")}


def table(results: dict[str, Any]) -> str:
    """The table of the page, in the order of the ready-made policies."""
    lines = ["| id | return | with MuJoCo Warp | ended early | with MuJoCo Warp | metrics | with MuJoCo Warp |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for env_id in filter(results.__contains__, index()):
        sides = [results[env_id][engine] for engine in ENGINES]
        cells = [cell for column in (_return, _ended, _metrics) for cell in map(column, sides)]
        lines.append(f"| {env_id.removeprefix('Motrix/')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _return(result: dict[str, Any]) -> str:
    low, high = result["return_ci95"]
    return f"{result['mean_return']:.0f} ± {(high - low) / 2:.0f}"


def _ended(result: dict[str, Any]) -> str:
    reasons = {name: share for name, share in result["termination"].items() if share > 0}
    return ", ".join(f"{name} {share:.0%}" for name, share in reasons.items()) or "none"


def _metrics(result: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.{DIGITS}g}" for name, value in result["metrics"].items()) or "-"


if __name__ == "__main__":
    sys.exit(main())
