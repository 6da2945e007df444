"""The composition root: the only file that names a concrete engine."""

import asyncio
import importlib.metadata
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from . import __version__, heap
from .backend import Backend
from .checkpointer_config import retention_rules
from .config import Project, Settings, load_webhooks
from .cors_config import cors_rules
from .crons import CronLimits
from .execution.blocking import blocking_place
from .execution.egress import Egress
from .execution.embedding import LaneEmbedding
from .execution.executor import Executor, Rules
from .execution.lanes import Lanes
from .execution.scheduler import Scheduler
from .execution.supervisor import every, keep_going
from .execution.sweeper import sweep
from .execution.webhooks import Sending, Webhooks
from .execution.worker import Worker
from .graph.catalog import Catalog
from .graph.embeddings import load_embeddings
from .graph.loader import GraphSource, load_graph
from .models import Json, PendingLimits
from .services import (
    Answers,
    Assistants,
    Attempts,
    Crons,
    Deliveries,
    Graphs,
    Readers,
    Removal,
    Retention,
    Runs,
    Services,
    State,
    StateUpdates,
    Store,
    ThreadCopies,
    Threads,
    ThreadSearch,
)
from .services.addresses import SystemResolver
from .services.deliveries import Outbox
from .services.erasure import Eraser
from .services.expiry import Expiry
from .services.naming import Names
from .services.ticks import Ticks
from .services.webhook_policy import WebhookPolicy
from .storage.checkpoints import EmbeddedSaver, open_saver
from .storage.data_dir import DataDir
from .storage.database import SqliteDatabase
from .storage.health import Health
from .storage.item_store import ItemStore
from .storage.migrate import migrate
from .storage.store import EmbeddedStore
from .storage.vectors import in_c
from .store_config import store_rules
from .streaming.encode import encode
from .streaming.log import Limits
from .streaming.memory import MemoryBroker
from .streaming.signals import LocalSignals
from .streaming.sse import Rhythm
from .webhook_config import signing_keys

T = TypeVar("T")
_log = structlog.get_logger(__name__)

# How long one thread may keep the interpreter while another waits for it. Python's 5 ms would be added to
# every token that has to pass from a graph's thread to the thread that serves HTTP.
SWITCH_SECONDS = 0.0005

# How long streams are held at least after their run has ended: those who are reading get to the end.
READING_SECONDS = 1.0
FORGET_SECONDS = 60.0  # between two looks for what has outlived its use


@asynccontextmanager
async def embedded(
    project: Project, settings: Settings, directory: DataDir, inspected: Awaitable[None], *, url: str = ""
) -> AsyncIterator[Backend]:
    """One process, one SQLite file in `directory`, opened once that is `inspected`. Raises StartupError."""
    sys.setswitchinterval(SWITCH_SECONDS)
    if settings.database_uri or settings.redis_uri:
        _log.warning("DATABASE_URI and REDIS_URI have no effect: this version keeps everything in SQLite")
    sources = [load_graph(spec, project.root) for spec in project.graphs]
    await inspected
    database = SqliteDatabase(directory.database, synchronous=settings.sqlite_synchronous)
    try:
        migrate(database.engine)
        directory.mark_open()
        async with _running(project, settings, database, sources, url) as backend:
            yield backend
    finally:
        database.close()
        directory.mark_closed()
        directory.close()


