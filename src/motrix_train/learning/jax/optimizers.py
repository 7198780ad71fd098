"""The state of SKRL's optimizers on JAX: from the arrays of a checkpoint, and whether it is finite."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import serialization

from motrix_train.learning.skrl_oddities import saved_modules
from motrix_train.storage.array_tree import require_same_shapes


def with_state(optimizer: Any, saved: Mapping[str, Any]) -> Any:
    """The optimizer with a state that `arrays.to_numpy` returned.

    Raises:
        UsageError: An array is missing, is too many, or has another shape.
    """
    template = serialization.to_state_dict(optimizer.state)
    require_same_shapes(template, saved, "optimizer")
    filled = _filled(template, saved)
    return optimizer.replace(state=serialization.from_state_dict(optimizer.state, filled))


def _filled(template: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """The saved leaves in the place of the template's; a checkpoint has no empty branches, optax does."""
    return {
        name: _filled(value, saved.get(name, {})) if isinstance(value, Mapping) else jnp.array(saved[name])
        for name, value in template.items()
    }


def all_finite(skrl: Any, remembered: Any) -> bool:
    """Whether all that was learned is finite.

    Args:
        skrl: The agent of SKRL, with its networks and normalizers.
        remembered: What its optimizers remember, as a pytree.
    """
    modules = [module.state_dict.params for module in saved_modules(skrl).values()]
    return bool(_all_finite([modules, remembered]))


@jax.jit
def _all_finite(tree: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
