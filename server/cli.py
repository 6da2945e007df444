"""The command line: flags → configuration → wiring → a running server."""

import asyncio
import sys
import traceback as tracebacks
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

import click
import structlog

from . import __version__, heap, logs, loops
from .config import Project, Settings, apply_environment, load_project, load_settings
from .errors import GraphwireError, StartupError
from .reload import run_reloading
from .serving import Server, address_of, end_on_signals, exit_soon, leave_on_signals, listen
from .storage.data_dir import DataDir
from .storage.inspection import inspect

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Flags:
    """What `dev` and `serve` were asked to do."""

    config: Path
    host: str
    port: int
    reload: bool
    traceback: bool
    allow_reset: bool
    parent: int | None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="graphwire")
def main() -> None:
    """Serve LangGraph graphs over HTTP and stream every token of them."""


def serving_flags(reload: bool) -> Callable[[Command], Command]:
    """The flags of `dev` and `serve`, which differ only in whether they reload."""
    flags = [
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            default="langgraph.json",
            help="The project file; paths in it count from its directory.",
        ),
        click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all."),
        click.option("--port", type=click.IntRange(0, 65535), default=8123, help="Port; 0 takes a free one."),
        click.option("--reload/--no-reload", default=reload, help="Start again when a file changes."),
        click.option("--traceback", is_flag=True, help="Show where in the code a failed start failed."),
        click.option(
            "--allow-reset", is_flag=True, help="Keep a damaged database aside and begin an empty one."
        ),
        click.option("--parent", type=int, hidden=True, help="Pipe of the process that reloads this one."),
    ]

    def decorate(command: Command) -> Command:
        for flag in reversed(flags):
            command = flag(command)
        return command

    return decorate


@main.command(context_settings={"show_default": True})
@serving_flags(reload=True)
def dev(**flags: Any) -> None:
    """Serve a project while you work on it."""
    start(Flags(**flags))


@main.command(context_settings={"show_default": True})
@serving_flags(reload=False)
def serve(**flags: Any) -> None:
    """Serve a project in production."""
    start(Flags(**flags))


def start(flags: Flags) -> None:
    """Serve until a signal comes; a start that fails ends with one message and its exit status."""
    leave_on_signals()
    if flags.reload:
        sys.exit(run_reloading(flags.config))
    try:
        run(flags)
    except GraphwireError as error:
        if flags.traceback:
            tracebacks.print_exception(error)
        else:
            click.echo(f"graphwire: {error.message}", err=True)
        sys.exit(error.exit_status if isinstance(error, StartupError) else StartupError.exit_status)


def run(flags: Flags) -> None:
    project = load_project(flags.config)
    # Before anything imports LangGraph, which looks at the environment only once.
    apply_environment(project)
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_json)
    # First, so that a second server on the same data learns it before it loads anything.
    directory = DataDir(settings.data_dir or project.root / ".graphwire")
    heap.prepare()
    sock = listen(flags.host, flags.port)
    with asyncio.Runner(loop_factory=loops.make) as runner:
        runner.run(serve_on(sock, directory, project, settings, flags))


async def serve_on(
    sock: socket, directory: DataDir, project: Project, settings: Settings, flags: Flags
) -> None:
    # On a thread: it may take a while, and meanwhile the rest is loaded.
    inspecting = partial(inspect, directory, allow_reset=flags.allow_reset)
    inspected = asyncio.get_running_loop().run_in_executor(None, inspecting)
    # Here and not above: these import LangGraph, and must find the project's environment.
    from .aliases import install
    from .app import build_app
    from .loopback import Loopback
    from .wiring import embedded

    loopback = Loopback()
    install(loopback)
    url = address_of(flags.host, sock)
    async with embedded(project, settings, directory, inspected, url=url) as backend:
        app = build_app(backend)
        loopback.open(app, backend.work.lend)
        server = Server(app, on_ready=lambda: announce(project, settings, url))
        end_on_signals(server, backend.drain, flags.parent)
        await server.serve([sock])
    exit_soon()


def announce(project: Project, settings: Settings, url: str) -> None:
    """Say where the server is: to people as text, to collectors of logs as an event."""
    graphs = [graph.graph_id for graph in project.graphs]
    if settings.log_json:
        structlog.get_logger("graphwire").info("serving", url=url, docs=f"{url}/docs", graphs=graphs)
        return
    click.echo(f"Graphwire {__version__} serves {', '.join(graphs)}\n  API   {url}\n  Docs  {url}/docs")
