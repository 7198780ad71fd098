"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from motrix_train import environment
from motrix_train.errors import UsageError

PROGRAM = "motrix-train"

EnvId = Annotated[str, typer.Argument(metavar="ENV", help="Environment id, as `list` shows it.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="ENV|RUN|POLICY",
        help="An environment id (its newest run), a run directory (its best policy) or a policy file.",
    ),
]
OtherEnv = Annotated[
    str | None,
    typer.Option("--env-id", help="Another environment with the same spaces, in place of the policy's own."),
]
BackendName = Annotated[
    str,
    typer.Option("--backend", help="torch, jax, or auto: one that finds a GPU, else one that is installed."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="A field of the PPO configuration; may be repeated."),
]
EnvFields = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="FIELD=VALUE",
        help="A field of the task, JSON, dots reach inside: reward_weights.torques=0; may be repeated.",
    ),
]


def _import_all(modules: list[str] | None) -> list[str] | None:
    for module in modules or ():
        environment.import_module(module)
    return modules


Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        callback=_import_all,
        help="Import a module that registers environments, for a run or a policy of one; may be repeated.",
    ),
]
NumThreads = Annotated[int, typer.Option(min=0, help="Physics threads; 0 is one for each CPU.")]
Device = Annotated[str | None, typer.Option(help="Where the networks are, for example cpu or cuda:0.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]


def count(text: str) -> int:
    """A whole number of at least 1, also when written as 8e6."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (number >= 1 and number.is_integer()):
        raise typer.BadParameter(f"{text!r} is no whole number of at least 1, such as 8000000 or 8e6")
    return int(number)


def split_assignments(settings: Sequence[str] | None) -> dict[str, str]:
    """Splits the values of --set."""
    pairs = [setting.partition("=") for setting in settings or ()]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise UsageError(f"--set {name}{equals}{value}: write it as field=value, for example rollouts=32")
    return {name: value for name, _, value in pairs}
