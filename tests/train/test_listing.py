"""`motrix-train list`: one line for each environment, at every width of the terminal."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import gymnasium
import pytest

from motrix_gym.registration import ENVS
from motrix_train import presets
from motrix_train.cli import run

LEARNING = Path(__file__).parents[2] / "benchmarks" / "learning"
ROW = re.compile(r"^(Motrix/\S+) +(\d+) +(\d+) +(\S+ M)( \(\w+ \S+ M\))? +(-|\d+)(?:  (.+))?$", re.MULTILINE)


@pytest.fixture
def listed(monkeypatch, capsys):
    """What `list` prints on a terminal of this width."""

    def listed(width: int | None) -> str:
        if width is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setenv("COLUMNS", str(width))
        assert run(["list"]) == 0
        return capsys.readouterr().out

    return listed


def test_a_narrow_terminal_shows_one_line_for_each(listed):
    shown = listed(80)
    assert max(map(len, shown.splitlines())) <= 80
    rows = {row[0]: row for row in ROW.findall(shown)}
    assert len(rows) == len(ENVS)
    for env_id, observation, action, budget, _, reached, description in rows.values():
        envs = gymnasium.make_vec(env_id, num_envs=1)
        assert (int(observation),) == envs.single_observation_space.shape
        assert (int(action),) == envs.single_action_space.shape
        envs.close()
        assert budget == f"{presets.preset(env_id, 'torch').max_env_steps / 1e6:g} M"
        known = presets.reference(env_id)
        assert reached == ("-" if known is None else f"{known:.0f}")
        assert description == ""
    assert "\n\nLocomotion\nMotrix/Go1-v0 " in shown
    assert "5 M (jax 8 M)" in shown


@pytest.mark.parametrize("width", [120, 140, None])
def test_a_wide_terminal_tells_ids_of_one_task_apart(listed, width):
    shown = listed(width)
    assert max(map(len, shown.splitlines())) <= (width or 200)
    described = [row[-1] for row in ROW.findall(shown)]
    assert len(described) == len(set(described)) == len(ENVS)
    assert "A planar biped stands, walks or runs. (move_speed 8)" in described or width == 120


def test_the_returns_are_those_of_the_learning_results(monkeypatch):
    spec = importlib.util.spec_from_file_location("learn", LEARNING / "learn.py")
    assert spec is not None
    assert spec.loader is not None
    learn = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "learn", learn)
    spec.loader.exec_module(learn)
    results = [json.loads(path.read_text("utf-8")) for path in sorted(learn.RESULTS.glob("*.json"))]
    assert json.loads(learn.REFERENCE.read_text("utf-8")) == learn.best_returns(results)
    best = max(r["evaluation"]["mean_return"] for r in results if r["env_id"] == "Motrix/Go1-v0")
    assert presets.reference("Motrix/Go1-v0") == pytest.approx(best, rel=1e-5)
    assert presets.reference("Motrix/Nothing-v0") is None
