"""What a docstring of a task has beside its tables, which `check_task` compares with the task."""

import dataclasses
import re

import gymnasium
import numpy as np
import pytest

from motrix_gym.multi_task import MultiTask
from motrix_gym.task import Task
from motrix_gym.testing.docstring_tables import own_sections, sections_of
from motrix_gym.vector_env import MotrixVectorEnv


@pytest.fixture(scope="module")
def envs(env_id: str) -> MotrixVectorEnv:
    """One row of every environment in turn."""
    return gymnasium.make_vec(env_id, num_envs=1, num_threads=1).unwrapped


@pytest.fixture(scope="module")
def sections(envs: MotrixVectorEnv) -> dict[str, str]:
    """The sections of the docstring of its task, by heading."""
    if isinstance(envs.task, MultiTask):
        pytest.skip("the tables are those of the tasks that are joined")
    return sections_of(type(envs.task))


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
    return re.findall(r"^    (\w+): \S", own_sections(cls).get("Attributes", ""), flags=re.MULTILINE)


def test_the_first_line_says_what_the_task_is(envs):
    first, blank, *_ = (type(envs.task).__doc__ or "").splitlines()
    assert first.endswith(".")
    assert not blank
