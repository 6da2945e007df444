"""`graphwire import`: threads with their whole past from a checkpointer of LangGraph's own."""

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..config.project import Project, dotenv_file, load_project
from ..config.settings import Settings, apply_environment, load_settings
from ..errors import ConfigError
from ..models import Json
from ..storage.data_dir import DataDir
from ..storage.inspection import inspect
from ..telemetry import logs
from .flags import CONFIG, ENV_FILE, TRACEBACK, ended_by_errors

if TYPE_CHECKING:
    from ..services.imports import Imports, Taken, Wish
    from ..storage.foreign import Source

PROGRESS_SECONDS = 1.0


@click.command("import", context_settings={"show_default": True})
@click.argument("source")
@CONFIG
@ENV_FILE
@click.option("--graph", help="The graph that the threads are of; else what their checkpoints say.")
@click.option("--schema", help="Schema in PostgreSQL that has the tables; else the usual one.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Metadata for every thread; repeatable.")
@click.option(
    "--owner", default="", help="Identity of whom the threads are, for a server with authentication."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@TRACEBACK
def import_(
    source: str,
    config: Path,
    env_file: Path | None,
    graph: str | None,
    schema: str | None,
    metadata: tuple[str, ...],
    owner: str,
    dry_run: bool,
    traceback: bool,
) -> None:
    """Take threads over from a checkpointer of LangGraph.

    SOURCE is a SQLite file or the URI of a PostgreSQL that SqliteSaver or PostgresSaver wrote. It is not
    changed. Every thread comes with its checkpoints, what was written beside them, and what waits for an
    answer. One that is here already is left alone, so the command can be repeated.

    \b
    graphwire import checkpoints.sqlite --graph agent
    graphwire import postgresql://user@host/database --dry-run
    """

    def run() -> None:
        project = load_project(config)
        apply_environment(project, dotenv_file(env_file) if env_file else {})
        settings = load_settings()
        logs.configure("WARNING", settings.log_json)
        if graph is not None and graph not in [spec.graph_id for spec in project.graphs]:
            raise ConfigError(f'there is no graph "{graph}" in {project.path}: --graph names one of them.')
        from ..services.imports import Wish  # imports LangGraph: after the environment

        _import(project, settings, source, schema, Wish(graph, _metadata(metadata), owner, dry_run))

    ended_by_errors(run, traceback=traceback)


def _metadata(words: tuple[str, ...]) -> Json:
    found: Json = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise ConfigError(f'--metadata is "{word}": write KEY=VALUE.')
        found[key] = value
    return found


def _import(project: Project, settings: Settings, address: str, schema: str | None, wish: "Wish") -> None:
    from ..storage.foreign import open_source
    from ..wiring import importing

    directory = None
    if not settings.distributed:
        directory = DataDir(settings.data_dir or project.root / ".graphwire")
        inspect(directory, allow_reset=False)
    with open_source(address, schema) as source, importing(project, settings, directory) as imports:
        failures = asyncio.run(_take_all(source, imports, wish))
    if failures:
        sys.exit(1)


async def _take_all(source: "Source", imports: "Imports", wish: "Wish") -> int:
    """Take over one thread after the other and say so; returns how many could not be."""
    count = _Count(wish.dry_run)
    for source_id in source.threads():
        count.add(await imports.take(source, source_id, wish))
    count.tell(final=True)
    return count.failed


class _Count:
    """What was done so far, told about once a second."""

    def __init__(self, dry_run: bool) -> None:
        self._dry_run = dry_run
        self._taken = self._checkpoints = self._existing = self._renamed = self.failed = 0
        self._told = time.monotonic()

    def add(self, taken: "Taken") -> None:
        if taken.failure is not None:
            self.failed += 1
            click.echo(f"thread {taken.source_id}: {taken.failure}", err=True)
        elif taken.exists:
            self._existing += 1
        else:
            self._taken += 1
            self._checkpoints += taken.checkpoints
            self._renamed += taken.source_id != taken.thread_id
        if taken.warning is not None:
            click.echo(f"thread {taken.source_id}: {taken.warning}", err=True)
        if time.monotonic() - self._told > PROGRESS_SECONDS:
            self.tell(final=False)

    def tell(self, final: bool) -> None:
        self._told = time.monotonic()
        verb = "would be taken over" if self._dry_run else "taken over"
        text = f"{_many(self._taken, 'thread')} with {_many(self._checkpoints, 'checkpoint')} {verb}"
        others = (
            (self._existing, "were here already"),
            (self._renamed, "have another id here, theirs is in the metadata as imported_thread_id"),
            (self.failed, "could not be"),
        )
        more = "".join(f"; {count} {what}" for count, what in others if count)
        click.echo(f"{text}{more}{'.' if final else ' …'}")


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
