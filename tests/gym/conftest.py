"""What the tests of the environments share: every registered id, every autoreset mode."""

import sys

import pytest
from gymnasium.vector import AutoresetMode

from motrix_gym.registration import ENVS

sys.modules["gym"] = None  # TorchRL looks for the package of old; it would find this folder


@pytest.fixture(scope="session", params=[env.id for env in ENVS])
def env_id(request: pytest.FixtureRequest) -> str:
    """Every registered environment in turn."""
    return request.param


@pytest.fixture(scope="session", params=list(AutoresetMode), ids=lambda mode: mode.value)
def mode(request: pytest.FixtureRequest) -> AutoresetMode:
    """Every autoreset mode in turn."""
    return request.param
