"""Tiny real trainings on both backends: what they leave on disk, that they repeat, and that they learn."""

import itertools
import math
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motrix_train import presets
from motrix_train.config import PPOCfg
from motrix_train.errors import RunError, UsageError
from motrix_train.learning import backend
from motrix_train.learning.agent import Agent
from motrix_train.learning.backend import Backend
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.storage import checkpoint
from motrix_train.storage.array_file import SUFFIX
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.best_policy import BestPolicy
from motrix_train.training.records import RolloutStats, TrainingPlan, TrainingSummary
from motrix_train.training.request import TrainRequest
from motrix_train.training.seeds import Seeds
from motrix_train.training.trainer import train_policy

CARTPOLE = "Motrix/CartPole-v0"
TINY = PPOCfg(
    num_envs=8,
    max_env_steps=8 * 96,
    check_point_interval=48,
    rollouts=16,
    learning_epochs=2,
    mini_batches=2,
    policy_hidden_layer_sizes=(8,),
    value_hidden_layer_sizes=(8,),
    entropy_loss_scale=0.001,
)


@dataclass
class Record:
    """Keeps what a training tells."""

    plan: TrainingPlan | None = None
    rollouts: list[RolloutStats] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    summary: TrainingSummary | None = None
    interrupt_after: int = 10**9

    def started(self, plan: TrainingPlan) -> None:
        self.plan = plan

    def rollout(self, stats: RolloutStats) -> None:
        self.rollouts.append(stats)
        if len(self.rollouts) == self.interrupt_after:
            signal.raise_signal(signal.SIGINT)

    def checkpoint_written(self, path: Path) -> None:
        self.checkpoints.append(path.stem)

    def stop_requested(self) -> None: ...

    def finished(self, summary: TrainingSummary) -> None:
        self.summary = summary


@dataclass(frozen=True)
class Run:
    """A training that has ended."""

    backend: Backend
    directory: RunDirectory
    record: Record
    summary: TrainingSummary


def run(
    name: str,
    path: Path,
    cfg: PPOCfg = TINY,
    env_id: str = CARTPOLE,
    record: Record | None = None,
    seed: int = 7,
    device: str = "cpu",
    num_threads: int = 1,
) -> Run:
    pytest.importorskip(name)
    chosen, record = backend.select(name), record or Record()
    path.mkdir(parents=True, exist_ok=True)
    (path / "checkpoints").mkdir(exist_ok=True)
    request = TrainRequest(
        env_id=env_id,
        env_kwargs={},
        backend=name,
        cfg=replace(cfg, seed=seed),
        device=device,
        num_threads=num_threads,
    )
    summary = train_policy(request, run=RunDirectory(path), callback=record)
    assert summary is not None
    return Run(chosen, RunDirectory(path), record, summary)


