"""What an update reports beside its losses is what SKRL's own quantities say."""

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from test_training import TINY, Run, run

from motrix_train.learning.agent import Agent, Update
from motrix_train.learning.ppo import explained_variance, log_probability

NAMES = {"approximate_kl", "clip_fraction", "explained_variance", "gradient_norm"}
FINITE = st.floats(-1e3, 1e3)


class Oracle:
    """Reads, around every update of a training, what SKRL computes in it.

    Attributes:
        reported: What each update reported.
        expected: What it should have reported.
    """

    def __init__(self, backend: str, patch: pytest.MonkeyPatch) -> None:
        self.reported: list[dict[str, float]] = []
        self.expected: list[dict[str, float]] = []
        self._norms: list[float] = []
        self._squares: list[float] = []
        self._values_and_returns: tuple[np.ndarray, np.ndarray] | None = None
        module = importlib.import_module(f"skrl.agents.{backend}.ppo.ppo")
        gae = "compute_gae" if backend == "torch" else "_compute_gae"
        self._wrap(patch, module, gae, self._see_returns)
        if backend == "torch":
            self._wrap(patch, module.nn.utils, "clip_grad_norm_", lambda norm, given: self._norms.append(float(norm)))
        else:
            for update in ("_update_policy", "_update_value"):
                self._wrap(patch, module, update, lambda result, given: self._see_gradient(result[0]))
        learn = Agent.learn
        patch.setattr(Agent, "learn", lambda agent: self._compare(agent, learn(agent)))

    @staticmethod
    def _wrap(patch: pytest.MonkeyPatch, module: Any, name: str, see: Any) -> None:
        original = getattr(module, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            see(result, kwargs)
            return result

        patch.setattr(module, name, wrapped)

    def _see_returns(self, result: Any, given: Any) -> None:
        self._values_and_returns = np.asarray(given["values"]).copy(), np.asarray(result[0]).copy()

    def _see_gradient(self, gradient: Any) -> None:
        import jax

        self._squares.append(sum(float(np.sum(np.square(leaf, dtype=float))) for leaf in jax.tree.leaves(gradient)))
        if len(self._squares) == 2:
            self._norms.append(math.sqrt(sum(self._squares)))
            self._squares.clear()

    def _compare(self, agent: Agent, update: Update | None) -> Update | None:
        if update is None:
            return None
        ppo, memory = agent.skrl, agent.skrl.memory
        sampled = {name: memory.get_tensor_by_name(name) for name in ("observations", "actions", "log_prob")}
        observations, actions, before = (x.reshape(-1, x.shape[-1]) for x in sampled.values())
        inputs = {"observations": ppo._observation_preprocessor(observations), "states": None}
        _, outputs = ppo.policy.act({**inputs, "taken_actions": actions}, role="policy")
        ratio = np.exp(agent._to_host(outputs["log_prob"] - before).astype(float))
        assert self._values_and_returns is not None
        self.reported.append(update.diagnostics)
        self.expected.append(
            {
                "approximate_kl": np.mean(ratio - 1 - np.log(ratio)),
                "clip_fraction": np.mean(np.abs(ratio - 1) > TINY.ratio_clip),
                "explained_variance": explained_variance(*self._values_and_returns),
                "gradient_norm": np.mean(self._norms),
            }
        )
        self._norms.clear()
        return update


@pytest.fixture(scope="module", params=["torch", "jax"])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Oracle, Run]:
    """A tiny run, and what was computed in its updates."""
    pytest.importorskip(request.param)
    with pytest.MonkeyPatch.context() as patch:
        oracle = Oracle(request.param, patch)
        return oracle, run(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_it_is_what_skrl_computes(seen, name):
    oracle, _ = seen
    reported, expected = ([values[name] for values in every] for every in (oracle.reported, oracle.expected))
    assert len(reported) == 6
    np.testing.assert_allclose(reported, expected, rtol=1e-3, atol=1e-5)
    assert np.ptp(reported) > 0


def test_it_is_in_the_table_and_in_the_events(seen):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    oracle, done = seen
    events = EventAccumulator(str(done.directory.path))
    events.Reload()
    progress = done.directory.progress()
    for name in NAMES:
        reported = [values[name] for values in oracle.reported]
        np.testing.assert_allclose(progress[f"update/{name}"], reported)
        np.testing.assert_allclose([event.value for event in events.Scalars(f"Update/{name}")], reported, rtol=1e-6)


def test_tensorboard_shows_the_hyperparameters(seen, tmp_path: Path):
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata

    _, done = seen
    runs = EventMultiplexer().AddRun(str(done.directory.path), "run").Reload()
    content = runs.SummaryMetadata("run", metadata.SESSION_START_INFO_TAG).plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    assert hparams["env_id"].string_value == "Motrix/CartPole-v0"
    assert hparams["backend"].string_value == done.backend.NAME
    assert hparams["rollouts"].number_value == TINY.rollouts
    assert hparams["seed"].number_value == 7
    assert hparams["time_limit_bootstrap"].bool_value is TINY.time_limit_bootstrap
    assert hparams["policy_hidden_layer_sizes"].string_value == "[8]"


@given(
    arrays.arrays(float, (5, 3), elements=FINITE),
    arrays.arrays(float, (5, 3), elements=FINITE),
    arrays.arrays(float, 3, elements=st.floats(1e-2, 10)),
)
def test_the_logarithm_of_a_density_is_that_of_scipy(actions, mean, deviation):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.norm.logpdf(actions, mean, deviation).sum(axis=1)
    np.testing.assert_allclose(log_probability(actions, mean, deviation), expected, rtol=1e-9, atol=1e-9)


@given(arrays.arrays(float, (4, 6), elements=FINITE), FINITE)
def test_what_explains_all_and_what_explains_nothing(returns, constant):
    variance = explained_variance(returns, returns)
    assert math.isnan(variance) if np.var(returns) == 0 else variance == 1
    if np.var(returns) > 1e-6:
        assert explained_variance(np.full_like(returns, constant), returns) == pytest.approx(0, abs=1e-6)
