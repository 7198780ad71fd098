"""The measurement of docs/performance.md: both sides simulate the same, and a loss is noticed."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import motrix_gym  # noqa: F401

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "throughput.py"
CARTPOLE = "Motrix/CartPole-v0"
FIELDS = {
    *("env_id", "num_envs", "threads", "machine", "control_dt", "construction_seconds", "bytes_per_env"),
    *("bare", "step", "step_with_resets", "simulated_seconds_per_second", "ends_per_1000_steps"),
    *("ratio", "ratio_quartiles", "ratio_with_resets", "rounds", "steps_of_a_turn"),
}


@pytest.fixture
def throughput(monkeypatch):
    """The script, with turns of a few steps."""
    spec = importlib.util.spec_from_file_location("throughput", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "throughput", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "MOST_STEPS", 3)
    monkeypatch.setattr(module, "WARM_UP", (1.0, 2))
    monkeypatch.setattr(module, "SHORT", (CARTPOLE,))
    monkeypatch.setattr(module, "SHORT_NUM_ENVS", 4)
    monkeypatch.setattr(module, "SHORT_SECONDS", 0.01)
    return module


@pytest.mark.parametrize(
    ("env_id", "fields"),
    [
        ("Motrix/Go1-v0", {"push_speed": 1.0, "push_interval": (0.1, 0.2)}),
        ("Motrix/FrankaLiftCube-v0", {}),
        ("Motrix/MultiTask-v0", {}),
    ],
)
def test_bare_physics_simulates_what_the_environments_do(throughput, env_id, fields):
    envs: Any = gymnasium.make_vec(env_id, num_envs=6, num_threads=1, **fields)
    envs.reset(seed=3)
    origin = envs.get_state()
    actions = throughput.random_actions(envs, 40, np.random.default_rng(0))
    steps = throughput.record(envs, actions)
    recorded = envs.get_state()["simulation"]
    envs.set_state(origin)
    throughput.step_physics(steps)
    np.testing.assert_array_equal(envs.get_state()["simulation"], recorded)


def test_only_resets_end_an_episode_where_ends_are_switched_off(throughput):
    envs: Any = gymnasium.make_vec(CARTPOLE, num_envs=8, num_threads=1, max_episode_steps=20)
    envs.reset(seed=0)
    actions = throughput.random_actions(envs, 50, np.random.default_rng(0))
    without: list = []
    with throughput.endless(envs):
        throughput.step_envs(envs, actions, without)
    natural: list = []
    throughput.step_envs(envs, actions, natural)
    assert not np.any(without)
    assert np.any(natural)


def test_results_are_kept_and_the_page_is_made_of_them(throughput, tmp_path):
    results, page = tmp_path / "kept" / "results.json", tmp_path / "page.md"
    page.write_text("before\n<!-- throughput -->\nold\n<!-- end of throughput -->\nafter\n", encoding="utf-8")
    settings = ["--threads", "1", "--seconds", "0.01", "--results", str(results), "--page", str(page)]
    assert throughput.main([CARTPOLE, "--num-envs", "4", *settings]) == 0
    [result] = json.loads(results.read_text(encoding="utf-8"))
    assert result.keys() == FIELDS
    assert result["ratio"] > 0
    assert result["bytes_per_env"] > 100
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- throughput -->\nWith 4 environments on 1 thread, ")
    assert "\n| CartPole-v0 | " in text
    assert "old" not in text
    assert text.endswith("<!-- end of throughput -->\nafter\n")
    assert (tmp_path / "throughput.png").stat().st_size > 1000

    kept = results.read_text(encoding="utf-8")
    assert throughput.main([CARTPOLE, "--num-envs", "4", "2", *settings]) == 0  # measures what is not there yet
    both = json.loads(results.read_text(encoding="utf-8"))
    assert [result["num_envs"] for result in both] == [2, 4]
    assert json.dumps(both[1]) in kept


@pytest.mark.parametrize(("before", "exit_code"), [(1e-6, 0), (10.0, 1), (None, 1)])
def test_the_short_form_notices_a_loss(throughput, capsys, tmp_path, before, exit_code):
    results = tmp_path / "results.json"
    if before is not None:
        recorded = {"env_id": CARTPOLE, "num_envs": 4, "threads": 1, "ratio": before, "ratio_with_resets": 1e-6}
        results.write_text(json.dumps([recorded]), encoding="utf-8")
    assert throughput.main(["--short", "--results", str(results)]) == exit_code
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 + exit_code
    if before == 10.0:
        assert said[1].startswith(f"{CARTPOLE}: the ratio dropped from 10.000 to ")
    if before is None:
        assert said[1].startswith(f"{CARTPOLE}: no ratio is recorded")
