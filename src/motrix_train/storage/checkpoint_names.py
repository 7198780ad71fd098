"""The names of the checkpoints of a run: ``best``, ``last`` and ``step_<env steps>``."""

from pathlib import Path

STEP = 1
"""First number of the rank of a checkpoint that is named after its env steps."""


def rank(policy: Path) -> tuple[int, int]:
    """The rank of a checkpoint as the best policy, greater is better; (0, 0) for any other file."""
    match policy.stem.split("_"):
        case ["best"]:
            return STEP + 2, 0
        case ["last"]:
            return STEP + 1, 0
        case ["step", steps] if steps.isdecimal():
            return STEP, int(steps)
    return 0, 0
