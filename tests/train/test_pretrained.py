"""Ready-made policies do in their environments what the row of their training says."""

import dataclasses
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import script_files

import motrix_train
from motrix_train import environment, pretrained
from motrix_train.cli import run
from motrix_train.errors import UsageError
from motrix_train.policies import TrainedPolicy
from motrix_train.presets import preset_ids
from motrix_train.storage import checkpoint
from motrix_train.training.evaluation import evaluate_policy

ROWS = Path(__file__).parents[2] / "benchmarks" / "learning" / "results"
EPISODES = 32
WHOLE = 12_000_000  # bytes of all of them
IDS = sorted(pretrained.index())


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that writes the table of the rows."""
    return script_files.load(ROWS.parent / "tables.py", monkeypatch)


def test_every_file_is_in_the_index_and_they_are_small():
    files = sorted(pretrained.HERE.glob("*.safetensors"))
    assert files == [pretrained.policy_file(env_id) for env_id in IDS]
    assert "Motrix/Go1-v0" in IDS
    assert sum(path.stat().st_size for path in files) < WHOLE


def test_every_preset_that_learns_has_one(tables: ModuleType):
    rows = [json.loads(path.read_text()) for path in sorted(ROWS.glob("*_torch_seed*.json"))]
    learned = {row["env_id"] for row in rows if row["evaluation"]["mean_return"] >= _target(tables, row["env_id"])}
    assert learned <= {*IDS}


def _target(tables: ModuleType, env_id: str) -> float:
    """The mean return that a preset is meant to reach."""
    target, _ = tables.TARGETS.get(env_id.removeprefix("Motrix/").removesuffix("-v0"), (-math.inf, None))
    return target


@pytest.mark.parametrize("env_id", IDS)
def test_it_is_the_policy_of_its_row(env_id: str):
    entry = pretrained.index()[env_id]
    row = json.loads((ROWS / f"{entry.row}.json").read_text())
    known = row | row["evaluation"] | {"row": entry.row, "seed": row["seed"]}
    assert row["env_id"] == env_id
    assert dataclasses.asdict(entry) == {name: known[name] for name in dataclasses.asdict(entry)}
    read = checkpoint.read(pretrained.policy_file(env_id))
    assert (read.env_id, read.env_kwargs, read.seed, read.env_steps) == (env_id, {}, entry.seed, entry.env_steps)
    blocks = read.observation_blocks
    assert sum(block.size for block in blocks) == read.observation_shape[0]
    assert environment.make_env(env_id, 1, {}).single_observation_space.shape == read.observation_shape


@pytest.mark.parametrize("env_id", IDS)
def test_it_does_what_its_row_says(env_id: str):
    entry = pretrained.index()[env_id]
    found = evaluate_policy(motrix_train.load_policy(env_id), env_id, {}, EPISODES, seed=1, num_threads=1)
    error = math.hypot(entry.std_return / math.sqrt(EPISODES), entry.std_return / math.sqrt(entry.episodes))
    one_lost = abs(entry.mean_return) / EPISODES  # an episode in some hundred may be lost from its beginning
    assert found.mean_return == pytest.approx(entry.mean_return, abs=4 * error + one_lost)
    allowed = sum(entry.termination.values()) + 4 * math.sqrt(0.25 / EPISODES) / 2
    assert sum(found.termination.values()) <= allowed


def test_it_acts_for_any_number_of_environments():
    policy = motrix_train.load_policy("motrix_gym:Motrix/Go1-v0")
    observations = np.random.default_rng(0).standard_normal((7, 50))
    assert policy(observations).shape == (7, 12)
    assert policy(observations[:1])[0] == pytest.approx(policy(observations)[0], abs=1e-5)


def test_an_id_without_one_is_refused_with_those_that_have_one():
    with pytest.raises(UsageError, match=r"no ready-made policy of Motrix/HumanoidRun-v0: .*Motrix/Go1-v0"):
        pretrained.policy_file("Motrix/HumanoidRun-v0")


def test_without_a_run_the_refusal_says_that_there_is_one(work: Path):
    with pytest.raises(UsageError, match=r"no trained run of Motrix/CartPole-v0 .*; or add --pretrained"):
        TrainedPolicy.open("Motrix/CartPole-v0")
    without = next(env_id for env_id in preset_ids() if env_id not in pretrained.index())
    with pytest.raises(UsageError, match=f"with `motrix-train train {without}`$"):
        TrainedPolicy.open(without)


def test_the_commands_take_it(work: Path, capsys):
    cartpole = "Motrix/CartPole-v0"
    assert run(["evaluate", cartpole, "--pretrained", "--episodes=2", "--num-threads=1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["mean_return"]
    assert found > 900
    assert motrix_train.evaluate(cartpole, pretrained=True, episodes=2, num_threads=1).mean_return == found
    assert run(["evaluate", "Motrix/HumanoidRun-v0", "--pretrained"]) == 2
    assert run(["evaluate", "runs", "--pretrained"]) == 2
    tiny = ["--num-envs=8", "--max-env-steps=1", "--set=rollouts=16", "--set=check_point_interval=16", "--quiet"]
    assert run(["train", cartpole, "--init-from=pretrained", "--run-dir=more", "--num-threads=1", *tiny]) == 0
    started = checkpoint.read("more/checkpoints/origin.safetensors")
    assert started.env_steps == pretrained.index()[cartpole].env_steps


def test_the_demo_is_a_video_where_there_is_no_display(work: Path, opengl, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert run(["demo", "Motrix/CartPole-v0", "--num-threads=1"]) == 0
    assert (work / "CartPole-v0.mp4").stat().st_size > 1000
    assert "Motrix/CartPole-v0 -> CartPole-v0.mp4" in capsys.readouterr().out
