"""The `motrix-train` command, made of the modules in `motrix_train.commands`.

A module is imported when its command is called or asks for help, so that the list of commands comes at once.

A `UsageError` ends it with one line and exit code 2, a `RunError` or an `OSError` with one line and 1,
Ctrl-C with 130.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from motrix_train.commands.program import PROGRAM
from motrix_train.errors import EndedElsewhere, RunError, UsageError
from motrix_train.launcher import reports_errors

LONGEST_LINE = 1500  # characters of an error message, which may quote a long value

COMMANDS = {  # name: module and function, and the first line of its docstring
    "list": ("listing:list_environments", "Lists the environments to train, with sizes, budgets and returns."),
    "show": ("show:show", "Shows what `train` would use: every field of task and training, with your changes."),
    "train": ("train:train", "Trains a policy. Ctrl-C ends the training early and keeps the policy."),
    "curriculum": ("curriculum:curriculum", "Trains stage after stage, each from the policy of the one before."),
    "demo": ("demo:demo", "Shows a ready-made policy in the browser, or films it where there is no display."),
    "view": ("view:view", "Shows a policy live: pause, step, command, push, and see its rewards."),
    "play": ("play:play", "Plays a policy into a video, or in the viewer, with its mean actions."),
    "evaluate": ("evaluate:evaluate", "Measures a policy over whole fresh episodes."),
    "plot": ("plot:plot", "Draws learning curves of several runs in one picture."),
    "export": ("export:export", "Writes a policy as one file, from the raw observation to the action."),
    "new": ("new:new", "Writes a Python package with a robot, a task, its registration, a preset and tests."),
}


class Commands(TyperGroup):
    """The commands as names with a line each, until one of them is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and imported_command(name), rest


app = typer.Typer(
    cls=Commands,
    invoke_without_command=True,
    epilog=f"Example: {PROGRAM} demo\nExample: {PROGRAM} train Motrix/CartPole-v0",
    pretty_exceptions_enable=False,
)


@app.callback()
def about(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and leave.")] = False,
) -> None:
    """Trains robots to walk, grasp and reach: PPO and SAC on Gymnasium environments, with Torch or JAX."""
    if version:
        print(f"{PROGRAM} {importlib.metadata.version('motrix-gym')}")
        raise typer.Exit


def imported_command(name: str) -> Any:
    """A command whose help is the docstring of its function: the text, the options, and the examples at the end."""
    module, _, function = COMMANDS[name][0].partition(":")
    call = getattr(importlib.import_module(f"motrix_train.commands.{module}"), function)
    text, *examples = inspect.cleandoc(call.__doc__ or "").split("\n\nExample: ")
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name, help=text, epilog="\n".join(f"Example: {example}" for example in examples))(call)
    return typer.main.get_command(alone)


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
        arguments: As typed after the program's name.

    Returns:
        The exit code.
    """
    command = typer.main.get_command(app)
    try:
        typed = list(arguments) or ["--help"]
        return command.main(typed, prog_name=PROGRAM, standalone_mode=False, obj=shlex.join([PROGRAM, *typed])) or 0
    except UsageError as mistake:
        return _refuse(str(mistake), 2)
    except typer.TyperException as mistake:
        return _refuse(f"{_message_of(mistake)} (see {_help_of(mistake)})", 2)
    except RunError as refusal:
        return _refuse(str(refusal), 1)
    except EndedElsewhere as end:
        return end.code
    except MemoryError:
        return _refuse("there is not enough memory for this: take a smaller --num-envs", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as refusal:
        return _refuse(str(refusal), 1)
    except ValueError as mistake:
        from motrix_gym.task_check import TaskError  # brings MuJoCo, which a help does not need

        if not isinstance(mistake, TaskError):
            raise
        return _refuse(str(mistake), 2)
    except KeyboardInterrupt:
        return 130


def _refuse(message: str, code: int) -> int:
    if reports_errors():
        line = " ".join(message.split())
        print(f"{PROGRAM}: {line[:LONGEST_LINE]}{'...' if len(line) > LONGEST_LINE else ''}", file=sys.stderr)
    return code


def _message_of(mistake: Exception) -> str:
    format_message = getattr(mistake, "format_message", None)
    return format_message() if format_message else str(mistake)


def _help_of(mistake: Exception) -> str:
    context = getattr(mistake, "ctx", None)
    return f"{context.command_path if context else PROGRAM} --help"
