"""How fast other suites are beside this one; a table of docs/performance.md.

    python benchmarks/peers.py --venvs FOLDER                   # what peers.json does not have yet
    python benchmarks/peers.py --venvs FOLDER --again envpool   # one suite once more

FOLDER has a virtual environment for each suite, named as it: envpool, gymnasium, mjbatch, unilab; `nox -s peers` makes
them. Each contender is a process of its own, and they step in turns, so that other programs disturb both alike.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import throughput

from motrix_gym.contact_pairs import compile_for_simulation
from motrix_train.operating_system import usable_cpus

ROOT = Path(__file__).parents[1]
CONTENDER = ROOT / "benchmarks" / "contenders.py"
RESULTS = ROOT / "benchmarks" / "throughput" / "peers.json"
PAGE = ROOT / "docs" / "performance.md"
GENERATED = re.compile(r"(?<=<!-- peers -->\n).*?(?=<!-- end of peers -->)", re.DOTALL)

TURN, ROUNDS = 0.5, 5  # s; pairs of turns
RECORDED_STEPS = 32  # control steps that bare physics repeats
ALL = 0  # threads: one a CPU


class Pair(NamedTuple):
    """A task of another suite and the one of ours that is most like it.

    Attributes:
        suite: The other suite: a function of contenders.py, a distribution and a virtual environment.
        task: What the table calls its task.
        theirs: Further arguments of the other contender.
        env_id: Our environment.
        ours: Its fields.
        settings: Numbers of environments and of threads.
    """

    suite: str
    task: str
    theirs: dict[str, Any]
    env_id: str
    ours: dict[str, Any]
    settings: tuple[tuple[int, int], ...]


def _of_envpool(env_id: str, task: str, most: int, **fields: float) -> Pair:
    settings = dict.fromkeys(((64, 1), (64, ALL), (most, ALL)))
    return Pair("envpool", task, {"id": task, **fields}, env_id, {}, tuple(settings))


def _of_gymnasium(mode: str, *settings: tuple[int, int]) -> Pair:
    theirs = {"id": "HalfCheetah-v5", "vectorization_mode": mode}
    return Pair("gymnasium", f"HalfCheetah-v5, {mode}", theirs, "Motrix/CheetahRun-v0", {"control_dt": 0.05}, settings)


OF_UNILAB = {"task": "go2_joystick_flat", "sim_dt": 0.005}
FEW_AND_MANY = (64, 1), (64, ALL), (1024, 1), (1024, ALL)
PAIRS = (
    _of_envpool("Motrix/CheetahRun-v0", "CheetahRun-v1", 256),
    _of_envpool("Motrix/WalkerWalk-v0", "WalkerWalk-v1", 256),
    _of_envpool("Motrix/HopperHop-v0", "HopperHop-v1", 256),
    _of_envpool("Motrix/Go1-v0", "Go1JoystickFlatTerrain-v1", 128, sim_dt=0.005),
    _of_envpool("Motrix/G1Full-v0", "G1JoystickFlatTerrain-v1", 64, sim_dt=0.005),
    _of_gymnasium("sync", (16, 1), (64, 1)),
    _of_gymnasium("async", (16, ALL)),
    Pair("mjbatch", "our model, physics alone", {}, "Motrix/Go1-v0", {}, FEW_AND_MANY),
    Pair("unilab", "Go2JoystickFlat", OF_UNILAB, "Motrix/Go2-v0", {}, FEW_AND_MANY),
)


class ContenderError(Exception):
    """A contender ended before it had answered; the last line that it wrote."""


class Contender:
    """A process that steps environments when it is told to.

    Args:
        python: Its Python.
        suite: A function of contenders.py.
        threads: Threads of physics, and of Torch where the suite has it.
        arguments: Those of the function.

    Attributes:
        ready: What it says of itself: construction_seconds, peak_bytes, versions.

    Raises:
        ContenderError: It cannot make its environments.
    """

    def __init__(self, python: Path, suite: str, threads: int, **arguments: Any):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        if suite != "motrix":
            environment.pop("PYTHONPATH", None)
        told = json.dumps({"suite": suite, "threads": threads, **arguments})
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(python), str(CONTENDER), told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            text=True,
        )
        self.ready = self._answer()

    def rate(self, seconds: float) -> float:
        """Vector steps a second in a turn of so many seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"go {seconds}\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["steps"] / answer["seconds"]

    def close(self) -> None:
        self._process.kill()  # none has anything to save, and some take long to end
        self._process.communicate()
        self._said.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait()
        self._said.seek(0)
        said = self._said.read().strip().splitlines()
        self.close()
        raise ContenderError(said[-1] if said else "it said nothing")


