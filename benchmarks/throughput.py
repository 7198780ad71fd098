"""How fast environments are beside their bare physics; the table and the picture of docs/performance.md.

    python benchmarks/throughput.py                           # of all ids, what results.json does not have yet
    python benchmarks/throughput.py Motrix/Go1-v0 --again     # one id once more
    python benchmarks/throughput.py --short                   # fails where a ratio is a tenth below the recorded one

Results are kept after each setting, so a measurement that was stopped goes on where it was. Linux, for the memory.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import gymnasium
import mujoco
import numpy as np
from matplotlib.figure import Figure

from motrix_gym.batch import TaskBatch
from motrix_gym.mujoco_warnings import DIVERGENCE_IS_NO_NEWS
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.registration import ENVS
from motrix_gym.vector_env import MotrixVectorEnv
from motrix_train.operating_system import usable_cpus

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "throughput" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = "throughput.png"  # beside the page
GENERATED = re.compile(r"(?<=<!-- throughput -->\n).*?(?=<!-- end of throughput -->)", re.DOTALL)

NUM_ENVS = 1, 64, 1024
THREADS = 1, 0  # 0: one a CPU
SECONDS = 8.0  # s that one setting is measured for
TURN, MOST_STEPS = 0.15, 100  # s and vector steps of one turn
FEWEST_ROUNDS = 4
WARM_UP = 2.0, 100  # s and vector steps, whichever ends first
ENVS_IN_MEMORY = 2048
EXPENSIVE = 20.0  # µs of bare physics in one env step, from which the higher bar counts
BARS = 0.85, 0.95
SHORT = "Motrix/CartPole-v0", "Motrix/CheetahRun-v0", "Motrix/Go1-v0", "Motrix/FrankaLiftCube-v0"
SHORT_NUM_ENVS, SHORT_SECONDS = 1024, 5.0
MOST_LOST = 0.1  # of a recorded ratio

MEMORY = """
import sys, gymnasium, motrix_gym
def peak():
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
def use(num_envs):
    envs = gymnasium.make_vec(sys.argv[1], num_envs=num_envs, num_threads=1)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(envs.action_space.sample())
