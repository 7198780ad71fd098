"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from motrix_gym.physics.engine import ENGINES
from motrix_train import environment
from motrix_train.errors import UsageError
from motrix_train.learning.backend import NAMES
from motrix_train.settings import read_config
from motrix_train.storage.run_directory import RUNS, RunDirectory

CHANGES = "Task and configuration"  # panels of the help, after that of the options that most people need
MACHINE = "Machine and libraries"


def complete_env_id(typed: str) -> list[str]:
    """Completes an environment id in the shell."""
    return [env_id for env_id in environment.known_ids() if env_id.startswith(typed)]


def complete_run(typed: str) -> list[str]:
    """Completes the directory of a run below ``runs/``; the shell itself completes other paths."""
    return [str(run.path) for run in RunDirectory.all_below(RUNS) if str(run.path).startswith(typed)]


def complete_target(typed: str) -> list[str]:
    """Completes an environment id, or the directory of a run."""
    return [*complete_env_id(typed), *complete_run(typed)]


def complete_backend(typed: str) -> list[str]:
    """Completes the name of a backend."""
    return [name for name in ("auto", *NAMES) if name.startswith(typed)]


def complete_physics(typed: str) -> list[str]:
    """Completes the name of a physics engine."""
    return [name for name in ENGINES if name.startswith(typed)]


EnvId = Annotated[
    str,
    typer.Argument(metavar="ENV", help="Environment id, as `list` shows it.", autocompletion=complete_env_id),
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="ENV|RUN|POLICY",
        help="An environment id (its newest run), a run directory (its best policy) or a policy file.",
        autocompletion=complete_target,
    ),
]
OtherEnv = Annotated[
    str | None,
    typer.Option(
        "--env-id",
        metavar="ENV",
        rich_help_panel=CHANGES,
        help="Another environment with the same spaces as the policy's own.",
        autocompletion=complete_env_id,
    ),
]
Pretrained = Annotated[
    bool, typer.Option("--pretrained", help="The ready-made policy of ENV, which is installed with the package.")
]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="NAME",
        show_default=False,
        rich_help_panel=MACHINE,
        help="torch, jax or auto, the default: one that finds a GPU.",
        autocompletion=complete_backend,
    ),
]
Algorithm = Annotated[
    str | None,
    typer.Option(metavar="NAME", show_default=False, help="What trains: ppo, the default, or sac."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        rich_help_panel=CHANGES,
        help="A field of the configuration; may be repeated.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        rich_help_panel=CHANGES,
        help="A TOML file: fields of --set, and a table env of those of --env.",
    ),
]
EnvFields = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="FIELD=VALUE",
        rich_help_panel=CHANGES,
        help="A field of the task: reward_weights.torques=0; may be repeated.",
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
        rich_help_panel=CHANGES,
        help="A module that registers environments; may be repeated.",
    ),
]
NumThreads = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        show_default=False,
        rich_help_panel=MACHINE,
        help="Threads of the physics; 0, the default, is one for each CPU.",
    ),
]
Physics = Annotated[
    str | None,
    typer.Option(
        "--physics",
        metavar="NAME",
        rich_help_panel=MACHINE,
        help="Physics: mujoco or warp, short for --env physics=NAME.",
        autocompletion=complete_physics,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=MACHINE, help="Where the networks are, for example cpu or cuda:0."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]


def with_physics(env_fields: Sequence[str] | None, physics: str | None) -> list[str]:
    """The values of --env, and that of --physics as one of them."""
    return [*(env_fields or ()), *([f"physics={physics}"] if physics else ())]


def parse_count(text: str) -> int:
    """Parses a whole number of at least 1, also in the form 8e6."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (number >= 1 and number.is_integer()):
        raise typer.BadParameter(f"{text!r} is no whole number of at least 1, such as 8000000 or 8e6")
    return int(number)


def read_changes(
    env_id: str,
    config: Path | None,
    settings: Sequence[str] | None,
    env_fields: Sequence[str] | None,
    algorithm: str | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of the training and of the task that --algorithm, --config, --set and --env give for an environment.

    Raises:
        UsageError: A field or its value is wrong; that of a file is named with the file.
    """
    settings_of_file, env_of_file = read_config(config, algorithm) if config else ({}, {})
    typed = environment.parse_kwargs(env_fields or ())
    env_kwargs = environment.merged(env_of_file, typed)
    if env_of_file:
        env_id = environment.import_and_find_spec(env_id).id
        try:
            environment.make_env(env_id, 1, env_kwargs).close()
        except UsageError as refusal:
            environment.make_env(env_id, 1, typed).close()  # what is typed may be wrong
            raise UsageError(f"{config}: {refusal}") from refusal
    named = {"algorithm": algorithm} if algorithm else {}
    return settings_of_file | _split_assignments(settings or ()) | named, env_kwargs


def _split_assignments(settings: Sequence[str]) -> dict[str, str]:
    """Splits the values of --set."""
    pairs = [setting.partition("=") for setting in settings]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise UsageError(f"--set {name}{equals}{value}: write it as field=value, for example rollouts=32")
    return {name: value for name, _, value in pairs}
