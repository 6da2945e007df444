"""An engine and a configuration -> everything that runs over them. It names no concrete engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import structlog

from . import heap
from .about import about
from .backend import Backend, Gate, Readiness
from .config.checkpointer import retention_rules
from .config.project import Project
from .config.settings import Settings, load_webhooks
from .config.webhooks import signing_keys
from .execution.blocking import blocking_place
from .execution.egress import Egress
from .execution.election import Election
from .execution.executor import Executor, Rules
from .execution.lanes import Lanes
from .execution.membership import Membership
from .execution.observation import Observation
from .execution.scheduler import Scheduler
from .execution.supervisor import every, keep_going
from .execution.sweeper import sweep
from .execution.webhooks import Sending, Webhooks
from .execution.worker import Worker
from .graph.catalog import Catalog
from .models import PendingLimits
from .rules.crons import CronLimits
from .rules.limits import RequestLimits
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
from .services.authorization import Authorization
from .services.deliveries import Outbox
from .services.erasure import Eraser
from .services.expiry import Expiry
from .services.naming import Names
from .services.roster import Roster
from .services.ticks import Ticks
from .services.waiting import Waiting
from .services.webhook_policy import WebhookPolicy
from .storage.checkpoints import DatabaseSaver
from .storage.database import Database
from .storage.item_store import ItemStore
from .streaming.broker import Broker
from .streaming.signals import Signals
from .streaming.sse import Rhythm
from .telemetry.meters import Meters
from .telemetry.tracing import open_tracing
from .telemetry.watching import Watching

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, None]]
Role = Literal["all", "api", "worker"]
_log = structlog.get_logger(__name__)

FORGET_SECONDS = 60.0  # between two looks for what has outlived its use
TRACES_SECONDS = 2.0  # that the end waits for the last traces to be sent
LOOKS = 6  # for dead workers, in a lease


@dataclass(frozen=True, slots=True)
class Engine:
    """What is under the services."""

    database: Database
    doors: Database  # the same, for those whose callers would rather be refused than wait long
    saver: DatabaseSaver
    items: ItemStore
    catalog: Catalog
    broker: Broker
    signals: Signals
    lanes: Lanes
    health: Readiness
    poll_seconds: float
    roster: Roster | None  # None: this process is the only one
    gate: Gate | None
    authorization: Authorization

    @property
    def eraser(self) -> Eraser:
        return Eraser(self.database, self.broker, self.signals)

    async def off_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Ask a graph without running it."""
        # Shielded: whoever stops waiting must not make the lane believe that the work has ended.
        return await asyncio.shield(asyncio.wrap_future(self.lanes.submit_reading(work).done))


@asynccontextmanager
async def running(
    project: Project, settings: Settings, engine: Engine, url: str, role: Role
) -> AsyncIterator[Backend]:
    """Services, worker and the work behind them, until the end in order."""
    policy, webhooks = _webhooks(project, settings, engine)
    services = _services(settings, engine, policy)
    attempts = Attempts(engine.database, engine.broker, engine.signals, settings.run_attempts_max)
    meters = Meters(engine.catalog.ids) if settings.metrics else None
    watching = Watching(meters, open_tracing(settings.otel_endpoint))
    worker = _worker(settings, engine, attempts, watching, url, role)
    catalog = engine.catalog
    await services.assistants.add_automatic(
        [(id_, catalog.name(id_), catalog.description(id_)) for id_ in catalog.ids]
    )
    rules = retention_rules(project.path, project.raw.get("checkpointer"))
    expiry = Expiry(engine.database, engine.eraser, rules)
    await expiry.begin()
    own = {
        "watch lanes": lambda: engine.lanes.watch(blocking_place),
        "sweep": lambda: sweep(engine.broker, worker),
        **({"watch the loop": meters.watch_loop} if meters else {}),
    }
    shared = {
        "discard copies": expiry.discard_copies,
        "sweep items": lambda: every(engine.items.rules.sweep_seconds, engine.items.sweep),
        "sweep threads": lambda: every(rules.sweep_seconds, expiry.sweep),
        "forget": lambda: every(
            FORGET_SECONDS, Names(engine.database).forget, Outbox(engine.database).forget
        ),
        "send webhooks": webhooks.work,
        "see to crons": Scheduler(Ticks(engine.database, services.runs, catalog.ids), engine.signals).work,
    }
    async with _working(settings, engine, attempts, worker, services, role, own, shared):
        heap.freeze()
        try:
            yield _backend(project, settings, engine, services, worker, watching)
        finally:
            await worker.drain(settings.shutdown_grace_seconds)
    engine.lanes.close()
    if watching.tracing is not None:
        watching.tracing.close(TRACES_SECONDS)