def main(arguments: Sequence[str] | None = None) -> int:
    suites = list(dict.fromkeys(pair.suite for pair in PAIRS))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", default=suites, help="all by default")
    parser.add_argument("--venvs", type=Path, required=True, help="the folder of the virtual environments")
    parser.add_argument("--seconds", type=float, default=TURN, help="of one turn")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--again", action="store_true", help="also measure what the results have")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args(arguments)
    results = json.loads(args.results.read_text("utf-8")) if args.results.exists() else []
    failed = False
    for pair in (pair for pair in PAIRS if pair.suite in args.suites):
        python = args.venvs.absolute() / pair.suite / "bin" / "python"
        if not python.exists():
            parser.error(f"{python} does not exist: `nox -s peers` makes it, or name another folder with --venvs")
        for num_envs, threads in dict.fromkeys((n, t or len(usable_cpus())) for n, t in pair.settings):
            known = [result for result in results if _setting(result) == (pair.suite, pair.task, num_envs, threads)]
            if known and not args.again:
                continue
            try:
                result = measure(pair, python, num_envs, threads, args.seconds, args.rounds)
            except ContenderError as error:
                print(f"{pair.suite}, {pair.task}: {error}", flush=True)
                failed = True
                continue
            results = [*(other for other in results if other not in known), result]
            results.sort(key=_place)
            throughput.write(results, args.results)
            print(_line(result), flush=True)
    write_page(results, args.page)
    return int(failed)


