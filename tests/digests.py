"""What every environment and two trainings give, as digests and as numbers.

``python tests/digests.py`` records all of them, ``python tests/digests.py Motrix/Go1-v0`` those that are named.

A digest holds to the last bit, but only where the libraries compute alike: the same versions, and none of the wider
instructions that not every processor has, which `PORTABLE` turns off. `platform` names how they compute. The numbers
hold everywhere, to some digits.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform as machine
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import motrix_gym  # noqa: F401  # registers the ids

RECORDED = Path(__file__).with_suffix(".json")
PORTABLE = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's products of matrices
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "OMP_NUM_THREADS": "1",
}
"""Environment variables, to be set before the libraries are imported."""
LONG, WIDE = (8, 200), (256, 20)  # environments, control steps
NUM_SUMMED = 16
TRAINED = {
    "Motrix/CartPole-v0": {"num_envs": 32, "rollouts": 16},
    "Motrix/Go1-v0": {"num_envs": 16, "rollouts": 8},
}
BACKENDS = ("torch", "jax")


def platform(backend: str | None = None) -> str:
    """A digest of what the libraries compute here from fixed numbers: NumPy, C, MuJoCo, and those of a backend."""
    import mujoco

    x = np.random.default_rng(0).uniform(0.1, 3.0, (64, 64))
    unary = (np.sin, np.cos, np.tan, np.exp, np.log, np.tanh, np.sqrt, np.arccosh, np.cbrt)
    found: list[Any] = [function(x + 1) for function in unary]
    found += [np.arctan2(x, x.T), x**1.7, x @ x, np.einsum("ij,ij->i", x, x), x.astype(np.float32) @ x.T, x.sum(0)]
    found += [np.array([f(value) for value in x[0]]) for f in (math.sin, math.exp, math.log, math.atan)]
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><geom type='plane' size='1 1 1'/><body pos='0 0 .3'><freejoint/>"
        "<geom type='capsule' size='.05 .1' euler='20 30 40'/></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 200)
    found += [data.qpos, data.qvel, mujoco.__version__, np.__version__]
    if backend == "torch":
        import torch

        from motrix_train.learning.torch.matrix_products import onednn_computes_in_float32

        t = torch.tensor(x, dtype=torch.float32, requires_grad=True)
        loss = (torch.nn.functional.elu(t[:33] @ t) - 1).exp().clamp(max=9.0).std()
        loss.backward()
        found += [torch.linalg.qr(t)[0].detach().numpy(), t.grad.numpy(), float(loss.detach()), torch.__version__]
        found += [onednn_computes_in_float32()]  # then it multiplies matrices, else MKL does
        if "GenuineIntel" in _processor("vendor_id"):  # these libraries have code of their own for Intel's
            found += [_processor("flags")]
    if backend == "jax":
        import jax

        def loss_of(t: Any) -> Any:
            return jax.numpy.exp(jax.nn.elu(t[:33] @ t) / 99).std()

        t = jax.numpy.array(x, dtype=np.float32)
        found += [np.array(jax.jit(jax.grad(loss_of))(t)), np.array(jax.numpy.linalg.qr(t)[0]), jax.__version__]
        # XLA compiles for the one that it finds, whatever the instructions that it may use
        found += [_processor("flags", "Features")]
    return _digest(found)


def _processor(*headings: str) -> str:
    """The line of one of these headings in what Linux tells of the processor; its name elsewhere."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    return next((line for line in lines if line.startswith(headings)), machine.processor())


def trajectories(env_id: str) -> dict[str, Any]:
    """The digest of some steps of random actions, and sums over the first of them."""
    steps, sums = [], []
    for num_envs, num_steps in (LONG, WIDE):
        envs = gymnasium.make_vec(env_id, num_envs=num_envs, num_threads=1)
        observations, _ = envs.reset(seed=5)
        steps.append(observations)
        low, high = envs.single_action_space.low, envs.single_action_space.high
        rng = np.random.default_rng(1)
        for _ in range(num_steps):
            step = envs.step(rng.uniform(low, high, (num_envs, len(low))))
            steps.append(step)
            sums += [float(f(x, dtype=float)) for x in step[:2] for f in (np.sum, np.std)]
        envs.close()
    return {"digest": _digest(steps), "numbers": sums[: 4 * NUM_SUMMED]}


def parameters(env_id: str, backend: str) -> dict[str, Any]:
    """The digest of the networks after three updates, and the norm of each array."""
    import motrix_train
    from motrix_train.storage import checkpoint

    settings = {**TRAINED[env_id], "check_point_interval": TRAINED[env_id]["rollouts"], "evaluation_interval": 0}
    with tempfile.TemporaryDirectory() as directory:
        run = motrix_train.train(
            env_id,
            backend=backend,
            seed=3,
            max_env_steps=3 * settings["rollouts"] * settings["num_envs"],
            settings=settings,
            run_dir=Path(directory) / "run",
            device="cpu",
            num_threads=1,
            quiet=True,
        )
        state = checkpoint.read(run.summary.last).state
    networks = {name: state[name] for name in ("policy", "value", "observation_normalizer")}
    norms = [float(np.linalg.norm(np.asarray(x, float))) for _, x in _leaves(networks)]
    return {"digest": _digest(networks), "numbers": norms}


def record(names: Sequence[str]) -> None:
    """Writes the digests of this platform, of all or of those named, beside those of others, and the numbers."""
    from motrix_gym.registration import ENVS

    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"digests": {}, "numbers": {}}
    for name, measure, backend in [
        *((env.id, lambda env_id=env.id: trajectories(env_id), None) for env in ENVS),
        *(
            (f"{env_id} {backend}", lambda env_id=env_id, backend=backend: parameters(env_id, backend), backend)
            for env_id in TRAINED
            for backend in BACKENDS
        ),
    ]:
        if names and name not in names:
            continue
        found = measure()
        recorded["digests"].setdefault(platform(backend), {})[name] = found["digest"]
        recorded["numbers"][name] = found["numbers"]
        print(name, found["digest"])
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")


def _digest(tree: Any) -> str:
    digest = hashlib.sha256()
    for name, value in _leaves(tree):
        array = np.ascontiguousarray(value)
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Arrays and numbers of nested mappings and sequences, in the order of their names."""
    if isinstance(tree, Mapping):
        for name in sorted(tree):
            yield from _leaves(tree[name], f"{prefix}/{name}")
    elif isinstance(tree, (list, tuple)):
        for i, value in enumerate(tree):
            yield from _leaves(value, f"{prefix}/{i}")
    else:
        yield prefix, tree


if __name__ == "__main__":
    if os.environ.items() >= PORTABLE.items():
        record(sys.argv[1:])
    else:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **PORTABLE})
