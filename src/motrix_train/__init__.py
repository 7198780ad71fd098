"""Trains policies for Gymnasium environments with SKRL's PPO, on Torch or on JAX: the `motrix-train` command.

`train` and `evaluate` do from Python what the command does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motrix_train.interface import TrainedRun, evaluate, train

__all__ = ["TrainedRun", "evaluate", "train"]


def __getattr__(name: str) -> Any:
    """What `__all__` names, imported when it is first used: so the package itself needs no learning library."""
    if name in __all__:
        from motrix_train import interface

        return getattr(interface, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
