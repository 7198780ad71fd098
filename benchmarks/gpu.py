"""How fast environments are with MuJoCo Warp: bare `mujoco_warp.step`, the engine, and `env.step`, by their number.

    python benchmarks/gpu.py                                              # Go1 with 256 to 32768 environments
    python benchmarks/gpu.py Motrix/CartPole-v0 --num-envs 1024 4096
    python benchmarks/gpu.py --arrays torch                               # with what a step gives left on the device
    python benchmarks/gpu.py --train 20                                   # and 20 updates of a whole training
    python benchmarks/gpu.py --device cpu --num-envs 2 4 --seconds 0.5    # without a GPU, to see that it runs

All rates are control steps of one environment in a second of the wall. A line of JSON for each number of environments,
with the name of the card; kernels are compiled, and the CUDA graph is recorded, before the clock starts. The rate of a
training is the median of its updates but the first two. Bytes are those of MuJoCo Warp's arrays for one environment.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import mujoco_warp as mjw
import numpy as np
import warp as wp

from motrix_gym import rows
from motrix_gym.physics.warp import WarpPhysics
from motrix_gym.physics.warp_model import buffer_sizes, put_model
from motrix_train.presets import preset
from motrix_train.storage.run_directory import RunDirectory

WARM_UP = 3  # steps; the second records the graph


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("id", nargs="?", default="Motrix/Go1-v0")
    parser.add_argument("--num-envs", type=int, nargs="+", default=[2**k for k in range(8, 16)])
    parser.add_argument("--device", default="cuda:0", help="Warp's name")
    parser.add_argument("--arrays", default="numpy", help="that a step takes and gives: numpy or torch")
    parser.add_argument("--train", type=int, default=0, metavar="N", help="updates of a training with the preset")
    parser.add_argument("--seconds", type=float, default=5.0, help="that one rate is measured for")
    asked = parser.parse_args(arguments)
    for num_envs in asked.num_envs:
        measured = measure(asked.id, num_envs, asked.device, asked.arrays, asked.seconds)
        if asked.train:
            measured["training_per_second"] = training_rate(asked.id, num_envs, asked.device, asked.train)
        print(json.dumps(measured), flush=True)
    return 0


def measure(env_id: str, num_envs: int, device: str, arrays: str, seconds: float) -> dict[str, Any]:
    """The rates of one id with some number of environments on a device."""
    kwargs = {"physics": "warp", "device": device, "arrays": arrays}
    envs: Any = gymnasium.make_vec(env_id, num_envs=num_envs, **kwargs).unwrapped
    envs.reset(seed=0)
    batch = envs.batch
    physics: WarpPhysics = batch.physics
    state, random = batch.state, np.random.default_rng(0)
    action = rows.from_host(random.uniform(envs.action_space.low, envs.action_space.high), batch.example)
    ctrl = batch.task.control(state.physics, state.task, action)
    begin = physics.save()
    substeps = round(batch.control_dt / physics.model.opt.timestep)
    on_device, data = simulation(physics.model, num_envs, device)
    bare = rate(bare_step(on_device, data, device, substeps, begin, rows.to_host(ctrl)), num_envs, seconds)
    engine = rate(lambda: physics.step(ctrl), num_envs, seconds)
    physics.restore(begin)
    return {
        "env_id": env_id,
        "device": wp.get_device(device).name,
        "versions": {"mujoco_warp": mjw.__version__, "warp": wp.__version__, "mujoco": mujoco.__version__},
        "num_envs": num_envs,
        "arrays": arrays,
        "physics_steps_of_a_control_step": substeps,
        "bytes": round(size(data) / num_envs),
        "mujoco_warp_per_second": bare,
        "engine_per_second": engine,
        "env_steps_per_second": rate(lambda: envs.step(action), num_envs, seconds),
    }


def bare_step(
    model: mjw.Model, data: mjw.Data, device: str, substeps: int, begin: np.ndarray, ctrl: np.ndarray
) -> Callable[[], None]:
    """A control step of `mujoco_warp.step` alone, from positions and velocities as in `begin`; on a GPU as a graph."""
    with wp.ScopedDevice(device):
        qpos, qvel = np.split(begin[:, 1 : 1 + model.nq + model.nv], [model.nq], axis=1)
        for field, x in ((data.qpos, qpos), (data.qvel, qvel), (data.ctrl, ctrl)):
            field.assign(x.astype(np.float32))

        def steps() -> None:
            with wp.ScopedDevice(device):
                for _ in range(substeps):
                    mjw.step(model, data)

        if not wp.get_device(device).is_cuda:
            return steps
        steps()
        with wp.ScopedCapture() as capture:
            steps()
    return lambda: wp.capture_launch(capture.graph)


def simulation(model: mujoco.MjModel, num_envs: int, device: str) -> tuple[mjw.Model, mjw.Data]:
    """The model, and the arrays of some environments, on a device, with the buffers that the engine chooses."""
    with wp.ScopedDevice(device):
        on_device = put_model(model)
        return on_device, mjw.make_data(model, nworld=num_envs, **buffer_sizes(model, on_device))


def rate(step: Callable[[], Any], num_envs: int, seconds: float) -> float:
    """How many times an environment is stepped in a second."""
    for _ in range(WARM_UP):
        step()
    wp.synchronize()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        wp.synchronize()
        count += 1
    return round(count * num_envs / (time.perf_counter() - began), 1)


def size(data: mjw.Data) -> int:
    """Bytes of all arrays of a simulation."""
    parts = [getattr(data, field.name) for field in dataclasses.fields(data)]
    arrays = [x for part in parts for x in (vars(part).values() if dataclasses.is_dataclass(part) else (part,))]
    return sum({x.ptr: x.capacity for x in arrays if isinstance(x, wp.array) and 0 not in x.strides}.values())


def training_rate(env_id: str, num_envs: int, device: str, updates: int) -> float:
    """Env steps in a second of a whole training with the preset of an id, its environments and networks on a device."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "motrix_train", "train", env_id, "--quiet", f"--run-dir={folder}/run"]
        command += ["--backend=torch", "--physics=warp", f"--env=device={device}", f"--device={device}"]
        command += [f"--num-envs={num_envs}", "--set=evaluation_interval=0"]
        command += [f"--max-env-steps={updates * num_envs * preset(env_id, 'torch').rollouts}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rates = RunDirectory.open(Path(folder) / "run").progress()["env_steps_per_second"]
    return round(float(np.median(rates[2:])), 1)


if __name__ == "__main__":
    sys.exit(main())
