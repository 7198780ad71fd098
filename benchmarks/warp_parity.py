"""How near MuJoCo Warp is to MuJoCo, id by id, on Warp's CPU device; the tables of docs/warp.md.

    python benchmarks/warp_parity.py                          # of all ids, what results.json does not have yet
    python benchmarks/warp_parity.py Motrix/Go1-v0 --again    # one id once more
    python benchmarks/warp_parity.py --check                  # fails where an id is not as near as it was recorded

Every id is looked at on three levels, from states on a trajectory that MuJoCo simulates under random actions:

1. What follows from one state: inertia, forces, accelerations, sensors.
2. One control step from one state.
3. A rollout with the controls of the trajectory, beside one of MuJoCo that starts a rounding of float32 away.
"""

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
import warp as wp

from motrix_gym.batch import TaskBatch
from motrix_gym.physics.base import Override
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.physics.warp import WarpPhysics
from motrix_gym.registration import ENVS
from motrix_gym.state import PhysicsState

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "warp_parity" / "results.json"
PAGE = ROOT / "docs" / "warp.md"
GENERATED = re.compile(r"(?<=<!-- parity -->\n).*?(?=<!-- end of parity -->)", re.DOTALL)

JOINED = ("Motrix/MultiTask-v0",)  # of tasks that have ids of their own
NUM_ENVS, STEPS = 8, 24  # of the trajectory
OF_POSITIONS = ("xpos", "xmat", "xipos", "M")
OF_FORCES = ("qfrc_bias", "qfrc_passive", "qfrc_actuator", "qfrc_smooth", "qacc_smooth", "qacc")
INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)
LEVELS = ("fields", "sensors", "step", "step_sensors", "rollout")
SMALLEST_TOLERANCE = 1e-5  # a smaller tolerance would be one of rounding alone


class Moment(NamedTuple):
    """All environments at one control step of the trajectory, and what the physics was told there.

    Attributes:
        simulation: The simulations, (N, size).
        overrides: What differs between the models.
        ctrl: Actuator signals, (N, nu).
        force: Forces by body, each (N, 6).
    """

    simulation: np.ndarray
    overrides: Mapping[str, Override]
    ctrl: np.ndarray
    force: Mapping[str, np.ndarray]


