"""Crons on a real database, with a clock that stands until the test moves it, and no worker."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from server.clock import now
from server.models import Assistant, Caller, PendingLimits, Run, RunPage, Thread, ThreadStatus, WebhookRules
from server.rules.crons import Cron, CronLimits, Tick
from server.services.addresses import SystemResolver
from server.services.crons import Crons
from server.services.resolution import automatic
from server.services.runs import Runs
from server.services.ticks import Ticks
from server.services.webhook_policy import WebhookPolicy
from server.storage import assistants, threads
from server.storage import crons as statements
from server.storage.database import Database
from server.streaming.log import Limits
from server.streaming.memory import MemoryBroker
from server.streaming.signals import LocalSignals

GRAPH, OTHER_GRAPH = "agent", "other"
START = "2026-06-01T12:00:00"
LIMITS = CronLimits(interval_seconds_min=1, per_identity=100)
ANN = Caller("ann", ("p",), {"identity": "ann", "team": "blue"})


class Clock:
    """The time, as clock.now() tells it."""

    def __init__(self, at: str = START) -> None:
        self.set(at)

    def __call__(self) -> str:
        return self.at.isoformat(timespec="microseconds")

    def set(self, at: str) -> None:
        found = datetime.fromisoformat(at)
        self.at = found if found.tzinfo else found.replace(tzinfo=UTC)

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Crontab:
    """The services that crons need. A second one on the same database is another process, after a crash."""

    def __init__(
        self, database: Database, clock: Clock, limits: CronLimits = LIMITS, runs_max: int = 100
    ) -> None:
        self.clock = clock
        self.database = database
        self.signals = LocalSignals()
        policy = WebhookPolicy(WebhookRules(), SystemResolver())
        graphs = (GRAPH, OTHER_GRAPH)
        pending = PendingLimits(runs_max, runs_max)
        self.broker = MemoryBroker(Limits())
        self.runs = Runs(self.database, self.broker, self.signals, graphs, pending, policy)
        self.crons = Crons(self.database, self.signals, graphs, limits, policy, clock)
        self.ticks = Ticks(self.database, self.runs, graphs, clock)

    async def create(
        self, schedule: str = "* * * * *", thread_id: str | None = None, graph: str = GRAPH, **said: Any
    ) -> Cron:
        return await self.crons.create(ANN, thread_id, graph, {"schedule": schedule, **said})

    async def cron(self, cron: Cron) -> Cron:
        """As it is now."""
        return await self.crons.get(ANN, cron.cron_id)

    async def due(self) -> list[Tick]:
        found, _ = await self.ticks.due(100, [])
        return found

    async def fire(self) -> int:
        """See to everything that is due, once; returns how much that was."""
        found = await self.due()
        for tick in found:
            await self.ticks.fire(tick)
        return len(found)

    async def new_thread(self, thread_id: str) -> str:
        thread = Thread(thread_id, now(), now(), now(), {}, ThreadStatus.idle, {}, None, None)
        await self.database.write(lambda tx: threads.add(tx, thread))
        return thread_id

    async def add_assistant(self, assistant: Assistant) -> None:
        await self.database.write(lambda tx: assistants.add(tx, assistant))

    async def runs_on(self, thread_id: str) -> list[Run]:
        """The runs of a thread, the oldest first."""
        return (await self.runs.page(ANN, thread_id, RunPage(1_000)))[::-1]

    async def made(self, cron: Cron) -> list[Run]:
        """The runs of a cron, wherever they are, the oldest first."""
        query = text("SELECT run_id, thread_id FROM runs WHERE metadata ->> 'cron_id' = :cron ORDER BY seq")
        rows = await self.database.read(lambda tx: tx.execute(query, {"cron": cron.cron_id}).all())
        return [await self.runs.get(ANN, thread_id, run_id) for run_id, thread_id in rows]

    async def spoil(self, cron: Cron, **columns: str) -> None:
        """What no call can do to a cron."""
        change = ", ".join(f"{name} = :{name}" for name in columns)
        query, values = (
            text(f"UPDATE crons SET {change} WHERE cron_id = :cron"),
            {**columns, "cron": cron.cron_id},
        )
        await self.database.write(lambda tx: tx.execute(query, values).rowcount)

    async def stored(self, cron: Cron) -> Cron | None:
        return await self.database.read(lambda tx: statements.get(tx, cron.cron_id))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def crontab(database: Database, clock: Clock) -> Crontab:
    opened = Crontab(database, clock)
    await opened.add_assistant(automatic(GRAPH, GRAPH, None))
    return opened
