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
from importlib.metadata import EntryPoint

GROUP = "motrix_gym.environments"


def register_installed() -> None:
    """Imports the module of every entry point of the group; one that fails is a warning."""
    for package, point in entry_points(GROUP):
        try:
            importlib.import_module(point.value)
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            remedy = "; register the task as 'module:Class'" if "partially initialized" in reason else ""
            failure = f"importing {point.value} fails with {reason}{remedy}"
            warnings.warn(f"the environments of {package} are not registered: {failure}", stacklevel=2)


def entry_points(group: str) -> list[tuple[str, EntryPoint]]:
    """The entry points of a group in all installed packages, each with the name of its package.

    A package whose entry points cannot be read is a warning.
    """
    try:
        points = list(importlib.metadata.entry_points(group=group))
    except Exception:  # the standard library checks nothing of what a package says
        points = []
        for distribution in importlib.metadata.distributions():
            try:
                points += [point for point in distribution.entry_points if point.group == group]
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                warnings.warn(f"the entry points of {distribution.name} cannot be read: {reason}", stacklevel=1)
    named = [((point.dist and point.dist.name) or point.module, point) for point in points]
    return sorted(named, key=lambda pair: (pair[0], pair[1].name))
