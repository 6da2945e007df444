"""The outbox: what of a run is told, what is kept of it, and for whom."""

import json
from dataclasses import replace
from typing import Any

import pytest

from server.clock import after, now
from server.errors import NotFound
from server.models import Caller, Delivery, DeliveryStatus, Outcome, Run, RunStatus, ThreadStatus
from server.services import deliveries
from server.services.deliveries import Deliveries, Outbox, enqueue, enqueue_unstarted
from server.storage import deliveries as statements
from server.storage.database import Database

AT = "2026-01-01T00:00:00.000000+00:00"
STARTED = "2026-01-01T00:00:01.000000+00:00"
ENDED = "2026-01-01T00:00:02.000000+00:00"
SECRET = "hunter2"
KWARGS = {
    "input": {"q": SECRET},
    "command": {"resume": SECRET},
    "config": {"configurable": {"key": SECRET}, "metadata": {}},
    "context": {"key": SECRET},
    "stream_mode": ["values"],
    "durability": "async",
    "webhook": "https://example.com?token=1#x",
}
RUN = Run(
    "r", "t", "a", "g", RunStatus.running, {"m": 1}, KWARGS, "enqueue", AT, STARTED, AT, 1, identity="ann"
)
DONE = Outcome(RunStatus.success, ThreadStatus.idle, b'{"x":1.50}')
TRIED = {"at": AT, "status": 200, "error": None, "ms": 1}
ANN = Caller("ann")


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


async def told(database: Database, outcome: Outcome, run: Run = RUN) -> dict[str, Any]:
    """What a receiver gets, but for the time of the try."""
    await database.write(lambda tx: enqueue(tx, run, outcome, ENDED))
    (delivery,), _ = await Outbox(database).due(10, [], [])
    assert SECRET.encode() not in delivery.body
    body: dict[str, Any] = json.loads(delivery.body)
    return body


async def put(database: Database, url: str = "https://a.test/", run_id: str = "r") -> None:
    run = replace(RUN, run_id=run_id, kwargs={"webhook": url})
    await database.write(lambda tx: enqueue(tx, run, DONE, now()))


# ------------------------------------------------------------------------------------- what is told


async def test_a_run_without_a_webhook_leaves_nothing(database: Database, outbox: Outbox) -> None:
    quiet = replace(RUN, kwargs={**KWARGS, "webhook": None})
    await database.write(lambda tx: enqueue(tx, quiet, DONE, ENDED))
    assert await outbox.due(10, [], []) == ([], None)


async def test_a_receiver_gets_the_run_as_it_ended_and_no_secret(database: Database) -> None:
    assert await told(database, DONE) == {
        "run_id": "r",
        "thread_id": "t",
        "assistant_id": "a",
        "metadata": {"m": 1},
        "status": "success",
        "kwargs": {"stream_mode": ["values"], "durability": "async"},
        "multitask_strategy": "enqueue",
        "created_at": AT,
        "updated_at": ENDED,
        "langsmith_session_name": None,
        "reason": None,
        "attempt": 1,
        "run_started_at": STARTED,
        "run_ended_at": ENDED,
        "values": {"x": 1.5},
        "interrupts": [],
    }


async def test_interrupts_are_told(database: Database) -> None:
    waits = replace(DONE, thread_status=ThreadStatus.interrupted, returned_interrupts=b'[{"id":"i"}]')
    assert (await told(database, waits))["interrupts"] == [{"id": "i"}]


async def test_of_an_exception_only_the_class_is_told(database: Database) -> None:
    error = {"error": "ValueError", "message": f"key {SECRET}"}
    body = await told(database, Outcome(RunStatus.error, ThreadStatus.error, b"{}", error=error))
    assert (body["status"], body["error"]["error"]) == ("error", "ValueError")
    assert body["error"]["message"]


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (RunStatus.interrupted, "UserInterrupt", "superseded by run x"),
        (RunStatus.timeout, "TimeoutError", "the run took longer than 5 seconds"),
    ],
)
async def test_a_text_of_the_servers_own_is_told(
    database: Database, status: RunStatus, kind: str, text: str
) -> None:
    outcome = Outcome(status, ThreadStatus.idle, b"{}", error={"error": kind, "message": text}, reason=text)
    body = await told(database, outcome)
    assert (body["error"], body["reason"]) == ({"error": kind, "message": text}, text)


async def test_a_rollback_tells_nothing_of_what_the_run_did(database: Database) -> None:
    outcome = Outcome(RunStatus.interrupted, ThreadStatus.idle, b'{"x":1}', rollback=True)
    assert (await told(database, outcome))["values"] is None


async def test_a_run_that_never_began_has_no_start_and_no_values(database: Database) -> None:
    waiting = replace(RUN, status=RunStatus.pending, attempt=0)
    await database.write(lambda tx: enqueue_unstarted(tx, waiting, "interrupt", "cancelled"))
    (delivery,), _ = await Outbox(database).due(10, [], [])
    body = json.loads(delivery.body)
    assert [body[key] for key in ("status", "run_started_at", "values", "attempt")] == [
        "interrupted", None, None, 0,
    ]  # fmt: skip
    assert body["error"] == {"error": "UserInterrupt", "message": "cancelled"}


