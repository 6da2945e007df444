"""The command line: flags → configuration → wiring → a running server."""

import asyncio
import sys
import traceback as tracebacks
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any, Literal

import click
import structlog

from . import __version__, heap, logs, loops
from .config import Settings, apply_environment, load_settings
from .errors import ConfigError, GraphwireError, StartupError
from .http_config import http_rules
from .paths_config import check_paths
from .project import Project, load_project
from .reload import run_reloading
from .serving import (
    Server,
    address_of,
    end_on_signals,
    exit_soon,
    is_local,
    leave_on_signals,
    listen,
)
from .storage.data_dir import DataDir
from .storage.inspection import inspect
from .strict_http import Limits

Command = Callable[..., None]
Role = Literal["all", "api", "worker"]  # what a process does of the two: serve, and execute runs


@dataclass(frozen=True, slots=True)
class Flags:
    """What a process that serves or works was asked to do."""

    config: Path
    host: str = "127.0.0.1"
    port: int | None = None  # None: nothing listens
    role: Role = "all"
    reload: bool = False
    traceback: bool = False
    allow_reset: bool = False
    parent: int | None = None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="graphwire")
def main() -> None:
    """Serve LangGraph graphs over HTTP and stream every token of them."""


CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default="langgraph.json",
    help="The project file; paths in it count from its directory.",
)
HOST = click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
PORT = click.IntRange(0, 65535)
TRACEBACK = click.option("--traceback", is_flag=True, help="Show where in the code a failed start failed.")


