"""A policy as one ONNX file, from the raw observation to the action, checked against the policy before it is kept.

The file returns ``action``, the argument of `step`, and ``ctrl``, the actuator signals of the MuJoCo model, if ``ctrl``
is an affine function of the action alone.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium.vector import VectorEnv

from motrix_gym.contact_pairs import source
from motrix_train import env_protocol, environment
from motrix_train.errors import RunError, UsageError
from motrix_train.export import actuation
from motrix_train.export.actuation import Affine
from motrix_train.storage.checkpoint import Checkpoint
from motrix_train.storage.files import atomic_replace
from motrix_train.training.evaluation import PolicyFunction, act

TOLERANCE = 1e-5  # in units of the action
OBSERVATIONS = 1000
NUM_ENVS, STEPS = 4, 125  # half of the observations are of episodes


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        outputs: Names of the file's outputs.
        observations: How many observations it was checked on.
        difference: The greatest difference between its actions and the policy's on these.
    """

    outputs: tuple[str, ...]
    observations: int
    difference: float


def check_path(path: Path, suffix: str) -> None:
    """Refuse a file name with another suffix."""
    if path.suffix != suffix:
        raise UsageError(f"{path} must end in {suffix}")


def require_onnx() -> None:
    """Refuse to go on where the packages of the export are not installed."""
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"export needs {' and '.join(missing)}: pip install 'motrix-gym[onnx]'")


def export(checkpoint: Checkpoint, policy: PolicyFunction, path: Path) -> Export:
    """Writes a policy as an ONNX file in one piece, or writes nothing.

    Args:
        checkpoint: The policy on disk.
        policy: The same, ready to act.
        path: Where to.

    Raises:
        UsageError: The packages are not installed.
        RunError: The file would act otherwise than the policy by more than `TOLERANCE`, or the disk refuses.
    """
    require_onnx()
    from motrix_train.export.onnx_graph import policy_model

    env = environment.make_env(checkpoint.env_id, NUM_ENVS, checkpoint.env_kwargs)
    try:
        seen = _observe(env, policy)
        model = _model(env)
        control = actuation.find(env, model) if model else None
        metadata = _metadata(checkpoint, env, model, control)
    finally:
        env.close()
    graph = policy_model(checkpoint, control, _description(checkpoint, control), metadata)
    observations = np.concatenate([seen, _random_observations(checkpoint, OBSERVATIONS - len(seen))])
    expected = np.clip(act(policy, observations), checkpoint.action_low, checkpoint.action_high)
    with atomic_replace(path) as temporary:
        temporary.write_bytes(graph.SerializeToString())
        outputs = _run(temporary, observations)
        difference = float(np.abs(outputs["action"] - expected).max())
        if not difference <= TOLERANCE:
            raise RunError(
                f"the ONNX file would act otherwise than the policy, by up to {difference:.1e} where {TOLERANCE:.0e} "
                "is allowed: nothing was written"
            )
        if control is not None:
            _check_ctrl(outputs["ctrl"], control, expected)
    return Export(tuple(outputs), len(observations), difference)


