"""Which backend is chosen: a GPU first, then what is installed; nothing installed is said clearly."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from motrix_train.errors import UsageError
from motrix_train.learning import backend


def machine(monkeypatch: pytest.MonkeyPatch, installed: dict[str, bool]) -> None:
    """Pretend that the backends given are installed; each says whether it has a GPU."""
    monkeypatch.setattr(backend, "installed", lambda name: name in installed)
    monkeypatch.setattr(backend, "_load", lambda name: SimpleNamespace(NAME=name, has_gpu=lambda: installed[name]))


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ({"torch": False, "jax": False}, "torch"),
        ({"torch": False, "jax": True}, "jax"),
        ({"torch": True, "jax": True}, "torch"),
        ({"jax": False}, "jax"),
        ({"torch": False}, "torch"),
    ],
)
def test_auto(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: dict[str, bool], chosen: str):
    machine(monkeypatch, installed)
    (tmp_path / "jax_plugins").mkdir()  # as the package that brings JAX to a GPU
    monkeypatch.syspath_prepend(tmp_path)
    name = backend.select().NAME
    assert name == chosen


@pytest.mark.skipif(find_spec("jax_plugins") is not None, reason="JAX has a plugin here, and is asked for a GPU")
def test_jax_is_not_imported_to_look_for_a_gpu_that_it_cannot_have():
    pytest.importorskip("torch")
    script = "import sys; from motrix_train.learning.backend import select; print(select().NAME, 'jax' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert found.stdout == "torch False\n"


def test_nothing_installed(monkeypatch: pytest.MonkeyPatch):
    machine(monkeypatch, {})
    with pytest.raises(UsageError, match=r"no training backend is installed: pip install 'motrix-gym\[torch\]'"):
        backend.select("auto")
    with pytest.raises(UsageError, match=r"'jax' is not installed: pip install 'motrix-gym\[jax\]'"):
        backend.select("jax")


def test_an_unknown_backend():
    with pytest.raises(UsageError, match="unknown backend 'tensorflow': give auto, torch or jax"):
        backend.select("tensorflow")


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_by_name(name: str):
    pytest.importorskip(name)
    assert name == backend.select(name).NAME
