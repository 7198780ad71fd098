"""The tables in the docstring of a task, and whether they are those of the task."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator

from motrix_gym.state import consecutive
from motrix_gym.task import Task
from motrix_gym.testing.task_report import Finding, error, remark
from motrix_gym.testing.task_run import TaskSubject

COLUMNS = {
    "Observation": ["index", "block", "quantity", "unit"],
    "Reward": ["term", "formula", "weight"],
    "Weights": ["term", "weight"],
    "Termination": ["reason", "condition"],
}
_INDEX = re.compile(r"(\d+)(?:-(\d+))?")
_OPTION = re.compile(r"with `(?P<field>\w+)`: ")


def docstring(s: TaskSubject) -> Iterator[Finding]:
    """The tables for observation, reward and termination are there, and are those of the task.

    A table that is not true is an error, or a remark where the class has it from another one and has none itself.
    """
    sections, own = sections_of(type(s.task)), own_sections(type(s.task))
    live = {
        "Observation": consecutive({name: x.shape[-1] for name, x in s.values("observe").items()}),
        "Reward": dict(s.task.WEIGHTS),
        "Termination": list(s.random.reasons),
    }
    fields = [field.name for field in dataclasses.fields(s.task)]
    for heading, expected in live.items():
        where = f"docstring, {heading}"
        if heading not in sections:
            yield remark(where, "is missing", f"add the heading `{heading}:` and a table {_head(heading)}")
            continue
        found = error if heading in own or (heading == "Reward" and "Weights" in own) else remark
        try:
            written = _TABLES[heading](s.task, sections)
        except ValueError as wrong:
            yield found(where, str(wrong), f"write a table {_head(heading)} with all cells filled")
            continue
        if _entries(written) != _entries(expected):
            yield found(where, *_contrast(_entries(written), _entries(expected)))
        for name in re.findall(r"`(\w+)`", sections[heading]):
            if name not in fields:
                yield found(where, f"names a field `{name}`", f"the task has no such field; it has {', '.join(fields)}")


def sections_of(cls: type) -> dict[str, str]:
    """The sections of the docstring of a task, by heading; those it lacks are of the class it inherits from."""
    found: dict[str, str] = {}
    for base in cls.__mro__[:-1]:
        inherited = own_sections(base)
        if "Reward" in found:
            inherited.pop("Weights", None)  # which differ from a table farther up
        found = inherited | found
    return found


def own_sections(cls: type) -> dict[str, str]:
    """The sections of the docstring of one class, by heading."""
    parts = re.split(r"^(\w+):$", inspect.cleandoc(cls.__doc__ or ""), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def optional_blocks(cls: type) -> set[str]:
    """The blocks of the observation that a field switches on, by the docstring of a task: "with `height_scan`: ..."."""
    section = sections_of(cls).get("Observation", "")
    return {found[1] for found in re.finditer(rf"^ *\|[^|]+\| *(\w+) *\| *{_OPTION.pattern}", section, re.MULTILINE)}


def _observation(task: Task, sections: dict[str, str]) -> dict[str, slice]:
    """The columns of each block."""
    columns = {}
    for index, block, quantity, _ in _rows(sections, "Observation"):
        option, place = _OPTION.match(quantity), _INDEX.fullmatch(index)
        if place is None:
            raise ValueError(f"has an index {index!r}, which is neither a number nor a range such as 0-2")
        if option is None or getattr(task, option["field"], True):
            columns[block] = slice(int(place[1]), int(place[2] or place[1]) + 1)
    return columns


def _reward(task: Task, sections: dict[str, str]) -> dict[str, float]:
    """The weight of each term."""
    weights = {term: _number(weight) for term, _, weight in _rows(sections, "Reward")}
    for term, weight in _rows(sections, "Weights") if "Weights" in sections else []:
        if weights.get(term) == _number(weight):
            raise ValueError(f"has the weight of {term} again under Weights, where it is the same")
        weights[term] = _number(weight)
    return weights


def _termination(task: Task, sections: dict[str, str]) -> list[str]:
    """The reasons."""
    return [reason for reason, _ in _rows(sections, "Termination")]


_TABLES = {"Observation": _observation, "Reward": _reward, "Termination": _termination}


def _rows(sections: dict[str, str], heading: str) -> list[list[str]]:
    """The cells of a Markdown table, below its head."""
    lines = [line.strip() for line in sections[heading].splitlines() if line.strip().startswith("|")]
    head, rule, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] or [[], []]
    if head != COLUMNS[heading]:
        raise ValueError(f"has the columns {head}")
    if not all(set(cell) <= set("-:") for cell in rule):
        raise ValueError("has no line of dashes below its head")
    for row in body:
        if len(row) != len(head) or not all(row):
            raise ValueError(f"has a row {row}")
    return body


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"has a weight {text!r}") from None


def _head(heading: str) -> str:
    return f"| {' | '.join(COLUMNS[heading])} |"


def _entries(table: dict | list) -> list[str]:
    """The rows of a table in words."""
    if isinstance(table, list):
        return table
    return [f"{name} {f'{x.start}-{x.stop - 1}' if isinstance(x, slice) else x}" for name, x in table.items()]


def _contrast(written: list[str], expected: list[str]) -> tuple[str, str]:
    """What a table has and what the task has, without the entries of both; with all where only their order differs."""
    only_written = [entry for entry in written if entry not in expected]
    only_expected = [entry for entry in expected if entry not in written]
    if not (only_written or only_expected):
        only_written, only_expected = written, expected
    has, task_has = (", ".join(entries) or "nothing more" for entries in (only_written, only_expected))
    return f"has {has}", f"the task has {task_has}"
