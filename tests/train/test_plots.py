"""The learning curve is a picture of whatever progress there is."""

import numpy as np
import pytest
from matplotlib.image import imread

from motrix_train.errors import RunError
from motrix_train.plotting.plots import draw_learning_curve
from motrix_train.storage.progress_table import measured

STEPS = np.arange(1, 6) * 1000.0
RETURNS = {"env_steps": STEPS, "mean_return": STEPS / 10, "mean_episode_length": STEPS / 20}


def height(path) -> int:
    return imread(path).shape[0]


def test_each_kind_of_column_gets_its_panel(tmp_path):
    draw_learning_curve(RETURNS, tmp_path / "two.png", "two panels")
    draw_learning_curve(RETURNS | {"reward_terms/alive": STEPS}, tmp_path / "three.png", "three")
    draw_learning_curve(
        RETURNS | {"reward_terms/alive": STEPS, "metrics/velocity_error": STEPS}, tmp_path / "four.png", "four"
    )
    assert height(tmp_path / "two.png") < height(tmp_path / "three.png") == height(tmp_path / "four.png")


def test_lines_are_really_drawn(tmp_path):
    draw_learning_curve({"env_steps": STEPS}, tmp_path / "empty.png", "")
    draw_learning_curve(RETURNS, tmp_path / "drawn.png", "")
    assert (imread(tmp_path / "empty.png") == 1.0).all()
    assert (imread(tmp_path / "drawn.png")[..., :3] < 0.5).any()


@pytest.mark.parametrize(
    "progress",
    [
        {},
        {"env_steps": np.array([10.0]), "mean_return": np.array([np.nan])},
        {"env_steps": np.array([10.0]), "mean_return": np.array([1.0])},
        {"env_steps": np.array([10.0, 20.0]), "mean_return": np.array([np.nan, np.inf])},
    ],
    ids=["nothing", "no episode yet", "one rollout", "not finite"],
)
def test_little_progress_is_drawn_too(tmp_path, progress):
    draw_learning_curve(progress, tmp_path / "curve.png", "little")
    assert height(tmp_path / "curve.png") > 0


def test_a_curve_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        draw_learning_curve(RETURNS, tmp_path / "file" / "curve.png", "")


def test_no_plateau_is_drawn_where_no_episode_has_ended():
    """A mean over episodes says nothing new until one ends; what is measured in every rollout is left as it is."""
    progress = {
        "episodes": np.array([0.0, 3.0, 3.0, 3.0, 5.0]),
        "mean_return": np.array([np.nan, 10.0, 10.0, 10.0, 20.0]),
        "return_by_task/walk": np.array([np.nan, 1.0, 1.0, 1.0, 2.0]),
        "metrics/height": np.arange(5.0),
    }
    np.testing.assert_array_equal(measured(progress, "mean_return"), [np.nan, 10, np.nan, np.nan, 20])
    np.testing.assert_array_equal(measured(progress, "return_by_task/walk"), [np.nan, 1, np.nan, np.nan, 2])
    np.testing.assert_array_equal(measured(progress, "metrics/height"), np.arange(5.0))
    without = {name: values for name, values in progress.items() if name != "episodes"}
    np.testing.assert_array_equal(measured(without, "mean_return"), progress["mean_return"])
