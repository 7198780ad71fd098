"""The page of what the presets learn, from the results of `learn.py`."""

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
first reached the target above, all env steps, and the wall time of the whole command, on a core that others used too.
PPO is the run that is the most alike: with the same seed where there is one, then with the same backend.

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


def page(results: list[dict]) -> str:
    """README.md, with one line a run."""
    lines = []
    for result in results:
        found = result["evaluation"]
        success = {} if found.get("success") is None else {"success": found["success"]}
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in (success | found["metrics"]).items()) or "-"
        falls = ", unseen ground ".join(_falls(result[where]) for where in ("evaluation", "unseen") if where in result)
        lines.append(
            f"| {result['env_id']} | {trainer(result)} | {result['seed']} | {result['env_steps'] / 1e6:.2f} M "
            f"| {result['wall_seconds'] / 60:.1f} min | {result['judged']}, {found['env_steps'] / 1e6:.2f} M "
            f"| {found['mean_return']:.0f} | {falls} | {metrics} "
            f"| `{result['command']}` | {result['machine']} |"
        )
    of_ppo = [result for result in results if _algorithm(result) == "ppo"]
    lines += [COMPARISON + "\n".join(_compared(name, of_ppo) for name in TARGETS)]
    lines += [BESIDE_SAC + "\n".join(_beside(result, of_ppo) for result in results if _algorithm(result) == "sac")]
    pictures = [f"\n![{name}]({name}.png)" for name in sorted({name_of(result) for result in results})]
    return INTRODUCTION + "\n".join(lines + pictures) + "\n"


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


def _beside(result: dict, of_ppo: list[dict]) -> str:
    """A line of the comparison: a run of SAC, and the run of PPO that is the most like it."""
    env_id, backend, seed = result["env_id"], result["backend"], result["seed"]
    same_task = [other for other in of_ppo if other["env_id"] == env_id and "variant" not in other]
    other = max(same_task, key=lambda run: (run["seed"] == seed, run["backend"] == backend), default=None)
    return f"| {env_id} | {backend} | {seed} | {_costs(other)} | {_costs(result)} |"


def _costs(result: dict | None) -> str:
    """Return, env steps until the target, all env steps and wall time, as cells."""
    if result is None:
        return "- | - | - | -"
    target, _ = TARGETS.get(result["env_id"].removeprefix("Motrix/").removesuffix("-v0"), (float("inf"), None))
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


def name_of(result: dict) -> str:
    return named(result["env_id"], result["backend"], _algorithm(result))


def named(env_id: str, backend: str, algorithm: str) -> str:
    return "_".join([env_id.rpartition("/")[2], backend, *([] if algorithm == "ppo" else [algorithm])])


def _algorithm(result: dict) -> str:
    return result.get("algorithm", "ppo")


def trainer(result: dict) -> str:
    """The backend, and the algorithm if it is not PPO."""
    return result["backend"] + ("" if _algorithm(result) == "ppo" else f", {_algorithm(result).upper()}")
