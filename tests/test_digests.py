"""What an environment means, and what a training comes to, is what was recorded: `digests` says how to record anew."""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import digests
import numpy as np
import pytest

from motrix_gym.registration import ENVS

RECORDED = json.loads(digests.RECORDED.read_text())


@pytest.fixture(scope="module")
def portable() -> Iterator[ProcessPoolExecutor]:
    """A process in which libraries compute as they do on every processor."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in digests.PORTABLE.items():
            patch.setenv(name, value)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(digests.platform).result()
            yield process


@pytest.mark.parametrize("env_id", [env.id for env in ENVS])
def test_an_environment_means_what_it_meant(portable, env_id):
    platform = portable.submit(digests.platform).result()
    found = portable.submit(digests.trajectories, env_id).result()
    np.testing.assert_allclose(found["numbers"], RECORDED["numbers"][env_id], rtol=1e-7, atol=1e-9)
    assert_recorded(platform, env_id, found["digest"])


@pytest.mark.parametrize("backend", digests.BACKENDS)
@pytest.mark.parametrize("env_id", digests.TRAINED)
def test_a_training_comes_to_what_it_came_to(portable, env_id, backend):
    platform = portable.submit(digests.platform, backend).result()
    found = portable.submit(digests.parameters, env_id, backend).result()
    np.testing.assert_allclose(found["numbers"], RECORDED["numbers"][f"{env_id} {backend}"], rtol=1e-2, atol=1e-3)
    assert_recorded(platform, f"{env_id} {backend}", found["digest"])


def test_every_environment_is_recorded():
    assert {env.id for env in ENVS} <= RECORDED["numbers"].keys()


def assert_recorded(platform: str, name: str, digest: str) -> None:
    """To the last bit, where the libraries compute as they did when it was recorded; elsewhere the numbers must do."""
    if platform in RECORDED["digests"]:
        assert digest == RECORDED["digests"][platform][name]
