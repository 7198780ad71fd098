"""The presets of other installed packages, which name them in their ``pyproject.toml``::

    [project.entry-points."motrix_train.presets"]
    my_robot = "my_robot.presets:PRESETS"

An entry point is a mapping from environment id to `PPOCfg`. What is wrong with one is a warning of one line, so that a
broken package breaks nothing else.
"""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from motrix_gym.fields import short
from motrix_gym.installed import entry_points
from motrix_train import schema
from motrix_train.config import PPOCfg, to_json

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
    cfg: PPOCfg


def installed_presets(own: Collection[str], own_package: str) -> dict[str, InstalledPreset]:
    """Imports the presets of all installed packages, by environment id.

    Args:
        own: The ids whose presets no other package replaces.
        own_package: The package that these are from.
    """
    found: dict[str, InstalledPreset] = {}
    for package, point in entry_points(GROUP):
        try:
            table = _load(point)
        except (Exception, SystemExit) as error:  # a package may raise anything
            _warn(f"the presets of {package} ({point.value}) are left out: {type(error).__name__}: {error}")
            continue
        for env_id, cfg in table.items():
            other = own_package if env_id in own else found[env_id].package if env_id in found else None
            if other:
                _warn(f"the preset of {package} for {env_id} is left out: {other} has one; give yours with --config")
            else:
                found[env_id] = InstalledPreset(package, cfg)
    return found


def _load(point: EntryPoint) -> dict[str, PPOCfg]:
    table = point.load()
    if not isinstance(table, Mapping):
        raise TypeError(f"it is {short(table)}; it takes a mapping from environment id to PPOCfg")
    for env_id, cfg in table.items():
        if not isinstance(env_id, str) or not isinstance(cfg, PPOCfg):
            raise TypeError(f"it has {short(env_id)}: {short(cfg)}; it takes environment ids with a PPOCfg each")
    return {env_id: schema.build(PPOCfg, json.loads(json.dumps(to_json(cfg)))) for env_id, cfg in table.items()}


def _warn(line: str) -> None:
    _LOG.warning("%s", " ".join(line.split())[:500])