@asynccontextmanager
async def _working(
    settings: Settings,
    engine: Engine,
    attempts: Attempts,
    worker: Worker,
    services: Services,
    role: Role,
    own: Mapping[str, Work],
    shared: Mapping[str, Work],
) -> AsyncIterator[None]:
    """The work of this process and, alone or as long as it is elected, what only one process does."""
    works: dict[str, Work] = dict(own)
    membership = None
    if role != "api":
        services.runs.start_with(worker)
        works |= {"claim runs": worker.work, "stop runs": worker.obey}
    if engine.roster is None:
        await attempts.recover()
        works |= shared
    elif role != "api":
        membership = Membership(engine.roster, worker, settings.lease_seconds)
        await membership.join()
        works |= {"live": membership.work} | _elected(settings, engine.roster, attempts, shared)
    try:
        async with going(works):
            yield
    finally:
        if membership is not None:
            await membership.leave()


@asynccontextmanager
async def going(works: Mapping[str, Work]) -> AsyncIterator[None]:
    """While entered, works that have no end go on."""
    tasks = [asyncio.create_task(keep_going(name, work)) for name, work in works.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _elected(
    settings: Settings, roster: Roster, attempts: Attempts, shared: Mapping[str, Work]
) -> dict[str, Work]:
    """What only one of several processes does, and that one is chosen for it."""
    election = Election(roster, settings.lease_seconds)

    async def reclaim() -> None:
        if election.steady:
            await roster.bury()
            await attempts.recover()

    async def unlock() -> None:
        if ended := await roster.unlock():
            _log.warning("ended transactions of processes that had stopped", count=ended)

    between = settings.lease_seconds / LOOKS
    # Apart: to reclaim a run may be to wait for such a transaction.
    works = {
        **shared,
        "reclaim runs": lambda: every(between, reclaim),
        "unlock": lambda: every(between, unlock),
    }
    return {"stand for election": lambda: election.work(works)}


def _services(settings: Settings, engine: Engine, policy: WebhookPolicy) -> Services:
    database, broker, signals = engine.doors, engine.broker, engine.signals
    asking = engine.catalog, engine.saver.on(database), engine.off_loop
    pending = PendingLimits(
        settings.pending_runs_max, settings.pending_runs_per_identity_max, settings.runs_per_identity_max
    )
    cron_limits = CronLimits(settings.cron_interval_seconds_min, settings.crons_per_identity_max)
    leave = engine.authorization
    threads = Threads(database, broker, signals, leave)
    assistants = Assistants(database, threads, engine.catalog.ids, leave)
    runs = Runs(database, broker, signals, engine.catalog.ids, pending, policy, leave)
    return Services(
        assistants=assistants,
        graphs=Graphs(assistants, engine.catalog, engine.off_loop),
        threads=threads,
        state=State(threads, *asking),
        runs=runs,
        answers=Answers(database, runs),
        crons=Crons(database, signals, engine.catalog.ids, cron_limits, policy, authorization=leave),
        readers=Readers(database, broker, leave),
        deliveries=Deliveries(database, leave),
        removal=Removal(database, broker, runs, *asking, leave),
        state_updates=StateUpdates(database, broker, threads, *asking, leave),
        store=Store(engine.items.on(database), leave),
        thread_search=ThreadSearch(database, leave),
        thread_copies=ThreadCopies(database, leave),
        retention=Retention(database, Eraser(database, broker, signals), leave),
    )


def _worker(
    settings: Settings, engine: Engine, attempts: Attempts, watching: Watching, url: str, role: Role
) -> Worker:
    rules = Rules(settings.run_timeout_seconds, settings.error_text, settings.keep_partial_answers, url)
    executor = Executor(engine.catalog, engine.saver, engine.broker, attempts, rules, watching)
    slots = settings.jobs_per_worker if role != "api" else 0
    return Worker(attempts, executor, engine.lanes, engine.signals, slots, engine.poll_seconds)


def _backend(
    project: Project,
    settings: Settings,
    engine: Engine,
    services: Services,
    worker: Worker,
    watching: Watching,
) -> Backend:
    database = engine.doors
    waiting = Waiting(database)
    return Backend(
        services=services,
        work=worker,
        broker=engine.broker,
        health=engine.health,
        rhythm=Rhythm(settings.heartbeat_seconds),
        graph_ids=engine.catalog.ids,
        body_bytes_max=settings.body_bytes_max,
        send_timeout_seconds=settings.send_timeout_seconds,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
        info=about(),
        access_log=settings.access_log,
        tracing=watching.tracing,
        limits=RequestLimits(
            settings.request_rate_max, settings.request_burst_max, settings.requests_at_once_max
        ),
        observed=Observation(watching.meters, worker, engine.lanes, engine.broker, database, waiting)
        if watching.meters
        else None,
        gate=engine.gate,
    )


def _webhooks(project: Project, settings: Settings, engine: Engine) -> tuple[WebhookPolicy, Webhooks]:
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
