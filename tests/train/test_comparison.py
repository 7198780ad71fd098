"""Runs are compared with those that differ from them by their seed alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motrix_train.errors import RunError, UsageError
from motrix_train.plotting import comparison
from motrix_train.plotting.comparison import Band, Curve, Run
from motrix_train.storage.run_directory import RunDirectory

ENV_ID = "Motrix/CartPole-v0"
PROGRESS = {"env_steps": np.array([1.0, 2.0]), "mean_return": np.array([3.0, 4.0])}


def run_of(seed: int = 0, backend: str = "torch", env_kwargs: dict | None = None, origin=None, **cfg) -> Run:
    config = {"env_id": ENV_ID, "backend": backend, "seed": seed, "env_kwargs": env_kwargs or {}, "origin": origin}
    config |= {"config": {"seed": seed, **cfg}, "command": f"motrix-train train {seed}", "num_envs": 8}
    return Run(Path(f"run{seed}"), ENV_ID, dict(comparison._settings(config)), PROGRESS)


def labels(*runs: Run) -> list[tuple[str, int]]:
    return [(group.label, len(group.runs)) for group in comparison.group_runs(runs)]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([16, 32]), st.sampled_from([0.0, 1.0, None])), min_size=1))
def test_groups_part_the_runs_by_everything_but_the_seed(asked):
    runs = [run_of(seed, env_kwargs={} if k is None else {"max_angle": k}, rollouts=n) for seed, n, k in asked]
    groups = comparison.group_runs(runs)
    assert sorted(map(id, runs)) == sorted(id(run) for group in groups for run in group.runs)
    assert len(groups) == len({asked_for[1:] for asked_for in asked}) == len({group.label for group in groups})
    assert all(run.settings == group.runs[0].settings for group in groups for run in group.runs)


def test_a_group_is_named_by_what_makes_it_different():
    assert labels(run_of(0), run_of(1)) == [("torch", 2)]
    assert labels(run_of(0), run_of(0, backend="jax")) == [("torch", 1), ("jax", 1)]
    assert labels(run_of(rollouts=16), run_of(rollouts=32)) == [("rollouts=16", 1), ("rollouts=32", 1)]
    lighter = run_of(env_kwargs={"reward_weights": {"torques": 0}})
    assert labels(run_of(), lighter) == [("defaults", 1), ("reward_weights.torques=0", 1)]
    moved = run_of(origin={"env_id": "Motrix/Go1-v0", "partial": True})
    assert labels(run_of(), moved)[1] == ('origin.env_id="Motrix/Go1-v0", origin.partial=true', 1)
    assert labels(run_of(backend="jax", rollouts=8), run_of())[0] == ("jax, rollouts=8", 1)


def test_a_budget_or_a_field_left_at_its_default_makes_no_difference():
    assert labels(run_of(), run_of(max_env_steps=5), run_of(rollouts=24, evaluation_interval=2)) == [("torch", 3)]


curves = st.lists(
    st.lists(st.tuples(st.integers(0, 50), st.floats(-1e6, 1e6)), min_size=1, unique_by=lambda point: point[0]).map(
        lambda points: Curve(*np.array(sorted(points), float).T)
    ),
    min_size=1,
    max_size=4,
)


@given(curves)
def test_the_mean_lies_in_the_band_and_the_band_where_all_curves_are(given_curves):
    band = Band.of(given_curves)
    if band is None:
        assert max(curve.x[0] for curve in given_curves) > min(curve.x[-1] for curve in given_curves)
        return
    slack = 1e-9 * np.abs(np.concatenate([curve.y for curve in given_curves])).max()
    assert (band.low <= band.mean + slack).all()
    assert (band.mean <= band.high + slack).all()
    for curve in given_curves:
        assert curve.x[0] <= band.x[0]
        assert band.x[-1] <= curve.x[-1]
        own = np.isin(band.x, curve.x)
        values = curve.y[np.isin(curve.x, band.x)]
        assert (band.low[own] <= values).all()
        assert (values <= band.high[own]).all()


@given(curves)
def test_a_curve_beside_itself_is_itself(given_curves):
    curve = given_curves[0]
    band = Band.of([curve, curve])
    assert band is not None
    np.testing.assert_array_equal(band.x, curve.x)
    np.testing.assert_allclose(band.mean, curve.y)
    np.testing.assert_array_equal(band.low, band.high)


def test_between_its_points_a_curve_is_a_line():
    band = Band.of(
        [Curve(np.array([0.0, 4.0]), np.array([0.0, 8.0])), Curve(np.array([1.0, 3.0]), np.array([0.0, 0.0]))]
    )
    assert band is not None
    assert (band.x.tolist(), band.high.tolist(), band.mean.tolist()) == ([1.0, 3.0], [2.0, 6.0], [1.0, 3.0])


def test_a_curve_has_the_points_that_are_known():
    sparse = {"env_steps": np.arange(4.0), "evaluation/mean_return": np.array([np.nan, 5.0, np.inf, 7.0])}
    run = Run(Path("run"), ENV_ID, {}, sparse)
    curve = Curve.of(run, "env_steps", "evaluation/mean_return")
    assert curve is not None
    assert (curve.x.tolist(), curve.y.tolist()) == ([1.0, 3.0], [5.0, 7.0])
    assert Curve.of(run, "seconds", "evaluation/mean_return") is None
    assert Curve.of(run, "env_steps", "metrics/none") is None


def create(root: Path, name: str, lines: int = 1) -> RunDirectory:
    asked = {"env_kwargs": {}, "config": {"rollouts": 32}, "origin": None}
    run = RunDirectory.create(root, ENV_ID, "torch", 0, asked, path=root / name)
    for line in range(lines):
        run.append_progress({"env_steps": 10 * line, "mean_return": 1.0})
    return run


def test_runs_are_found_once_and_in_order(tmp_path):
    for name in ("Motrix/CartPole-v0/b", "Motrix/CartPole-v0/a", "Motrix/Go1-v0/c", "Motrix/CartPole-v0/.unfinished"):
        create(tmp_path, name)
    (tmp_path / "Motrix/CartPole-v0/a/wandb").mkdir()
    (tmp_path / "Motrix/CartPole-v0/a/wandb/config.json").write_text("{}")
    names = [run.path.name for run in comparison.find_runs([str(tmp_path / "Motrix"), str(tmp_path)])]
    assert names == ["a", "b", "c"]
    assert [run.path.name for run in comparison.find_runs([ENV_ID], root=tmp_path)] == ["a", "b"]
    assert [run.path.name for run in comparison.find_runs([str(tmp_path / "Motrix/Go1-v0/c")])] == ["c"]


def test_where_there_is_no_run_it_says_so(tmp_path):
    with pytest.raises(UsageError, match="there is no run under"):
        comparison.find_runs([str(tmp_path)])
    with pytest.raises(UsageError, match=r"no run directory .*/nowhere"):
        comparison.find_runs([str(tmp_path / "nowhere")])


def test_a_run_in_training_is_read_up_to_its_last_whole_line(tmp_path):
    run = create(tmp_path, "run", lines=2)
    with run.progress_path.open("a") as file:
        file.write("20,1")
    assert Run.read(run).progress["env_steps"].tolist() == [0.0, 10.0]


def test_a_run_that_cannot_be_drawn_says_why(tmp_path):
    with pytest.raises(RunError, match="has no progress yet"):
        Run.read(create(tmp_path, "new", lines=0))
    damaged = create(tmp_path, "damaged")
    damaged.config_path.write_text(json.dumps({"env_id": ENV_ID}))
    with pytest.raises(RunError, match="damaged or of another version"):
        Run.read(damaged)
