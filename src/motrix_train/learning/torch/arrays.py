"""The arrays of a checkpoint, from Torch's modules and into them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from motrix_train.learning.skrl_oddities import NORMALIZER_ARRAYS
from motrix_train.learning.torch.networks import GaussianPolicy
from motrix_train.learning.torch.normalizer import Normalizer
from motrix_train.storage.array_tree import leaves, nest


def to_arrays(module: nn.Module) -> dict[str, Any]:
    """A network or a normalizer as nested dicts of NumPy arrays, named as `storage.checkpoint` says."""
    state = module.state_dict()
    arrays = {path: _converted(path, to_host(state[name])) for path, name in _names(module).items()}
    return nest(arrays)


def load_arrays(module: nn.Module, arrays: Mapping[str, Any]) -> None:
    """Restores what `to_arrays` returned, or what another backend wrote under the same names."""
    given, names = dict(leaves(arrays)), _names(module)
    module.load_state_dict(to_torch({names[path]: _converted(path, x) for path, x in given.items()}))


def _names(module: nn.Module) -> dict[str, str]:
    """The name of each tensor in the module's state, by its path in a checkpoint."""
    if isinstance(module, Normalizer):
        return NORMALIZER_ARRAYS
    parts = list(module.get_submodule("hidden").named_children())
    hidden = {
        f"{path}/{i}": f"hidden.{name}"
        for path, kind in (("hidden", nn.Linear), ("norm", nn.LayerNorm))
        for i, name in enumerate(name for name, part in parts if isinstance(part, kind))
    }
    heads = {"output": "head"} | ({"value_output": "value_head"} if hasattr(module, "value_head") else {})
    layers = {
        f"{path}/{part}": f"{name}.{part}" for path, name in (hidden | heads).items() for part in ("weight", "bias")
    }
    return layers | ({"log_std": "log_std_parameter"} if isinstance(module, GaussianPolicy) else {})


def _converted(path: str, array: Any) -> np.ndarray:
    """Torch's weights are (outputs, inputs), those of a checkpoint (inputs, outputs)."""
    return np.array(np.transpose(array) if path.endswith("weight") else array, order="C")


def to_host(tensor: torch.Tensor) -> np.ndarray:
    """A copy of a tensor."""
    return tensor.detach().cpu().numpy().copy()


def to_numpy(tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Copies of tensors and numbers."""
    return {name: to_host(torch.as_tensor(tensor)) for name, tensor in tensors.items()}


def to_torch(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Copies of arrays and numbers."""
    return {name: torch.tensor(np.asarray(array)) for name, array in arrays.items()}
