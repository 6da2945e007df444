"""What several processes do at the same moment: each has its own services and connections; the rows are one.

On PostgreSQL works of several processes are under way together. SQLite, which has one writer, must tell the
same story.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from fix_database import OpenDatabase

from server.clock import now
from server.errors import Conflict, NotFound
from server.models import (
    AssistantChange,
    Caller,
    Outcome,
    Page,
    PendingLimits,
    Run,
    RunPage,
    RunRequest,
    RunStatus,
    ThreadStatus,
    WebhookRules,
)
from server.rules.crons import CronLimits
from server.rules.threads import NewThread
from server.services.addresses import SystemResolver
from server.services.assistants import Assistants
from server.services.attempts import Attempts
from server.services.crons import Crons
from server.services.resolution import automatic
from server.services.runs import Runs
from server.services.threads import Threads
from server.services.webhook_policy import WebhookPolicy
from server.storage import assistants
from server.storage import runs as statements
from server.streaming.log import Limits
from server.streaming.memory import MemoryBroker
from server.streaming.signals import LocalSignals

NOBODY = Caller()
PROCESSES = 4
ID = "00000000-0000-4000-8000-00000000000"
DONE = Outcome(RunStatus.success, ThreadStatus.idle, b"{}")


class Process:
    """Services of one of several processes, without a worker: the test is the worker."""

    def __init__(self, open_database: OpenDatabase, number: int) -> None:
        self.number = number
        self.database = open_database()
        self.broker, self.signals = MemoryBroker(Limits()), LocalSignals()
        policy = WebhookPolicy(WebhookRules(), SystemResolver())
        pending = PendingLimits(1_000, 1_000)
        self.runs = Runs(self.database, self.broker, self.signals, ("g",), pending, policy)
        self.threads = Threads(self.database, self.broker, self.signals)
        self.assistants = Assistants(self.database, self.threads, ("g",))
        self.attempts = Attempts(self.database, self.broker, self.signals, 3)
        self.crons = Crons(self.database, self.signals, ("g",), CronLimits(1, per_identity=3), policy)

    async def create(self, thread_id: str | None = "t", **fields: Any) -> Run:
        return await self.runs.create(NOBODY, thread_id, RunRequest("g", **fields))

    async def thread(self, thread_id: str = "t", **fields: Any) -> Any:
        return await self.threads.create(NOBODY, NewThread(thread_id, **fields))


@pytest.fixture
async def processes(open_database: OpenDatabase) -> list[Process]:
    made = [Process(open_database, number) for number in range(PROCESSES)]
    await made[0].database.write(lambda tx: assistants.add(tx, automatic("g", "g", None)))
    await made[0].thread()
    return made


async def together(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """What each call returns or raises; all of them begin at once."""
    return await asyncio.gather(*calls, return_exceptions=True)


def outcomes(results: list[Any]) -> Counter[str]:
    return Counter(type(result).__name__ for result in results)


async def runs_of(process: Process, thread_id: str = "t") -> list[Run]:
    return await process.runs.page(NOBODY, thread_id, RunPage(1_000))


async def test_of_many_runs_that_reject_each_other_one_is_admitted(processes: list[Process]) -> None:
    results = await together(
        *(each.create(multitask_strategy="reject") for each in processes for _ in range(5))
    )
    assert outcomes(results) == {"Run": 1, "Conflict": 5 * PROCESSES - 1}
    assert len(await runs_of(processes[0])) == 1


@pytest.mark.parametrize("strategy", ["enqueue", "interrupt", "rollback"])
async def test_many_runs_on_one_thread_are_all_settled(processes: list[Process], strategy: str) -> None:
    """While they come, workers claim and end them: whatever was told to stop has stopped at the end."""

    async def work(process: Process, ended: asyncio.Event) -> None:
        while True:
            over = ended.is_set()
            claimed = await process.attempts.claim(2)
            for run in claimed:
                assert len([other for other in await runs_of(process) if other.status == "running"]) <= 1
                await process.attempts.finish(run, DONE, [])
            if over and not claimed:
                return

    ended = asyncio.Event()
    working = [asyncio.ensure_future(work(each, ended)) for each in processes]
    results = await together(
        *(each.create(multitask_strategy=strategy) for each in processes for _ in range(10))
    )
    ended.set()
    await asyncio.gather(*working)
    assert outcomes(results) == {"Run": 10 * PROCESSES}
    left = await runs_of(processes[0])
    assert [run for run in left if run.status.active] == []
    assert (await processes[0].threads.get(NOBODY, "t")).status is ThreadStatus.idle
    if strategy == "enqueue":
        assert [run.status for run in left] == [RunStatus.success] * 10 * PROCESSES


async def test_an_interrupt_takes_one_of_many_answers(processes: list[Process]) -> None:
    results = await together(
        *(each.create(command={"resume": each.number}, arrived_at=now()) for each in processes)
    )
    assert outcomes(results) == {"Run": 1, "Conflict": PROCESSES - 1}


async def test_a_thread_of_one_id_is_made_once(processes: list[Process]) -> None:
    results = await together(*(each.thread("new") for each in processes for _ in range(3)))
    assert outcomes(results) == {"Thread": 1, "Conflict": 3 * PROCESSES - 1}
    made = await together(*(each.thread("other", if_exists="do_nothing") for each in processes))
    assert len({thread.created_at for thread in made}) == 1


async def test_runs_that_make_their_thread_share_it(processes: list[Process]) -> None:
    results = await together(*(each.create("made", if_not_exists="create") for each in processes))
    assert outcomes(results) == {"Run": PROCESSES}
    assert len(await runs_of(processes[0], "made")) == PROCESSES


@pytest.mark.parametrize("thread_id", ["t", None])
@pytest.mark.parametrize("name", [{"run_id": f"{ID}1"}, {"idempotency_key": "key"}], ids=["id", "key"])
async def test_a_call_that_is_repeated_at_once_makes_one_run(
    processes: list[Process], thread_id: str | None, name: dict[str, str]
) -> None:
    at = now()
    results = await together(*(each.create(thread_id, arrived_at=at, **name) for each in processes))
    assert outcomes(results) == {"Run": PROCESSES}
    assert len({run.run_id for run in results}) == 1
    assert await processes[0].database.read(statements.count_pending) == 1


async def test_one_run_id_for_two_requests_is_given_to_one(processes: list[Process]) -> None:
    results = await together(*(each.create(run_id=f"{ID}1", input=each.number) for each in processes))
    assert outcomes(results) == {"Run": 1, "Conflict": PROCESSES - 1}


async def test_a_cancel_that_meets_its_run_stops_it(processes: list[Process]) -> None:
    for number in range(20):
        run_id = f"00000000-0000-4000-8000-{number:012}"
        creating, cancelling = processes[number % PROCESSES], processes[(number + 1) % PROCESSES]
        made, cancelled = await together(
            creating.create(run_id=run_id), cancelling.runs.stop("t", run_id, "interrupt", "why")
        )
        assert isinstance(made, Run)
        if not cancelled:
            cancelled = await together(cancelling.runs._cancel_early(NOBODY, "t", run_id))
            assert cancelled == [True]  # it is there by now
            assert await cancelling.runs.stop("t", run_id, "interrupt", "why")
    assert {run.status for run in await runs_of(processes[0])} == {RunStatus.interrupted}


async def test_an_early_cancel_is_lost_on_no_run(processes: list[Process]) -> None:
    """Either the cancel sees the run, or the run the cancel."""
    for number in range(20):
        run_id = f"00000000-0000-4000-8000-{number:012}"
        made, there = await together(
            processes[0].create(run_id=run_id), processes[1].runs._cancel_early(NOBODY, "t", run_id)
        )
        assert there or made.status is RunStatus.interrupted


def said(key: str) -> AssistantChange:
    return AssistantChange(metadata={key: 1})


async def test_versions_of_an_assistant_are_counted_without_gaps(processes: list[Process]) -> None:
    made = await processes[0].assistants.create(NOBODY, None, AssistantChange(graph_id="g"), "raise")
    results = await together(
        *(
            each.assistants.patch(
                NOBODY, made.assistant_id, AssistantChange(metadata={f"{each.number}.{n}": 1})
            )
            for each in processes
            for n in range(5)
        )
    )
    assert sorted(one.version for one in results) == [*range(2, 5 * PROCESSES + 2)]
    found = await processes[0].assistants.get(NOBODY, made.assistant_id)
    assert len(found.metadata) == 5 * PROCESSES
    versions = await processes[0].assistants.versions(NOBODY, made.assistant_id, {}, Page(limit=100))
    assert len(versions) == 5 * PROCESSES + 1


async def test_no_change_of_metadata_is_lost(processes: list[Process]) -> None:
    """Neither to another change, nor to a run that writes its graph there."""
    calls: list[Coroutine[Any, Any, Any]] = []
    for each in processes:
        calls += [each.threads.update(NOBODY, "t", {f"{each.number}.{n}": 1}, None) for n in range(5)]
        calls += [each.create() for _ in range(2)]
    assert not [result for result in await together(*calls) if isinstance(result, Exception)]
    metadata = (await processes[0].threads.get(NOBODY, "t")).metadata
    assert len(metadata.keys() - {"graph_id", "assistant_id"}) == 5 * PROCESSES
    assert metadata["graph_id"] == "g"


async def test_a_thread_that_goes_takes_runs_along_or_is_there_for_them(processes: list[Process]) -> None:
    for number in range(10):
        thread_id = f"t{number}"
        await processes[0].thread(thread_id)
        results = await together(
            processes[1].threads.delete(NOBODY, thread_id),
            *(each.create(thread_id) for each in processes),
        )
        assert {type(result) for result in results[1:]} <= {Run, NotFound}
        with pytest.raises(NotFound):
            await processes[0].threads.get(NOBODY, thread_id)
    assert await processes[0].database.read(statements.count_pending) == 0


async def test_a_caller_cannot_make_more_crons_than_he_may(processes: list[Process]) -> None:
    results = await together(
        *(
            each.crons.create(NOBODY, None, "g", {"schedule": "* * * * *"})
            for each in processes
            for _ in range(3)
        )
    )
    assert outcomes(results) == {"Cron": 3, "Conflict": 3 * PROCESSES - 3}
    assert all(isinstance(result, Conflict) for result in results if isinstance(result, Exception))


async def test_a_thread_is_idle_when_its_last_runs_end_at_the_same_moment(processes: list[Process]) -> None:
    """Of two who each see the other's run, neither would say that the thread is free."""
    for _ in range(10):
        running = await processes[0].create()
        (claimed,) = await processes[0].attempts.claim(1)
        assert claimed.run_id == running.run_id
        waiting = await processes[1].create()
        await together(
            processes[0].attempts.finish(claimed, DONE, []),
            processes[1].runs.stop("t", waiting.run_id, "interrupt", "why"),
        )
        assert (await processes[0].threads.get(NOBODY, "t")).status is ThreadStatus.idle
