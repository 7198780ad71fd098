"""What a check of a task found: `Finding`, `TaskReport`, and `TaskViolation`, the error that has the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        where: The method, reward term or observation element that it is about.
        what: What was found, with its value.
        remedy: What to do.
        is_error: Whether the task is wrong in any case. Otherwise chance, or a choice of the author, may explain it.
    """

    where: str
    what: str
    remedy: str
    is_error: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


def error(where: str, what: str, remedy: str) -> Finding:
    """A finding that no right task has."""
    return Finding(where, what, remedy, is_error=True)


def remark(where: str, what: str, remedy: str) -> Finding:
    """A finding that a right task may have."""
    return Finding(where, what, remedy, is_error=False)


@dataclass(frozen=True)
class TermRange:
    """The values of one reward term in a check, with its weight.

    Attributes:
        name: The reward term.
        weight: Its weight.
        lowest: The lowest weighted value.
        highest: The highest weighted value.
        mean: The mean weighted value.
    """

    name: str
    weight: float
    lowest: float
    highest: float
    mean: float


@dataclass(frozen=True)
class TaskReport:
    """What `check_task` found.

    Attributes:
        task: The name of the task's class.
        errors: Findings that are wrong in any case.
        remarks: Findings to look at.
        terms: The range of each reward term; empty for a task that could not be run.
    """

    task: str
    errors: tuple[Finding, ...]
    remarks: tuple[Finding, ...]
    terms: tuple[TermRange, ...]

    def __str__(self) -> str:
        lines = [f"{self.task}: {_count(self.errors, 'error')}, {_count(self.remarks, 'remark')}"]
        if self.terms:
            width = max(len("reward term"), *(len(term.name) for term in self.terms))
            lines += ["", f"{'reward term':<{width}}" + "".join(f"{x:>11}" for x in ("weight", *_NUMBERS))]
            for term in self.terms:
                numbers = (term.weight, *(getattr(term, x) for x in _NUMBERS))
                lines.append(f"{term.name:<{width}}" + "".join(f"{x:>11.4g}" for x in numbers))
        for kind, findings in (("error", self.errors), ("remark", self.remarks)):
            if findings:
                lines += ["", *(f"{kind:<7} {finding}" for finding in findings)]
        return "\n".join(lines)


_NUMBERS = ("lowest", "highest", "mean")


class TaskViolation(AssertionError):
    """A task with errors. The message is the report.

    Attributes:
        report: The `TaskReport`, with the remarks and the ranges of the reward terms too.
    """

    def __init__(self, report: TaskReport):
        self.report = report
        super().__init__(str(report))


def _count(findings: tuple[Finding, ...], noun: str) -> str:
    return f"{len(findings)} {noun}{'' if len(findings) == 1 else 's'}"
