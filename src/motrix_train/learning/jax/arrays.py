"""The arrays of a checkpoint, from the parameters of JAX's modules and into them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from motrix_train.learning.jax.normalizer import Normalizer
from motrix_train.learning.skrl_oddities import NORMALIZER_ARRAYS
from motrix_train.storage.array_tree import leaves, nest

_PARTS = {"weight": "kernel", "bias": "bias"}
_NORM_PARTS = {"weight": "scale", "bias": "bias"}
_MLP = "params/_Mlp_0"


def to_arrays(module: Any) -> dict[str, Any]:
    """A network or a normalizer as nested dicts of NumPy arrays, named as `storage.checkpoint` says."""
    state = dict(leaves(to_numpy(module.state_dict.params)))
    arrays = {path: state[name] for path, name in _names(module, state).items()}
    return nest({path: x.reshape(()) if path == "count" else x for path, x in arrays.items()})


def load_arrays(module: Any, arrays: Mapping[str, Any]) -> None:
    """Restores what `to_arrays` returned, or what another backend wrote under the same names."""
    state = dict(leaves(to_numpy(module.state_dict.params)))
    given, names = dict(leaves(arrays)), _names(module, state)
    native = {
        names[path]: jnp.array(np.reshape(np.asarray(x), state[names[path]].shape), state[names[path]].dtype)
        for path, x in given.items()
    }
    parameters = serialization.from_state_dict(module.state_dict.params, nest(native))
    module.state_dict = module.state_dict.replace(params=parameters)


def _names(module: Any, state: Mapping[str, Any]) -> dict[str, str]:
    """The name of each array in the module's parameters, by its path in a checkpoint."""
    if isinstance(module, Normalizer):
        return NORMALIZER_ARRAYS
    *hidden, output = (f"{_MLP}/Dense_{i}" for i in range(sum(name.endswith("kernel") for name in state)))
    layers = {f"hidden/{i}": name for i, name in enumerate(hidden)} | {"output": output}
    names = {f"{path}/{part}": f"{name}/{own}" for path, name in layers.items() for part, own in _PARTS.items()}
    for i in range(sum(name.endswith("scale") for name in state)):
        names |= {f"norm/{i}/{part}": f"{_MLP}/LayerNorm_{i}/{own}" for part, own in _NORM_PARTS.items()}
    return names | ({"log_std": "params/log_std"} if "params/log_std" in state else {})


def to_numpy(tree: Any) -> dict[str, Any]:
    """A pytree of Flax or Optax as nested dicts of NumPy arrays."""
    return jax.tree.map(np.array, serialization.to_state_dict(tree))
