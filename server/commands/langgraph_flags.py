"""Flags of `langgraph dev` that mean something here, or nothing, or cannot be had (contract/resources.md 14).

Those that mean nothing are taken in silence: a script that starts one server starts the other.
"""

from collections.abc import Callable
from typing import Any

import click

from .flags import Command, with_flags

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
_REFUSED = {
    "--tunnel": "opens no tunnel: run one of your own, such as cloudflared, in front of the port",
    "--debug-port": "is not there: start python -m debugpy --listen <port> -m server dev --no-reload",
    "--wait-for-client": "is not there: python -m debugpy has a flag of that name",
}


def _refused(name: str) -> Callable[[Command], Command]:
    def refuse(context: click.Context, option: click.Parameter, value: Any) -> None:
        if value:
            raise click.BadParameter(_REFUSED[name], param=option)

    is_flag = name != "--debug-port"
    return click.option(
        name, is_flag=is_flag, hidden=True, expose_value=False, callback=refuse, help=_REFUSED[name]
    )


def _ignored(name: str, why: str) -> Callable[[Command], Command]:
    return click.option(name, is_flag=True, hidden=True, expose_value=False, help=why)


JOBS = click.option(
    "--n-jobs-per-worker",
    "jobs",
    type=click.IntRange(min=1),
    help="Runs at the same time, over N_JOBS_PER_WORKER.",
)
LOG_LEVEL = click.option(
    "--server-log-level",
    "log_level",
    type=click.Choice(LEVELS, case_sensitive=False),
    help="What is logged, over LOG_LEVEL.",
)
STUDIO_URL = click.option(
    "--studio-url",
    default="https://smith.langchain.com",
    help="Where the Studio is that the start points to.",
)
TLS = with_flags(
    click.option("--ssl-certfile", help="Certificate, to serve HTTPS; goes with --ssl-keyfile."),
    click.option("--ssl-keyfile", help="Key of the certificate."),
)
WITHOUT_EFFECT = with_flags(
    _ignored("--no-browser", "No browser is ever opened."),
    _ignored("--allow-blocking", "Code that blocks is named in the log, and never an error."),
    *map(_refused, _REFUSED),
)
