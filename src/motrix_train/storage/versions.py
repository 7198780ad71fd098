"""The versions of the packages that the result of a training depends on."""

import importlib.metadata
import platform
from collections.abc import Mapping
from contextlib import suppress

DISTRIBUTIONS = ("motrix-gym", "gymnasium", "mujoco", "numpy", "skrl", "torch", "jax", "flax")


def installed_versions() -> dict[str, str]:
    """The versions of Python and of those packages that are installed, by name."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def changed_versions(before: Mapping[str, str]) -> list[str]:
    """The packages whose version differs from the one before, with the installed one, as in ``mujoco 3.17.0``."""
    return [f"{name} {now}" for name, now in installed_versions().items() if before.get(name) != now]
