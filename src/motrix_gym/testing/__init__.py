"""Conformance checks: `check_vector_env` for any Gymnasium `VectorEnv`, `check_task` for any `Task`.

Gymnasium checks single environments (``gymnasium.utils.env_checker``) and has nothing for vector environments, where
mistakes are the most expensive: a final observation that the next episode overwrites, environments that share random
numbers, a buffer that is written to after it was returned.

>>> import gymnasium
>>> from motrix_gym.testing import check_vector_env
>>> report = check_vector_env(gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync"))
>>> "autoreset" in report.checked
True
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import gymnasium as gym
from gymnasium.vector import VectorEnv

from motrix_gym.testing import env_laws, episode_laws
from motrix_gym.testing.runs import Subject
from motrix_gym.testing.task_laws import check_task
from motrix_gym.testing.task_report import Finding, TaskReport, TaskViolation, TermRange
from motrix_gym.testing.violation import LAWS, LawViolation, NotOffered

__all__ = [
    "LAWS",
    "Finding",
    "LawViolation",
    "Report",
    "TaskReport",
    "TaskViolation",
    "TermRange",
    "check_task",
    "check_vector_env",
]

_NUM_ENVS = 4
_CHECKS: dict[str, Callable[[Subject], None]] = {
    "spaces": episode_laws.spaces,
    "determinism": env_laws.determinism,
    "seeds": env_laws.seeds,
    "endings": episode_laws.endings,
    "autoreset": episode_laws.autoreset,
    "ownership": env_laws.ownership,
    "independence": env_laws.independence,
    "position": env_laws.position,
    "number": env_laws.number,
    "reset_mask": env_laws.reset_mask,
    "reward_terms": episode_laws.reward_terms,
    "termination": episode_laws.termination,
    "state": episode_laws.state,
    "single": episode_laws.single,
    "bad_actions": episode_laws.bad_actions,
}
_BIT_FOR_BIT = {
    *("determinism", "seeds", "ownership", "independence", "position", "number", "reset_mask", "state", "single"),
}


@dataclass(frozen=True)
class Report:
    """What `check_vector_env` did.

    Attributes:
        checked: The laws that hold.
        skipped: The laws that were not checked, and why.
    """

    checked: tuple[str, ...]
    skipped: dict[str, str]

    def __str__(self) -> str:
        width = max(map(len, LAWS))
        lines = [f"{law:<{width}}  holds" for law in self.checked]
        return "\n".join(lines + [f"{law:<{width}}  skipped: {why}" for law, why in self.skipped.items()])


def check_vector_env(
    env: VectorEnv | Callable[[int], VectorEnv],
    *,
    single: Callable[[], gym.Env] | None = None,
    seed: int = 0,
    steps: int = 100,
    skip: Collection[str] = (),
) -> Report:
    """Checks a vector environment against the `LAWS`, with random actions.

    Laws about what an environment does not offer (weighted reward terms, reasons of termination, saved states) are
    skipped, and so are those about ends of episodes when none ends: give it short episodes, or more steps. An
    environment with ``metadata["deterministic"]`` False promises no bits: laws that compare runs are skipped then.

    Args:
        env: The environment, which is left used but open; or a function from a number of environments to one, which
            lets more laws be checked.
        single: Makes the single environment that every environment should equal.
        seed: Environment i is seeded with seed + i.
        steps: Steps of a run. About fifteen runs are made.
        skip: Laws to leave out.

    Returns:
        Which laws hold, and which were skipped and why.

    Raises:
        LawViolation: A law does not hold; the message names it, the environments and the values.
        TypeError: Spaces that are not of arrays.
        ValueError: An unknown law in `skip`.
    """
    for law in skip:
        if law not in LAWS:
            raise ValueError(f"skip has {law!r}, which is no law; the laws: {', '.join(LAWS)}")
    make = None if isinstance(env, VectorEnv) else env
    subject = Subject(env if isinstance(env, VectorEnv) else env(_NUM_ENVS), make, single, seed, steps)
    promises_bits = subject.env.metadata.get("deterministic", True)
    checked: list[str] = []
    skipped: dict[str, str] = {}
    try:
        for law, check in _CHECKS.items():
            if law in skip:
                skipped[law] = "left out by the caller"
                continue
            if law in _BIT_FOR_BIT and not promises_bits:
                skipped[law] = 'it compares bits, which metadata["deterministic"] does not promise'
                continue
            try:
                check(subject)
            except NotOffered as missing:
                skipped[law] = str(missing)
            else:
                checked.append(law)
    finally:
        if make is not None:
            subject.env.close()
    return Report(tuple(checked), skipped)
