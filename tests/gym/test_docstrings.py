"""The tables in a task's docstring are those of the live environment."""

import dataclasses
import inspect
import re

import gymnasium
import numpy as np
import pytest

from motrix_gym.multi_task import MultiTask
from motrix_gym.task import Task
from motrix_gym.vector_env import MotrixVectorEnv

INDEX = re.compile(r"(\d+)(?:-(\d+))?")
OPTION = re.compile(r"with `(\w+)`: ")
COLUMNS = {
    "Observation": ["index", "block", "quantity", "unit"],
    "Reward": ["term", "formula", "weight"],
    "Weights": ["term", "weight"],
    "Termination": ["reason", "condition"],
}


@pytest.fixture(scope="module")
def envs(env_id: str) -> MotrixVectorEnv:
    """One row of every environment in turn."""
    return gymnasium.make_vec(env_id, num_envs=1, num_threads=1).unwrapped


@pytest.fixture(scope="module")
def sections(envs: MotrixVectorEnv) -> dict[str, str]:
    """The sections of the docstring of its task, by heading."""
    if isinstance(envs.task, MultiTask):
        pytest.skip("the tables are those of the tasks that are joined")
    return sections_of(envs)


def sections_of(envs: MotrixVectorEnv) -> dict[str, str]:
    """The sections of the docstring of a task, by heading; those it lacks are of the class it inherits from."""
    found: dict[str, str] = {}
    for cls in type(envs.task).__mro__[:-1]:
        inherited = docstring_sections(cls)
        if "Reward" in found:
            inherited.pop("Weights", None)  # which differ from a table farther up
        found = inherited | found
    return found


def docstring_sections(cls: type) -> dict[str, str]:
    """The sections of the docstring of one class, by heading."""
    parts = re.split(r"^(\w+):$", inspect.cleandoc(cls.__doc__ or ""), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(section: str, heading: str) -> list[list[str]]:
    """The cells of a Markdown table, below its head, which must be the usual one."""
    table = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in section.splitlines()
        if line.strip().startswith("|")
    ]
    assert table[0] == COLUMNS[heading]
    assert all(set(cell) <= set("-:") for cell in table[1])
    assert all(len(row) == len(table[0]) and all(row) for row in table[2:]), "a cell is empty or missing"
    return table[2:]


def test_the_observation_table(envs, sections):
    documented = {}
    for index, block, quantity, _ in rows(sections["Observation"], "Observation"):
        option = OPTION.match(quantity)
        if option and not getattr(envs.task, option[1]):
            continue
        start, last = INDEX.fullmatch(index).groups()
        documented[block] = slice(int(start), int(last or start) + 1)
    assert list(documented.items()) == list(envs.observation_blocks.items())


def test_the_reward_table(envs, sections):
    documented = {term: float(weight) for term, _, weight in rows(sections["Reward"], "Reward")}
    for term, weight in rows(sections["Weights"], "Weights") if "Weights" in sections else []:
        assert documented[term] != float(weight), "this is the weight that the table of all has"
        documented[term] = float(weight)
    assert list(documented.items()) == list(envs.task.weights.items())


def test_the_termination_table(envs, sections):
    envs.reset(seed=0)
    *_, info = envs.step(np.zeros(envs.action_space.shape))
    assert [reason for reason, _ in rows(sections["Termination"], "Termination")] == list(info["termination"])


def test_success_is_described_where_there_is_one(envs, sections):
    envs.reset(seed=0)
    *_, info = envs.step(np.zeros(envs.action_space.shape))
    assert ("Success" in sections) == ("success" in info)


def test_every_field_is_described(envs):
    """By its class or by one that it inherits from; a class describes fields only, in their order."""
    fields = [field.name for field in dataclasses.fields(envs.task)]
    described = [attributes for cls in type(envs.task).__mro__[:-1] if (attributes := attributes_of(cls))]
    assert set(fields) <= set().union(*described)
    own = [name for name in described[0] if name not in attributes_of(Task)]
    assert own == [name for name in fields if name in own]


def attributes_of(cls: type) -> list[str]:
    """The names that the docstring of one class describes."""
    return re.findall(r"^    (\w+): \S", docstring_sections(cls).get("Attributes", ""), flags=re.MULTILINE)


def test_tables_name_fields_that_exist(envs, sections):
    fields = {field.name for field in dataclasses.fields(envs.task)}
    for heading in COLUMNS.keys() & sections.keys():
        assert set(re.findall(r"`(\w+)`", sections[heading])) <= fields


def test_the_first_line_says_what_the_task_is(envs):
    first, blank, *_ = (type(envs.task).__doc__ or "").splitlines()
    assert first.endswith(".")
    assert not blank
