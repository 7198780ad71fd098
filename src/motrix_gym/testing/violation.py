"""The laws in words, and the error of an environment that breaks one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LAWS = {
    "spaces": (
        "Observations and final observations lie in their space, in its dtype; rewards are finite, flags are bools."
    ),
    "determinism": "The same seed and actions give the same bits, and so does the episode after them.",
    "seeds": "A seed s seeds environment i with s + i; a sequence seeds each environment.",
    "endings": "terminated and truncated are never both true.",
    "autoreset": 'Autoreset is declared in metadata["autoreset_mode"] and does what is declared.',
    "ownership": (
        "What was returned is never written to again; writing to it, or to the actions handed in, changes nothing."
    ),
    "independence": "An environment depends neither on what the others do nor on when they end.",
    "position": "An environment does not depend on its position in the batch.",
    "number": "An environment does not depend on the number of the others.",
    "reset_mask": 'reset(options={"reset_mask": mask}) resets, and seeds, exactly the environments of the mask.',
    "reward_terms": "The weighted reward terms in the info sum up to the reward.",
    "termination": 'Every environment that terminates has a reason in info["termination"], and no other one has.',
    "state": (
        "What get_state saved in the middle of a run, set_state continues bit for bit, in a fresh environment too."
    ),
    "single": "Environment i of a batch seeded with s is the single environment seeded with s + i.",
    "bad_actions": "An action of a wrong shape, a NaN, and a choice that does not exist raise.",
}


class LawViolation(AssertionError):
    """A vector environment broke a law.

    Attributes:
        law: The law's name, a key of `LAWS`.
        envs: The environments that show it.
    """

    def __init__(self, law: str, envs: Sequence[int | np.integer] | np.ndarray, what: str):
        self.law, self.envs = law, [int(i) for i in envs]
        where = f" [environments {', '.join(map(str, self.envs))}]" if self.envs else ""
        super().__init__(f"{law}: {LAWS[law]}\n{what}{where}")


class NotOffered(Exception):
    """The environment lacks what a law is about; the message says what."""
