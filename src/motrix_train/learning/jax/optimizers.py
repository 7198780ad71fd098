"""The state of SKRL's optimizers on JAX, from the arrays of a checkpoint."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import serialization

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
