"""Starting the training of one task from the policy of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from motrix_train.errors import UsageError
from motrix_train.learning.agent import Agent
from motrix_train.learning.backend import Backend
from motrix_train.storage.array_tree import leaves, nest
from motrix_train.storage.checkpoint import Checkpoint

_NETWORKS = ("policy", "value", "critic_1", "critic_2", "target_critic_1", "target_critic_2")


@dataclass(frozen=True)
class InitFrom:
    """A policy to initialize the networks from.

    Attributes:
        checkpoint: The policy.
        partial: Whether layers of other sizes keep their initial parameters; otherwise they are an error.
        normalizer: Whether the normalizers of observations, states and values are loaded too.
    """

    checkpoint: Checkpoint
    partial: bool = False
    normalizer: bool = True


@dataclass(frozen=True)
class Transfer:
    """Which arrays were loaded and which keep their initial values, by names such as ``policy/hidden/0/weight``."""

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]


def transfer(agent: Agent, backend: Backend, init_from: InitFrom) -> Transfer:
    """Load the networks of a policy into a fresh agent. Optimizer and learning rate begin anew.

    Raises:
        UsageError: They do not `fit`.
    """
    own, given = backend.network_state(agent), init_from.checkpoint.state
    if ("value" in own) != ("value" in given) and ("critic_1" in own or "critic_1" in given):
        mine, theirs = ("SAC", "PPO") if "critic_1" in own else ("PPO", "SAC")
        raise UsageError(
            f"the policy to start from is one of {theirs}, which {mine} cannot go on with: give one of {mine}, or "
            f'--algorithm {theirs.lower()} (in a plan: set = {{ algorithm = "{theirs.lower()}" }})'
        )
    fitting = fit(own, given, partial=init_from.partial, normalizer=init_from.normalizer)
    arrays = dict(leaves(given))
    backend.load_network_state(agent, nest({**dict(leaves(own)), **{name: arrays[name] for name in fitting.loaded}}))
    return fitting


def fit(own: Mapping[str, Any], given: Mapping[str, Any], *, partial: bool, normalizer: bool = True) -> Transfer:
    """Which arrays can be loaded from the networks of one policy into those of another.

    Args:
        own: Networks and normalizers of the new policy, as `Backend.network_state` returns them.
        given: Those of the policy to start from.
        partial: As in `InitFrom`.
        normalizer: As in `InitFrom`.

    Raises:
        UsageError: A layer does not fit and `partial` is not asked for, or nothing fits.
    """
    own, given = dict(leaves(own)), dict(leaves(given))
    wanted = [name for name in own if normalizer or _part(name) in _NETWORKS]
    misfits = [name for name in wanted if name not in given or np.shape(own[name]) != np.shape(given[name])]
    whole_parts = {_part(name) for name in misfits} - set(_NETWORKS)  # half a normalizer would be wrong
    skipped = [name for name in wanted if name in misfits or _part(name) in whole_parts]
    loaded = [name for name in wanted if name not in skipped]
    if misfits and not partial:
        name = misfits[0]
        raise UsageError(
            f"{name} is {_shape(given, name)} in the policy to start from and {_shape(own, name)} here: give the "
            "layer sizes, the critic and the environment arguments that it was trained with, or --partial for what "
            "fits (in a plan: partial = true)"
        )
    if not any(_part(name) in _NETWORKS for name in loaded):
        raise UsageError("no layer of the policy to start from fits: give the layer sizes that it was trained with")
    return Transfer(tuple(loaded), tuple(skipped))


def _part(name: str) -> str:
    """The network or the normalizer that an array belongs to."""
    return name.partition("/")[0]


def _shape(arrays: Mapping[str, Any], name: str) -> Any:
    return np.shape(arrays[name]) if name in arrays else "absent"
