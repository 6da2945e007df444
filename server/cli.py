"""The command line: flags → configuration → wiring → a running server."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any, Literal

import click
import structlog

from . import __version__, heap, loops
from .commands.flags import ALLOW_OUTSIDE, CONFIG, ENV_FILE, TRACEBACK, Command, ended_by_errors, with_flags
from .commands.image import build, dockerfile
from .commands.imports import import_
from .commands.langgraph_flags import JOBS, LOG_LEVEL, STUDIO_URL, TLS, WITHOUT_EFFECT
from .commands.project import check, new
from .config.http import http_rules
from .config.project import Project, dotenv_file, load_project
from .config.refusals import refusals, refuse
from .config.settings import Settings, apply_environment, load_settings, unkept_promises
from .errors import ConfigError, GraphwireError
from .serving.reload import await_turn, run_reloading
from .serving.server import (
    Server,
    Tls,
    address_of,
    end_on_signals,
    exit_soon,
    is_local,
    leave_on_signals,
    listen,
    tls_of,
)
from .serving.strict_http import Limits
from .storage.data_dir import DataDir
from .storage.inspection import inspect
from .telemetry import logs

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
    turn: int | None = None
    env_file: Path | None = None
    jobs: int | None = None
    log_level: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    studio_url: str | None = None
    allow_outside: bool = False
    lenient: bool = False  # what `langgraph dev` would start is started


class Commands(click.Group):
    """Commands in the order in which a project meets them, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="graphwire")
def main() -> None:
    """Serve LangGraph graphs over HTTP and stream every token of them.

    \b
    From nothing to a graph that streams:
      graphwire new my-agent
      cd my-agent && graphwire dev
    """


HOST = click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
PORT = click.IntRange(0, 65535)

main.add_command(new)


def serving_flags(reload: bool) -> Callable[[Command], Command]:
    """The flags of `dev` and `serve`, which differ only in whether they reload."""
    return with_flags(
        CONFIG,
        ENV_FILE,
        HOST,
        click.option(
            "--port", type=PORT, default=8123, help="Port; 0 takes a free one. A busy one is an error."
        ),
        click.option("--reload/--no-reload", default=reload, help="Start again when a file changes."),
        JOBS,
        LOG_LEVEL,
        TLS,
        TRACEBACK,
        click.option(
            "--allow-reset", is_flag=True, help="Keep a damaged database aside and begin an empty one."
        ),
        click.option("--parent", type=int, hidden=True, help="Pipe of the process that reloads this one."),
        click.option("--turn", type=int, hidden=True, help="Pipe on which it says when to begin."),
        WITHOUT_EFFECT,
    )


@main.command(context_settings={"show_default": True})
@serving_flags(reload=True)
@STUDIO_URL
def dev(**flags: Any) -> None:
    """Serve a project while you work on it."""
    start(Flags(lenient=True, **flags))


@main.command(context_settings={"show_default": True})
@serving_flags(reload=False)
@ALLOW_OUTSIDE
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
    ENV_FILE,
    HOST,
    click.option(
        "--port", type=PORT, default=None, help="Port for /ok, /info and /metrics; none without it."
    ),
    JOBS,
    LOG_LEVEL,
    TRACEBACK,
    ALLOW_OUTSIDE,
)
def worker(**flags: Any) -> None:
    """Execute the runs of other processes (PostgreSQL and Redis)."""
    start(Flags(role="worker", **flags))


@main.command(context_settings={"show_default": True})
@with_flags(CONFIG, ENV_FILE, TRACEBACK)
def migrate(**flags: Any) -> None:
    """Bring the database up to date, as every start does too."""
    chosen = Flags(lenient=True, **flags)  # nothing that the file names is read
    ended_by_errors(bring_up_to_date, chosen, traceback=chosen.traceback)


main.add_command(check)
main.add_command(dockerfile)
main.add_command(build)
main.add_command(import_)


def start(flags: Flags) -> None:
    """Serve until a signal comes."""
    leave_on_signals()
    if flags.reload:
        sys.exit(run_reloading(flags.config))
    ended_by_errors(run, flags, traceback=flags.traceback)


