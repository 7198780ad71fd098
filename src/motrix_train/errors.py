"""The two ways in which a command ends early, each told to the user in one line."""


class UsageError(Exception):
    """What the user asked for is wrong: names the value and the remedy. Exit code 2."""


class RunError(Exception):
    """The world refuses (a full disk, a corrupted file): names the thing and the remedy. Exit code 1."""
