"""Errors that end a command. The command line prints the first two in one line each."""

from collections.abc import Iterator
from contextlib import contextmanager


class UsageError(Exception):
    """A mistake of the user: the message names the value and the remedy. Exit code 2."""


class RunError(Exception):
    """A failure outside the program, such as a full disk or a corrupted file: the message names it and the remedy. Exit
    code 1."""


class EndedElsewhere(Exception):
    """Another process of a distributed training ended it, and reports the reason to the user.

    Attributes:
        code: Exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__("another worker ended the training, and reports why")
        self.code = code


@contextmanager
def within(place: str) -> Iterator[None]:
    """Adds a place, such as a file or a part of it, to the message of the user's mistake in the block."""
    try:
        yield
    except UsageError as mistake:
        raise UsageError(f"{place}: {mistake}") from mistake
