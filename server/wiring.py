"""The composition root: the only file that names a concrete engine."""

import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import structlog

from .backend import Backend
from .composition import Engine, Role, Work, going, running
from .config.project import Project
from .config.settings import Settings
from .config.store import store_rules
from .execution.embedding import LaneEmbedding
from .execution.lanes import Lanes
from .execution.supervisor import every
from .execution.worker import POLL_SECONDS
from .graph.catalog import Catalog
from .graph.embeddings import load_embeddings
from .graph.loader import GraphSource, load_graph
from .guarding import guarded
from .services.closing import Closer
from .services.roster import Roster
from .storage.checkpoints import open_saver
from .storage.data_dir import DataDir
from .storage.database import Database, SqliteDatabase
from .storage.health import Health
from .storage.item_store import ItemStore
from .storage.migrate import migrate
from .storage.postgres import AWAY_SECONDS, IDLE_SECONDS, PostgresDatabase
from .storage.store import EmbeddedStore
from .storage.vectors import in_c
from .streaming.encode import encode
from .streaming.log import Limits
from .streaming.memory import MemoryBroker
from .streaming.redis import RedisBroker
from .streaming.redis_link import RedisLink
from .streaming.redis_signals import RedisSignals
from .streaming.signals import LocalSignals

if TYPE_CHECKING:
    from .services.imports import Imports

_log = structlog.get_logger(__name__)

# How long one thread may keep the interpreter while another waits for it. Python's 5 ms would be added to
# every token that has to pass from a graph's thread to the thread that serves HTTP.
SWITCH_SECONDS = 0.0005

# How long streams are held at least after their run has ended: those who are reading get to the end.
READING_SECONDS = 1.0

DISTRIBUTED_POLL_SECONDS = 1.0  # the safety net for wake-ups that were lost with Redis
DOOR_SECONDS = 2.0  # how long PostgreSQL may be away before requests are refused
BEATING_CONNECTIONS = 2  # of those that a process may have: for beats and elections
CLOSING_SECONDS = 2.0  # between two looks for logs that nobody ends
MARKS_SECONDS = 3600.0  # between two looks for marks of old connections
FLUSH_SECONDS = 2.0  # the longest that the end waits for what is still to be sent to Redis


@asynccontextmanager
async def embedded(
    project: Project, settings: Settings, directory: DataDir, inspected: Awaitable[None], *, url: str = ""
) -> AsyncIterator[Backend]:
    """One process, one SQLite file in `directory`, opened once that is `inspected`. Raises StartupError."""
    sources, guard = _graphs(project), guarded(project, settings)
    await inspected
    database = SqliteDatabase(directory.database, synchronous=settings.sqlite_synchronous)
    try:
        migrate(database)
        directory.mark_open()
        items = _items(project, database)
        engine = Engine(
            database=database,
            doors=database,
            saver=open_saver(database),
            items=items,
            catalog=Catalog(sources, EmbeddedStore(items)),
            broker=MemoryBroker(_log_limits(settings)),
            signals=LocalSignals(),
            lanes=_lanes(settings),
            health=Health(database, settings.free_bytes_min),
            poll_seconds=POLL_SECONDS,
            roster=None,
            gate=guard.gate,
            authorization=guard.authorization,
        )
        async with running(project, settings, engine, url, "all") as backend:
            yield backend
    finally:
        database.close()
        directory.mark_closed()
        directory.close()


