"""Conformance checks for any `Task`: `check_task`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from motrix_gym.task import Task
from motrix_gym.testing import task_functions, task_mirror, task_starts, task_values
from motrix_gym.testing.docstring_tables import docstring
from motrix_gym.testing.task_report import Finding, TaskReport, TaskViolation, error
from motrix_gym.testing.task_run import TaskSubject, subject_of

_CHECKS: tuple[Callable[[TaskSubject], Iterator[Finding]], ...] = (
    task_values.finite,
    task_functions.functions,
    task_starts.starts,
    task_starts.first_steps,
    task_values.weights,
    task_values.terms,
    task_values.observations,
    task_values.reasons,
    task_mirror.twice,
    task_mirror.mirrored_step,
    docstring,
)


def check_task(task: Task, *, num_envs: int = 32, steps: int = 100, seed: int = 0) -> TaskReport:
    """Checks a task, with random actions and with zero actions.

    An error is wrong in any case: a number that is not finite, a method that is no function of its arguments or that
    mixes environments, a start state with a deep contact, a reward term or an element of the observation that no state
    changes, a mirror image that behaves otherwise, a table of the docstring that is not true. A remark is to be looked
    at: a reward term that was constant in this check, a reason that ended no episode, a table that is missing.

    `check_vector_env` checks the environment of a task; this checks the task itself.

    Args:
        task: The task; its fields are those that are checked.
        num_envs: Environments, 2 or more.
        steps: Steps with random actions, and as many with zero actions; 2 or more.
        seed: The first environment is seeded with it, the next with the next number.

    Returns:
        The report of a task without errors: its remarks, and the range of each reward term.

    Raises:
        TaskViolation: The task has errors. The message is the report; `TaskViolation.report` has it as data.
        TypeError: `task` is no `Task`; a class, for instance.
        ValueError: Too few environments or steps.
    """
    if not isinstance(task, Task):
        raise TypeError(f"task is {task!r}; it takes an instance of a Task, such as CartPole()")
    for name, number in (("num_envs", num_envs), ("steps", steps)):
        if number < 2:
            raise ValueError(f"{name} is {number}; it takes 2 or more")
    task_name = type(task).__name__
    try:
        subject = subject_of(task, num_envs, steps, seed)
    except ValueError as refusal:
        finding = error(task_name, str(refusal), "nothing else was checked")
        raise TaskViolation(TaskReport(task_name, (finding,), (), ())) from refusal
    findings = [finding for check in _CHECKS for finding in check(subject)]
    errors = tuple(finding for finding in findings if finding.is_error)
    remarks = tuple(finding for finding in findings if not finding.is_error)
    report = TaskReport(task_name, errors, remarks, task_values.ranges(subject))
    if errors:
        raise TaskViolation(report)
    return report
