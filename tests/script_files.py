"""Scripts of the project that are no modules of a package, for the tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load(script: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Runs a script as the module of its name, which finds its neighbours, until the test is over."""
    monkeypatch.syspath_prepend(script.parent)
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, script.stem, module)
    spec.loader.exec_module(module)
    return module