use(1)
before = peak()
use(int(sys.argv[2]))
print((peak() - before) / int(sys.argv[2]))
"""


class PhysicsStep(NamedTuple):
    """What the physics of one task was told in one control step.

    Attributes:
        batch: The simulations.
        substeps: Physics steps.
        inputs: Views into the simulations, and what is written into each: control signals, forces on bodies.
    """

    batch: mujoco.batch.Batch
    substeps: int
    inputs: list[tuple[np.ndarray, np.ndarray]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", default=[env.id for env in ENVS], help="all by default")
    parser.add_argument("--num-envs", type=int, nargs="+", default=NUM_ENVS)
    parser.add_argument("--threads", type=int, nargs="+", default=THREADS, help="physics threads; 0 is one a CPU")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each setting")
    parser.add_argument("--again", action="store_true", help="also measure what results.json has")
    parser.add_argument("--short", action="store_true", help="compare a few ids with results.json, and write nothing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args(arguments)
    results = json.loads(args.results.read_text("utf-8")) if args.results.exists() else []
    if args.short:
        return compare(results)
    threads = dict.fromkeys(count or len(usable_cpus()) for count in args.threads)
    for setting in product(args.ids, args.num_envs, threads):
        known = [result for result in results if _setting(result) == setting]
        if known and not args.again:
            continue
        result = measure(*setting, args.seconds)
        of_id = [] if args.again else [other for other in results if other["env_id"] == result["env_id"]]
        result["bytes_per_env"] = of_id[0]["bytes_per_env"] if of_id else memory(result["env_id"])
        results = sorted([*(other for other in results if other not in known), result], key=_setting)
        write(results, args.results)
        print(_line(result), flush=True)
    if results:
        write_page(results, args.page)
    return 0


def compare(recorded: list[dict]) -> int:
    """Measures a few ids for a short time, and returns 1 where one is slower beside its physics than it was."""
    known = {_setting(result): result for result in recorded}
    exit_code = 0
    for env_id in SHORT:
        now = measure(env_id, SHORT_NUM_ENVS, 1, SHORT_SECONDS)
        print(_line(now), flush=True)
        before = known.get(_setting(now))
        if before is None:
            print(f"{env_id}: no ratio is recorded; measure one: python benchmarks/throughput.py {env_id}")
            exit_code = 1
            continue
        for name in ("ratio", "ratio_with_resets"):
            if now[name] < (1 - MOST_LOST) * before[name]:
                print(f"{env_id}: the {name} dropped from {before[name]:.3f} to {now[name]:.3f}, by more than 10 %")
                exit_code = 1
    return exit_code


def measure(env_id: str, num_envs: int, threads: int, seconds: float) -> dict[str, Any]:
    """Env steps a second of one setting, in short turns: bare physics, `env.step`, and `env.step` with resets.

    The turns of a round begin at the same state and take the same actions. Bare physics takes the control signals and
    forces that the task makes of them, so that the first two simulate the same trajectories. On one thread, seconds
    are those of the processor, which other programs disturb less.
    """
    start = time.perf_counter()
    envs: Any = gymnasium.make_vec(env_id, num_envs=num_envs, num_threads=threads)
    construction = time.perf_counter() - start
    rng = np.random.default_rng(0)
    steps = warm_up(envs, rng)
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {"bare": [], "step": [], "step_with_resets": []}
    ends: list[tuple[np.ndarray, np.ndarray]] = []
    rounds, start = 0, time.perf_counter()
    while rounds < FEWEST_ROUNDS or time.perf_counter() - start < seconds:
        origin, actions = envs.get_state(), random_actions(envs, steps, rng)
        physics_steps = record(envs, actions)
        for turn in ("bare", "step") if rounds % 2 else ("step", "bare"):
            envs.set_state(origin)
            if turn == "bare":
                times[turn].append(_timed(clock, step_physics, physics_steps))
            else:
                with endless(envs):
                    times[turn].append(_timed(clock, step_envs, envs, actions))
        envs.set_state(origin)
        times["step_with_resets"].append(_timed(clock, step_envs, envs, actions, ends))
        rounds += 1
    envs.close()
    ended = sum(np.count_nonzero(terminated | truncated) for terminated, truncated in ends)
    bare, step, step_with_resets = (np.array(x) for x in times.values())
    control_dt = envs.batch.control_dt
    rates = {name: num_envs * steps / float(np.median(seconds)) for name, seconds in times.items()}
    return {
        "env_id": env_id,
        "num_envs": num_envs,
        "threads": threads,
        "machine": f"{platform.system()} {platform.machine()}, {len(usable_cpus())} CPUs",
        "control_dt": control_dt,
        "construction_seconds": short(construction),
        **{name: short(rate) for name, rate in rates.items()},
        "ratio": short(float(np.median(bare / step))),
        "ratio_quartiles": [short(x) for x in np.quantile(bare / step, (0.25, 0.75)).tolist()],
        "ratio_with_resets": short(float(np.median(bare / step_with_resets))),
        "simulated_seconds_per_second": short(rates["step_with_resets"] * control_dt),
        "ends_per_1000_steps": short(1000 * ended / (num_envs * steps * rounds)),
        "rounds": rounds,
        "steps_of_a_turn": steps,
    }


def record(envs: MotrixVectorEnv, actions: np.ndarray) -> list[PhysicsStep]:
    """Steps the environments without ends, and gives what their physics was told."""
    noted: list[PhysicsStep] = []
    step = CpuPhysics.step

    def noting(physics: CpuPhysics, ctrl: np.ndarray, force: Any, mask: np.ndarray | None) -> Any:
        batch, model = physics._batch, physics.model
        inputs = [(batch.bind("ctrl"), ctrl.copy())]
        for body, push in force.items():
            inputs.append((batch.bind("xfrc_applied")[:, model.body(body).id], push.copy()))
        noted.append(PhysicsStep(batch, physics._substeps, inputs))
        return step(physics, ctrl, force, mask)

    with endless(envs), mock.patch.object(CpuPhysics, "step", noting):
        step_envs(envs, actions)
    return noted


def step_physics(physics_steps: list[PhysicsStep]) -> None:
    with DIVERGENCE_IS_NO_NEWS:
        for batch, substeps, inputs in physics_steps:
            for view, values in inputs:
                view[:] = values
            batch.step(nstep=substeps, stage=mujoco.mjtStage.mjSTAGE_VEL)


def step_envs(
    envs: MotrixVectorEnv, actions: np.ndarray, ends: list[tuple[np.ndarray, np.ndarray]] | None = None
) -> None:
    for action in actions:
        _, _, terminated, truncated, _ = envs.step(action)
        if ends is not None:
            ends.append((terminated, truncated))


@contextmanager
def endless(envs: MotrixVectorEnv) -> Iterator[None]:
    """Until it is left, nothing but a divergence ends an episode; what a task asks for its ends is still computed."""
    with ExitStack() as stack:
        for batch in _task_batches(envs):
            kind = type(batch.task)
            stack.enter_context(mock.patch.object(batch, "max_episode_steps", None))
            stack.enter_context(mock.patch.object(kind, "terminated", _never(kind.terminated)))
        yield


def _never(terminated: Callable[..., dict[str, np.ndarray]]) -> Callable[..., dict[str, np.ndarray]]:
    return lambda *args: {name: np.zeros_like(ended) for name, ended in terminated(*args).items()}


def _task_batches(envs: MotrixVectorEnv) -> list[TaskBatch]:
    members = getattr(envs.batch, "_members", [envs.batch])  # of joined tasks; a task may have no environment
    return [batch for batch in members if batch is not None]


def warm_up(envs: Any, rng: np.random.Generator) -> int:
    """Has the environments at different times of their episodes, and gives the vector steps of a turn."""
    envs.reset(seed=0)
    state = envs.get_state()
    state["elapsed"] = rng.integers(0, envs.max_episode_steps, envs.num_envs)
    envs.set_state(state)
    longest, most_steps = WARM_UP
    times: list[float] = []
    while len(times) < most_steps and sum(times) < longest:
        times.append(_timed(time.perf_counter, step_envs, envs, random_actions(envs, 1, rng)))
    return int(np.clip(round(TURN / float(np.median(times))), 1, MOST_STEPS))


def random_actions(envs: MotrixVectorEnv, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Uniformly random actions, (steps, N, m)."""
    space: Any = envs.action_space
    return rng.uniform(space.low, space.high, (steps, *space.shape)).astype(space.dtype)