def configure(flags: Flags) -> tuple[Project, Settings]:
    project = load_project(flags.config)
    # Before anything imports LangGraph, which looks at the environment only once.
    apply_environment(project, dotenv_file(flags.env_file) if flags.env_file else {})
    # A worker serves nobody itself: it works for servers that others reach.
    local = flags.role == "all" and is_local(flags.host)
    settings = load_settings(local=local, jobs_per_worker=flags.jobs, log_level=flags.log_level)
    logs.configure(settings.log_level, settings.log_json, settings.secrets)
    if not flags.lenient:
        refuse(project, allow_outside=flags.allow_outside)
        for promise in unkept_promises():
            raise ConfigError(promise)
    if flags.role != "all" and not settings.distributed:
        raise ConfigError("several processes share PostgreSQL and Redis: set DATABASE_URI and REDIS_URI")
    return project, settings


def warn(project: Project, flags: Flags) -> None:
    refused = (*refusals(project, allow_outside=True), *unkept_promises()) if flags.lenient else ()
    for odd in (*project.warnings, *refused):
        structlog.get_logger("graphwire").warning(odd)


def data_dir(project: Project, settings: Settings) -> DataDir:
    return DataDir(settings.data_dir or project.root / ".graphwire")


def bring_up_to_date(flags: Flags) -> None:
    project, settings = configure(flags)
    from .wiring import up_to_date

    up_to_date(settings, None if settings.distributed else data_dir(project, settings))
    click.echo("The tables are up to date.")


def run(flags: Flags) -> None:
    if flags.turn is not None:
        with suppress(GraphwireError):  # the process that serves says it, or this one in its turn
            configure(flags)
            from . import aliases, app, loopback, wiring  # noqa: F401  what a start imports of ours
        await_turn(flags.turn)
    project, settings = configure(flags)
    warn(project, flags)
    # First, so that a second server on the same data learns it before it loads anything.
    directory = None if settings.distributed else data_dir(project, settings)
    heap.prepare()
    tls = tls_of(flags.ssl_certfile, flags.ssl_keyfile)
    sock = None if flags.port is None else listen(flags.host, flags.port)
    with asyncio.Runner(loop_factory=loops.make) as runner:
        runner.run(serve_on(sock, tls, directory, project, settings, flags))


async def serve_on(
    sock: socket | None,
    tls: Tls | None,
    directory: DataDir | None,
    project: Project,
    settings: Settings,
    flags: Flags,
) -> None:
    rules = http_rules(
        project.path,
        project.raw.get("http"),
        settings,
        local=is_local(flags.host),
        studio=flags.studio_url,
    )
    if flags.role == "worker":
        rules = replace(rules, app=None)  # it serves nobody
    url = "" if sock is None else address_of(flags.host, sock, tls)
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
        ready = partial(announce, project, settings, url, flags)
        server = Server(at_door(outside, rules), ready, limits, tls)
        end_on_signals(server, backend.drain, flags.parent)
        await server.serve([] if sock is None else [sock])
    exit_soon()


def announce(project: Project, settings: Settings, url: str, flags: Flags) -> None:
    """Say where the server is: to people as text, to collectors of logs as an event."""
    graphs = [graph.graph_id for graph in project.graphs]
    places = {"API": url, "Docs": f"{url}/docs"}
    if flags.role == "worker":
        places = {"Probe": f"{url}/ok"} if url else {}
    if flags.studio_url:
        places["Studio"] = f"{flags.studio_url}/studio/?baseUrl={url}"
    if settings.log_json:
        docs = {} if flags.role == "worker" else {"docs": f"{url}/docs"}
        structlog.get_logger("graphwire").info("serving", role=flags.role, url=url, graphs=graphs, **docs)
        return
    does = "works for" if flags.role == "worker" else "serves"
    lines = [f"Graphwire {__version__} {does} {', '.join(graphs)}"]
    click.echo("\n".join([*lines, *(f"  {name:6} {place}" for name, place in places.items())]))
