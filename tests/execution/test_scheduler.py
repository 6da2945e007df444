"""The scheduler sees to ticks when they are due, of each cron for itself, whatever the others do.

The clock is the test's. It moves when the test says so, and the scheduler looks at it when it is rung for.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from fix_crons import ANN, Crontab, clock, crontab
from fix_database import only_sqlite

from server.errors import StorageFull
from server.execution import scheduler as module
from server.execution.scheduler import Scheduler
from server.execution.supervisor import keep_going
from server.rules.crons import Cron, Tick
from server.services.ticks import Ticks

__all__ = ["clock", "crontab"]

WAIT_SECONDS = 30.0


class Watched(Ticks):
    """Ticks that tell the test what was done, and that fail, or wait, where it says so."""

    def __init__(self, crontab: Crontab) -> None:
        super().__init__(crontab.database, crontab.runs, ("agent", "other"), crontab.clock)
        self.looked = asyncio.Semaphore(0)
        self.done: asyncio.Queue[Tick] = asyncio.Queue()
        self.postponed: asyncio.Queue[Tick] = asyncio.Queue()
        self.before: Callable[[Tick], Awaitable[None]] | None = None
        self.bad_reads = self.bad_writes = 0

    async def due(self, *arguments: Any) -> Any:
        if self.bad_reads > 0:
            self.bad_reads -= 1
            raise OSError("cannot read")
        found = await super().due(*arguments)
        self.looked.release()
        return found

    async def fire(self, tick: Tick) -> None:
        if self.before is not None:
            await self.before(tick)
        await super().fire(tick)
        self.done.put_nowait(tick)

    async def postpone(self, tick: Tick) -> None:
        if self.bad_writes > 0:
            self.bad_writes -= 1
            raise StorageFull
        await super().postpone(tick)
        self.postponed.put_nowait(tick)


class Scheduled:
    """A crontab with a scheduler that works."""

    def __init__(self, crontab: Crontab) -> None:
        self.crontab, self.clock = crontab, crontab.clock
        self.ticks = Watched(crontab)
        self.scheduler = Scheduler(self.ticks, crontab.signals)
        self.task = asyncio.create_task(keep_going("see to crons", self.scheduler.work))

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.move(seconds)
        self.crontab.signals.notify("crons")

    async def done(self) -> Tick:
        return await asyncio.wait_for(self.ticks.done.get(), WAIT_SECONDS)

    async def postponed(self) -> Tick:
        return await asyncio.wait_for(self.ticks.postponed.get(), WAIT_SECONDS)

    async def look(self) -> None:
        """Until it has looked for what is due, after all that was said before."""
        self.ticks.looked = asyncio.Semaphore(0)
        self.crontab.signals.notify("crons")
        await asyncio.wait_for(self.ticks.looked.acquire(), WAIT_SECONDS)


@pytest.fixture
async def scheduled(crontab: Crontab, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scheduled]:
    monkeypatch.setattr(module, "POLL_SECONDS", 3600.0)  # nothing here may depend on the safety net
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)
    made = Scheduled(crontab)
    yield made
    made.task.cancel()
    with suppress(asyncio.CancelledError):
        await made.task


async def count(scheduled: Scheduled, cron: Cron) -> int:
    return len(await scheduled.crontab.made(cron))


async def test_each_tick_makes_a_run(scheduled: Scheduled) -> None:
    cron = await scheduled.crontab.create("* * * * *")
    for number in (1, 2, 3):
        scheduled.move(60)
        await scheduled.done()
        assert await count(scheduled, cron) == number


async def test_it_sleeps_until_the_next_tick_and_not_longer(scheduled: Scheduled) -> None:
    """Nobody rings: only the time that is left, 0.2 s on the test's clock, can wake it."""
    scheduled.clock.set("2026-06-01T12:00:59.8")
    cron = await scheduled.crontab.create("* * * * *")
    await scheduled.look()
    scheduled.clock.set("2026-06-01T12:01:00")
    assert await scheduled.done() == Tick(cron.cron_id, "2026-06-01T12:01:00.000000+00:00")


