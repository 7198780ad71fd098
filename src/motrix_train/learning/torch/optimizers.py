"""What Torch's Adam remembers of each parameter, as tensors and as the arrays of a checkpoint."""

from collections.abc import Mapping
from typing import Any

import torch

from motrix_train.learning.skrl_oddities import saved_modules
from motrix_train.learning.torch.arrays import to_numpy, to_torch


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """Makes an Adam step all parameters of a group in one pass over each."""
    for group in optimizer.param_groups:
        group |= {"fused": True, "foreach": False}


def moments(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The running means, without the numbers of steps."""
    return [x for state in optimizer.state.values() for name, x in state.items() if name != "step"]


def all_finite(skrl: Any, remembered: list[torch.Tensor]) -> bool:
    """Whether all that was learned is finite: one sum per array, in double precision, which float32 cannot exceed.

    Args:
        skrl: The agent of SKRL, with its networks and normalizers.
        remembered: What its optimizers remember.
    """
    learned = [tensor for module in saved_modules(skrl).values() for tensor in module.state_dict().values()]
    return bool(torch.stack([x.sum(dtype=torch.float64) for x in (*learned, *remembered)]).isfinite().all())


def moments_to_arrays(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """All that is remembered, by the number of the parameter, as dicts of NumPy arrays."""
    return {str(i): to_numpy(known) for i, known in optimizer.state_dict()["state"].items()}


def load_moments(optimizer: torch.optim.Optimizer, arrays: Mapping[str, Any], **settings: Any) -> None:
    """Restores what `moments_to_arrays` returned, and sets some settings, as ``lr``."""
    whole = optimizer.state_dict()
    whole["state"] = {int(i): to_torch(known) for i, known in arrays.items()}
    for group in whole["param_groups"]:
        group |= settings
    optimizer.load_state_dict(whole)
