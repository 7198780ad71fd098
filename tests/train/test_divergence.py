"""What is not finite is found before it is learned from or written, and laid at the right door."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from comparison import everything
from test_others_environments import Point, others
from test_resume import TINY, Stopper, job

from motrix_train.cli import run as command
from motrix_train.errors import RunError
from motrix_train.learning.agent import Agent
from motrix_train.learning.backend import select
from motrix_train.learning.divergence import first_not_finite, require_finite
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training import evaluation
from motrix_train.training.run import train_run

BACKENDS = pytest.mark.parametrize("backend", ["torch", "jax"])
DIVERGING = (
    *("--num-envs=8", "--max-env-steps=512", "--set=rollouts=8", "--set=check_point_interval=8", "--quiet"),
    *("--set=learning_rate_scheduler_kl_threshold=0", "--set=grad_norm_clip=0", "--set=evaluation_interval=0"),
    *("--set=learning_rate=1e30", "--num-threads=1"),
)


class Faulty(Point):
    """A point of which one number is not finite, in environment 3, in the 40th vector step."""

    def __init__(self, num_envs: int = 1, fault: str = "", value: float = np.nan, **kwargs: Any) -> None:
        super().__init__(num_envs, **kwargs)
        self._fault, self._value, self._steps = fault, value, 0

    def step(self, actions: np.ndarray) -> Any:
        observations, rewards, terminated, truncated, infos = super().step(actions)
        self._steps += 1
        terms = {"near": rewards.copy(), "alive": np.zeros(self.num_envs)}
        if self._steps == 40 and self.num_envs > 3:
            if self._fault == "observation":
                observations[3, 1] = self._value
            elif self._fault == "last observation":
                truncated[3] = True
                infos = {"final_obs": observations.copy(), "_final_obs": terminated | truncated}
                infos["final_obs"][3, 1] = self._value
            else:
                rewards[3] = self._value
            if self._fault == "term":
                terms["near"][3] = self._value
        return observations, rewards, terminated, truncated, {**infos, "reward_terms": terms}


gymnasium.register("Others/Faulty-v0", vector_entry_point=Faulty, max_episode_steps=1000)


@pytest.mark.parametrize(
    ("fault", "value", "told"),
    [
        ("observation", np.nan, r"an observation that is not finite .* 320: nan in environment 3, element 1;"),
        (
            "observation",
            -np.inf,
            r"an observation that is not finite .* 320: -inf in environment 3, element 1;",
        ),
        (
            "observation",
            1e300,
            r"an observation that is not finite .* 320: 1e\+300 in environment 3, element 1;",
        ),
        (
            "last observation",
            np.nan,
            r"a last observation of an episode .* 320: nan in environment 3, element 1;",
        ),
        ("reward", np.inf, r"a reward that is not finite in env step 320: inf in environment 3;"),
        (
            "term",
            np.nan,
            r"a reward .* 320: nan in environment 3, from the reward term 'near'; mend the environment",
        ),
    ],
)
def test_a_fault_of_the_environment_is_called_so(fault, value, told, tmp_path, monkeypatch):
    standardised = []
    record = Agent.record
    monkeypatch.setattr(Agent, "record", lambda self, *given: (standardised.append(self), record(self, *given)))
    run = others("torch", TINY, "Others/Faulty-v0", fault=fault, value=value).create_run("", tmp_path / "run")
    with pytest.raises(RunError, match=told):
        train_run(run, Stopper())
    assert len(standardised) == 39
    assert first_not_finite(select("torch").agent_state(standardised[0])) is None
    assert first_not_finite(checkpoint.read(run.checkpoint("last")).state) is None


def test_an_evaluation_lays_it_at_the_same_door():
    def still(observations: np.ndarray) -> np.ndarray:
        return 0.0 * observations[:, :1]

    for fault, told in (
        ("term", r"reward .* in step 40 of an evaluation: nan in environment 3.*'near'"),
        ("observation", "environment 3"),
    ):
        with pytest.raises(RunError, match=told):
            evaluation.evaluate_policy(
                lambda x: still(x) + 0 * x[:, 1:], "Others/Faulty-v0", {"fault": fault}, episodes=5
            )


def test_many_rows_are_not_all_named():
    with pytest.raises(RunError, match=r"environments 0, 1, 2, 3, 4 and 95 more"):
        require_finite("reward", np.full(100, np.nan), "now")


@BACKENDS
@pytest.mark.parametrize("parts", [("5", "4"), ("1", "1")], ids=["parameters", "what they give"])
def test_a_learning_rate_without_measure(backend, parts, work, capsys):
    pytest.importorskip(backend)
    options = [f"--set=learning_epochs={parts[0]}", f"--set=mini_batches={parts[1]}", "--run-dir=mine"]
    assert command(["train", "Motrix/CartPole-v0", f"--backend={backend}", *DIVERGING, *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(
        r"motrix-train: training diverged: .* after 64 env steps; lower the learning rate, as in --set "
        r"learning_rate=0.0003\n",
        captured.err,
    )
    assert not list(work.rglob("*.safetensors"))


@pytest.mark.parametrize(("backend", "shared"), [("torch", False), ("torch", True), ("jax", False)])
def test_no_number_of_what_was_learned_is_overlooked(backend: str, shared: bool):
    pytest.importorskip(backend)
    cfg = replace(TINY, share_policy_value_features=shared)
    chosen, boxes = select(backend), (gymnasium.spaces.Box(-9, 9, (3,)), gymnasium.spaces.Box(-1, 1, (2,)))
    agent = chosen.make_agent(*boxes, 8, cfg, None, "cpu", state_space=None if shared else boxes[0])
    rng, states = np.random.default_rng(0), None
    for _ in range(cfg.rollouts):
        states = None if shared else rng.normal(size=(8, 3))
        agent.act(rng.normal(size=(8, 3)), states)
        agent.record(rng.normal(size=8), rng.normal(size=(8, 3)), *np.zeros((2, 8), bool), {}, states)
    agent.learn()
    assert agent.all_finite()
    assert agent.values(rng.normal(size=(8, 3)), states).shape == (8,)
    sound = dict(checkpoint.leaves(chosen.agent_state(agent)))
    checked = [name for name, x in sound.items() if np.ndim(x) and np.asarray(x).dtype.kind == "f"]
    assert len(checked) >= 20
    for value, name in zip(itertools.cycle([np.nan, np.inf, -np.inf]), checked, strict=False):
        spoilt = np.array(sound[name])
        spoilt.flat[-1] = value
        chosen.load_agent_state(agent, checkpoint.nest({**sound, name: spoilt}))
        assert not agent.all_finite(), name
        assert first_not_finite(chosen.agent_state(agent)) == name
    chosen.load_agent_state(agent, checkpoint.nest(sound))
    assert agent.all_finite()


@pytest.mark.parametrize(
    ("backend", "part"),
    [("torch", part) for part in ("value", "policy", "observation_normalizer", "optimizer")] + [("jax", "value")],
)
def test_what_is_not_finite_is_never_written_and_the_run_goes_on(backend, part, tmp_path, monkeypatch):
    """One number becomes NaN in the fourth update; resumed, the run is the one that it never happened to."""
    pytest.importorskip(backend)
    chosen, updates, learn = select(backend), [], Agent.learn
    cfg = replace(TINY, evaluation_interval=2)
    whole = job(backend, cfg).create_run("", tmp_path / "whole")
    train_run(whole, Stopper())

    def learning(self: Agent) -> Any:
        update = learn(self)
        updates.append(update)
        if len(updates) == 4:
            state = chosen.agent_state(self)
            poisoned = dict(checkpoint.leaves(state))
            name = next(name for name, x in poisoned.items() if name.startswith(part) and np.size(x) > 1)
            poisoned[name] = np.array(poisoned[name])
            poisoned[name].flat[-1] = np.nan
            chosen.load_agent_state(self, checkpoint.nest(poisoned))
        return update

    run = job(backend, cfg).create_run("", tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(Agent, "learn", learning)
        with pytest.raises(
            RunError, match=rf"training diverged: {part}/.* is not finite after 512 env steps; .*last\."
        ):
            train_run(run, Stopper())
    for path in run.checkpoints.iterdir():
        read = checkpoint.read(path)
        assert first_not_finite({"state": read.state, "session": read.resume_state}) is None
        assert read.env_steps <= 384
    train_run(RunDirectory.open(run.path), Stopper())
    assert everything(run) == everything(whole)


def test_a_policy_that_is_no_good_is_not_gone_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = job("torch").create_run("", tmp_path / "run")
    train_run(run, Stopper(4))
    last = run.checkpoint("last")
    for path in (last, run.resume_path):
        content = checkpoint.read(path)
        content.state["value"]["output"]["bias"][:] = np.nan
        checkpoint.write(path, content)
    capsys.readouterr()
    assert command(["train", "--resume", str(run.path), "--quiet"]) == 1
    assert "its value/output/bias is not finite" in capsys.readouterr().err
    tiny = ["--num-envs=8", "--max-env-steps=128", "--set=rollouts=16", "--set=check_point_interval=16", "--quiet"]
    layers = ["--set=policy_hidden_layer_sizes=8", "--set=value_hidden_layer_sizes=8"]
    options = ["--init-from", str(last), f"--run-dir={tmp_path / 'other'}", *tiny, *layers]
    assert command(["train", "Motrix/CartPole-v0", *options]) == 1
    assert "its value/output/bias is not finite" in capsys.readouterr().err
