"""`motrix-train list`: one line for each environment, at every width of the terminal."""

import re

import gymnasium
import pytest

from motrix_gym.registration import ENVS
from motrix_train import presets, pretrained
from motrix_train.cli import run

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
        known = pretrained.index().get(env_id)
        assert reached == ("-" if known is None else f"{known.mean_return:.0f}")
        assert description == ""
    assert "\n\nLocomotion\nMotrix/Go1-v0 " in shown
    assert "4.2 M (jax 8 M)" in shown


@pytest.mark.parametrize("width", [120, 140, None])
def test_a_wide_terminal_tells_ids_of_one_task_apart(listed, width):
    shown = listed(width)
    assert max(map(len, shown.splitlines())) <= (width or 200)
    described = [row[-1] for row in ROW.findall(shown)]
    assert len(described) == len(set(described)) == len(ENVS)
    assert "A planar biped stands, walks or runs. (move_speed 8)" in described or width == 120