@dataclass(frozen=True, slots=True)
class _Engine:
    """What is under the services: this one is of one process."""

    database: SqliteDatabase
    saver: EmbeddedSaver
    items: ItemStore
    catalog: Catalog
    broker: MemoryBroker
    signals: LocalSignals
    lanes: Lanes

    @classmethod
    def of(
        cls, settings: Settings, database: SqliteDatabase, sources: list[GraphSource], items: ItemStore
    ) -> "_Engine":
        catalog = Catalog(sources, EmbeddedStore(items))
        lanes = Lanes(settings.isolation, threads_max=2 * settings.jobs_per_worker)
        broker = MemoryBroker(_log_limits(settings))
        return cls(database, open_saver(database), items, catalog, broker, LocalSignals(), lanes)

    @property
    def eraser(self) -> Eraser:
        return Eraser(self.database, self.broker, self.signals)

    async def off_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Ask a graph without running it."""
        # Shielded: whoever stops waiting must not make the lane believe that the work has ended.
        return await asyncio.shield(asyncio.wrap_future(self.lanes.submit_reading(work).done))


@asynccontextmanager
async def _running(
    project: Project, settings: Settings, database: SqliteDatabase, sources: list[GraphSource], url: str
) -> AsyncIterator[Backend]:
    engine = _Engine.of(settings, database, sources, _items(project, database))
    policy, webhooks = _webhooks(project, settings, engine)
    services = _services(settings, engine, policy)
    attempts = Attempts(database, engine.broker, engine.signals, settings.run_attempts_max)
    worker = _worker(settings, engine, attempts, url)
    services.runs.start_with(worker)
    catalog = engine.catalog
    await services.assistants.add_automatic(
        [(id_, catalog.name(id_), catalog.description(id_)) for id_ in catalog.ids]
    )
    await attempts.recover()
    rules = retention_rules(project.path, project.raw.get("checkpointer"))
    expiry = Expiry(database, engine.eraser, rules)
    await expiry.begin()
    work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "claim runs": worker.work,
        "stop runs": worker.obey,
        "watch lanes": lambda: engine.lanes.watch(blocking_place),
        "sweep": lambda: sweep(engine.broker, worker),
        "sweep items": lambda: every(engine.items.rules.sweep_seconds, engine.items.sweep),
        "sweep threads": lambda: every(rules.sweep_seconds, expiry.sweep),
        "forget": lambda: every(FORGET_SECONDS, Names(database).forget, Outbox(database).forget),
        "send webhooks": webhooks.work,
        "see to crons": Scheduler(Ticks(database, services.runs, catalog.ids), engine.signals).work,
    }
    tasks = [asyncio.create_task(keep_going(name, begin)) for name, begin in work.items()]
    heap.freeze()
    try:
        yield _backend(project, settings, engine, services, worker)
    finally:
        await worker.drain(settings.shutdown_grace_seconds)
        await _end(tasks)
        engine.lanes.close()


def _services(settings: Settings, engine: _Engine, policy: WebhookPolicy) -> Services:
    database, broker, signals = engine.database, engine.broker, engine.signals
    asking = engine.catalog, engine.saver, engine.off_loop
    pending = PendingLimits(settings.pending_runs_max, settings.pending_runs_per_identity_max)
    cron_limits = CronLimits(settings.cron_interval_seconds_min, settings.crons_per_identity_max)
    threads = Threads(database, broker, signals)
    assistants = Assistants(database, threads, engine.catalog.ids)
    runs = Runs(database, broker, signals, engine.catalog.ids, pending, policy)
    return Services(
        assistants=assistants,
        graphs=Graphs(assistants, engine.catalog, engine.off_loop),
        threads=threads,
        state=State(threads, *asking),
        runs=runs,
        answers=Answers(database, runs),
        crons=Crons(database, signals, engine.catalog.ids, cron_limits, policy),
        readers=Readers(database, broker),
        deliveries=Deliveries(database),
        removal=Removal(database, broker, runs, *asking),
        state_updates=StateUpdates(database, broker, threads, *asking),
        store=Store(engine.items),
        thread_search=ThreadSearch(database),
        thread_copies=ThreadCopies(database),
        retention=Retention(database, engine.eraser),
    )


def _worker(settings: Settings, engine: _Engine, attempts: Attempts, url: str) -> Worker:
    rules = Rules(settings.run_timeout_seconds, settings.error_text, settings.keep_partial_answers, url)
    executor = Executor(engine.catalog, engine.saver, engine.broker, attempts, rules)
    return Worker(attempts, executor, engine.lanes, engine.signals, settings.jobs_per_worker)


def _backend(
    project: Project, settings: Settings, engine: _Engine, services: Services, worker: Worker
) -> Backend:
    return Backend(
        services=services,
        work=worker,
        broker=engine.broker,
        health=Health(engine.database, settings.free_bytes_min),
        rhythm=Rhythm(settings.heartbeat_seconds),
        graph_ids=engine.catalog.ids,
        body_bytes_max=settings.body_bytes_max,
        send_timeout_seconds=settings.send_timeout_seconds,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
        cors=cors_rules(project.path, project.raw.get("http"), settings),
        info=_info(),
    )


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _log_limits(settings: Settings) -> Limits:
    return Limits(
        entries_max=settings.log_entries_max,
        bytes_max=settings.log_bytes_max,
        total_bytes_max=settings.logs_bytes_max,
        replay_seconds=max(settings.replay_seconds, READING_SECONDS),
    )


def _items(project: Project, database: SqliteDatabase) -> ItemStore:
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


def _webhooks(project: Project, settings: Settings, engine: _Engine) -> tuple[WebhookPolicy, Webhooks]:
    """Who says where webhooks may go, and who sends them there."""
    rules = load_webhooks(project, settings)
    # Lookups of their own for both: names that callers made up must not hold up what is to be sent.
    asked, sent = (WebhookPolicy(rules, SystemResolver()) for _ in range(2))
    sending = Sending(
        keys=signing_keys(settings.webhook_secret) if settings.webhook_secret else (),
        headers=rules.headers,
        tries_max=settings.webhook_tries_max,
        at_once=settings.webhook_concurrency,
        wait_seconds=settings.webhook_wait_seconds,
    )
    return asked, Webhooks(Outbox(engine.database), Egress(sent), engine.signals, sending)


def _info() -> Json:
    return {
        "version": __version__,
        "langgraph_py_version": importlib.metadata.version("langgraph"),
        "flags": {
            "assistants": True,
            "crons": True,
            "langsmith": False,
            "langsmith_tracing_replicas": False,
            "langsmith_tracing_session_on_runs": False,
        },
        "host": {
            "kind": "self-hosted",
            "project_id": None,
            "host_revision_id": None,
            "revision_id": None,
            "tenant_id": None,
        },
    }
