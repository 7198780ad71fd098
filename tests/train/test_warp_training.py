"""MuJoCo Warp from the command line, on Warp's CPU device: a policy is trained there, and judged in both engines."""

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from motrix_gym.physics import engine
from motrix_train.environment import fields_of_worker

pytest.importorskip("mujoco_warp")
pytest.importorskip("torch")

PENDULUM = "Motrix/Pendulum-v0"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WARP = "--physics=warp", "--env=device=cpu"


def motrix_train(*arguments: str, launcher: Sequence[str] = ()) -> str:
    command = [sys.executable, *launcher, "-m", "motrix_train", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_ready_made_policy_is_as_good_in_the_other_engine():
    episodes = "--episodes=16", "--json", "--num-threads=1"
    mujoco, warp = (
        json.loads(motrix_train("evaluate", PENDULUM, "--pretrained", *engine, *episodes)) for engine in ((), WARP)
    )
    low, high = mujoco["return_ci95"]
    assert low < warp["mean_return"] < high
    assert warp["termination"] == {"diverged": 0.0, "overflow": 0.0}
    assert mujoco["termination"] == {"diverged": 0.0}


def test_a_training_with_warp_goes_on_where_it_was_stopped(tmp_path):
    small = "--backend=torch", "--num-envs=8", "--set=rollouts=16", "--set=check_point_interval=16", *WARP
    whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
    motrix_train("train", PENDULUM, *small, "--max-env-steps=384", f"--run-dir={whole}")
    motrix_train("train", PENDULUM, *small, "--max-env-steps=128", f"--run-dir={parts}")
    motrix_train("train", "--resume", parts, "--max-env-steps=384")
    networks = [(tmp_path / run / "checkpoints" / "last.safetensors").read_bytes() for run in ("whole", "parts")]
    assert networks[0] == networks[1]


def test_two_workers_train_with_warp(tmp_path):
    run = tmp_path / "run"
    small = "--num-envs=4", "--set=rollouts=16", "--set=kl_threshold=0", "--set=evaluation_interval=0", *WARP
    told = motrix_train("train", PENDULUM, *small, "--max-env-steps=256", f"--run-dir={run}", launcher=TORCHRUN)
    assert f"Trained: {run}" in told
    assert (run / "checkpoints" / "last.safetensors").is_file()


@pytest.mark.parametrize(
    ("gpus", "fields", "device"),
    [
        (2, {"physics": "warp"}, "cuda:1"),
        (2, {"physics": "warp", "device": "cuda"}, "cuda:1"),
        (2, {"physics": "warp", "device": "cuda:0"}, "cuda:0"),
        (2, {"physics": "warp", "device": "cpu"}, "cpu"),
        (1, {"physics": "warp"}, "cuda:0"),
        (0, {"physics": "warp"}, None),
        (2, {"physics": "mujoco"}, None),
        (2, {}, None),
    ],
)
def test_the_environments_of_each_worker_have_a_gpu(gpus, fields, device, monkeypatch):
    monkeypatch.setattr(engine, "warp_gpus", lambda: gpus)
    given = dict(fields)
    assert fields_of_worker(fields, worker=1, workers=2).get("device") == device
    assert fields_of_worker(fields, worker=0, workers=1) == fields == given