def write_model(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the MuJoCo model of a policy's environment as one MJCF file.

    Raises:
        UsageError: The environment has no known MuJoCo model.
        RunError: The model cannot be written as one file, or the disk refuses.
    """
    env = environment.make_env(checkpoint.env_id, 1, checkpoint.env_kwargs)
    env.close()
    model = _model(env)
    if model is None:
        raise UsageError(f"{checkpoint.env_id} does not say what its model is: leave out --model")
    with atomic_replace(path) as temporary:
        try:
            _write_mjcf(env, model, temporary)
            again = mujoco.MjModel.from_xml_path(str(temporary))
        except (ValueError, mujoco.FatalError) as refusal:
            raise RunError(f"the model of {checkpoint.env_id} cannot be written as one file: {refusal}") from refusal
        if (again.nq, again.nv, again.nu, again.nsensordata) != (model.nq, model.nv, model.nu, model.nsensordata):
            raise RunError(f"the model of {checkpoint.env_id} changes when it is written as one file")


def _model(env: VectorEnv) -> mujoco.MjModel | None:
    """The model of an environment of `motrix_gym`; None for one from elsewhere, and for one of several models."""
    task = env_protocol.task_of(env)
    return task.model() if hasattr(task, "model") else None


def _write_mjcf(env: VectorEnv, model: mujoco.MjModel, path: Path) -> None:
    """Writes the sources of a model that was compiled just before."""
    task = env_protocol.task_of(env)
    spec = task.spec() if hasattr(task, "spec") else source(model)
    if spec is not None:
        spec.compile()
        path.write_text(spec.to_xml(), encoding="utf-8")
    else:
        mujoco.mj_saveLastXML(str(path), model)


def _observe(env: VectorEnv, policy: PolicyFunction) -> np.ndarray:
    """The observations in the first steps of episodes, (n, k)."""
    space: Any = env.action_space
    observations, _ = env.reset(seed=0)
    seen = [observations]
    for _ in range(STEPS - 1):
        observations, *_ = env.step(np.clip(act(policy, observations), space.low, space.high))
        seen.append(observations)
    return np.concatenate(seen)


def _random_observations(checkpoint: Checkpoint, count: int) -> np.ndarray:
    """Observations, (count, k) float32, spread twice as wide as those of the training: some beyond the clipping."""
    saved = checkpoint.state["observation_normalizer"]
    shape = (count, *checkpoint.observation_shape)
    spread = 2.0 * np.sqrt(saved["variance"])
    return (saved["mean"] + spread * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)


def _run(path: Path, observations: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of an ONNX file by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values: Any = session.run(None, {"observation": observations.astype(np.float32)})
    return {output.name: value for output, value in zip(session.get_outputs(), values, strict=True)}


def _check_ctrl(ctrls: np.ndarray, control: Affine, actions: np.ndarray) -> None:
    """Refuse a ``ctrl`` that differs from the actuator signals of the environment for these actions."""
    largest = max(1.0, np.abs(control.gain).sum(axis=1).max(), np.abs(control.offset).max())
    difference = np.abs(ctrls - control(actions)).max()
    if not difference <= TOLERANCE * largest:
        raise RunError(f"the ONNX file would drive the actuators otherwise, by up to {difference:.1e}")


def _metadata(
    checkpoint: Checkpoint, env: VectorEnv, model: mujoco.MjModel | None, control: Affine | None
) -> dict[str, str]:
    """Metadata for programs: strings as they are, other values as JSON."""
    content: dict[str, Any] = {
        "env_id": checkpoint.env_id,
        "env_kwargs": checkpoint.env_kwargs,
        "action_low": _finite(checkpoint.action_low),
        "action_high": _finite(checkpoint.action_high),
        "backend": checkpoint.backend,
        "env_steps": checkpoint.env_steps,
        "seed": checkpoint.seed,
        "versions": checkpoint.versions,
    }
    task, blocks = env_protocol.task_of(env), env_protocol.observation_blocks(env)
    history = env_protocol.observation_history(env)
    if task is not None:
        content |= {"task": dataclasses.asdict(task), "control_dt": task.control_dt}
    if blocks is not None:
        content["observation_blocks"] = [
            {"name": name, "start": at.start, "stop": at.stop, "history": history.get(name, 1)}
            for name, at in blocks.items()
        ]
    if model is not None:
        content["actuators"], content["joints"] = _actuators(model)
    if control is not None:
        content["ctrl_offset"] = control.offset.tolist()
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in content.items()}


def _finite(bounds: tuple[float, ...]) -> list[float | None]:
    """Bounds as JSON has them, None where there is none."""
    return [bound if math.isfinite(bound) else None for bound in bounds]


def _actuators(model: mujoco.MjModel) -> tuple[list[str], list[str | None]]:
    """The actuators by name, in the order of ctrl, and the joint that each drives, None for a tendon or a site."""
    at_joints = int(mujoco.mjtTrn.mjTRN_JOINT)
    joints = [
        model.joint(model.actuator_trnid[i, 0]).name if int(model.actuator_trntype[i]) == at_joints else None
        for i in range(model.nu)
    ]
    return [model.actuator(i).name for i in range(model.nu)], joints


def _description(checkpoint: Checkpoint, control: Affine | None) -> str:
    ctrl = "; ctrl: (N, nu), what its actuators then get, in the order of the metadata" if control else ""
    return (
        f"A policy for {checkpoint.env_id}, trained for {checkpoint.env_steps} steps with {checkpoint.backend}. "
        "observation: (N, k), raw, in the blocks of the metadata, each the last `history` steps of what it shows, from "
        f"the oldest to the newest; action: (N, m), within the action space{ctrl}."
    )