def _timed(clock: Callable[[], float], function: Callable[..., None], *args: Any) -> float:
    """How long a call takes, s."""
    start = clock()
    function(*args)
    return clock() - start


@cache
def memory(env_id: str) -> int:
    """By how many bytes one environment more raises the peak of a process that makes, resets and steps them."""
    command = [sys.executable, "-c", MEMORY, env_id, str(ENVS_IN_MEMORY)]
    return round(float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def write(results: list[dict], path: Path) -> None:
    """One line a result."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("[\n" + ",\n".join(map(json.dumps, results)) + "\n]\n", "utf-8")


def write_page(results: list[dict], page: Path) -> None:
    """Puts the table and the picture of the ids that were measured with the most environments into the page."""
    num_envs, threads = (max(result[name] for result in results) for name in ("num_envs", "threads"))
    of_ids: dict[str, dict[tuple[int, int], dict]] = {}
    for result in results:
        of_ids.setdefault(result["env_id"], {})[result["num_envs"], result["threads"]] = result
    found = {
        env.id: of_ids[env.id] for env in ENVS if {(num_envs, 1), (num_envs, threads)} <= of_ids.get(env.id, {}).keys()
    }
    met = sum(_is_met(of_id, num_envs, threads) for of_id in found.values())
    lines = [
        f"With {num_envs} environments on {_count(threads, 'thread')}, {met} of {len(found)} ids meet their bar.",
        "",
        f"![Env steps a second, and their ratio to bare physics]({PICTURE})",
        "",
        "| id | µs of bare physics | env steps/s | with resets | simulated s/s | ratio | bar | ratio with resets "
        "| ratio, 1 thread | ratio, 1 environment | KB | made in |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_table_row(env_id, of_id, num_envs, threads) for env_id, of_id in found.items()),
        "",
    ]
    page.write_text(GENERATED.sub(lambda _: "\n".join(lines), page.read_text("utf-8")), "utf-8")
    draw(found, threads, page.with_name(PICTURE))


def _table_row(env_id: str, of_id: dict[tuple[int, int], dict], num_envs: int, threads: int) -> str:
    result = of_id[num_envs, threads]
    cells = [
        env_id.removeprefix("Motrix/"),
        f"{_microseconds(of_id, num_envs):.1f}",
        f"{result['step']:,.0f}",
        f"{result['step_with_resets']:,.0f}",
        f"{result['simulated_seconds_per_second']:,.0f}",
        f"{result['ratio']:.2f}",
        f"{_bar(of_id, num_envs)}{'' if _is_met(of_id, num_envs, threads) else ' missed'}",
        f"{result['ratio_with_resets']:.2f}",
        f"{of_id[num_envs, 1]['ratio']:.2f}",
        f"{of_id[1, 1]['ratio']:.2f}" if (1, 1) in of_id else "-",
        f"{result['bytes_per_env'] / 1000:.1f}",
        f"{result['construction_seconds']:.2f} s",
    ]
    return f"| {' | '.join(cells)} |"


def _microseconds(of_id: dict[tuple[int, int], dict], num_envs: int) -> float:
    """What the bare physics of one env step costs on one thread, µs."""
    return 1e6 / of_id[num_envs, 1]["bare"]


def _bar(of_id: dict[tuple[int, int], dict], num_envs: int) -> float:
    cheap, expensive = BARS
    return expensive if _microseconds(of_id, num_envs) > EXPENSIVE else cheap


def _is_met(of_id: dict[tuple[int, int], dict], num_envs: int, threads: int) -> bool:
    return of_id[num_envs, threads]["ratio"] >= _bar(of_id, num_envs)


def draw(found: dict[str, dict[tuple[int, int], dict]], threads: int, path: Path) -> None:
    """Env steps a second by id and number of environments, and the ratio over what bare physics costs."""
    figure = Figure(figsize=(10, 2 + 0.16 * len(found)), layout="constrained")
    rates, ratios = figure.subplots(1, 2)
    names = [env_id.removeprefix("Motrix/") for env_id in found]
    for num_envs in sorted({setting[0] for of_id in found.values() for setting in of_id if setting[1] == threads}):
        results = [of_id.get((num_envs, threads), {}) for of_id in found.values()]
        costs = [_microseconds(of_id, num_envs) if (num_envs, 1) in of_id else np.nan for of_id in found.values()]
        label = _count(num_envs, "environment")
        [dots] = rates.plot([result.get("step", np.nan) for result in results], names, ".", label=label)
        rates.plot([result.get("bare", np.nan) for result in results], names, "|", color=dots.get_color())
        ratios.plot(costs, [result.get("ratio", np.nan) for result in results], ".", label=label)
    rates.set_title(f"env steps/s on {_count(threads, 'thread')}; a line is bare physics", fontsize=9, loc="left")
    rates.invert_yaxis()
    ratios.set_title("ratio of env.step to bare physics", fontsize=9, loc="left")
    ratios.set_xlabel("µs of the bare physics of one env step, on one thread", fontsize=8)
    rates.set_xscale("log")
    ratios.set_xscale("log")
    cheap, expensive = BARS
    first, last = ratios.get_xlim()
    steps = [min(first, EXPENSIVE), EXPENSIVE, EXPENSIVE, max(last, EXPENSIVE)]
    ratios.plot(steps, [cheap, cheap, expensive, expensive], color="0.5", linewidth=1, label="the bar")
    for axis in (rates, ratios):
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=100)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _setting(result: dict) -> tuple[str, int, int]:
    return result["env_id"], result["num_envs"], result["threads"]


def _line(result: dict) -> str:
    low, high = result["ratio_quartiles"]
    return (
        f"{result['env_id']:34} {result['num_envs']:5} x, {_count(result['threads'], 'thread')}: "
        f"bare {result['bare']:9,.0f}/s, step {result['step']:9,.0f}/s, ratio {result['ratio']:.3f} "
        f"({low:.3f} to {high:.3f}, {result['rounds']} rounds), with resets {result['ratio_with_resets']:.3f}"
    )


def short(number: float) -> float:
    return float(f"{number:.4g}")


if __name__ == "__main__":
    sys.exit(main())
