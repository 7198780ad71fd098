"""The `motrix-train` command, made of the modules in `motrix_train.commands`.

A `UsageError` ends it with one line and exit code 2, a `RunError` or an `OSError` with one line and 1,
Ctrl-C with 130.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from motrix_gym.task_check import TaskError
from motrix_train.commands import curriculum, demo, evaluate, export, listing, new, play, plot, show, train, view
from motrix_train.commands.options import PROGRAM
from motrix_train.errors import EndedElsewhere, RunError, UsageError
from motrix_train.launcher import reports_errors

LONGEST_LINE = 1500  # characters of an error message, which may quote a long value

app = typer.Typer(
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


def add_command(command: Callable[..., None], name: str) -> None:
    """Adds a command whose help is its docstring: the text, the options, and the examples at the end."""
    text, *examples = inspect.cleandoc(command.__doc__ or "").split("\n\nExample: ")
    app.command(name, help=text, epilog="\n".join(f"Example: {example}" for example in examples))(command)


for command, name in (
    (listing.list_environments, "list"),
    (show.show, "show"),
    (train.train, "train"),
    (curriculum.curriculum, "curriculum"),
    (demo.demo, "demo"),
    (view.view, "view"),
    (play.play, "play"),
    (evaluate.evaluate, "evaluate"),
    (plot.plot, "plot"),
    (export.export, "export"),
    (new.new, "new"),
):
    add_command(command, name)


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
    except (UsageError, TaskError) as mistake:
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
