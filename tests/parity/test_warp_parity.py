"""MuJoCo Warp is as near to MuJoCo as docs/warp.md says: the quick part of `benchmarks/warp_parity.py`."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from script_files import load

pytest.importorskip("mujoco_warp")

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
IDS = "Motrix/Pendulum-v0", "Motrix/ReacherEasy-v0", "Motrix/WalkerWalk-v0", "Motrix/Go1-v0"
SMALL = {"num_envs": 4, "steps": 8}


@pytest.fixture
def parity(monkeypatch):
    """The script."""
    return load(BENCHMARKS / "warp_parity.py", monkeypatch)


@pytest.fixture
def recorded(parity):
    """What it recorded."""
    return json.loads(parity.RESULTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("env_id", IDS)
def test_states_steps_and_rollouts_are_as_near_as_they_were(parity, recorded, env_id):
    found = parity.measure(env_id, **SMALL)
    assert parity.too_far(found, recorded[env_id]) == []
    assert not found["failures"]
    assert found["same_contacts"] == 1


def test_another_model_is_found_out(parity, recorded, monkeypatch):
    def heavier(model, *arguments):
        model = copy.copy(model)
        model.opt.gravity[:] *= 1.001
        return parity_physics(model, *arguments)

    parity_physics = parity.WarpPhysics
    monkeypatch.setattr(parity, "WarpPhysics", heavier)
    found = parity.measure("Motrix/Pendulum-v0", **SMALL)
    levels = [problem.partition(":")[0] for problem in parity.too_far(found, recorded["Motrix/Pendulum-v0"])]
    assert {"fields", "step", "rollout"} <= set(levels)


def test_what_is_not_finite_is_far_apart(parity):
    assert parity.relative(np.zeros(2), np.array([0, np.nan])) == math.inf
    found = dict.fromkeys(parity.LEVELS, (0, math.inf, math.inf))
    assert len(parity.too_far(found, dict.fromkeys(parity.LEVELS, (0, 0, 0)))) == len(parity.LEVELS)


def test_the_page_has_what_was_recorded(parity, recorded):
    page = parity.PAGE.read_text(encoding="utf-8")
    assert parity.GENERATED.search(page).group() == parity.table(recorded)
    joined = set(parity.JOINED)
    assert recorded.keys() | joined == {env.id for env in parity.ENVS}


def test_speed_is_measured_on_any_device(monkeypatch, capsys):
    speed = load(BENCHMARKS / "gpu.py", monkeypatch)
    asked = ["Motrix/Pendulum-v0", "--device", "cpu", "--num-envs", "2", "3", "--seconds", "0.05", "--train", "3"]
    assert speed.main(asked) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["num_envs"] for line in lines] == [2, 3]
    assert all(
        line[f"{what}_per_second"] > 0 for line in lines for what in ("mujoco_warp", "engine", "env_steps", "training")
    )
    assert 1000 < lines[0]["bytes"] < 3000
