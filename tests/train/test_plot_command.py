"""`motrix-train plot` on real runs: what it draws, what it leaves out and what it refuses."""

import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread

from motrix_train.cli import run


@pytest.fixture
def runs(trained, work) -> Path:
    """Two copies of a run, to be spoilt."""
    for name in ("a", "b"):
        shutil.copytree(trained.path, work / "runs" / name)
    return work / "runs"


@pytest.fixture
def mistake(capsys):
    """Runs a command that must be refused with one line, which it returns, and must draw nothing."""

    def refused(*arguments: str, code: int = 2) -> str:
        assert run(["plot", *arguments]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert not list(Path().glob("*.png"))
        return captured.err

    return refused


def test_runs_become_one_picture(runs, capsys):
    assert run(["plot", "runs"]) == 0
    assert capsys.readouterr().out == "2 runs in 1 group -> comparison.png\n"
    assert imread("comparison.png").shape[0] > 0
    assert run(["plot", "runs/a", "runs/b", "--x", "seconds", "--out", "seconds.png"]) == 0
    assert (imread("seconds.png")[..., :3] < 0.5).any()


def test_columns_get_a_panel_each(runs):
    assert run(["plot", "runs", "--columns", "mean_return", "--out", "one.png"]) == 0
    assert run(["plot", "runs", "--columns", "mean_return,losses/", "--out", "four.png"]) == 0
    one, four = imread("one.png").shape, imread("four.png").shape
    assert (four[0], four[1]) == (2 * one[0], one[1])


def test_what_cannot_be_drawn_is_left_out_by_name(runs, capsys):
    (runs / "b" / "progress.csv").unlink()
    assert run(["plot", "runs"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "1 run in 1 group -> comparison.png\n"
    assert captured.err.startswith("left out: run")
    assert "runs/b has no progress yet" in captured.err


def test_mistakes(runs, mistake):
    assert "no run directory nowhere" in mistake("nowhere")
    assert "did you mean 'mean_return'?" in mistake("runs", "--columns", "mean_retrun")
    assert "name at least one" in mistake("runs", "--columns", ",")
    assert "must end in .png" in mistake("runs", "--out", "comparison.pdf")
    assert "'hours' is not one of" in mistake("runs", "--x", "hours")
    assert "cannot write" in mistake("runs", "--out", "nowhere/comparison.png", code=1)


def test_runs_of_two_environments_do_not_share_a_picture(runs, mistake):
    config = runs / "a" / "config.json"
    config.write_text(config.read_text().replace("Motrix/CartPole-v0", "Motrix/Go1-v0"))
    assert "these are runs of Motrix/Go1-v0, Motrix/CartPole-v0: give those of one" in mistake("runs")


def test_a_damaged_run_alone_is_one_line(runs, mistake):
    (runs / "a" / "config.json").write_text("{")
    assert "is damaged" in mistake("runs/a", code=1)
