"""Trains policies for Gymnasium environments with SKRL's PPO or SAC, on Torch or JAX: the `motrix-train` command.

`train` and `evaluate` do from Python what the command does; `load_policy` gives a policy as a function of arrays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motrix_train.interface import TrainedRun, evaluate, train
    from motrix_train.policies import load_policy

__all__ = ["TrainedRun", "evaluate", "load_policy", "train"]


def __getattr__(name: str) -> Any:
    """What `__all__` names, imported when it is first used: so the package itself needs no learning library."""
    if name in __all__:
        module = "policies" if name == "load_policy" else "interface"
        return getattr(importlib.import_module(f"motrix_train.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
