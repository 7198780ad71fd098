"""`motrix-train list`: the environments to train."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Space, flatdim
from rich.console import Console

from motrix_gym.entry_points import imported, task_of
from motrix_train import environment, presets, pretrained
from motrix_train.commands.program import PROGRAM
from motrix_train.config import AlgorithmName
from motrix_train.errors import UsageError
from motrix_train.learning.backend import NAMES, installed

NAMESPACE = "Motrix"
HEADINGS = ("id", "obs", "act", "env steps", "return", "what it is")
UNKNOWN = "-"
READABLE = 24  # characters; where less of a description would fit, there is none
OF_A_FILE = 200  # characters of a line that no terminal shows


@dataclass(frozen=True)
class Row:
    """What is told of an environment.

    Attributes:
        group: The heading that it stands below.
        cells: Its id, its sizes, the budget of its preset and the return of its ready-made policy.
        description: What the robot does.
        fields: What sets it apart from another id of the same task.
    """

    group: str
    cells: tuple[str, ...]
    description: str
    fields: str


def list_environments() -> None:
    """Lists the environments to train, with sizes, budgets and returns.

    Those of installed packages are at the end. A wide terminal shows what each is.

    Example: motrix-train list
    """
    console = Console(highlight=False)
    narrowed = console.is_terminal or "COLUMNS" in os.environ
    width = console.width if narrowed else OF_A_FILE
    packages = {env_id: package for env_id, package in presets.packages().items() if env_id in gymnasium.registry}
    rows = [_row(env_id, packages.get(env_id)) for env_id in dict.fromkeys([*packages, *environment.known_ids()])]
    widths = [max(map(len, column)) for column in zip(HEADINGS[:-1], *(row.cells for row in rows), strict=True)]
    space = width - sum(widths) - 2 * len(widths)
    headings = HEADINGS if space >= READABLE else HEADINGS[:-1]
    _print(console, _line(headings, widths), "bold")
    for group in dict.fromkeys(row.group for row in rows):
        _print(console, f"\n{group}", "bold")
        for row in (row for row in rows if row.group == group):
            _print(console, _line((*row.cells, _described(row, space)), widths))
    _print(console, "\n" + _legend(len(headings) < len(HEADINGS)))


def _row(env_id: str, package: str | None) -> Row:
    """An environment and the package that its preset is from."""
    spec = environment.find_spec(env_id)
    sizes = (UNKNOWN, UNKNOWN)
    try:
        description = _documented(spec)
        if task_of(spec):  # to make one of another kind may take anything
            sizes = _sizes(env_id)
    except (UsageError, ValueError) as refusal:
        description = str(refusal)
    budget = _budget(env_id) if package else UNKNOWN
    policy = pretrained.index().get(env_id)
    cells = (env_id, *sizes, budget, UNKNOWN if policy is None else f"{policy.mean_return:.0f}")
    return Row(_group(spec, package), cells, description, _differing(spec.kwargs))


def _group(spec: EnvSpec, package: str | None) -> str:
    """The family of a task of ours, which is the folder of its file; the namespace and the package of another id."""
    module = (task_of(spec) or str(spec.vector_entry_point or spec.entry_point)).partition(":")[0].split(".")
    if spec.namespace == NAMESPACE and package == presets.PACKAGE:
        return module[-2 if len(module) > 2 else -1].replace("_", " ").capitalize()
    return f"{spec.namespace or spec.name} ({f'preset of {package}' if package else f'{module[0]}, without a preset'})"


def _sizes(env_id: str) -> tuple[str, str]:
    """The numbers of an observation and of an action.

    Raises:
        UsageError: The environment cannot be made without further arguments.
    """
    env = environment.make_env(env_id, 1, {}, num_threads=1)
    spaces: tuple[Space, Space] = env.single_observation_space, env.single_action_space
    env.close()
    return str(flatdim(spaces[0])), str(flatdim(spaces[1]))


def _budget(env_id: str) -> str:
    """The env steps of the preset, and those of a backend or an algorithm that needs others."""
    cases: dict[str, tuple[str, AlgorithmName]] = {backend: (backend, "ppo") for backend in NAMES}
    cases["sac"] = NAMES[0], "sac"
    known = presets.algorithms(env_id)
    steps = {
        name: f"{presets.preset(env_id, backend, algorithm).max_env_steps / 1e6:g} M"
        for name, (backend, algorithm) in cases.items()
        if algorithm in known
    }
    first, *others = steps
    told = [f"{name} {steps[name]}" for name in others if steps[name] != steps[first]]
    return steps[first] + (f" ({', '.join(told)})" if told else "")


def _documented(spec: EnvSpec) -> str:
    """The first line of the docstring of a registered task.

    Raises:
        ValueError: Its module cannot be imported.
    """
    task = task_of(spec)
    documented = "" if task is None else imported(task).__doc__ or ""
    return documented.strip().partition("\n")[0]


def _differing(fields: Mapping[str, object]) -> str:
    """The fields that an id was registered with: numbers with their values, others by name."""
    return ", ".join(f"{name} {value:g}" if _is_number(value) else name for name, value in fields.items())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _described(row: Row, space: int) -> str:
    """What an environment is, in at most so many characters; what sets it apart from others is not cut off."""
    if space < READABLE:
        return ""
    fields = f" ({row.fields})" if row.fields else ""
    description = row.description
    if len(description) + len(fields) > space:
        description = f"{description[: max(0, space - len(fields) - 3)].rstrip()}..."
    return f"{description}{fields}"[:space]


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """Cells in columns; numbers to the right, texts to the left."""
    env_id, *numbers = (cell.rjust(width) for cell, width in zip(cells, widths, strict=False))
    return "  ".join([env_id.strip().ljust(widths[0]), *numbers, *cells[len(widths) :]]).rstrip()


def _legend(is_narrow: bool) -> str:
    present = [backend for backend in NAMES if installed(backend)]
    remedy = 'none; pip install "motrix-gym[torch]"'
    return "\n".join(
        [
            "obs, act: how many numbers an observation and an action have.",
            "env steps: the budget of the preset; sac: with --algorithm sac.",
            "return: that of the ready-made policy, mean of 256 episodes.",
            f"All fields of one: {PROGRAM} show ID" + ("; a wider terminal says what each is." if is_narrow else ""),
            f"Backends installed here: {', '.join(present) or remedy}",
        ]
    )


def _print(console: Console, line: str, style: str | None = None) -> None:
    console.print(line, style=style, markup=False, soft_wrap=True)
