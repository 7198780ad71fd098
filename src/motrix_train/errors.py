"""The ways in which a command ends early: the first two are told to the user in one line each."""


class UsageError(Exception):
    """What the user asked for is wrong: names the value and the remedy. Exit code 2."""


class RunError(Exception):
    """The world refuses (a full disk, a corrupted file): names the thing and the remedy. Exit code 1."""


class EndedElsewhere(Exception):
    """Another worker of a distributed training ended it, and tells the user why.

    Attributes:
        code: Exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__("another worker ended the training, and says why")
        self.code = code
