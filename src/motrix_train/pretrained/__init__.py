"""Ready-made policies, which are installed with the package: of each id whose preset learns, the best of one training.

``index.json`` says how each was trained and how good it is: the row of that training in ``benchmarks/learning``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motrix_train import schema
from motrix_train.config import BackendName
from motrix_train.environment import without_module
from motrix_train.errors import UsageError
from motrix_train.storage.array_file import SUFFIX
from motrix_train.storage.json_file import read_json_object

HERE = Path(__file__).parent
INDEX = HERE / "index.json"


@dataclass(frozen=True)
class Pretrained:
    """How a ready-made policy was trained, and how good it is.

    Attributes:
        row: Name of the row of that training, a file in ``benchmarks/learning/results``.
        command: What trained it.
        backend: What it was trained with.
        seed: Of the training.
        env_steps: Env steps of the policy.
        episodes: Whole episodes that it was measured in, of seed 0, as `evaluate` does.
        mean_return: Mean sum of the rewards of an episode.
        std_return: Standard deviation of the return over the episodes.
        termination: Share of the episodes that ended for each reason before the time limit.
        success: Share of the episodes that ended in success; None for a task that cannot be solved.
        metrics: The task's own metrics, each averaged over all steps that have it, in the task's units.
    """

    row: str
    command: str
    backend: BackendName
    seed: int
    env_steps: int
    episodes: int
    mean_return: float
    std_return: float
    termination: dict[str, Any]
    success: float | None
    metrics: dict[str, Any]


@functools.cache
def index() -> dict[str, Pretrained]:
    """The ready-made policies by id."""
    return {env_id: schema.build(Pretrained, entry, f"{env_id}.") for env_id, entry in read_json_object(INDEX).items()}


def has_policy(env_id: str) -> bool:
    """Whether an environment has a ready-made policy; the id with or without its ``module:``."""
    return without_module(env_id) in index()


def policy_file(env_id: str) -> Path:
    """The file of the ready-made policy of an environment.

    Args:
        env_id: Registered id, with or without its ``module:``.

    Raises:
        UsageError: There is none.
    """
    name = without_module(env_id)
    if not has_policy(name):
        raise UsageError(
            f"there is no ready-made policy of {name}: train one, or take one of {', '.join(sorted(index()))}"
        )
    return file_of(name)


def file_of(name: str) -> Path:
    """Where the ready-made policy of an id is, or would be."""
    return HERE / f"{name.rpartition('/')[2]}{SUFFIX}"
