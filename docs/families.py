"""The pages of the environments, one for each family: the ids whose tasks are in one file."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from typing import Any

import gymnasium
import mujoco
import numpy as np
from learned import anchor, picture, section
from wording import code, docstring, lines

from motrix_gym.fields import configured
from motrix_gym.multi_task import MultiTask, cycle
from motrix_gym.registration import ENVS, Env, task_class
from motrix_train import presets

COLUMNS = 3  # of the gallery


def families() -> dict[str, list[Env]]:
    """The environments by the file that their task is in, which names their page."""
    found: dict[str, list[Env]] = {}
    for env in ENVS:
        module, _, _ = env.task.partition(":")
        found.setdefault(module.rpartition(".")[2], []).append(env)
    return found


def index_page() -> str:
    """The list of all environments, with their pages."""
    return lines(
        "# Environments",
        "",
        "A page has the environments of one file. The [gallery](../gallery.md) shows them.",
        "",
        "| id | task | fields that differ from the defaults |",
        "|---|---|---|",
        *(f"| {_link(env.id)} | {_text(env.task).partition(chr(10))[0]} | {_difference(env)} |" for env in ENVS),
    )


def gallery_page() -> str:
    """A moving picture of every environment, each with a link to its page."""
    shown: dict[str, list[Env]] = {}
    for env in ENVS:
        shown.setdefault(_kind(env), []).append(env)
    return lines(
        "# Gallery",
        "",
        "Every environment, with its trained policy: an ordinary episode, the median of nine. A picture that does not",
        "move is of an environment without a good policy yet. A click leads to the environment's page.",
        *(line for kind, envs in shown.items() for line in ("", f"## {kind}", "", *_tiles(envs))),
    )


def _kind(env: Env) -> str:
    """The folder of tasks that an environment is from."""
    *_, folder, _ = env.task.partition(":")[0].split(".")
    return folder.capitalize() if folder != "motrix_gym" else "Several tasks"


def _tiles(envs: list[Env]) -> list[str]:
    """A table of pictures, a row for every few."""
    tiles = [
        f"[![{seen}](clips/{file})](environments/{page(env.id)}.md#{anchor(env.id)})<br>`{env.id}`"
        for env in envs
        for file, seen in [picture(env.id)]
    ]
    tiles += [""] * (-len(tiles) % COLUMNS)
    rows = [tiles[k : k + COLUMNS] for k in range(0, len(tiles), COLUMNS)]
    return ["| " * COLUMNS + "|", "|---" * COLUMNS + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def page(env_id: str) -> str:
    """The family that has an environment, which names its page."""
    return next(family for family, envs in families().items() if env_id in {env.id for env in envs})


def family_page(family: str, envs: list[Env]) -> str:
    """The environments of one file: a picture, what sets them apart, each task, then each environment."""
    tasks: dict[str, list[Env]] = {}
    for env in envs:
        tasks.setdefault(env.task, []).append(env)
    pictured = ", ".join(env.id.rpartition("/")[2] for env in envs)
    return lines(
        f"# {family.replace('_', ' ').capitalize()}",
        "",
        f"![{pictured}]({family}.png)",
        "",
        *([f"*{pictured}*", ""] if len(envs) > 1 else []),
        "| id | task | time limit | fields that differ from the defaults |",
        "|---|---|---|---|",
        *(
            f"| [`{env.id}`](#{anchor(env.id)}) | {_name(env.task)} | {_time_limit(env)} | {_difference(env)} |"
            for env in envs
        ),
        *(line for base in bases(list(tasks)) for line in ("", f"## {base.__name__}", "", _with_headings(base, "###"))),
        *(line for task, alike in tasks.items() for line in task_section(task, alike, alone=len(tasks) == 1)),
        *(line for env in envs for line in section(env.id, env.id in presets.preset_ids())),
    )


def bases(tasks: list[str]) -> list[type]:
    """The classes that some tasks inherit their tables from, each once."""
    classes = [task_class(task) for task in tasks]
    described = [next(c for c in cls.__mro__ if "Observation:" in docstring(c)[0].splitlines()) for cls in classes]
    return [cls for cls in dict.fromkeys(described) if cls not in classes]


def task_section(name: str, envs: list[Env], *, alone: bool) -> list[str]:
    """A task's docstring, and what only its live environments know; under a heading where it is not alone."""
    heading = "##" if alone else "###"
    default = configured(task_class(name), {})
    others = ", and of the task's other ids" if len(envs) > 1 else ""
    return [
        "",
        *([] if alone else [f"## {_name(name)}", ""]),
        _with_headings(task_class(name), heading),
        *(_joined(default, live(envs[0].id), heading) if isinstance(default, MultiTask) else []),
        "",
        f"{heading} Spaces and times",
        "",
        "| | |",
        "|---|---|",
        *(f"| {quantity} | {value} |" for quantity, value in _spaces_and_times(envs).items()),
        "",
        f"{heading} Fields",
        "",
        f'Keyword arguments of `gymnasium.make_vec("{envs[0].id}", ...)`{others}.',
        "",
        "| field | default | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {code(getattr(default, name))} | {meaning} |" for name, meaning in _fields(default).items()),
    ]


