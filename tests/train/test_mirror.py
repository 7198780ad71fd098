"""The policy of a mirror image is the mirror image of the policy, in raw observations, on both backends."""

import functools
from typing import Any

import gymnasium
import numpy as np
import pytest

from motrix_train.config import PPOCfg, to_json
from motrix_train.learning import backend
from motrix_train.learning.agent import Agent
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.learning.symmetry import NetworkSymmetry, SignedPermutation
from motrix_train.storage.checkpoint import Checkpoint

SYMMETRY = NetworkSymmetry(
    observation=SignedPermutation(np.array([1, 0, 2, 3, 4]), np.array([1, 1, -1, 1, -1], np.float32)),
    action=SignedPermutation(np.array([2, 1, 0]), np.array([-1, 1, -1], np.float32)),
)
ROWS, STEPS = 8, 4


@functools.cache
def train(name: str, **changes: Any) -> tuple[backend.Backend, Agent, PPOCfg]:
    """A backend and its agent after two updates on lopsided data, to be read only."""
    pytest.importorskip(name)
    cfg = PPOCfg(
        num_envs=ROWS,
        rollouts=STEPS,
        mini_batches=2,
        learning_epochs=2,
        learning_rate=1e-2,
        policy_hidden_layer_sizes=(16, 16),
        value_hidden_layer_sizes=(16, 16),
        **changes,
    )
    chosen = backend.select(name)
    chosen.seed_everything(0)
    spaces = gymnasium.spaces.Box(-9, 9, (5,)), gymnasium.spaces.Box(-1, 1, (3,))
    agent = chosen.make_agent(*spaces, ROWS, cfg, SYMMETRY, "cpu")
    rng = np.random.default_rng(0)
    for _ in range(2 * STEPS):
        agent.act(lopsided(rng))
        nothing = np.zeros(ROWS, bool)
        agent.record(rng.standard_normal(ROWS), lopsided(rng), nothing, nothing, {})
        agent.learn()
    return chosen, agent, cfg


def lopsided(rng: np.random.Generator) -> np.ndarray:  # (N, 5)
    offset, scale = np.array([3, -1, 2, 0.5, -2]), np.array([1, 2, 0.5, 1, 1])
    return (offset + scale * rng.standard_normal((ROWS, 5))).astype(np.float32)


def saved(chosen: backend.Backend, agent: Any, cfg: PPOCfg) -> Checkpoint:
    state = chosen.agent_state(agent)
    return Checkpoint(
        "Test-v0", {}, chosen.NAME, to_json(cfg), (5,), (3,), (-1.0,) * 3, (1.0,) * 3, 0, 0, {}, state=state
    )


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("torch", {"mirror": "policy"}),
        ("torch", {"mirror": "policy_and_value"}),
        ("torch", {"mirror": "policy", "share_policy_value_features": True}),
        ("jax", {"mirror": "policy"}),
        ("jax", {"mirror": "policy_and_value"}),
    ],
)
def test_the_policy_is_equivariant_after_training(name: str, changes: dict[str, Any]):
    chosen, agent, cfg = train(name, **changes)
    policy = NumpyPolicy(saved(chosen, agent, cfg))
    observations = lopsided(np.random.default_rng(1))
    mean, image = policy(observations), policy(SYMMETRY.observation(observations))
    assert image == pytest.approx(SYMMETRY.action(mean), abs=1e-5)
    assert np.abs(mean).max() > 1e-3
    stds = policy.standard_deviation
    assert stds == pytest.approx(stds[SYMMETRY.action.index])
    assert np.ptp(stds) > 0


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_the_value_is_invariant_where_asked(name: str):
    observations = lopsided(np.random.default_rng(1))
    for mirror, invariant in (("policy", False), ("policy_and_value", True)):
        _, agent, _ = train(name, mirror=mirror)
        own, image = (
            np.asarray(value_of(agent, vectors)) for vectors in (observations, SYMMETRY.observation(observations))
        )
        assert (np.abs(own - image).max() < 1e-5) == invariant


def value_of(agent: Any, observations: np.ndarray) -> np.ndarray:  # (N, k) -> (N, 1)
    with agent._inference():
        scaled = agent.skrl._observation_preprocessor(agent._to_device(observations))
        return agent._to_host(agent.skrl.value.act({"observations": scaled}, role="value")[0])


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_without_a_mirror_it_is_not_equivariant(name: str):
    chosen, agent, cfg = train(name, mirror="none")
    policy = NumpyPolicy(saved(chosen, agent, cfg))
    observations = lopsided(np.random.default_rng(1))
    difference = policy(SYMMETRY.observation(observations)) - SYMMETRY.action(policy(observations))
    assert np.abs(difference).max() > 1e-3


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_statistics_are_those_of_the_data_and_its_image(name: str):
    _, agent, _ = train(name, mirror="policy")
    scaler = agent.skrl._observation_preprocessor
    mean, variance = np.asarray(scaler.running_mean), np.asarray(scaler.running_variance)
    assert mean == pytest.approx(SYMMETRY.observation(mean), abs=1e-6)
    assert variance == pytest.approx(variance[SYMMETRY.observation.index], rel=1e-6)
    assert mean == pytest.approx([1, 1, 0, 0.5, 0], abs=0.5)


def test_pooled_moments():
    data = lopsided(np.random.default_rng(3))
    mirror = SYMMETRY.observation
    both = np.concatenate([data, mirror(data)])
    mean, variance = mirror.pool_moments(data.mean(0), data.var(0))
    assert mean == pytest.approx(both.mean(0), abs=1e-6)
    assert variance == pytest.approx(both.var(0), rel=1e-5)


def test_a_symmetry_survives_a_checkpoint():
    again = NetworkSymmetry.from_arrays(SYMMETRY.to_arrays())
    vectors = lopsided(np.random.default_rng(4))
    assert (again.observation(vectors) == SYMMETRY.observation(vectors)).all()
    assert (again.observation(again.observation(vectors)) == vectors).all()


def test_mirrors_are_saved_wherever_the_networks_are():
    """On a device whose arrays NumPy cannot read, as a GPU's."""
    pytest.importorskip("torch")
    chosen = backend.select("torch")
    spaces = gymnasium.spaces.Box(-9, 9, (5,)), gymnasium.spaces.Box(-1, 1, (3,))
    agent = chosen.make_agent(*spaces, ROWS, PPOCfg(mirror="policy"), SYMMETRY, "meta")
    for name, array in agent.symmetry.to_arrays().items():
        np.testing.assert_array_equal(array, SYMMETRY.to_arrays()[name])