class Engines(NamedTuple):
    """The simulations that are compared, and MuJoCo once more."""

    mujoco: CpuPhysics
    again: CpuPhysics
    warp: WarpPhysics

    def restore(self, moment: Moment) -> None:
        """Puts all into a state of the trajectory; the second of MuJoCo a rounding away."""
        everywhere = np.ones(len(moment.ctrl), dtype=bool)
        rounded = moment.simulation.astype(np.float32).astype(np.float64)
        for engine, simulation in zip(self, (moment.simulation, rounded, moment.simulation), strict=True):
            engine.override(everywhere, moment.overrides)
            engine.restore(simulation)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes the results and the page, and returns the exit code."""
    asked = _parser().parse_args(arguments)
    ids = asked.ids or [env.id for env in ENVS if env.id not in JOINED]
    known = _read(asked.results)
    wp.config.log_level = wp.LOG_WARNING
    worse = []
    for env_id in ids:
        if env_id in known and not (asked.again or asked.check):
            continue
        found = measure(env_id)
        print(env_id, json.dumps(found), flush=True)
        if asked.check:
            worse += too_far(found, known[env_id]) if env_id in known else [f"{env_id} was never recorded"]
            continue
        known[env_id] = found
        _write(asked.results, known)
    if not asked.check:
        page = asked.page.read_text(encoding="utf-8")
        asked.page.write_text(GENERATED.sub(lambda _: table(known), page), encoding="utf-8")
    print("\n".join(worse))
    return 1 if worse else 0


def measure(env_id: str, num_envs: int = NUM_ENVS, steps: int = STEPS) -> dict[str, Any]:
    """How far MuJoCo Warp is from MuJoCo in one id: of each level the median, nine tenths and the most.

    Errors are relative to 1 plus the largest value of the field in the same environment.
    """
    began = time.perf_counter()
    batch, moments = trajectory(env_id, num_envs, steps)
    engines = Engines(
        CpuPhysics(batch.models[0], num_envs, 1, batch.control_dt),
        CpuPhysics(batch.models[0], num_envs, 1, batch.control_dt),
        WarpPhysics(batch.models[0], num_envs, "cpu", batch.control_dt),
    )
    fields, sensors, contacts, steps_apart, stepped_sensors, failures = [], [], [], [], [], {}
    for moment in moments:
        engines.restore(moment)
        errors, same_contacts = fields_of_state(engines, moment)
        fields.append(errors[OF_POSITIONS + OF_FORCES])
        sensors.append(errors[("sensordata",)])
        contacts.append(same_contacts)
        engines.restore(moment)
        reference, _ = engines.mujoco.step(moment.ctrl, moment.force)
        found, failed = engines.warp.step(moment.ctrl, moment.force)
        for name, mask in failed.items():
            failures[name] = failures.get(name, 0) + int(mask.sum())
        steps_apart.append(apart(reference, found))
        stepped_sensors.append(sensors_apart(reference, found))
    rollout, rounded = rollouts(engines, moments)
    return {
        "fields": _quantiles(fields),
        "sensors": _quantiles(sensors),
        "same_contacts": round(float(np.mean(contacts)), 3),
        "step": _quantiles(steps_apart),
        "step_sensors": _quantiles(stepped_sensors),
        "rollout": _quantiles(rollout),
        "rollout_rounded": _quantiles(rounded),
        "failures": {name: count for name, count in failures.items() if count},
        "states": num_envs * steps,
        "rollout_seconds": round(steps // 2 * batch.control_dt, 3),
        "seconds": round(time.perf_counter() - began, 1),
    }


def trajectory(env_id: str, num_envs: int, steps: int) -> tuple[TaskBatch, list[Moment]]:
    """Environments under random actions, with MuJoCo: the batch, and each of their steps."""
    envs: Any = gymnasium.make_vec(env_id, num_envs=num_envs, num_threads=1).unwrapped
    envs.reset(seed=0)
    batch, random = envs.batch, np.random.default_rng(0)
    moments = []
    for _ in range(steps):
        action = random.uniform(envs.action_space.low, envs.action_space.high)
        state = batch.state
        ctrl = batch.task.control(state.physics, state.task, action)
        overrides = batch.task.model_overrides(state.task)
        moments.append(Moment(batch.physics.save(), overrides, ctrl, batch.task.external_force(state.task)))
        envs.step(action)
    return batch, moments


def fields_of_state(engines: Engines, moment: Moment) -> tuple[dict[tuple[str, ...], np.ndarray], np.ndarray]:
    """The largest error of some groups of fields in each environment, (N,), and where contacts are as many, (N,)."""
    engines.warp._forward()
    device = engines.warp._data
    groups: tuple[tuple[str, ...], ...] = (OF_POSITIONS + OF_FORCES, ("sensordata",))
    errors = {group: np.zeros(len(moment.ctrl)) for group in groups}
    worlds = device.contact.worldid.numpy()[: device.nacon.numpy()[0]]
    same = np.zeros(len(moment.ctrl), dtype=bool)
    for env, row in enumerate(moment.simulation):
        model, data = engines.mujoco.view(env)
        mujoco.mj_setState(model, data, row, INTEGRATION)
        mujoco.mj_forward(model, data)
        same[env] = data.ncon == np.sum(worlds == env)
        for group in groups:
            pairs = [(getattr(data, name), getattr(device, name).numpy()[env]) for name in group]
            errors[group][env] = max([0.0, *(relative(a.ravel(), b.ravel()) for a, b in pairs if a.size)])
    return errors, same


def rollouts(engines: Engines, moments: Sequence[Moment]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """How far apart rollouts over half of the trajectory end: those of Warp, and of MuJoCo from a rounded start."""
    half = len(moments) // 2
    ends: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for first in (0, half):
        engines.restore(moments[first])
        for moment in moments[first : first + half]:
            reference, again, found = (engine.step(moment.ctrl, moment.force)[0] for engine in engines)
        ends[0].append(apart(reference, found))
        ends[1].append(apart(reference, again))
    return ends


def apart(one: PhysicsState, other: PhysicsState) -> np.ndarray:
    """The largest relative error of positions and velocities in each environment, (N,)."""
    pairs = [(one.qpos, other.qpos), (one.qvel, other.qvel)]
    return np.array([max(relative(x[env], y[env]) for x, y in pairs) for env in range(len(one.qpos))])


def sensors_apart(one: PhysicsState, other: PhysicsState) -> np.ndarray:
    """The largest relative error of a sensor in each environment, (N,)."""
    envs = range(len(one.qpos))
    pairs = [(one.sensor[name], other.sensor[name]) for name in one.sensor]
    return np.array([max([0.0, *(relative(x[env], y[env]) for x, y in pairs)]) for env in envs])


def relative(reference: np.ndarray, found: np.ndarray) -> float:
    """The largest difference, relative to 1 plus the largest value; infinite where one is not finite."""
    difference = np.max(np.abs(reference - found)) / (1 + np.max(np.abs(reference)))
    return float(difference) if np.isfinite(difference) else math.inf


def tolerance(recorded: Sequence[float]) -> float:
    """What nine tenths of the errors of a level stay below: the power of ten above thrice what was recorded."""
    return max(SMALLEST_TOLERANCE, 10.0 ** math.ceil(math.log10(3 * max(recorded[1], 1e-12))))


def too_far(found: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """The levels on which an id is not as near as it was recorded to be."""
    return [
        f"{level}: {found[level][1]:.1e}, tolerance {tolerance(recorded[level]):.0e}"
        for level in LEVELS
        if not found[level][1] <= tolerance(recorded[level])
    ]


def table(known: Mapping[str, Any]) -> str:
    """The table of the page."""
    lines = [
        "| id | fields | sensors | same contacts | step | its sensors | rollout | rounded | tolerance | failures |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for env_id, x in known.items():
        cells = [
            env_id.removeprefix("Motrix/"),
            *(_shown(x[level]) for level in ("fields", "sensors")),
            f"{100 * x['same_contacts']:.0f} %",
            *(_shown(x[level]) for level in ("step", "step_sensors", "rollout", "rollout_rounded")),
            f"{tolerance(x['step']):.0e}",
            ", ".join(f"{count} {name}" for name, count in x["failures"].items()) or "none",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shown(quantiles: Sequence[float]) -> str:
    return " / ".join(f"{x:.0e}" for x in quantiles) if any(quantiles) else "0"


def _quantiles(errors: Sequence[np.ndarray]) -> list[float]:
    """The median, nine tenths, and the most."""
    return [float(f"{x:.2g}") for x in np.quantile(np.concatenate(errors), (0.5, 0.9, 1.0), method="higher")]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write(path: Path, known: Mapping[str, Any]) -> None:
    order = [env.id for env in ENVS]
    rows = [f"{json.dumps(env_id)}: {json.dumps(known[env_id])}" for env_id in sorted(known, key=order.index)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", help="registered ids; all by default")
    parser.add_argument("--again", action="store_true", help="measure anew what has been measured")
    parser.add_argument("--check", action="store_true", help="compare with the results, write nothing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser


if __name__ == "__main__":
    sys.exit(main())