async def test_values_that_are_too_much_are_left_out_and_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "DOCUMENT_BYTES_MAX", 5)
    body = await told(database, replace(DONE, returned_interrupts=b"[1]"))
    assert (body["values"], body["interrupts"], body["omitted"]) == (None, [1], ["values"])


async def test_a_url_is_kept_without_its_fragment_and_with_a_path(database: Database, outbox: Outbox) -> None:
    await told(database, DONE)
    (delivery,), _ = await outbox.due(10, [], [])
    assert delivery.url == "https://example.com/?token=1"


async def test_beyond_the_limit_nothing_more_is_taken(
    database: Database, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "PENDING_MAX", 2)
    for run_id in ("1", "2", "3"):
        await put(database, run_id=run_id)
    assert [found.run_id for found in (await outbox.due(10, [], []))[0]] == ["1", "2"]
    with pytest.raises(NotFound):
        await Deliveries(database).of_run(ANN, "t", "3")


async def test_what_was_told_is_undone_with_the_transaction_that_ends_the_run(
    database: Database, outbox: Outbox
) -> None:
    def work(tx: Any) -> None:
        enqueue(tx, RUN, DONE, ENDED)
        raise RuntimeError("the run could not be ended")

    with pytest.raises(RuntimeError):
        await database.write(work)
    assert await outbox.due(10, [], []) == ([], None)


# ------------------------------------------------------------------------------------- what is due


async def due(
    outbox: Outbox, most: int = 10, in_hand: tuple[str, ...] = (), full: tuple[str, ...] = ()
) -> Any:
    found, _ = await outbox.due(most, list(in_hand), list(full))
    return [delivery.run_id for delivery in found]


async def test_the_longest_waiting_come_first_and_not_too_many(database: Database, outbox: Outbox) -> None:
    for run_id in ("1", "2", "3"):
        await put(database, run_id=run_id)
    assert await due(outbox, most=2) == ["1", "2"]


async def test_what_is_being_sent_is_not_due(database: Database, outbox: Outbox) -> None:
    await put(database)
    (delivery,), _ = await outbox.due(10, [], [])
    assert await due(outbox, in_hand=(delivery.delivery_id,)) == []


async def test_origins_that_have_their_share_are_passed_over(database: Database, outbox: Outbox) -> None:
    for index, url in enumerate(
        ("https://a.test", "https://a.test:8443/x", "http://a.test/", "https://a.test.b/", "https://a_test/")
    ):
        await put(database, url, str(index))
    assert await due(outbox, full=("https://a.test",)) == ["1", "2", "3", "4"]
    assert await due(outbox, full=("https://a_test", "https://a.test.b")) == ["0", "1", "2"]


async def test_a_failed_try_is_due_again_later(database: Database, outbox: Outbox) -> None:
    await put(database)
    (delivery,), _ = await outbox.due(10, [], [])
    await outbox.record(delivery, {**TRIED, "status": 500}, 60.0, taken=False)
    found, when = await outbox.due(10, [], [])
    assert found == []
    assert when is not None
    assert after(50) < when < after(61)


@pytest.mark.parametrize(("taken", "status"), [(True, "delivered"), (False, "failed")])
async def test_what_is_over_is_not_due_and_loses_its_body(
    database: Database, outbox: Outbox, taken: bool, status: str
) -> None:
    await put(database)
    (delivery,), _ = await outbox.due(10, [], [])
    await outbox.record(delivery, TRIED, None, taken=taken)
    assert await outbox.due(10, [], []) == ([], None)
    (kept,) = await Deliveries(database).of_run(ANN, "t", "r")
    assert (kept.status, kept.tries, kept.body) == (status, [TRIED], b"null")


# ------------------------------------------------------------------------------------- the log


async def test_the_log_is_the_callers_own(database: Database) -> None:
    await put(database)
    log = Deliveries(database)
    assert [delivery.run_id for delivery in await log.of_run(ANN, "t", "r")] == ["r"]
    for caller, thread_id, run_id in ((Caller("bob"), "t", "r"), (ANN, "u", "r"), (ANN, "t", "s")):
        with pytest.raises(NotFound):
            await log.of_run(caller, thread_id, run_id)


async def test_what_has_long_been_over_is_forgotten_and_nothing_else(
    database: Database, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = after(-deliveries.KEEP_SECONDS - 60)

    def add(tx: Any) -> None:
        for delivery_id, status, at in (
            ("1", DeliveryStatus.delivered, old),
            ("2", DeliveryStatus.failed, old),
            ("3", DeliveryStatus.pending, old),
            ("4", DeliveryStatus.delivered, now()),
        ):
            statements.add(
                tx, Delivery(delivery_id, "r", "t", "ann", "https://a.test/", b"{}", status, [], at, at, at)
            )

    await database.write(add)
    monkeypatch.setattr(deliveries, "FORGET_MAX", 1)  # a transaction
    await outbox.forget()
    kept = await Deliveries(database).of_run(ANN, "t", "r")
    assert [delivery.delivery_id for delivery in kept] == ["3", "4"]