@pytest.fixture(scope="module", params=["torch", "jax"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished tiny run, to be read only."""
    return run(request.param, tmp_path_factory.mktemp(request.param))


def test_it_trains_the_whole_budget(done: Run):
    assert done.summary.env_steps == 768
    assert not done.summary.interrupted
    assert [stats.env_steps for stats in done.record.rollouts] == [128 * n for n in range(1, 7)]
    assert done.record.plan is not None
    assert done.record.plan.total_env_steps == 768
    assert done.record.summary is done.summary


def test_checkpoints(done: Run):
    written = [stem for stem in done.record.checkpoints if stem != "best"]
    assert written == ["step_384", "last", "step_768", "last", "last"]
    names = {path.name for path in done.directory.checkpoints.iterdir()}
    assert names == {f"{stem}{SUFFIX}" for stem in ("step_384", "step_768", "best", "last", "resume")}
    last = checkpoint.read(done.summary.last)
    assert (last.env_id, last.backend, last.env_steps, last.seed) == (CARTPOLE, done.backend.NAME, 768, 7)
    assert last.config["rollouts"] == 16
    assert last.config["seed"] == 7
    assert checkpoint.read(done.directory.checkpoints / f"step_384{SUFFIX}").env_steps == 384


def test_the_time_of_a_callback_is_not_in_the_rate(tmp_path: Path):
    class Slow(Record):
        def checkpoint_written(self, path: Path) -> None:
            time.sleep(1.0)

    watched = run("torch", tmp_path, record=Slow())
    for stats in watched.record.rollouts:
        at_work = stats.seconds_env + stats.seconds_policy + stats.seconds_update
        assert 128 / stats.env_steps_per_second < at_work + 0.5
    assert watched.summary.seconds > 3.0


def test_the_saved_policy_acts(done: Run):
    policy = NumpyPolicy(checkpoint.read(done.summary.last))
    assert policy(np.zeros((5, 4), np.float32)).shape == (5, 1)


def test_progress_table(done: Run):
    progress = done.directory.progress()
    assert progress["env_steps"].tolist() == [128 * n for n in range(1, 7)]
    assert np.isfinite(progress["mean_return"][1:]).all()
    assert (progress["mean_episode_length"][1:] > 5).all()
    assert (progress["reward_terms/alive"] > 50).all()  # one per step of 10 ms, so at most 100 a second
    assert (progress["reward_terms/alive"] <= 100).all()
    for column in ("losses/policy", "losses/value", "losses/entropy", "policy_std", "learning_rate"):
        assert np.isfinite(progress[column]).all(), column
    seconds = progress["seconds_env"] + progress["seconds_policy"] + progress["seconds_update"]
    assert (seconds > 0).all()
    assert (progress["env_steps_per_second"] > 0).all()


def test_endings_are_the_shares_of_the_episodes_that_ended(done: Run):
    for before, stats in itertools.pairwise(done.record.rollouts):
        assert {"pole_fell", "cart_left", "time limit"} <= set(stats.endings)
        if stats.episodes > before.episodes:
            assert sum(stats.endings.values()) == pytest.approx(1.0)
        else:
            assert np.isnan(list(stats.endings.values())).all()
    assert np.nanmax(done.directory.progress()["endings/pole_fell"]) > 0.5


def test_tensorboard_events(done: Run):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(done.directory.path))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert tags >= {
        "Episode/return",
        "Episode/length",
        "Reward/alive",
        "Loss/policy",
        "Loss/value",
        "Loss/entropy",
        "Policy/standard deviation",
        "Policy/learning rate",
        "Throughput/env steps per second",
    }
    rewards = events.Scalars("Reward/alive")
    assert [event.step for event in rewards] == [stats.env_steps for stats in done.record.rollouts]
    expected = [stats.reward_terms["alive"] for stats in done.record.rollouts]
    assert [event.value for event in rewards] == pytest.approx(expected)


def test_the_same_seed_gives_the_same_run(done: Run, tmp_path: Path):
    again = run(done.backend.NAME, tmp_path, num_threads=2)
    assert comparable(again.record) == comparable(done.record)
    first, second = (checkpoint.read(r.summary.last).state["policy"] for r in (done, again))
    assert repr(first) == repr(second)


def test_another_seed_gives_another_run(tmp_path: Path):
    first, second = (run("torch", tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert comparable(first.record)[0] != comparable(second.record)[0]


def comparable(record: Record) -> list[tuple]:
    """What does not depend on the clock."""
    timeless = {"seconds": 0.0, "env_steps_per_second": 0.0}
    timeless |= {"seconds_env": 0.0, "seconds_policy": 0.0, "seconds_update": 0.0, "seconds_evaluation": 0.0}
    return [repr(replace(stats, **timeless)) for stats in record.rollouts]


def test_control_c_ends_cleanly_with_a_last_checkpoint(tmp_path: Path):
    interrupted = run("torch", tmp_path, record=Record(interrupt_after=4))
    assert interrupted.summary.interrupted
    assert interrupted.summary.env_steps == 512
    assert checkpoint.read(interrupted.summary.last).env_steps == 512
    assert interrupted.record.summary is interrupted.summary
    assert [stem for stem in interrupted.record.checkpoints if stem != "best"] == ["step_384", "last", "last"]
    assert len(interrupted.directory.progress()["env_steps"]) == 4


@pytest.mark.parametrize("mirror", ["policy", "policy_and_value"])
def test_a_mirrored_robot_trains(mirror: str, tmp_path: Path):
    cfg = replace(TINY, num_envs=4, max_env_steps=4 * 32, check_point_interval=32, mirror=mirror)
    result = run("torch", tmp_path, cfg, env_id="Motrix/Go1-v0")
    policy = NumpyPolicy(checkpoint.read(result.summary.last))
    env = gymnasium.make_vec("Motrix/Go1-v0", num_envs=4)
    declared = env.unwrapped.mirror
    observations, _ = env.reset(seed=1)
    env.close()
    image = observations[..., declared.observation.index] * declared.observation.sign
    mirrored = policy(observations)[..., declared.action.index] * declared.action.sign
    assert policy(image.astype(np.float32)) == pytest.approx(mirrored, abs=1e-5)


def test_shared_features_train_with_torch_only(tmp_path: Path):
    shared = replace(TINY, share_policy_value_features=True)
    result = run("torch", tmp_path / "torch", shared)
    assert "value" not in checkpoint.read(result.summary.last).state
    with pytest.raises(UsageError, match="share_policy_value_features is not possible with JAX"):
        run("jax", tmp_path / "jax", shared)


def test_an_environment_without_a_mirror_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("motrix_train.learning.symmetry.NetworkSymmetry.of", lambda env: None)
    with pytest.raises(UsageError, match=r"mirror 'policy' is not possible: .* give mirror=none"):
        run("torch", tmp_path, replace(TINY, mirror="policy"))


@pytest.mark.parametrize(("name", "spelt"), [("torch", "Torch"), ("jax", "JAX")])
def test_an_unknown_device_is_refused(name: str, spelt: str, tmp_path: Path):
    with pytest.raises(UsageError, match=f"device 'tpu:3' is not usable with {spelt}"):
        run(name, tmp_path, device="tpu:3")


def test_divergence_is_one_line_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Agent, "act", lambda self, observations, states: np.full((len(observations), 1), math.nan))
    with pytest.raises(
        RunError, match="training diverged: actions are not finite after 0 env steps; lower the learning"
    ):
        run("torch", tmp_path)


def test_neighbouring_seeds_share_no_row():
    spread = [Seeds.from_run_seed(seed) for seed in range(200)]
    assert len({seeds.networks for seeds in spread}) == len(spread)
    starts = sorted(seeds.env for seeds in spread)
    assert min(np.diff(starts)) > 2**20
    assert all(0 <= seeds.env < 2**63 and 0 <= seeds.networks < 2**32 for seeds in spread)
    assert Seeds.from_run_seed(3) == Seeds.from_run_seed(3)


def test_torch_learns_cartpole(tmp_path: Path):
    cfg = replace(presets.preset(CARTPOLE, "torch"), num_envs=64, max_env_steps=64 * 768, check_point_interval=768)
    returns = [stats.mean_return for stats in run("torch", tmp_path, cfg).record.rollouts]
    assert returns[-1] > 3 * returns[0]


@given(
    returns=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20),
    error=st.floats(0, 50),
)
def test_the_best_policy_is_the_last_that_is_not_measurably_worse(returns, error):
    best = BestPolicy()
    admitted = [k for k, mean in enumerate(returns) if best.is_improved_by(mean, error)]
    slack = math.hypot(error, error)
    assert admitted == [k for k, mean in enumerate(returns) if mean >= max(returns[: k + 1]) - slack]
