"""A contender of peers.py: makes environments of one suite, and steps them each time it is told to.

    python benchmarks/contenders.py '{"suite": "motrix", "id": "Motrix/Go1-v0", "num_envs": 64, "threads": 1}'

The Python is that of the suite, so nothing of this project is imported but for the suite `motrix`. The contender writes
one line of JSON once it is warm: versions, seconds that it took to make the environments, peak of the memory. For each
line `go SECONDS` that it reads, it takes uniformly random actions for so long, and writes the vector steps and seconds.
"""
# pyright: reportMissingImports=false

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

DRAWN = 32  # vector actions, taken in turn
WARM_UP = 1.0  # s

Step = Callable[[], Any]  # one vector step


def main() -> None:
    contender = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a suite prints is no answer
    suite = contender.pop("suite")
    start = time.perf_counter()
    step = SUITES[suite](**contender)
    construction = time.perf_counter() - start
    run(step, WARM_UP)
    versions = {name: version(name) for name in DISTRIBUTIONS[suite]}
    ready = {"construction_seconds": construction, "peak_bytes": peak_bytes(), "versions": versions}
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        steps, seconds = run(step, float(line.removeprefix("go ")))
        print(json.dumps({"steps": steps, "seconds": seconds}), file=answers, flush=True)


def run(step: Step, seconds: float) -> tuple[int, float]:
    """Steps for at least so long, and gives the vector steps and how long they took, s."""
    steps, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        step()
        steps += 1
    return steps, spent


def random_actions(low: Any, high: Any, num_envs: int, dtype: Any) -> np.ndarray:
    """Uniformly random actions, (DRAWN, N, m), from bounds of shape (m,)."""
    rng = np.random.default_rng(0)
    return rng.uniform(low, high, (DRAWN, num_envs, len(low))).astype(dtype)


def motrix(id: str, num_envs: int, threads: int, **fields: Any) -> Step:
    import gymnasium

    import motrix_gym  # noqa: F401

    envs: Any = gymnasium.make_vec(id, num_envs=num_envs, num_threads=threads, **fields)
    envs.reset(seed=0)
    space = envs.single_action_space
    actions = cycle(random_actions(space.low, space.high, num_envs, space.dtype))
    return lambda: envs.step(next(actions))


def envpool(id: str, num_envs: int, threads: int, **fields: Any) -> Step:
    import envpool

    envs = envpool.make(id, env_type="gymnasium", num_envs=num_envs, num_threads=threads, seed=0, **fields)
    envs.reset()
    space = envs.action_space
    actions = cycle(random_actions(space.low, space.high, num_envs, space.dtype))
    return lambda: envs.step(next(actions))


def gymnasium(id: str, num_envs: int, threads: int, vectorization_mode: str) -> Step:
    import gymnasium

    envs = gymnasium.make_vec(id, num_envs=num_envs, vectorization_mode=vectorization_mode)
    envs.reset(seed=0)
    space: Any = envs.single_action_space
    actions = cycle(random_actions(space.low, space.high, num_envs, space.dtype))
    return lambda: envs.step(next(actions))


def mjbatch(model: str, steps: str, substeps: int, num_envs: int, threads: int) -> Step:
    """Physics alone, on the control signals of recorded control steps, over and over from the state before them."""
    import mujoco
    from mjbatch import Batch

    batch = Batch(mujoco.MjModel.from_xml_path(model), num_envs, threads)
    recorded = np.load(steps)
    qpos, qvel, ctrl = (batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
    batch.bind("sensordata")
    numbers = cycle(range(len(recorded["ctrl"])))
    signals = recorded["ctrl"]
    start_qpos, start_qvel = recorded["qpos"], recorded["qvel"]

    def step() -> None:
        if (number := next(numbers)) == 0:
            qpos[:], qvel[:] = start_qpos, start_qvel
        ctrl[:] = signals[number]
        batch.step(nstep=substeps)

    return step


def unilab(task: str, num_envs: int, threads: int, sim_dt: float) -> Step:
    """A task of UniLab on MuJoCo; it has as many threads as CPUs, so it is given as many of these."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    import torch
    import unilab
    from hydra import compose, initialize_config_dir
    from unilab.base.config_adapter import EnvConfigAdapter, create_env

    torch.set_num_threads(threads)
    package = Path(next(iter(unilab.__path__)))
    overrides = [f"task={task}/mujoco", f"env.sim_dt={sim_dt}"]
    with initialize_config_dir(str(package / "conf" / "ppo"), version_base="1.3"):
        model = Path(compose("config", overrides).env.scene.model_file).relative_to("src/unilab")
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree((package / model).parent, folder, dirs_exist_ok=True)
            for file in Path(folder).glob("*.xml"):
                remove_meshes(file)
            config = compose("config", [*overrides, f"env.scene.model_file={folder}/{model.name}"])
            fields = EnvConfigAdapter(config, root_dir=Path(folder)).build_task_env_cfg_override()
            envs = create_env(config, num_envs=num_envs, env_cfg_override=fields)
            envs.init_state()
    drawn = random_actions(-np.ones(envs.action_space.shape), np.ones(envs.action_space.shape), num_envs, np.float32)
    actions = cycle(torch.from_numpy(drawn))
    return lambda: envs.step(next(actions))


def remove_meshes(file: Path) -> None:
    """Takes the meshes out of a model: they are not in the package, and only seen."""
    tree = ET.parse(file)
    for parent in list(tree.iter()):
        for child in list(parent):
            if child.tag == "mesh" or (child.tag == "geom" and child.get("mesh")):
                parent.remove(child)
    tree.write(file)


def peak_bytes() -> int:
    """The peak of the resident memory of this process and of those that it started."""
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    status = [Path(f"/proc/{process}/status").read_text() for process in processes]
    peaks = [line.split()[1] for text in status for line in text.splitlines() if line.startswith("VmHWM")]
    return 1024 * sum(map(int, peaks))


SUITES: dict[str, Callable[..., Step]] = {
    "motrix": motrix,
    "envpool": envpool,
    "gymnasium": gymnasium,
    "mjbatch": mjbatch,
    "unilab": unilab,
}
DISTRIBUTIONS = {  # whose versions decide how fast a suite is; that of EnvPool has a MuJoCo of its own
    "motrix": ("motrix-gym", "mujoco", "numpy"),
    "envpool": ("envpool",),
    "gymnasium": ("gymnasium", "mujoco", "numpy"),
    "mjbatch": ("mjbatch", "mujoco", "numpy"),
    "unilab": ("unilab", "unisim-core", "mjbatch-uni", "mujoco", "torch"),
}

if __name__ == "__main__":
    main()
