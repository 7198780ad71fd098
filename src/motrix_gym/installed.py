"""Registers the environments of installed packages: the entry-point group `motrix_gym.environments`.

In the ``pyproject.toml`` of such a package, the module that calls `motrix_gym.register`, or a function that does:

    [project.entry-points."motrix_gym.environments"]
    balancer = "balancer.environments"

Name a module that needs nothing of a package which is itself still being imported: `motrix_gym` may be imported by it.
"""

from __future__ import annotations

import importlib.metadata
import warnings

GROUP = "motrix_gym.environments"


def register_installed() -> None:
    """Loads every entry point of the group; one that fails is a warning."""
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            found = point.load()
            if callable(found):
                found()
        except (Exception, SystemExit) as error:
            package = point.dist.name if point.dist else point.value
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(
                f"the environments of {package} are not registered: {point.value} fails with {reason}", stacklevel=2
            )
