"""How much faster models are that list their contact pairs and have no islands; a table of docs/performance.md.

    python benchmarks/contact_pairs.py                  # of all ids
    python benchmarks/contact_pairs.py Motrix/Go1-v0    # of one id

Each model is stepped beside the same model without the list and with islands, in short turns on one thread, from the
same states and with the same random controls. It fails where their positions differ in a bit.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium
import mujoco
import numpy as np

from motrix_gym import contact_pairs
from motrix_gym.registration import ENVS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "throughput" / "contact_pairs.json"
PAGE = ROOT / "docs" / "performance.md"
GENERATED = re.compile(r"(?<=<!-- contact pairs -->\n).*?(?=<!-- end of contact pairs -->)", re.DOTALL)

NUM_ENVS = 256
ENV_STEPS = 100  # that the robots move for before, so that they are in all states
TURN_STEPS, ROUNDS = 40, 16  # physics steps of a turn; turns


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", default=[env.id for env in ENVS], help="all by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--write-plain", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.write_plain:
        write_plain(args.ids[0], args.write_plain)
        return 0
    results = json.loads(args.results.read_text("utf-8")) if args.results.exists() else {}
    for env_id in args.ids:
        if (result := measure(env_id, args.rounds)) is None:
            continue
        results[env_id] = result
        print(f"{env_id}: {result['pairs']} pairs, {result['speedup']:.3f} times as fast", flush=True)
        args.results.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    write_page(results, args.page)
    return 0


def measure(env_id: str, rounds: int) -> dict[str, Any] | None:
    """Compares the model of one id with its plain one; None where a task has several models."""
    envs: Any = gymnasium.make_vec(env_id, num_envs=NUM_ENVS, num_threads=1)
    if not hasattr(envs.task, "model"):
        return None
    qpos, qvel = states(envs)
    models = envs.task.model(), plain_model(env_id)
    batches = [mujoco.batch.Batch(model, NUM_ENVS, 1) for model in models]
    limits = np.where(models[0].actuator_ctrllimited[:, None].astype(bool), models[0].actuator_ctrlrange, [-1.0, 1.0])
    rng = np.random.default_rng(0)
    times: list[list[float]] = [[], []]
    for number in range(rounds):
        ctrl = rng.uniform(*limits.T, (NUM_ENVS, models[0].nu))
        for side in (0, 1) if number % 2 else (1, 0):
            times[side].append(turn(batches[side], qpos, qvel, ctrl))
        if (batches[0].bind("qpos") != batches[1].bind("qpos")).any():
            raise SystemExit(f"{env_id}: the model that lists its contact pairs simulates something else")
    listed, plain = np.array(times)
    return {
        "pairs": models[0].npair if models[0].npair != models[1].npair else 0,
        "islands": not models[0].opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_ISLAND),
        "speedup": round(float(np.median(plain / listed)), 3),
        "quartiles": np.quantile(plain / listed, (0.25, 0.75)).round(3).tolist(),
        "microseconds": round(float(np.median(listed)) / NUM_ENVS / TURN_STEPS * 1e6, 3),
    }


def states(envs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities somewhere in the episodes of a policy that acts at random."""
    envs.reset(seed=0)
    space = envs.action_space
    rng = np.random.default_rng(0)
    for _ in range(ENV_STEPS):
        envs.step(rng.uniform(space.low, space.high).astype(space.dtype))
    physics = envs.batch.state.physics
    return physics.qpos, physics.qvel


def turn(batch: mujoco.batch.Batch, qpos: np.ndarray, qvel: np.ndarray, ctrl: np.ndarray) -> float:
    """The time that the physics steps of one turn take, seconds of the processor."""
    batch.reset()
    batch.bind("qpos")[:], batch.bind("qvel")[:], batch.bind("ctrl")[:] = qpos, qvel, ctrl
    start = time.process_time()
    batch.step(nstep=TURN_STEPS)
    return time.process_time() - start


def plain_model(env_id: str) -> mujoco.MjModel:
    """The model as it would be without the list; from another process, since compiled models are kept."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "plain.mjb")
        subprocess.run([sys.executable, __file__, env_id, "--write-plain", str(file)], check=True)
        return mujoco.MjModel.from_binary_path(str(file))


def write_plain(env_id: str, file: Path) -> None:
    with mock.patch.object(contact_pairs, "_is_worth_a_list", return_value=False):
        model = gymnasium.make_vec(env_id, num_envs=1).unwrapped.task.model()  # pyright: ignore
    if model.ntree == 1:
        model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
    mujoco.mj_saveModel(model, str(file))


def write_page(results: dict[str, dict], page: Path) -> None:
    lines = [
        "| id | pairs listed | islands | times as fast | quartiles | µs of a physics step |",
        "|---|---|---|---|---|---|",
        *(
            f"| {env.id.removeprefix('Motrix/')} | {result['pairs'] or '-'} | {'yes' if result['islands'] else 'no'} "
            f"| {result['speedup']:.2f} | {result['quartiles'][0]:.2f} to {result['quartiles'][1]:.2f} "
            f"| {result['microseconds']:.1f} |"
            for env in ENVS
            if (result := results.get(env.id))
        ),
        "",
    ]
    page.write_text(GENERATED.sub(lambda _: "\n".join(lines), page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
