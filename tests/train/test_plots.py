"""The learning curve is a picture of whatever progress there is."""

import numpy as np
import pytest
from matplotlib.image import imread

from motrix_train.errors import RunError
from motrix_train.plots import learning_curve

STEPS = np.arange(1, 6) * 1000.0
RETURNS = {"env_steps": STEPS, "mean_return": STEPS / 10, "mean_episode_length": STEPS / 20}


def height(path) -> int:
    return imread(path).shape[0]


def test_each_kind_of_column_gets_its_panel(tmp_path):
    learning_curve(RETURNS, tmp_path / "two.png", "two panels")
    learning_curve(RETURNS | {"reward_terms/alive": STEPS}, tmp_path / "three.png", "three")
    learning_curve(
        RETURNS | {"reward_terms/alive": STEPS, "metrics/velocity_error": STEPS}, tmp_path / "four.png", "four"
    )
    assert height(tmp_path / "two.png") < height(tmp_path / "three.png") == height(tmp_path / "four.png")


def test_lines_are_really_drawn(tmp_path):
    learning_curve({"env_steps": STEPS}, tmp_path / "empty.png", "")
    learning_curve(RETURNS, tmp_path / "drawn.png", "")
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
    learning_curve(progress, tmp_path / "curve.png", "little")
    assert height(tmp_path / "curve.png") > 0


def test_a_curve_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        learning_curve(RETURNS, tmp_path / "file" / "curve.png", "")