def with_flags(*flags: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for flag in reversed(flags):
            command = flag(command)
        return command

    return decorate


def serving_flags(reload: bool) -> Callable[[Command], Command]:
    """The flags of `dev` and `serve`, which differ only in whether they reload."""
    return with_flags(
        CONFIG,
        HOST,
        click.option("--port", type=PORT, default=8123, help="Port; 0 takes a free one."),
        click.option("--reload/--no-reload", default=reload, help="Start again when a file changes."),
        TRACEBACK,
        click.option(
            "--allow-reset", is_flag=True, help="Keep a damaged database aside and begin an empty one."
        ),
        click.option("--parent", type=int, hidden=True, help="Pipe of the process that reloads this one."),
    )


@main.command(context_settings={"show_default": True})
@serving_flags(reload=True)
def dev(**flags: Any) -> None:
    """Serve a project while you work on it."""
    start(Flags(**flags))


@main.command(context_settings={"show_default": True})
@serving_flags(reload=False)
@click.option(
    "--role",
    type=click.Choice(["all", "api"]),
    default="all",
    help="api leaves the runs to `graphwire worker`; with PostgreSQL and Redis only.",
)
def serve(**flags: Any) -> None:
    """Serve a project in production."""
    start(Flags(**flags))


@main.command(context_settings={"show_default": True})
@with_flags(
    CONFIG,
    HOST,
    click.option("--port", type=PORT, default=None, help="Port for /ok and /info; none without it."),
    TRACEBACK,
)
def worker(**flags: Any) -> None:
    """Execute runs that other processes admit; with PostgreSQL and Redis only."""
    start(Flags(role="worker", **flags))


@main.command(context_settings={"show_default": True})
@with_flags(CONFIG, TRACEBACK)
def migrate(**flags: Any) -> None:
    """Bring the tables of the database up to date, as every start does too."""
    ended_by_errors(bring_up_to_date, Flags(**flags))


def start(flags: Flags) -> None:
    """Serve until a signal comes."""
    leave_on_signals()
    if flags.reload:
        sys.exit(run_reloading(flags.config))
    ended_by_errors(run, flags)


def ended_by_errors(command: Callable[[Flags], None], flags: Flags) -> None:
    """Run a command; when it fails it ends with one message and the exit status of the error."""
    try:
        command(flags)
    except GraphwireError as error:
        if flags.traceback:
            tracebacks.print_exception(error)
        else:
            click.echo(f"graphwire: {error.message}", err=True)
        sys.exit(error.exit_status if isinstance(error, StartupError) else StartupError.exit_status)


def configure(flags: Flags) -> tuple[Project, Settings]:
    project = load_project(flags.config)
    # Before anything imports LangGraph, which looks at the environment only once.
    apply_environment(project)
    # A worker serves nobody itself: it works for servers that others reach.
    settings = load_settings(local=flags.role == "all" and is_local(flags.host))
    logs.configure(settings.log_level, settings.log_json)
    check_paths(project, outside=settings.outside_paths)
    if flags.role != "all" and not settings.distributed:
        raise ConfigError("several processes share PostgreSQL and Redis: set DATABASE_URI and REDIS_URI")
    return project, settings


def data_dir(project: Project, settings: Settings) -> DataDir:
    return DataDir(settings.data_dir or project.root / ".graphwire")


def bring_up_to_date(flags: Flags) -> None:
    project, settings = configure(flags)
    from .wiring import up_to_date

    up_to_date(settings, None if settings.distributed else data_dir(project, settings))
    click.echo("The tables are up to date.")


def run(flags: Flags) -> None:
    project, settings = configure(flags)
    # First, so that a second server on the same data learns it before it loads anything.
    directory = None if settings.distributed else data_dir(project, settings)
    heap.prepare()
    sock = None if flags.port is None else listen(flags.host, flags.port)
    with asyncio.Runner(loop_factory=loops.make) as runner:
        runner.run(serve_on(sock, directory, project, settings, flags))


async def serve_on(
    sock: socket | None, directory: DataDir | None, project: Project, settings: Settings, flags: Flags
) -> None:
    rules = http_rules(project.path, project.raw.get("http"), settings, local=is_local(flags.host))
    if flags.role == "worker":
        rules = replace(rules, app=None)  # it serves nobody
    url = "" if sock is None else address_of(flags.host, sock)
    inspected = None
    if directory is not None:
        # On a thread: it may take a while, and meanwhile the rest is loaded.
        inspecting = partial(inspect, directory, allow_reset=flags.allow_reset)
        inspected = asyncio.get_running_loop().run_in_executor(None, inspecting)
    # Here and not above: these import LangGraph, and must find the project's environment.
    from .aliases import install
    from .app import at_door, build_probes, opened_app
    from .loopback import Loopback
    from .wiring import distributed, embedded

    loopback = Loopback()
    install(loopback)
    if directory is not None and inspected is not None:
        opened = embedded(project, settings, directory, inspected, url=url)
    else:
        opened = distributed(project, settings, url=url, role=flags.role)
    async with opened as backend, opened_app(backend, rules, project.root, loopback.open) as app:
        outside = build_probes(backend, rules) if flags.role == "worker" else app
        limits = Limits(settings.head_bytes_max, settings.receive_timeout_seconds)
        ready = partial(announce, project, settings, url, flags.role)
        server = Server(at_door(outside, rules), ready, limits)
        end_on_signals(server, backend.drain, flags.parent)
        await server.serve([] if sock is None else [sock])
    exit_soon()


def announce(project: Project, settings: Settings, url: str, role: Role) -> None:
    """Say where the server is: to people as text, to collectors of logs as an event."""
    graphs = [graph.graph_id for graph in project.graphs]
    if settings.log_json:
        docs = {} if role == "worker" else {"docs": f"{url}/docs"}
        structlog.get_logger("graphwire").info("serving", role=role, url=url, graphs=graphs, **docs)
    elif role == "worker":
        click.echo(
            f"Graphwire {__version__} works for {', '.join(graphs)}" + (f"\n  Probe {url}/ok" if url else "")
        )
    else:
        click.echo(f"Graphwire {__version__} serves {', '.join(graphs)}\n  API   {url}\n  Docs  {url}/docs")
