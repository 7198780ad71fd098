"""Loads the models of `motrix_gym.models`."""

from __future__ import annotations

import re
from importlib import resources

import mujoco

_INCLUDE = re.compile(r'<include file="([^"]+)"/>')


def load_model(file_name: str) -> mujoco.MjModel:
    """Compiles a model of `motrix_gym.models`, with the models that it includes."""
    xml = _xml(file_name)
    return mujoco.MjModel.from_xml_string(xml, {name: _xml(name).encode() for name in _INCLUDE.findall(xml)})


def load_spec(file_name: str) -> mujoco.MjSpec:
    """A model of `motrix_gym.models` that can still be added to."""
    return mujoco.MjSpec.from_string(_xml(file_name))


def _xml(file_name: str) -> str:
    return (resources.files("motrix_gym.models") / file_name).read_text("utf-8")
