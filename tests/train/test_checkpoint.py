"""A checkpoint comes back as it was written; anything else is one clear line, and no code runs from a file."""

import functools
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import safetensors.numpy

from motrix_train import config
from motrix_train.config import PPOCfg
from motrix_train.errors import RunError, UsageError
from motrix_train.learning import backend
from motrix_train.learning.agent import Agent
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.learning.symmetry import NetworkSymmetry, SignedPermutation
from motrix_train.storage import checkpoint
from motrix_train.storage.checkpoint import Checkpoint

CFG = PPOCfg(
    num_envs=4,
    rollouts=2,
    mini_batches=2,
    learning_epochs=1,
    policy_hidden_layer_sizes=(8, 4),
    value_hidden_layer_sizes=(6,),
)


SYMMETRY = NetworkSymmetry(
    SignedPermutation(np.array([1, 0, 2]), np.array([1, 1, -1], np.float32)),
    SignedPermutation(np.array([1, 0]), np.array([-1, -1], np.float32)),
)


@pytest.fixture(params=["torch", "jax"])
def name(request: pytest.FixtureRequest) -> str:
    """A backend."""
    pytest.importorskip(request.param)
    return request.param


def sample(name: str = "torch", **changes: Any) -> Checkpoint:
    state = {
        "policy": {"head": {"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, "bias": np.zeros(0, np.float32)},
        "count": np.array(3.5),
        "index": np.array([2, 0, 1], np.int64),
        "learning_rate": 1e-3,
    }
    written = Checkpoint(
        env_id="Motrix/CartPole-v0",
        env_kwargs={"control_dt": 0.02, "reward_weights": {"alive": 1.0}},
        backend=name,
        config=config.to_json(CFG),
        observation_shape=(3,),
        action_shape=(2,),
        action_low=(-1.0, -np.inf),
        action_high=(1.0, 2.5),
        env_steps=1234,
        seed=2**40,
        versions={"numpy": "2"},
        state=state,
        resume_state={"environment": {"qpos": np.arange(4.0), "sensor.foot": np.ones(2), "sensor.foot/FR": np.ones(1)}},
    )
    return replace(written, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good checkpoint on disk."""
    written = tmp_path / "best.safetensors"
    checkpoint.write(written, sample())
    return written


def fresh_agent(name: str, cfg: PPOCfg = CFG) -> Agent:
    """An agent that has learned nothing yet."""
    spaces = gymnasium.spaces.Box(-9, 9, (3,)), gymnasium.spaces.Box(-1, 1, (2,))
    return backend.select(name).make_agent(*spaces, cfg.num_envs, cfg, SYMMETRY, "cpu")


@functools.cache
def trained_agent(name: str, cfg: PPOCfg = CFG) -> tuple[backend.Backend, Agent]:
    """A backend and its agent after one update, to be read only."""
    chosen = backend.select(name)
    chosen.seed_everything(1)
    agent = fresh_agent(name, cfg)
    rng = np.random.default_rng(0)
    nothing = np.zeros(cfg.num_envs, bool)
    for _ in range(cfg.rollouts):
        agent.act(rng.standard_normal((cfg.num_envs, 3), np.float32))
        after = rng.standard_normal((cfg.num_envs, 3), np.float32)
        agent.record(rng.standard_normal(cfg.num_envs), after, nothing, nothing, {})
        agent.learn()
    return chosen, agent


def test_it_comes_back_as_it_was(path: Path):
    read, written = checkpoint.read(path), sample()
    assert replace(read, state={}, resume_state={}) == replace(written, state={}, resume_state={})
    assert leaves(read.resume_state) == leaves(written.resume_state)
    assert read.state.keys() == written.state.keys()
    weight = read.state["policy"]["head"]["weight"]
    assert weight.dtype == np.float32
    assert weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read.state["policy"]["bias"].shape == (0,)
    assert read.state["index"].dtype == np.int64
    assert float(read.state["learning_rate"]) == 1e-3


def test_the_same_checkpoint_is_the_same_bytes(path: Path):
    assert checkpoint.to_bytes(sample()) == checkpoint.to_bytes(sample()) == path.read_bytes()


def test_nothing_else_is_left_beside_it(path: Path):
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(path: Path, share: float):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(RunError, match=r"best\..* is damaged"):
        checkpoint.read(path)


def test_a_flipped_bit_is_noticed_or_harmless(path: Path):
    whole = path.read_bytes()
    noticed = 0
    for position in np.random.default_rng(0).integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        try:
            read = checkpoint.read(path)
        except RunError:
            noticed += 1
        else:
            assert replace(read, state={}, resume_state={}) == replace(sample(), state={}, resume_state={})
            assert read.state["policy"]["head"]["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert noticed > 20


@pytest.mark.parametrize("file_name", ["best.zip", "best"])
def test_another_suffix_is_refused(file_name: str, tmp_path: Path):
    with pytest.raises(UsageError, match=r"a policy is a \.safetensors file"):
        checkpoint.read(tmp_path / file_name)


@pytest.mark.parametrize("file_name", ["best.pt", "last.msgpack"])
def test_a_policy_of_an_older_version_is_refused_with_the_way_out(file_name: str, tmp_path: Path):
    with pytest.raises(UsageError, match=r"a policy of an older version, which this one does not read: train it again"):
        checkpoint.read(tmp_path / file_name)


@pytest.mark.parametrize("file_name", ["best.pickle", "agent.pkl"])
def test_a_pickle_is_refused_with_the_way_out(file_name: str, tmp_path: Path):
    with pytest.raises(UsageError, match=r"is a pickle, .* train with motrix-train, which writes \.safetensors"):
        checkpoint.read(tmp_path / file_name)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"there is no policy .*absent"):
        checkpoint.read(tmp_path / "absent.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(RunError, match="cannot read"):
        checkpoint.read(tmp_path / "folder.safetensors")


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("wrapping", ["pickle", "torch archive"])
def test_a_malicious_pickle_is_refused_without_running(wrapping: str, tmp_path: Path):
    marker, path = tmp_path / "was-run", tmp_path / "best.safetensors"
    if wrapping == "pickle":
        path.write_bytes(pickle.dumps(Malicious(marker), protocol=2))
    else:
        torch = pytest.importorskip("torch")
        torch.save({"format": checkpoint.FORMAT, "state": Malicious(marker)}, path)
    with pytest.raises(RunError, match="damaged or not a Motrix policy"):
        checkpoint.read(path)
    assert not marker.exists()


def test_files_of_other_programs_are_refused(tmp_path: Path):
    path = tmp_path / "best.safetensors"
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(RunError, match="not a Motrix policy"):
        checkpoint.read(path)
    for metadata in ({"motrix": "[]"}, {"motrix": "[" * 9000}, {"format": "x"}, {"motrix": '{"format": 1}'}):
        safetensors.numpy.save_file({"weight": np.zeros(3)}, path, metadata)
        with pytest.raises(RunError, match="not a Motrix policy"):
            checkpoint.read(path)
    written = json.dumps({"format": "x", "header": "{}", "digest": ""})
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path, {"motrix": written})
    with pytest.raises(RunError, match="has the format 'x', this version reads"):
        checkpoint.read(path)


def test_a_refusing_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .* No space left"):
        checkpoint.write(path, sample(env_steps=9999))
    monkeypatch.undo()
    assert checkpoint.read(path).env_steps == 1234
    assert list(path.parent.iterdir()) == [path]


def test_an_agent_comes_back(name: str, path: Path):
    chosen, agent = trained_agent(name)
    checkpoint.write(path, sample(name, state=chosen.agent_state(agent)))
    saved = checkpoint.read(path)
    other = fresh_agent(name, replace(CFG, learning_rate=1e-2))
    chosen.load_agent_state(other, saved.state)
    assert leaves(chosen.agent_state(other)) == leaves(chosen.agent_state(agent))


@pytest.mark.parametrize("mirror", ["none", "policy"])
@pytest.mark.parametrize("activation", ["elu", "relu", "tanh"])
@pytest.mark.parametrize("trained", ["torch", "jax"])
def test_it_acts_alike_in_torch_in_jax_and_in_numpy(trained: str, activation: Any, mirror: Any, path: Path):
    cfg = replace(CFG, activation=activation, mirror=mirror, min_log_std=-0.5, initial_log_std=-0.4)
    chosen, agent = trained_agent.__wrapped__(trained, cfg)
    checkpoint.write(path, sample(trained, state=chosen.agent_state(agent), config=config.to_json(cfg)))
    read = checkpoint.read(path)
    observations = 4 * np.random.default_rng(5).standard_normal((64, 3)).astype(np.float32)
    policies = [NumpyPolicy(read)]
    for name in ("torch", "jax"):
        other = fresh_agent(name, cfg)
        backend.select(name).load_network_state(other, read.state)
        policies.append(other.policy)
        loaded, given = (leaves(b.network_state(a)) for b, a in ((backend.select(name), other), (chosen, agent)))
        assert loaded == {path: pytest.approx(values, rel=1e-6) for path, values in given.items()}
    actions = [policy(observations) for policy in policies]
    assert [a.dtype for a in actions] == [np.float32] * 3
    assert np.abs(actions[0]).max() > 1e-3
    assert max(np.abs(a - b).max() for a in actions for b in actions) < 1e-6
    noise = [policy.standard_deviation for policy in policies]
    assert max(np.abs(a - b).max() for a in noise for b in noise) < 1e-6


def test_a_policy_acts_as_its_agent_does_in_the_mean(name: str, path: Path):
    chosen, agent = trained_agent(name)
    checkpoint.write(path, sample(name, state=chosen.agent_state(agent)))
    policy = NumpyPolicy(checkpoint.read(path))
    observations = np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32)
    means, stds = policy(observations), policy.standard_deviation
    assert (means.shape, means.dtype, stds.shape) == ((4, 2), np.float32, (2,))
    actions = np.stack([agent.act(observations) for _ in range(400)])
    assert actions.mean(0) == pytest.approx(means, abs=0.25)
    assert actions.std(0) == pytest.approx(np.broadcast_to(stds, (4, 2)), rel=0.2)
    rng = np.random.default_rng(0)
    noisy = np.stack([policy.stochastic(observations, rng) for _ in range(400)])
    assert noisy.std(0) == pytest.approx(np.broadcast_to(stds, (4, 2)), rel=0.2)


def test_other_layer_sizes_are_refused_by_name(name: str):
    chosen, agent = trained_agent(name)
    state = chosen.agent_state(agent)
    wider = fresh_agent(name, replace(CFG, policy_hidden_layer_sizes=(16, 4)))
    with pytest.raises(UsageError, match=r"networks: the checkpoint has policy/.*8.*this configuration needs.*16"):
        chosen.load_agent_state(wider, state)
    edited = sample(name, state=state, config=config.to_json(replace(CFG, policy_hidden_layer_sizes=(16, 4))))
    with pytest.raises(UsageError, match="16"):
        NumpyPolicy(edited)


def test_another_environment_is_refused_by_name():
    written = sample()
    written.require_environment("motrix_gym:Motrix/CartPole-v0")
    with pytest.raises(UsageError, match="trained for Motrix/CartPole-v0, not for Motrix/Go1-v0"):
        written.require_environment("Motrix/Go1-v0")


@pytest.mark.parametrize(
    ("observations", "low", "high", "said"),
    [
        (4, [-1, -np.inf], [1, 2.5], r"observations of shape \(3,\), A-v0 has \(4,\): take another"),
        (3, [-1], [1], r"actions of shape \(2,\), A-v0 has \(1,\)"),
        (3, [-2, -np.inf], [1, 2.5], r"actions from \(-1.0, -inf\), A-v0 has \(-2.0, -inf\)"),
        (3, [-1, -np.inf], [1, 2], r"actions up to \(1.0, 2.5\), A-v0 has \(1.0, 2.0\)"),
    ],
)
def test_other_spaces_are_refused_by_value(observations: int, low: list, high: list, said: str):
    seen = gymnasium.spaces.Box(-np.inf, np.inf, (observations,))
    done = gymnasium.spaces.Box(np.array(low, np.float32), np.array(high, np.float32))
    with pytest.raises(UsageError, match=said):
        sample().require_spaces("A-v0", seen, done, "take another")


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, list]:
    flat = {}
    for key, value in tree.items():
        flat |= (
            leaves(value, f"{prefix}{key}/") if isinstance(value, dict) else {prefix + key: np.ravel(value).tolist()}
        )
    return flat