async def test_a_new_and_a_changed_cron_are_seen_at_once(scheduled: Scheduled) -> None:
    await scheduled.look()
    cron = await scheduled.crontab.create("0 0 1 1 *", enabled=False)
    changes: list[dict[str, Any]] = [
        {"schedule": "* * * * * *"},
        {"enabled": True},
        {"schedule": "* * * * *"},
        {"enabled": False},
        {"enabled": True, "schedule": "* * * * * *"},
    ]
    for number, said in enumerate(changes):
        await scheduled.crontab.crons.patch(ANN, cron.cron_id, said)
        scheduled.clock.move(0.9)
        await scheduled.look()
        if said in (changes[1], changes[4]):
            scheduled.move(0.1)
            await scheduled.done()
        assert await count(scheduled, cron) == (0, 1, 1, 1, 2)[number]


@only_sqlite  # PostgreSQL takes no text that is no JSON
async def test_a_bad_cron_does_not_stop_the_others(scheduled: Scheduled) -> None:
    """Its payload cannot be read, its schedule is no longer understood, its assistant is gone."""
    crontab = scheduled.crontab
    unreadable, misunderstood, orphan = [await crontab.create() for _ in range(3)]
    good = await crontab.create()
    await crontab.spoil(unreadable, payload="{")
    await crontab.spoil(misunderstood, schedule="bad")
    await crontab.spoil(orphan, assistant_id="00000000-0000-4000-8000-00000000ffff")
    for number in (1, 2, 3):
        scheduled.move(60)
        assert {(await scheduled.done()).cron_id for _ in range(2)} == {orphan.cron_id, good.cron_id}
        failed = {(await scheduled.postponed()).cron_id for _ in range(2)}
        assert failed == {unreadable.cron_id, misunderstood.cron_id}
        assert await count(scheduled, good) == number


async def test_a_cron_that_waits_for_something_delays_no_other(scheduled: Scheduled) -> None:
    slow, quick = await scheduled.crontab.create(), await scheduled.crontab.create()
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def before(tick: Tick) -> None:
        if tick.cron_id == slow.cron_id:
            waiting.set()
            await go_on.wait()

    scheduled.ticks.before = before
    for number in (1, 2):
        scheduled.move(60)
        assert (await scheduled.done()).cron_id == quick.cron_id
        assert await count(scheduled, quick) == number
    assert waiting.is_set()
    assert await count(scheduled, slow) == 0
    go_on.set()
    assert (await scheduled.done()).cron_id == slow.cron_id
    assert await count(scheduled, slow) == 1  # two ticks have become one


async def test_more_ticks_than_can_be_seen_to_at_once_are_all_seen_to(
    scheduled: Scheduled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    crons = [await scheduled.crontab.create() for _ in range(10)]
    scheduled.move(60)
    seen = [(await scheduled.done()).cron_id for _ in crons]
    assert sorted(seen) == sorted(cron.cron_id for cron in crons)
    assert [await count(scheduled, cron) for cron in crons] == [1] * 10


async def test_a_tick_that_could_not_be_seen_to_is_made_up_for(scheduled: Scheduled) -> None:
    cron = await scheduled.crontab.create()
    fails = 2

    async def before(_: Tick) -> None:
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise StorageFull

    scheduled.ticks.before = before
    scheduled.move(60)
    assert (await scheduled.postponed()).at == "2026-06-01T12:01:00.000000+00:00"
    scheduled.move(1)
    await scheduled.postponed()
    scheduled.move(1)
    assert (await scheduled.done()).at == "2026-06-01T12:01:00.000000+00:00"
    assert await count(scheduled, cron) == 1


async def test_a_database_in_trouble_ends_neither_the_scheduler_nor_a_tick(
    scheduled: Scheduled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.execution.supervisor.AGAIN_SECONDS", 0.0)
    cron = await scheduled.crontab.create()
    full = True

    async def before(_: Tick) -> None:
        nonlocal full
        if full:
            full = False
            raise StorageFull

    scheduled.ticks.before = before
    scheduled.ticks.bad_reads, scheduled.ticks.bad_writes = 2, 1  # and then it cannot even be put off
    scheduled.move(60)
    await scheduled.done()
    assert await count(scheduled, cron) == 1


async def test_what_is_under_way_when_the_server_stops_is_not_torn(scheduled: Scheduled) -> None:
    cron = await scheduled.crontab.create()
    started = asyncio.Event()

    async def before(_: Tick) -> None:
        started.set()
        await asyncio.sleep(0)  # the server stops here

    scheduled.ticks.before = before
    scheduled.move(60)
    await asyncio.wait_for(started.wait(), WAIT_SECONDS)
    scheduled.task.cancel()
    with suppress(asyncio.CancelledError):
        await scheduled.task
    await scheduled.done()
    assert await count(scheduled, cron) == 1
