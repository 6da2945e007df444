"""Rules of crons on a real database: what one becomes when it is made and changed, how many there may be."""

from typing import Any

import pytest
from fix_crons import ANN, GRAPH, Clock, Crontab, clock, crontab

from server.errors import Conflict, Contradiction, Invalid, NotFound, RequestError
from server.models import Assistant, Caller, Page
from server.rules.crons import Cron, CronLimits, CronQuery
from server.services.crons import PAYLOAD_BYTES_MAX, request_of
from server.services.resolution import automatic, automatic_id
from server.storage.database import Database

__all__ = ["clock", "crontab"]

BOB = Caller("bob")
NOON = "2026-06-01T12:00:00.000000+00:00"
OWN = "00000000-0000-4000-8000-000000000001"
UNKNOWN = "00000000-0000-4000-8000-00000000ffff"
LATER = "2026-06-01T12:01:00.000000+00:00"


async def patched(crontab: Crontab, cron: Cron, **said: Any) -> Cron:
    return await crontab.crons.patch(ANN, cron.cron_id, said)


# ------------------------------------------------------------------------------------- create


async def test_a_new_cron_is_what_was_said_of_it(crontab: Crontab) -> None:
    said = {"timezone": "Europe/Paris", "input": {"n": 1}, "metadata": {"m": 1}, "on_run_completed": "keep"}
    cron = await crontab.create("0 5 * * *", **said)
    assert cron == await crontab.cron(cron)
    assert (cron.assistant_id, cron.thread_id, cron.enabled) == (automatic_id(GRAPH), None, True)
    assert (cron.schedule, cron.timezone, cron.end_time) == ("0 5 * * *", "Europe/Paris", None)
    assert (cron.metadata, cron.on_run_completed) == ({"m": 1}, "keep")
    assert cron.next_run_date == "2026-06-02T03:00:00.000000+00:00"
    assert cron.created_at == cron.updated_at == NOON
    assert cron.caller == ANN
    assert cron.payload == {
        **said,
        "schedule": "0 5 * * *",
        "assistant_id": automatic_id(GRAPH),
        "config": {"configurable": {"cron_id": cron.cron_id}},
    }


async def test_the_runs_of_a_cron_have_threads_that_are_deleted_if_nothing_is_said(crontab: Crontab) -> None:
    assert (await crontab.create()).on_run_completed == "delete"


async def test_a_cron_on_a_thread_keeps_it(crontab: Crontab) -> None:
    thread_id = await crontab.new_thread("t")
    cron = await crontab.create(thread_id=thread_id, on_run_completed="delete")
    assert (cron.thread_id, cron.on_run_completed) == ("t", None)
    assert (await patched(crontab, cron, on_run_completed="keep")).on_run_completed is None


async def test_a_cron_that_is_off_has_a_date_too(crontab: Crontab) -> None:
    cron = await crontab.create(enabled=False)
    assert (cron.enabled, cron.next_run_date) == (False, LATER)
    assert await crontab.due() == []


