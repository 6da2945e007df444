"""What the commands share: flags, and how an error ends them."""

import sys
import traceback as tracebacks
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import GraphwireError, StartupError

Command = Callable[..., None]

CONFIG = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    default="langgraph.json",
    help="The project file; paths in it count from its directory.",
)
ENV_FILE = click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="A dotenv file over the environment and over `env` of the project file.",
)
ALLOW_OUTSIDE = click.option(
    "--allow-outside",
    is_flag=True,
    help="Let paths in the project file lead out of its directory; `dev` always does.",
)
TRACEBACK = click.option("--traceback", is_flag=True, help="Show where in the code a failed start failed.")


def with_flags(*flags: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several flags as one decorator, in this order."""

    def decorate(command: Command) -> Command:
        for flag in reversed(flags):
            command = flag(command)
        return command

    return decorate


def ended_by_errors(command: Callable[..., None], *arguments: Any, traceback: bool = False) -> None:
    """Run a command; when it fails it ends with one message and the exit status of the error."""
    try:
        command(*arguments)
    except GraphwireError as error:
        if traceback:
            tracebacks.print_exception(error)
        else:
            click.echo(f"graphwire: {error.message}", err=True)
        sys.exit(error.exit_status if isinstance(error, StartupError) else StartupError.exit_status)
