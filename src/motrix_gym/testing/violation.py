"""The laws in words, and the error of an environment that breaks one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LAWS = {
    "spaces": (
        "Observations and final observations lie in their space, in its dtype; rewards are finite, flags are bools."
    ),
    "determinism": "The same seed and actions give the same bits, and so does the episode after them.",
    "seeds": "A seed s seeds row i with s + i; a sequence seeds each row.",
    "endings": "terminated and truncated are never both true.",
    "autoreset": 'Autoreset is declared in metadata["autoreset_mode"] and does what is declared.',
    "ownership": (
        "What was returned is never written to again; writing to it, or to the actions handed in, changes nothing."
    ),
    "independence": "A row does not depend on what the other rows do, nor on when they end.",
    "position": "A row does not depend on its position among the rows.",
    "number": "A row does not depend on the number of rows.",
    "reset_mask": 'reset(options={"reset_mask": mask}) resets, and seeds, exactly the rows of the mask.',
    "reward_terms": "The weighted reward terms in the info sum up to the reward.",
    "termination": 'Every row that terminates has a reason in info["termination"], and no other row has one.',
    "state": (
        "What get_state saved in the middle of a run, set_state continues bit for bit, in a fresh environment too."
    ),
    "single": "Row i of a batch seeded with s is the single environment seeded with s + i.",
    "bad_actions": "An action of a wrong shape, a NaN, and a choice that does not exist raise.",
}


class LawViolation(AssertionError):
    """A vector environment broke a law.

    Attributes:
        law: The law's name, a key of `LAWS`.
        rows: The rows that show it.
    """

    def __init__(self, law: str, rows: Sequence[int | np.integer] | np.ndarray, what: str):
        self.law, self.rows = law, [int(row) for row in rows]
        where = f" [rows {', '.join(map(str, self.rows))}]" if self.rows else ""
        super().__init__(f"{law}: {LAWS[law]}\n{what}{where}")


class NotOffered(Exception):
    """The environment lacks what a law is about; the message says what."""