async def test_unknown_assistants_graphs_and_threads_are_refused(crontab: Crontab) -> None:
    with pytest.raises(NotFound, match="Thread"):
        await crontab.create(thread_id="nowhere")
    with pytest.raises(NotFound, match="Assistant"):
        await crontab.create(graph=UNKNOWN)
    with pytest.raises(Invalid, match="nope"):
        await crontab.create(graph="nope")


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"schedule": "bad"}, Invalid, "^schedule: "),
        ({"schedule": "0 0 30 2 *"}, RequestError, "^schedule: '0 0 30 2 \\*' does not come"),
        ({"timezone": "Nope/X"}, Invalid, "^timezone: "),
        ({"end_time": "tomorrow"}, Invalid, "^end_time: "),
        ({"end_time": "0001-01-01T00:00:00+14:00"}, Invalid, "^end_time: "),
        ({"webhook": "http://127.0.0.1:1/x"}, Invalid, "loopback"),
        ({"context": {"a": 1}, "config": {"configurable": {"a": 1}}}, Contradiction, "both"),
        ({"input": "x" * PAYLOAD_BYTES_MAX}, Invalid, "at most"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_what_could_never_run_is_refused_when_it_is_made_and_when_it_is_changed(
    crontab: Crontab, said: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await crontab.create(**said)
    cron = await crontab.create()
    with pytest.raises(error, match=message):
        await patched(crontab, cron, **said)
    assert await crontab.cron(cron) == cron


async def test_a_cron_may_have_a_context_beside_its_own_key_in_the_configuration(crontab: Crontab) -> None:
    cron = await crontab.create(context={"a": 1}, config={"tags": ["t"]})
    assert cron.payload["config"] == {"tags": ["t"], "configurable": {"cron_id": cron.cron_id}}
    assert (await patched(crontab, cron, context={"b": 2})).payload["context"] == {"b": 2}


# ------------------------------------------------------------------------------------- limits


async def test_a_caller_has_so_many_crons_and_another_his_own(database: Database, clock: Clock) -> None:
    crontab = Crontab(database, clock, CronLimits(1, per_identity=2))
    first = await crontab.create()
    await crontab.create()
    with pytest.raises(Conflict, match="2 crons"):
        await crontab.create()
    await crontab.crons.create(BOB, None, GRAPH, {"schedule": "* * * * *"})
    await crontab.crons.delete(ANN, first.cron_id)
    await crontab.create()


async def test_ticks_that_follow_too_closely_are_refused(database: Database, clock: Clock) -> None:
    crontab = Crontab(database, clock, CronLimits(interval_seconds_min=60, per_identity=9))
    cron = await crontab.create("* * * * *")
    for schedule in ("* * * * * *", "* * * * * 0,30"):
        with pytest.raises(Invalid, match=r"schedule: .*60 is the least"):
            await crontab.create(schedule)
        with pytest.raises(Invalid, match=r"schedule: .*60 is the least"):
            await patched(crontab, cron, schedule=schedule)


async def test_metadata_stay_below_their_limit_also_when_they_grow(crontab: Crontab) -> None:
    cron = await crontab.create(metadata={"a": "x" * 40_000})
    with pytest.raises(Invalid, match=r"^metadata: "):
        await patched(crontab, cron, metadata={"b": "x" * 40_000})


# ------------------------------------------------------------------------------------- change


async def test_a_change_leaves_what_it_does_not_name(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create(input={"n": 1}, metadata={"m": 1}, config={"tags": ["t"]})
    clock.move(1)
    after = await patched(crontab, cron, metadata={"x": 2}, enabled=False, input={"n": 2})
    assert after == await crontab.cron(cron)
    assert after.metadata == after.payload["metadata"] == {"m": 1, "x": 2}  # D41: both merged
    assert after.payload == {**cron.payload, "input": {"n": 2}, "enabled": False, "metadata": after.metadata}
    assert (after.created_at, after.updated_at) == (cron.created_at, "2026-06-01T12:00:01.000000+00:00")
    assert (after.enabled, after.next_run_date) == (False, cron.next_run_date)


async def test_a_change_that_says_nothing_is_refused(crontab: Crontab) -> None:
    cron = await crontab.create()
    with pytest.raises(RequestError, match="nothing"):
        await patched(crontab, cron)


async def test_a_configuration_is_replaced_and_keeps_the_id_of_its_cron(crontab: Crontab) -> None:
    cron = await crontab.create(config={"tags": ["t"], "configurable": {"a": 1, "cron_id": "forged"}})
    own = {"cron_id": cron.cron_id}
    assert cron.payload["config"] == {"tags": ["t"], "configurable": {"a": 1, **own}}
    after = await patched(crontab, cron, config={"configurable": {"b": 2}})
    assert after.payload["config"] == {"configurable": {"b": 2, **own}}


async def test_a_new_schedule_or_zone_gives_a_new_date(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create("0 5 * * *")
    assert cron.next_run_date == "2026-06-02T05:00:00.000000+00:00"
    cron = await patched(crontab, cron, timezone="Asia/Kathmandu")
    assert cron.next_run_date == "2026-06-01T23:15:00.000000+00:00"
    cron = await patched(crontab, cron, schedule="0 6 * * *")
    assert cron.next_run_date == cron.due_at == "2026-06-02T00:15:00.000000+00:00"


async def test_what_is_due_stays_due_when_something_else_is_changed(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create()
    clock.move(61)
    for said in ({"input": 1}, {"enabled": True}, {"schedule": "* * * * *"}, {"end_time": "2030-01-01"}):
        cron = await patched(crontab, cron, **said)
        assert cron.next_run_date == LATER


async def test_what_was_missed_while_a_cron_was_off_is_not_made_up_for(
    crontab: Crontab, clock: Clock
) -> None:
    cron = await crontab.create("0 * * * *", enabled=False)
    clock.move(5 * 3600)
    cron = await patched(crontab, cron, metadata={"a": 1})
    assert cron.next_run_date == "2026-06-01T13:00:00.000000+00:00"
    cron = await patched(crontab, cron, enabled=True)
    assert cron.next_run_date == "2026-06-01T18:00:00.000000+00:00"


async def test_who_makes_or_changes_a_cron_rings_for_the_scheduler(
    crontab: Crontab, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(crontab.signals, "notify", rung.append)
    cron = await crontab.create()
    assert rung == ["crons"]
    await patched(crontab, cron, enabled=False)
    assert rung == ["crons", "crons"]


async def test_an_end_takes_the_date_and_without_it_the_date_is_back(crontab: Crontab) -> None:
    cron = await crontab.create("0 13 * * *", end_time="2026-06-01T13:00:00Z")
    assert cron.next_run_date is None  # nothing is due at the end itself
    cron = await patched(crontab, cron, end_time="2026-06-01T15:00:01+02:00")
    assert cron.next_run_date == "2026-06-01T13:00:00.000000+00:00"
    assert cron.end_time == cron.payload["end_time"] == "2026-06-01T15:00:01+02:00"  # as it was said
    cron = await patched(crontab, cron, end_time="2020-01-01")
    assert cron.next_run_date is None
    cron = await patched(crontab, cron, end_time=None)
    assert (cron.end_time, cron.next_run_date) == (None, "2026-06-01T13:00:00.000000+00:00")
    assert "end_time" not in cron.payload


async def test_an_end_without_a_zone_is_in_utc(crontab: Crontab) -> None:
    cron = await crontab.create("0 13 * * *", timezone="Asia/Tokyo", end_time="2026-06-02T03:59:59")
    assert cron.next_run_date is None  # 13:00 in Tokyo is 04:00 in UTC
    assert (await patched(crontab, cron, end_time="2026-06-02T04:00:01")).next_run_date is not None


async def test_a_cron_that_is_gone_is_not_found(crontab: Crontab) -> None:
    cron = await crontab.create()
    await crontab.crons.delete(ANN, cron.cron_id)
    for call in (
        crontab.crons.get(ANN, cron.cron_id),
        crontab.crons.delete(ANN, cron.cron_id),
        patched(crontab, cron, enabled=True),
    ):
        with pytest.raises(NotFound, match=cron.cron_id):
            await call


# ------------------------------------------------------------------------------------- search


async def found(crontab: Crontab, page: Page | None = None, **query: Any) -> list[str]:
    crons, total = await crontab.crons.search(ANN, CronQuery(**query), page or Page())
    assert await crontab.crons.count(ANN, CronQuery(**query)) == total
    return [cron.schedule for cron in crons]


async def test_crons_are_found_by_what_they_are(crontab: Crontab, clock: Clock) -> None:
    await crontab.add_assistant(Assistant(OWN, GRAPH, "n", None, {}, {}, {}, 1, "", ""))
    await crontab.new_thread("t")
    await crontab.create("1 * * * *", metadata={"k": {"a": [1, 2]}})
    clock.move(1)
    await crontab.create("2 * * * *", "t", enabled=False)
    clock.move(1)
    await crontab.create("3 * * * *", graph=OWN)
    assert await found(crontab) == ["3 * * * *", "2 * * * *", "1 * * * *"]
    assert await found(crontab, metadata={"k": {"a": [2]}}) == ["1 * * * *"]
    assert await found(crontab, thread_id="t") == ["2 * * * *"]
    assert await found(crontab, enabled=False) == ["2 * * * *"]
    assert await found(crontab, enabled=True) == ["3 * * * *", "1 * * * *"]
    assert await found(crontab, assistant_id=GRAPH) == ["2 * * * *", "1 * * * *"]
    assert await found(crontab, assistant_id=automatic_id(GRAPH)) == ["2 * * * *", "1 * * * *"]
    assert await found(crontab, assistant_id=UNKNOWN) == []
    with pytest.raises(Invalid, match="nope"):
        await found(crontab, assistant_id="nope")


async def test_crons_without_an_end_a_thread_or_a_date_come_last(crontab: Crontab, clock: Clock) -> None:
    await crontab.new_thread("t")
    await crontab.create("1 * * * *")
    clock.move(1)
    await crontab.create("2 * * * *", "t", end_time="2027-01-01")
    clock.move(1)
    await crontab.create("3 * * * *", end_time="2020-01-01")
    schedules = {
        "end_time": ["3 * * * *", "2 * * * *", "1 * * * *"],
        "thread_id": ["2 * * * *", "3 * * * *", "1 * * * *"],
        "next_run_date": ["1 * * * *", "2 * * * *", "3 * * * *"],
        "created_at": ["1 * * * *", "2 * * * *", "3 * * * *"],
    }
    for sort_by, expected in schedules.items():
        assert await found(crontab, Page(sort_by=sort_by, descending=False)) == expected
    assert await found(crontab, Page(sort_by="end_time")) == ["1 * * * *", "2 * * * *", "3 * * * *"]
    assert await found(crontab, Page(1, 1)) == ["2 * * * *"]


# ------------------------------------------------------------------------------------- what its runs are


async def test_a_run_is_asked_for_with_what_was_said(crontab: Crontab) -> None:
    cron = await crontab.create(
        input={"n": 1},
        context={"c": 1},
        metadata={"m": 1, "cron_id": "forged"},
        stream_mode=["updates", "values", "updates"],
        stream_subgraphs=True,
        interrupt_before="*",
        interrupt_after=["node"],
        multitask_strategy="reject",
        checkpoint_during=False,
    )
    asked = request_of(cron)
    assert (asked.assistant_id, asked.input, asked.context) == (automatic_id(GRAPH), {"n": 1}, {"c": 1})
    assert asked.metadata == {"m": 1, "cron_id": cron.cron_id}
    assert asked.stream_mode == ("updates", "values")
    assert (asked.stream_subgraphs, asked.durability, asked.multitask_strategy) == (True, "exit", "reject")
    assert (asked.interrupt_before, asked.interrupt_after) == ("*", ["node"])
    assert (asked.cron_id, asked.run_id, asked.config) == (cron.cron_id, None, {"configurable": {}})


async def test_a_run_of_which_nothing_is_said_is_like_any_other(crontab: Crontab) -> None:
    asked = request_of(await crontab.create(stream_mode="updates", durability="sync"))
    assert (asked.stream_mode, asked.durability, asked.multitask_strategy) == (
        ("updates",),
        "sync",
        "enqueue",
    )
    assert request_of(await crontab.create(stream_mode=[])).stream_mode == ("values",)


async def test_the_graph_of_a_deleted_automatic_assistant_has_crons_too(
    database: Database, clock: Clock
) -> None:
    crontab = Crontab(database, clock)
    cron = await crontab.create(graph=GRAPH)
    clock.move(60)
    assert await crontab.fire() == 1
    assert len(await crontab.made(cron)) == 1
    await crontab.add_assistant(automatic(GRAPH, GRAPH, None))
