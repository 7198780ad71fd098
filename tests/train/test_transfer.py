"""A policy starts another training: whole, in part, with and without its normaliser."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_resume import TINY, Stopper, job

from motrix_train.cli import run as command
from motrix_train.errors import UsageError
from motrix_train.learning.transfer import InitFrom, Transfer
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.run import train_run

STILL = replace(TINY, learning_rate=1e-12, learning_rate_scheduler_kl_threshold=0.0)
NORMALISERS = ("observation_normalizer", "value_normalizer")


@pytest.fixture(scope="module", params=["torch", "jax"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A short training of the easier task, to be read only."""
    run = job(request.param).create_run("", tmp_path_factory.mktemp("source") / "run")
    train_run(run, Stopper())
    return run


def started(source: RunDirectory, path: Path, cfg=STILL, **how: bool) -> tuple[Transfer, checkpoint.Checkpoint]:
    """What came along, and the policy after a training that hardly learns."""
    origin = InitFrom(checkpoint.read(source.checkpoint("last")), **how)
    run = job(origin.checkpoint.backend, cfg, origin=origin).create_run("", path)
    callback = Stopper()
    train_run(run, callback)
    assert callback.plan is not None
    assert callback.plan.transfer is not None
    return callback.plan.transfer, checkpoint.read(run.checkpoint("last"))


def arrays(policy: checkpoint.Checkpoint) -> dict[str, np.ndarray]:
    return dict(checkpoint.leaves({"policy": policy.state["policy"], "value": policy.state["value"]}))


def test_the_networks_come_along_and_the_optimizer_does_not(source: RunDirectory, tmp_path: Path):
    before = checkpoint.read(source.checkpoint("last"))
    transfer, after = started(source, tmp_path / "run")
    assert transfer.skipped == ()
    assert set(arrays(before)) <= set(transfer.loaded)
    for name, array in arrays(before).items():
        assert arrays(after)[name] == pytest.approx(array, abs=1e-6), name
    assert after.state[NORMALISERS[0]]["count"].item() > before.state[NORMALISERS[0]]["count"].item()


def test_the_normaliser_may_stay_behind(source: RunDirectory, tmp_path: Path):
    transfer, after = started(source, tmp_path / "run", normalizer=False)
    assert not [name for name in (*transfer.loaded, *transfer.skipped) if name.startswith(NORMALISERS)]
    assert after.state[NORMALISERS[0]]["count"].item() == TINY.max_env_steps + 1


def test_other_layers_are_refused_by_name_or_left_by_name(source: RunDirectory, tmp_path: Path):
    wider = replace(STILL, value_hidden_layer_sizes=(9,))
    with pytest.raises(UsageError, match=r"value/.* is \(.*8.* in the policy to start from .*9.* or --partial"):
        started(source, tmp_path / "refused", wider)
    assert not (tmp_path / "refused").exists()
    transfer, after = started(source, tmp_path / "run", wider, partial=True)
    assert {name for name in transfer.skipped if name.startswith("policy")} == set()
    assert [name for name in transfer.skipped if name.startswith("value")]
    before = checkpoint.read(source.checkpoint("last"))
    for name, array in arrays(before).items():
        assert (name in transfer.loaded) == (arrays(after)[name].shape == array.shape)
        if name in transfer.loaded:
            assert arrays(after)[name] == pytest.approx(array, abs=1e-6), name


def test_a_standardiser_that_fits_in_part_is_left_whole(source: RunDirectory, tmp_path: Path):
    taken = checkpoint.read(source.checkpoint("last"))
    narrow = {**taken.state, "observation_normalizer": {**taken.state["observation_normalizer"]}}
    narrow["observation_normalizer"]["mean"] = np.zeros(3, np.float32)
    origin = InitFrom(replace(taken, state=narrow), partial=True)
    run = job(taken.backend, STILL, origin=origin).create_run("", tmp_path / "run")
    callback = Stopper()
    train_run(run, callback)
    left = {name.split("/")[1] for name in callback.plan.transfer.skipped}
    assert left == {"mean", "variance", "count"}


def test_a_policy_of_the_other_backend_comes_along(source: RunDirectory, tmp_path: Path):
    before = checkpoint.read(source.checkpoint("last"))
    other = {"torch": "jax", "jax": "torch"}[before.backend]
    pytest.importorskip(other)
    run = job(other, STILL, origin=InitFrom(before)).create_run("", tmp_path / "run")
    callback = Stopper()
    train_run(run, callback)
    assert callback.plan.transfer.skipped == ()
    after = checkpoint.read(run.checkpoint("last"))
    assert after.backend == other
    for name, array in arrays(before).items():
        assert arrays(after)[name] == pytest.approx(array, abs=1e-6), name


def test_it_resumes_without_the_file_that_it_started_from(source: RunDirectory, tmp_path: Path):
    origin = InitFrom(checkpoint.read(source.checkpoint("last")))
    run = job(origin.checkpoint.backend, origin=origin).create_run("", tmp_path / "run")
    assert run.config()["origin"]["env_steps"] == TINY.max_env_steps
    callback = Stopper()
    train_run(RunDirectory.open(run.path), callback)
    assert callback.plan.transfer.skipped == ()


def test_from_the_command_line(source: RunDirectory, work: Path, tiny: tuple[str, ...], capsys):
    backend = source.config()["backend"]
    options = [*tiny[1:], f"--backend={backend}", "--set=policy_hidden_layer_sizes=8", "--set=rollouts=16"]
    options += ["--set=value_hidden_layer_sizes=9", "--set=check_point_interval=16", "--env=max_angle=0.15"]
    start = ["train", "Motrix/CartPole-v0", f"--init-from={source.path}", *options]
    assert command(start) == 2
    assert "or --partial for what fits" in capsys.readouterr().err
    assert not list(work.iterdir())
    assert command([*start, "--partial", "--run-dir=new"]) == 0
    assert "left as they were drawn: value/" in " ".join(capsys.readouterr().err.split())
    assert command(["evaluate", "new", "--env-id=Motrix/CartPole-v0", "--episodes=4", "--json"]) == 0
    assert command(["evaluate", "new", "--env-id=Motrix/Go1-v0", "--episodes=4"]) == 2
    assert "observations of shape (4,), Motrix/Go1-v0 has" in capsys.readouterr().err
    assert command(["train", "Motrix/CartPole-v0", "--partial"]) == 2
    assert "--partial is about the policy to start from" in capsys.readouterr().err
