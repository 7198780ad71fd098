"""Registers the environments of installed packages: the entry-point group `motrix_gym.environments`.

In the ``pyproject.toml`` of such a package, an entry point is a module that calls `motrix_gym.register`:

    [project.entry-points."motrix_gym.environments"]
    balancer = "balancer.environments"

`motrix_gym` imports it, which may be while a task of the package imports `motrix_gym`. So the module registers its
tasks as ``"balancer.tasks:Balance"``, or defines them: it cannot import them then.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings

GROUP = "motrix_gym.environments"


def register_installed() -> None:
    """Imports the module of every entry point of the group; one that fails is a warning."""
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.value):
        try:
            importlib.import_module(point.value)
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            package = point.dist.name if point.dist else point.name
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            remedy = "; register the task as 'module:Class'" if "partially initialized" in reason else ""
            failure = f"importing {point.value} fails with {reason}{remedy}"
            warnings.warn(f"the environments of {package} are not registered: {failure}", stacklevel=2)
