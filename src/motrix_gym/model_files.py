"""Loads the models of `motrix_gym.models`."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import mujoco

_INCLUDE = re.compile(r'<include file="([^"]+)"/>')


def load_model(file_name: str) -> mujoco.MjModel:
    """Compiles a model of `motrix_gym.models`, with the models that it includes."""
    xml = _xml(file_name)
    return mujoco.MjModel.from_xml_string(xml, {name: _xml(name).encode() for name in _INCLUDE.findall(xml)})


def load_spec(file_name: str | Path) -> mujoco.MjSpec:
    """A model of `motrix_gym.models` that can still be added to."""
    if Path(file_name).is_absolute():
        return mujoco.MjSpec.from_file(str(file_name))
    return mujoco.MjSpec.from_string(_xml(file_name))


def _xml(file_name: str | Path) -> str:
    return (resources.files("motrix_gym.models") / file_name).read_text("utf-8")
