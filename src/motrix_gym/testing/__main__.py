"""``python -m motrix_gym.testing my_package.tasks:MyTask --set field=value`` prints the report of `check_task`."""

from __future__ import annotations

import argparse
import ast
import sys
from typing import Any

from motrix_gym.fields import configured
from motrix_gym.multi_task import MultiTask
from motrix_gym.registration import task_class
from motrix_gym.testing import TaskViolation, check_task


def main() -> int:
    """Checks the task that the command line names; the exit code is 1 for a task with errors."""
    parser = argparse.ArgumentParser(prog="python -m motrix_gym.testing", description="Checks a task.")
    parser.add_argument("task", help="module:Class")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of the task")
    given = parser.parse_args()
    try:
        fields = {name: _value(text) for name, text in (assignment.split("=", 1) for assignment in given.set)}
        task = configured(task_class(given.task), fields)
    except (TypeError, ValueError) as wrong:
        parser.error(str(wrong))
    if isinstance(task, MultiTask):
        parser.error(f"{given.task} joins several tasks; check each of them")
    try:
        print(check_task(task))
    except TaskViolation as violation:
        print(violation)
        return 1
    return 0


def _value(text: str) -> Any:
    """What Python reads in a text, or else the text."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


if __name__ == "__main__":
    sys.exit(main())
