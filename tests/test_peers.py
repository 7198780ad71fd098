"""The comparison with other suites: the protocol of contenders, and the page that is made of the results."""

import json
import sys
from pathlib import Path
from types import ModuleType

import gymnasium
import mujoco
import numpy as np
import pytest
from script_files import load

ROOT = Path(__file__).parents[1]
CARTPOLE = "Motrix/CartPole-v0"


@pytest.fixture
def peers(monkeypatch) -> ModuleType:
    return load(ROOT / "benchmarks" / "peers.py", monkeypatch)


@pytest.fixture
def against_itself(peers, monkeypatch, tmp_path):
    """The only pair is ours against ours."""
    pair = peers.Pair("motrix", CARTPOLE, {"id": CARTPOLE}, CARTPOLE, {}, ((4, 1),))
    monkeypatch.setattr(peers, "PAIRS", (pair,))
    python = tmp_path / "motrix" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- peers -->\nold\n<!-- end of peers -->\nafter\n", encoding="utf-8")
    of_turns = ["--seconds", "0.05", "--rounds", "2"]
    return ["--venvs", str(tmp_path), *of_turns, "--results", str(tmp_path / "p.json"), "--page", str(page)]


@pytest.mark.skipif(sys.platform != "linux", reason="contenders read their memory from /proc")
def test_ours_against_ours_is_measured_kept_and_written(peers, against_itself, tmp_path, capsys):
    assert peers.main(against_itself) == 0
    kept = (tmp_path / "p.json").read_text(encoding="utf-8")
    [result] = json.loads(kept)
    assert 0.2 < result["ratio"] < 5
    assert (result["timestep"], result["control_dt"]) == (0.01, 0.01)
    assert result["our_simulated_seconds_per_second"] > 0
    assert result["their_versions"]["mujoco"] == mujoco.__version__
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert f"| {CARTPOLE} | CartPole-v0 | 4 | 1 | " in text
    assert text.startswith("before\n<!-- peers -->\n| suite |")
    assert text.endswith(" |\n<!-- end of peers -->\nafter\n")
    capsys.readouterr()
    assert peers.main(against_itself) == 0  # nothing is left to measure
    assert capsys.readouterr().out == ""
    assert (tmp_path / "p.json").read_text(encoding="utf-8") == kept


@pytest.mark.skipif(sys.platform != "linux", reason="contenders read their memory from /proc")
def test_a_contender_that_cannot_begin_says_why_and_the_others_go_on(peers, against_itself, monkeypatch, capsys):
    [pair] = peers.PAIRS
    monkeypatch.setattr(peers, "PAIRS", (pair._replace(task="No", theirs={"id": "Motrix/No-v0"}), pair))
    assert peers.main(against_itself) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("motrix, No: gymnasium.error.NameNotFound: ")
    assert second.startswith(f"motrix, {CARTPOLE}: 4 x, threads 1: ")


def test_a_suite_that_is_not_installed_is_named(peers, tmp_path, capsys):
    with pytest.raises(SystemExit):
        peers.main(["--venvs", str(tmp_path), "envpool"])
    assert "`nox -s peers` makes it" in capsys.readouterr().err


def test_bare_physics_gets_our_model_and_our_signals(peers, tmp_path):
    told = peers.record("Motrix/Go1-v0", 4, tmp_path)
    model = mujoco.MjModel.from_xml_path(told["model"])
    ours = gymnasium.make_vec("Motrix/Go1-v0", num_envs=1, num_threads=1).unwrapped.task.model()  # pyright: ignore
    for field in ("npair", "nv", "nsensor"):
        assert getattr(model, field) == getattr(ours, field)
    np.testing.assert_array_equal(model.actuator_gainprm, ours.actuator_gainprm)
    np.testing.assert_allclose(model.dof_damping, ours.dof_damping)
    steps = np.load(told["steps"])
    assert steps["ctrl"].shape == (peers.RECORDED_STEPS, 4, model.nu)
    assert steps["qpos"].shape == (4, model.nq)
    assert told["substeps"] == 4


def test_the_page_agrees_with_the_results(peers, tmp_path):
    page = tmp_path / "page.md"
    page.write_bytes(peers.PAGE.read_bytes())
    peers.write_page(json.loads(peers.RESULTS.read_text(encoding="utf-8")), page)
    assert page.read_text(encoding="utf-8") == peers.PAGE.read_text(encoding="utf-8")
