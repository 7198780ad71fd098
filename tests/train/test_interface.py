"""Training and evaluation from Python, and several seeds in one command."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import motrix_train
from motrix_train.cli import run
from motrix_train.errors import UsageError
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory

CARTPOLE = "Motrix/CartPole-v0"
LAST = Path("checkpoints/last.safetensors")
SETTINGS = {
    "num_envs": 8,
    "max_env_steps": 1024,
    "rollouts": 32,
    "check_point_interval": 64,
    "policy_hidden_layer_sizes": [8],
    "evaluation_episodes": "4",
}
ASSIGNMENTS = [
    f"--set={name}={','.join(map(str, value)) if isinstance(value, list) else value}"
    for name, value in SETTINGS.items()
]
TRAIN = ["train", CARTPOLE, "--backend=torch", "--num-threads=1", "-q", *ASSIGNMENTS]


def parameters(path: Path) -> dict[str, bytes]:
    return {name: np.asarray(x).tobytes() for name, x in checkpoint.leaves(checkpoint.read(path).state)}


def trained(path: str, **more: object) -> motrix_train.TrainedRun:
    how = {"backend": "torch", "seed": 5, "settings": SETTINGS, "num_threads": 1, "quiet": True}
    return motrix_train.train(CARTPOLE, run_dir=path, **{**how, **more})


@pytest.fixture
def alone(work: Path) -> motrix_train.TrainedRun:
    return trained("alone")


def test_python_and_the_command_train_the_same_policy(alone: motrix_train.TrainedRun, capsys):
    assert run([*TRAIN, "--seed=5", "--run-dir=typed"]) == 0
    assert parameters(alone.path / LAST) == parameters("typed" / LAST)
    assert alone.progress["env_steps"][-1] == alone.summary.env_steps == 1024

    measured = motrix_train.evaluate(alone.path, episodes=8, num_threads=1)
    capsys.readouterr()
    assert run(["evaluate", "typed", "--episodes=8", "--num-threads=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_return"] == measured.mean_return
    assert motrix_train.evaluate(alone.best_policy, episodes=8, stochastic=True).mean_return != measured.mean_return


def test_it_starts_from_another_policy_with_other_fields(alone: motrix_train.TrainedRun):
    further = trained("further", init_from=alone.path, env_kwargs={"max_angle": 0.3}, max_env_steps=2048)
    assert (
        RunDirectory.open(further.path).config()["origin"]["env_steps"] == checkpoint.read(alone.best_policy).env_steps
    )
    assert checkpoint.read(further.best_policy).env_kwargs == {"max_angle": 0.3}
    assert further.summary.env_steps == 2048


def test_it_works_beside_the_main_thread_as_in_a_notebook(alone: motrix_train.TrainedRun):
    found = []
    thread = threading.Thread(target=lambda: found.append(trained("beside")))
    thread.start()
    thread.join()
    assert parameters(found[0].path / LAST) == parameters(alone.path / LAST)


def test_a_mistake_names_the_value_and_the_remedy(work: Path):
    with pytest.raises(UsageError, match="did you mean 'rollouts'"):
        trained("never", settings={"rolouts": 3})
    with pytest.raises(UsageError, match=r"rollouts is 2\.5; it takes a whole number"):
        trained("never", settings={"rollouts": 2.5})
    with pytest.raises(UsageError, match=r"did you mean Motrix/CartPole-v0"):
        motrix_train.train("Motrix/CartPoll-v0")
    assert not list(work.iterdir())


def test_the_package_names_what_it_offers_and_needs_no_learning_library_for_it():
    code = (
        "import sys, motrix_train; motrix_train.__all__; heavy = {'torch', 'jax', 'skrl'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'tarin'"):
        motrix_train.tarin  # noqa: B018


def test_several_seeds_are_the_runs_of_each_seed_alone(alone: motrix_train.TrainedRun, capsys):
    assert run([*TRAIN, "--seeds=3,5", "--run-dir=both"]) == 0
    shown = capsys.readouterr().out
    assert {path.name for path in Path("both").iterdir()} == {"seed3", "seed5", "seed3_seeds.png"}
    assert parameters(Path("both/seed5") / LAST) == parameters(alone.path / LAST)
    assert imread("both/seed3_seeds.png").std() > 0.05
    assert "both/seed3" in shown
    assert "mean and standard deviation" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds=3,x"], "--seeds 3,x: give different whole numbers from 0"),
        (["--seeds=3,3"], "--seeds 3,3: give different"),
        (["--seeds=,"], "give different whole numbers"),
        (["--seeds=3,4", "--seed=1"], "does not go with --seed"),
        (["--seeds=3,4", "--random-seed"], "does not go with --seed and --random-seed"),
    ],
)
def test_seeds_that_cannot_be_meant_are_refused(arguments: list[str], said: str, work: Path, capsys):
    assert run([*TRAIN, *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not list(work.iterdir())
