"""What the pages show of an id: its clip or its still, and what its preset has learned, from benchmarks/learning."""

import functools
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CLIPS = ROOT / "docs" / "clips"
LEARNING = ROOT / "benchmarks" / "learning"


def picture(env_id: str, clips: Path = CLIPS) -> tuple[str, str]:
    """The file in `clips` that shows an id, and what is seen in it."""
    name = short(env_id)
    if (clips / f"{name}.webp").exists():
        return f"{name}.webp", f"A trained policy in {env_id}"
    return f"{name}.png", f"{env_id} at the beginning of an episode"


def section(env_id: str, has_preset: bool) -> list[str]:
    """An id: a moving picture, how to make and to train it, and what came of trainings; for a page in environments."""
    file, seen = picture(env_id)
    preset = f"Its [preset](../configuration.md#{anchor(env_id)}) is trained by `motrix-train train {env_id}`."
    return [
        "",
        f"## {env_id}",
        "",
        f"![{seen}](../clips/{file})",
        "",
        *([preset] if has_preset else [f"It has no preset. `motrix-train train {env_id}` takes the defaults."]),
        *(_table(env_id) if has_preset else []),
        *(line for curve in curves(env_id) for line in ("", f"![Learning curves](../../benchmarks/learning/{curve})")),
    ]


def _table(env_id: str) -> list[str]:
    found = results(env_id)
    if not found:
        return ["It has not been trained to its end yet, so there is no curve."]
    return [
        "What came of it, each policy over 256 episodes that its training never saw, with the mean action:",
        "",
        "| backend | seed | env steps | wall time | mean return | falls | metrics |",
        "|---|---|---|---|---|---|---|",
        *map(_row, found),
        "",
        "[What the presets learn](../../benchmarks/learning/README.md) says how this was measured.",
    ]


def _row(result: dict[str, Any]) -> str:
    found = result["evaluation"]
    success = {} if found.get("success") is None else {"success": found["success"]}
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in (success | found["metrics"]).items()) or "-"
    falls = 100 * sum(found["termination"].values())
    trainer = result["backend"] + (", SAC" if _is_of_sac(result) else "")
    return (
        f"| {trainer} | {result['seed']} | {result['env_steps'] / 1e6:.2f} M "
        f"| {result['wall_seconds'] / 60:.1f} min, {result['machine'].rpartition(', ')[2]} "
        f"| {found['mean_return']:.0f} | {falls:.1f} % | {metrics} |"
    )


def results(env_id: str) -> list[dict[str, Any]]:
    """The trainings of an id by its presets alone, first those of PPO, with Torch."""
    found = [result for result in _all_results() if result["env_id"] == env_id and "variant" not in result]
    return sorted(found, key=lambda result: (_is_of_sac(result), result["backend"] != "torch", result["seed"]))


def curves(env_id: str) -> list[str]:
    """The pictures of benchmarks/learning that belong to an id, one for each algorithm and backend."""
    names = [f"{short(env_id)}_{backend}{of}.png" for of in ("", "_sac") for backend in ("torch", "jax")]
    return [name for name in names if (LEARNING / name).exists()]


def _is_of_sac(result: dict[str, Any]) -> bool:
    return result.get("algorithm") == "sac"


def short(env_id: str) -> str:
    """An id without its namespace, which names files."""
    return env_id.rpartition("/")[2]


def anchor(env_id: str) -> str:
    """The anchor of a heading that is an id."""
    return env_id.replace("/", "").lower()


@functools.cache
def _all_results() -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in sorted((LEARNING / "results").glob("*.json"))]
