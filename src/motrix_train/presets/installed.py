"""The presets of other installed packages, which name them in their ``pyproject.toml``::

    [project.entry-points."motrix_train.presets"]
    my_robot = "my_robot.presets:PRESETS"

An entry point is a mapping from environment id to a `PPOCfg` or a `SACCfg`, or to a list of both. What is wrong with
one is a warning of one line, so that a broken package breaks nothing else.
"""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from motrix_gym.fields import short
from motrix_gym.installed import entry_points
from motrix_train import schema
from motrix_train.config import BaseRLCfg, to_json

GROUP = "motrix_train.presets"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class InstalledPreset:
    """A preset of a package.

    Attributes:
        package: The name that it is installed by.
        cfg: The configuration.
    """

    package: str
    cfg: BaseRLCfg


Key = tuple[str, str]
"""Of a preset: an environment id and an algorithm."""


def installed_presets(own: Collection[Key], own_package: str) -> dict[Key, InstalledPreset]:
    """Imports the presets of all installed packages.

    Args:
        own: The presets that no other package replaces.
        own_package: The package that these are from.
    """
    found: dict[Key, InstalledPreset] = {}
    for package, point in entry_points(GROUP):
        try:
            table = _load(point)
        except (Exception, SystemExit) as error:  # a package may raise anything
            _warn(f"the presets of {package} ({point.value}) are left out: {type(error).__name__}: {error}")
            continue
        for key, cfg in table.items():
            other = own_package if key in own else found[key].package if key in found else None
            if other:
                _warn(
                    f"the preset of {package} for {_named(key)} is left out: {other} has one; give yours with --config"
                )
            else:
                found[key] = InstalledPreset(package, cfg)
    return found


def _load(point: EntryPoint) -> dict[Key, BaseRLCfg]:
    table = point.load()
    if not isinstance(table, Mapping):
        raise TypeError(f"it is {short(table)}; it takes a mapping from environment id to PPOCfg or SACCfg")
    found: dict[Key, BaseRLCfg] = {}
    for env_id, value in table.items():
        for cfg in value if isinstance(value, (list, tuple)) else [value]:
            if not isinstance(env_id, str) or not isinstance(cfg, BaseRLCfg):
                raise TypeError(
                    f"it has {short(env_id)}: {short(cfg)}; it takes environment ids with a PPOCfg or a SACCfg each"
                )
            key = env_id, cfg.algorithm
            if key in found:
                raise TypeError(f"it has two presets for {_named(key)}; it takes one")
            found[key] = schema.build(BaseRLCfg, json.loads(json.dumps(to_json(cfg))))
    return found


def _named(key: Key) -> str:
    """A preset in words; without an algorithm it is PPO's."""
    env_id, algorithm = key
    return env_id if algorithm == "ppo" else f"{env_id} with {algorithm.upper()}"


def _warn(line: str) -> None:
    _LOG.warning("%s", " ".join(line.split())[:500])
