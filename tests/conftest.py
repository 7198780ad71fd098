"""What all tests share. Hypothesis tries the same examples in every run on a server, new ones on a desk; no clock.

Where a defect was seeded, the first example that fails will do.

What JAX compiles is kept for the other processes of the same run of the tests: half of the time of a short training
with JAX is compilation.
"""

import os
import signal
import sys
import tempfile

import mujoco
import pytest
from hypothesis import HealthCheck, Phase, settings

from motrix_gym.rendering import EnvRenderer, RenderingUnavailable

COMPILED = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", COMPILED.name)
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(1 << 30))  # bytes; with a limit, JAX locks the directory
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background processes ignore it

settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("server", parent=settings.get_profile("desk"), derandomize=True)
settings.register_profile("defects", parent=settings.get_profile("server"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("server" if os.environ.get("CI") else "desk")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips on Windows what is marked as ``posix``."""
    if sys.platform == "win32" and item.get_closest_marker("posix"):
        pytest.skip("Windows has no such thing")


@pytest.fixture(scope="session")
def opengl() -> None:
    """Skips what needs OpenGL where there is none."""
    try:
        EnvRenderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 64, 48).close()
    except RenderingUnavailable as missing:
        pytest.skip(str(missing))