def measure(pair: Pair, python: Path, num_envs: int, threads: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Simulated seconds a second of both sides, in pairs of turns; which is first, alternates."""
    size = {"num_envs": num_envs, "threads": threads}
    env: Any = gymnasium.make_vec(pair.env_id, num_envs=1, num_threads=1, **pair.ours)
    control_dt, timestep = env.batch.control_dt, env.task.model().opt.timestep
    with ExitStack() as stack:
        theirs = pair.theirs
        if pair.suite == "mjbatch":
            theirs = record(pair.env_id, num_envs, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        sides = [
            Contender(python, pair.suite, **size, **theirs),
            Contender(Path(sys.executable), "motrix", **size, id=pair.env_id, **pair.ours),
        ]
        for side in sides:
            stack.callback(side.close)
        rates = np.empty((rounds, 2))
        for number in range(rounds):
            for side in (0, 1) if number % 2 else (1, 0):
                rates[number, side] = sides[side].rate(seconds) * num_envs * control_dt
    ratios = rates[:, 1] / rates[:, 0]
    its, ours = (throughput.short(rate) for rate in np.median(rates, axis=0).tolist())
    return {
        "suite": pair.suite,
        "task": pair.task,
        "env_id": pair.env_id,
        **size,
        "machine": f"{platform.system()} {platform.machine()}, {len(usable_cpus())} CPUs",
        "timestep": timestep,
        "control_dt": control_dt,
        "their_simulated_seconds_per_second": its,
        "our_simulated_seconds_per_second": ours,
        "ratio": throughput.short(float(np.median(ratios))),
        "ratio_quartiles": [throughput.short(x) for x in np.quantile(ratios, (0.25, 0.75)).tolist()],
        "rounds": rounds,
        "turn_seconds": seconds,
        "their_construction_seconds": throughput.short(sides[0].ready["construction_seconds"]),
        "our_construction_seconds": throughput.short(sides[1].ready["construction_seconds"]),
        "their_peak_bytes": sides[0].ready["peak_bytes"],
        "our_peak_bytes": sides[1].ready["peak_bytes"],
        "their_versions": sides[0].ready["versions"],
        "our_versions": sides[1].ready["versions"],
    }


def record(env_id: str, num_envs: int, folder: Path) -> dict[str, Any]:
    """Writes our model and some control steps for bare physics, and gives the arguments of a contender.

    The steps begin somewhere in the episodes of a policy that acts at random, as those of our contender do.
    """
    envs: Any = gymnasium.make_vec(env_id, num_envs=num_envs)
    rng = np.random.default_rng(0)
    throughput.warm_up(envs, rng)
    physics = envs.batch.state.physics
    steps = throughput.record(envs, throughput.random_actions(envs, RECORDED_STEPS, rng))
    ctrl = np.stack([values for step in steps for _, values in step.inputs])
    np.savez(folder / "steps.npz", qpos=physics.qpos, qvel=physics.qvel, ctrl=ctrl)
    spec = envs.task.spec()
    compile_for_simulation(spec, env_id)
    xml = spec.to_xml().replace(' input="pos"', "")  # the default, which MuJoCo 3.14 refuses to read
    (folder / "model.xml").write_text(xml, encoding="utf-8")
    envs.close()
    return {"model": f"{folder}/model.xml", "steps": f"{folder}/steps.npz", "substeps": steps[0].substeps}


def write_page(results: list[dict], page: Path) -> None:
    """Puts the table into the page; nothing where nothing was measured."""
    lines = [
        "| suite | its task | our task | environments | threads | its simulated s/s | ours | times as fast | quartiles "
        "| GB, its and ours | made in, its and ours |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *map(_table_row, results),
        "",
    ]
    table = "\n".join(lines) if results else ""
    page.write_text(GENERATED.sub(lambda _: table, page.read_text("utf-8")), "utf-8")


def _table_row(result: dict) -> str:
    low, high = result["ratio_quartiles"]
    version, *_ = result["their_versions"].values()
    cells = [
        f"{result['suite']} {version}",
        result["task"],
        result["env_id"].removeprefix("Motrix/"),
        f"{result['num_envs']}",
        f"{result['threads']}",
        f"{result['their_simulated_seconds_per_second']:,.0f}",
        f"{result['our_simulated_seconds_per_second']:,.0f}",
        f"{result['ratio']:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{result['their_peak_bytes'] / 1e9:.1f}, {result['our_peak_bytes'] / 1e9:.1f}",
        f"{result['their_construction_seconds']:.1f}, {result['our_construction_seconds']:.1f} s",
    ]
    return f"| {' | '.join(cells)} |"


def _setting(result: dict) -> tuple[str, str, int, int]:
    return result["suite"], result["task"], result["num_envs"], result["threads"]


def _place(result: dict) -> tuple[int, int, int]:
    """In the order of the pairs."""
    tasks = [(pair.suite, pair.task) for pair in PAIRS]
    return tasks.index((result["suite"], result["task"])), result["num_envs"], result["threads"]


def _line(result: dict) -> str:
    low, high = result["ratio_quartiles"]
    return (
        f"{result['suite']}, {result['task']}: {result['num_envs']} x, threads {result['threads']}: "
        f"it {result['their_simulated_seconds_per_second']:,.1f}, "
        f"{result['env_id']} {result['our_simulated_seconds_per_second']:,.1f} simulated s/s, "
        f"ratio {result['ratio']:.3f} ({low:.3f} to {high:.3f}, {result['rounds']} rounds)"
    )


if __name__ == "__main__":
    sys.exit(main())