@asynccontextmanager
async def distributed(
    project: Project, settings: Settings, *, url: str = "", role: Role = "all"
) -> AsyncIterator[Backend]:
    """One of several processes on one PostgreSQL and one Redis. Raises StartupError."""
    sources, guard = _graphs(project), guarded(project, settings)
    database = _postgres(settings, settings.database_connections - BEATING_CONNECTIONS)
    # Apart, so that a worker is heard however long the work of runs waits for a connection.
    beating = _postgres(settings, BEATING_CONNECTIONS)
    try:
        migrate(database)
        items = _items(project, database)
        link = RedisLink(str(settings.redis_uri), settings.namespace)
        broker, signals = RedisBroker(link, _log_limits(settings)), RedisSignals(link)
        doors = database.impatient(DOOR_SECONDS)
        engine = Engine(
            database=database,
            doors=doors,
            saver=open_saver(database),
            items=items,
            catalog=Catalog(sources, EmbeddedStore(items)),
            broker=broker,
            signals=signals,
            lanes=_lanes(settings),
            health=Health(doors, 0),
            poll_seconds=DISTRIBUTED_POLL_SECONDS,
            roster=Roster(beating, settings.lease_seconds),
            gate=guard.gate,
            authorization=guard.authorization,
        )
        closer = Closer(database, broker)
        works: dict[str, Work] = {
            "reach Redis": link.work,
            "carry logs": broker.work,
            "carry signals": signals.work,
            "forget marks": lambda: every(MARKS_SECONDS, database.forget_marks),
            "close logs": lambda: every(CLOSING_SECONDS, closer.close),
        }
        try:
            async with going(works), running(project, settings, engine, url, role) as backend:
                yield backend
                await backend.drain()
                await broker.drain(FLUSH_SECONDS)
        finally:
            await link.close()
    finally:
        database.close()
        beating.close()


def up_to_date(settings: Settings, directory: DataDir | None) -> None:
    """Bring the tables up to date. Raises ConfigError."""
    database = _one_of(settings, directory)
    try:
        migrate(database)
        open_saver(database)
    finally:
        database.close()
        if directory is not None:
            directory.close()


@contextmanager
def importing(project: Project, settings: Settings, directory: DataDir | None) -> "Iterator[Imports]":
    """Takes threads over into the database; SQLite's must have no server. Raises StartupError."""
    from .services.imports import Imports  # imports what nobody else needs

    sources = _graphs(project)
    database = _one_of(settings, directory)
    try:
        migrate(database)
        if directory is not None:
            directory.mark_open()
        catalog = Catalog(sources, EmbeddedStore(_items(project, database)))
        yield Imports(database, catalog, open_saver(database))
    finally:
        database.close()
        if directory is not None:
            directory.mark_closed()
            directory.close()


def _one_of(settings: Settings, directory: DataDir | None) -> SqliteDatabase | PostgresDatabase:
    """The database for a command that works alone."""
    if directory is None:
        return _postgres(settings, settings.database_connections)
    return SqliteDatabase(directory.database)


def _postgres(settings: Settings, connections: int) -> PostgresDatabase:
    return PostgresDatabase(
        str(settings.database_uri),
        schema=settings.namespace,
        connections=connections,
        # Longer than a worker that does not reach it keeps its runs: else they would fail of it.
        patience=max(AWAY_SECONDS, settings.lease_seconds),
        # Of a worker that was stopped in the middle of one: who takes its runs over would wait for its locks.
        idle_seconds=min(IDLE_SECONDS, settings.lease_seconds),
    )


def _graphs(project: Project) -> list[GraphSource]:
    sys.setswitchinterval(SWITCH_SECONDS)
    return [load_graph(spec, project.root) for spec in project.graphs]


def _lanes(settings: Settings) -> Lanes:
    return Lanes(settings.isolation, threads_max=2 * settings.jobs_per_worker)


def _log_limits(settings: Settings) -> Limits:
    return Limits(
        entries_max=settings.log_entries_max,
        bytes_max=settings.log_bytes_max,
        total_bytes_max=settings.logs_bytes_max,
        replay_seconds=max(settings.replay_seconds, READING_SECONDS),
    )


def _items(project: Project, database: Database) -> ItemStore:
    """The store. Raises ConfigError, and StoreLoadError for embeddings that cannot be had."""
    rules = store_rules(project.path, project.raw.get("store"))
    if rules.index is None:
        return ItemStore(database, encode, rules)
    embeddings = load_embeddings(rules.index.embed, project.root)
    if not in_c():
        _log.warning(
            "searches by meaning are slow beyond some 10,000 items: "
            "the sqlite3 of this Python cannot load sqlite-vec, so vectors are compared in Python"
        )
    return ItemStore(database, encode, rules, LaneEmbedding(embeddings, rules.index.dims))