@functools.cache
def live(env_id: str) -> Any:
    """The environment, one of it."""
    return gymnasium.make_vec(env_id, num_envs=1).unwrapped


def _spaces_and_times(envs: list[Env]) -> dict[str, str]:
    """What holds for all of some environments, once; where they differ, of each."""
    found = {
        env.id: {
            "observation": _box(live(env.id).single_observation_space),
            "action": _box(live(env.id).single_action_space),
            "control step": f"{live(env.id).task.control_dt:g} s",
            "physics step": ", ".join(f"{timestep:g} s" for timestep in _timesteps(live(env.id).task)),
        }
        for env in envs
    }
    shown = {}
    for quantity in found[envs[0].id]:
        values = {env_id: facts[quantity] for env_id, facts in found.items()}
        alike = len(set(values.values())) == 1
        each = [f"{value} (`{env_id}`)" for env_id, value in values.items()]
        shown[quantity] = values[envs[0].id] if alike else "; ".join(each)
    return shown


def _joined(task: MultiTask, envs: Any, heading: str) -> list[str]:
    """The default tasks of an environment that joins some, and where each observation block lies."""
    ids = [entry["id"] for entry in task.tasks]
    total = len(cycle(task.shares))
    rows = [
        f"| {k} | {name} | {_link(id)} | {share} of {total} |"
        for k, (name, id, share) in enumerate(zip(task.members(), ids, task.shares, strict=True))
    ]
    blocks = [f"| {block.start}-{block.stop - 1} | {name} |" for name, block in envs.observation_blocks.items()]
    return [
        "",
        f"{heading} The tasks by default",
        "",
        "| index | name | id | environments |",
        "|---|---|---|---|",
        *rows,
        "",
        "| index | observation block |",
        "|---|---|",
        *blocks,
    ]


def _name(task: str) -> str:
    return task.partition(":")[2]


def _text(task: str) -> str:
    return docstring(task_class(task))[0]


def _with_headings(cls: type, heading: str) -> str:
    return re.sub(r"^([A-Z]\w+):$", rf"{heading} \1", docstring(cls)[0], flags=re.MULTILINE)


def _link(env_id: str) -> str:
    """The link to an environment's page from another of them."""
    return f"[`{env_id}`]({page(env_id)}.md)"


def _time_limit(env: Env) -> str:
    return f"{env.max_episode_steps} steps, {env.max_episode_steps * live(env.id).task.control_dt:g} s"


def _difference(env: Env) -> str:
    """The fields of an environment's task that are not the defaults of its class."""
    default, own = configured(task_class(env.task), {}), live(env.id).task
    values = {field.name: getattr(own, field.name) for field in dataclasses.fields(own)}
    changed = {name: value for name, value in values.items() if value != getattr(default, name)}
    return ", ".join(f"`{name}` {json.dumps(value)}" for name, value in changed.items())


def _fields(task: Any) -> dict[str, str]:
    """The meaning of each field of a task, from the docstrings of its class and of those it inherits from."""
    meanings: dict[str, str] = {}
    for cls in type(task).__mro__:
        meanings = docstring(cls)[1] | meanings if cls is not object else meanings
    names = [field.name for field in dataclasses.fields(task)]
    if missing := [name for name in names if name not in meanings]:
        raise SystemExit(f"{type(task).__name__} has undocumented fields: {', '.join(missing)}")
    return {name: meanings[name] for name in names}


def _timesteps(task: Any) -> list[float]:
    tasks = task.members().values() if isinstance(task, MultiTask) else [task]
    models: list[mujoco.MjModel] = [task.model() for task in tasks]
    return sorted({model.opt.timestep for model in models})


def _box(space: Any) -> str:
    low, high = np.unique(space.low), np.unique(space.high)
    if np.isinf(low).all() and np.isinf(high).all():
        bounds = "unbounded"
    elif len(low) == len(high) == 1:
        bounds = f"in [{low[0]:g}, {high[0]:g}]"
    else:
        bounds = f"between {space.low} and {space.high}"
    return f"{space.dtype} {space.shape}, {bounds}"
