"""The last second of an environment that diverges: written in a training, read, refused, played."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest

from motrix_train import environment
from motrix_train.cli import run
from motrix_train.errors import RunError, UsageError
from motrix_train.storage import recording
from motrix_train.storage.recording import About, Recording
from motrix_train.viewer.replay import Replay

BURSTING = '''
"""A cart pole whose simulation bursts when the pole leans."""
from dataclasses import dataclass

import numpy as np

import motrix_gym
from motrix_gym.tasks.basic.cartpole import CartPole


@dataclass(frozen=True)
class Lean(motrix_gym.TaskState):
    angle: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Bursting(CartPole):
    def reset(self, rng):
        qpos, qvel, _ = super().reset(rng)
        return qpos, qvel, Lean(np.zeros(len(qpos)))

    def next_state(self, t, rng):
        return Lean(np.abs(t.next_physics.qpos[:, 1]))

    def external_force(self, state):
        force = np.zeros((len(state.angle), 6))
        force[:, 0] = np.where(state.angle > 0.1, 1e13, 0.0)
        return {"cart": force}


motrix_gym.register("Mine/Bursting-v0", Bursting, max_episode_steps=1000)
'''
ABOUT = About(env_id="Motrix/CartPole-v0", env_kwargs={}, seed=1, env=2, vector_step=3, ending="diverged", versions={})


@pytest.fixture
def diverged(work: Path, tiny, monkeypatch) -> list[Path]:
    """The recordings of a training in which environments diverge."""
    (work / "bursting.py").write_text(BURSTING, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "bursting", raising=False)
    monkeypatch.syspath_prepend(str(work))
    assert run(["train", "bursting:Mine/Bursting-v0", *tiny, "--dump-diverged", "--run-dir=burst", "-q"]) == 0
    return sorted(Path("burst/diverged").iterdir())


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A recording of three steps of a CartPole."""
    env = environment.make_env(ABOUT.env_id, 1, {}, 1)
    env.reset(seed=0)
    states = []
    for _ in range(3):
        states.append(env.unwrapped.get_state())  # pyright: ignore[reportAttributeAccessIssue]
        env.step(np.ones((1, 1), np.float32))
    env.close()
    path = tmp_path / "good.safetensors"
    joined = {name: np.concatenate([state[name] for state in states]) for name in states[0]}
    recording.write(path, Recording(ABOUT, joined, np.ones((3, 1), np.float32)))
    return path


def test_a_training_keeps_what_diverges_and_goes_on_as_without(diverged, tiny):
    assert 2 <= len(diverged) <= 20
    for path in diverged:
        found = recording.read(path)
        assert found.about.ending == "diverged"
        assert found.about.env_id == "bursting:Mine/Bursting-v0"
        assert 10 < len(found) <= 100
        env = environment.make_env(found.about.env_id, 1, {}, 1)
        env.reset(seed=0)
        for step in range(len(found)):  # each action leads to the next state; the last one diverges
            env.unwrapped.set_state(found.state(step))  # pyright: ignore[reportAttributeAccessIssue]
            _, _, terminated, _, info = env.step(found.actions[step : step + 1])
            assert terminated[0] == (step == len(found) - 1)
        assert info["termination"]["diverged"][0]
        env.close()
    assert run(["train", "bursting:Mine/Bursting-v0", *tiny, "--run-dir=plain", "-q"]) == 0
    table, plain = (Path(name, "progress.csv").read_text("utf-8").splitlines() for name in ("burst", "plain"))
    returns = [[line.split(",")[table[0].split(",").index("mean_return")] for line in x] for x in (table, plain)]
    assert returns[0] == returns[1]
    assert run(["train", "--resume=burst", "--max-env-steps=2048", "-q", "--dump-diverged"]) == 0


def test_a_recording_is_played(good):
    played = Replay(good)
    assert played.report(played.scene()).length == 2
    played.pace.due(0.0)
    first = np.array(played.scene()[1].qpos)
    assert [played.advance(now) for now in (0.011, 0.022, 0.033, 0.044)] == [1, 1, 0, 0]
    assert played.pace.paused
    report = played.report(played.scene())
    assert report.ending == "diverged"
    assert "environment 2, vector step 3" in report.policy
    assert not np.array_equal(first, played.scene()[1].qpos)
    (moment, _), *_ = report.handles
    played.set(moment, 0.2)
    np.testing.assert_array_equal(first, played.scene()[1].qpos)
    played.close()


def test_a_recording_of_another_version_is_refused(good):
    found = recording.read(good)
    recording.write(good, Recording(found.about, {**found.states, "qpos": found.states["qpos"][:, :1]}, found.actions))
    with pytest.raises(RunError, match=r"does not fit Motrix/CartPole-v0 as it is here"):
        Replay(good)


@pytest.mark.parametrize("where", range(0, 700, 23))
def test_a_damaged_recording_is_refused(good, where):
    content = bytearray(good.read_bytes())
    for damaged in (content[: where + 1], content[:where] + bytes([content[where] ^ 0x55]) + content[where + 1 :]):
        good.write_bytes(damaged)
        with contextlib.suppress(RunError, UsageError):
            Replay(good).close()  # a flip may change a number, and nothing else
    good.write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(RunError, match="is damaged"):
        recording.read(good)


def test_other_files_are_no_recordings(tmp_path):
    for name, content in (("a.safetensors", b""), ("b.safetensors", b"\x02" + b"\0" * 7 + b"{}"), ("c.pt", b"")):
        (tmp_path / name).write_bytes(content)
        assert not recording.is_recording(tmp_path / name)
    assert not recording.is_recording(tmp_path / "nowhere.safetensors")
