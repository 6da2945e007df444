"""A tick makes one run, whatever happens at the same time, before and after."""

import asyncio
from typing import Any

import pytest
from fix_crons import ANN, GRAPH, OTHER_GRAPH, Clock, Crontab, clock, crontab
from fix_database import only_sqlite

from server.clock import now
from server.errors import Invalid, Overloaded, TooMany
from server.models import Assistant, Json, RunStatus
from server.rules.crons import Cron, Tick
from server.services.attempts import Attempts
from server.services.erasure import Eraser
from server.services.resolution import automatic, automatic_id
from server.services.ticks import ON_TIME_SECONDS, Ticks
from server.storage import threads
from server.storage.database import Database

__all__ = ["clock", "crontab"]


async def configurable(crontab: Crontab, cron: Cron) -> Json:
    """What the newest run of a cron is configured with."""
    found: Json = (await crontab.made(cron))[-1].kwargs["config"]["configurable"]
    return found


# ------------------------------------------------------------------------------------- once


async def test_a_tick_is_seen_to_when_it_is_due_and_not_before(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create("* * * * *")
    for seconds, made in ((0, 0), (59.999, 0), (0.001, 1), (0, 1), (59, 1), (1, 2)):
        clock.move(seconds)
        await crontab.fire()
        assert len(await crontab.made(cron)) == made
    assert (await crontab.cron(cron)).next_run_date == "2026-06-01T12:03:00.000000+00:00"


async def test_it_is_known_when_the_next_one_is_due(crontab: Crontab, clock: Clock) -> None:
    assert await crontab.ticks.due(10, []) == ([], None)
    await crontab.create("*/10 * * * *")
    await crontab.create("*/3 * * * *")
    await crontab.create("* * * * *", enabled=False)
    clock.move(1.5)
    assert await crontab.ticks.due(10, []) == ([], 178.5)


async def test_a_tick_that_many_see_to_makes_one_run(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create()
    clock.move(60)
    (tick,) = await crontab.due()
    others = [Ticks(crontab.database, crontab.runs, (GRAPH,), clock) for _ in range(8)]
    await asyncio.gather(*(ticks.fire(tick) for ticks in others))
    assert len(await crontab.made(cron)) == 1
    await crontab.ticks.fire(tick)
    assert len(await crontab.made(cron)) == 1


async def test_ticks_that_were_missed_are_made_up_for_by_one_run(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create("0 * * * *")
    clock.set("2026-06-04T09:30:00")
    while await crontab.fire():
        pass
    assert len(await crontab.made(cron)) == 1
    assert (await crontab.cron(cron)).next_run_date == "2026-06-04T10:00:00.000000+00:00"


async def test_a_clock_that_is_put_back_makes_no_tick_come_twice(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create("* * * * *")
    clock.move(60)
    (tick,) = await crontab.due()
    clock.move(-30)
    await crontab.ticks.fire(tick)
    clock.move(30)
    assert await crontab.fire() == 0
    assert len(await crontab.made(cron)) == 1


async def test_a_run_and_the_next_date_are_stored_together_or_not_at_all(
    crontab: Crontab, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cron = await crontab.create()
    clock.move(60)
    (tick,) = await crontab.due()

    def fail(*_: Any) -> None:
        raise OSError("the process dies here")

    with monkeypatch.context() as patched:
        patched.setattr(threads, "begin_run", fail)  # the last thing that an admission does
        with pytest.raises(OSError, match="dies"):
            await crontab.ticks.fire(tick)
    assert await crontab.cron(cron) == cron
    assert await crontab.made(cron) == []
    await crontab.ticks.fire(tick)
    assert len(await crontab.made(cron)) == 1


# ------------------------------------------------------------------------------------- changes


async def test_a_tick_of_a_cron_that_changed_meanwhile_is_left_to_the_next_look(
    crontab: Crontab, clock: Clock
) -> None:
    changes: list[Json] = [{"enabled": False}, {"schedule": "0 0 * * *"}, {"end_time": "2020-01-01"}]
    for said in changes:
        cron = await crontab.create()
        clock.move(60)
        (tick,) = await crontab.due()
        await crontab.crons.patch(ANN, cron.cron_id, said)
        await crontab.ticks.fire(tick)
        assert await crontab.made(cron) == []
    await crontab.crons.delete(ANN, cron.cron_id)
    await crontab.ticks.fire(tick)
    assert await crontab.made(cron) == []


async def test_a_change_that_was_answered_holds_for_the_run_that_comes_at_that_moment(
    crontab: Crontab, clock: Clock
) -> None:
    """The cron is read, changed by somebody, and only then taken: its run must not be as it was before."""
    cron = await crontab.create(input="old")
    clock.move(60)
    (tick,) = await crontab.due()
    read = crontab.database.read

    async def read_then_change(work: Any) -> Any:
        found = await read(work)
        crontab.database.read = read  # type: ignore[method-assign]
        await crontab.crons.patch(ANN, cron.cron_id, {"input": "new"})
        return found

    crontab.database.read = read_then_change  # type: ignore[method-assign]
    await crontab.ticks.fire(tick)
    assert await crontab.made(cron) == []
    assert await crontab.fire() == 1
    assert [run.kwargs["input"] for run in await crontab.made(cron)] == ["new"]


async def test_a_new_schedule_holds_at_once(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create("0 0 1 1 *")
    await crontab.crons.patch(ANN, cron.cron_id, {"schedule": "* * * * * *"})
    clock.move(1)
    assert await crontab.fire() == 1
    assert len(await crontab.made(cron)) == 1


# ------------------------------------------------------------------------------------- the end


async def test_nothing_comes_at_the_end_or_after_it(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create("* * * * *", end_time="2026-06-01T12:03:00Z")
    for _ in range(10):
        clock.move(60)
        await crontab.fire()
    assert len(await crontab.made(cron)) == 2
    ended = await crontab.cron(cron)
    assert (ended.next_run_date, ended.enabled) == (None, True)


async def test_a_tick_before_the_end_is_on_time_for_a_second_and_then_lost(
    crontab: Crontab, clock: Clock
) -> None:
    for late, made in ((ON_TIME_SECONDS, 1), (ON_TIME_SECONDS + 0.001, 0)):
        clock.set("2026-06-01T12:00:00")
        cron = await crontab.create("0 13 * * *", end_time="2026-06-01T13:00:00.000001Z")
        clock.set("2026-06-01T13:00:00.000001")
        clock.move(late)
        await crontab.fire()
        assert len(await crontab.made(cron)) == made
        assert (await crontab.cron(cron)).next_run_date is None


# ------------------------------------------------------------------------------------- whose, and with what


async def test_a_run_is_made_in_the_name_of_who_made_the_cron(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create()
    clock.move(60)
    await crontab.fire()
    (run,) = await crontab.made(cron)
    assert run.identity == "ann"
    own = await configurable(crontab, cron)
    assert own["cron_id"] == cron.cron_id
    assert own["user_id"] == own["langgraph_auth_user_id"] == "ann"
    assert own["langgraph_auth_user"] == {"identity": "ann", "team": "blue"}
    assert own["langgraph_auth_permissions"] == ["p"]


async def test_what_only_the_server_says_cannot_be_forged_for_the_time_of_the_run(
    crontab: Crontab, clock: Clock
) -> None:
    """Reliability S2: the thread and the assistant of somebody else, smuggled in by a configuration."""
    forged = {
        "thread_id": "another",
        "run_id": "another",
        "assistant_id": "another",
        "graph_id": "another",
        "checkpoint_id": "another",
        "checkpoint_ns": "another",
        "user_id": "bob",
        "langgraph_auth_user": {"identity": "bob"},
        "langgraph_auth_user_id": "bob",
        "langgraph_auth_permissions": ["admin"],
        "cron_id": "another",
        "__pregel_send": "another",
        "mine": 1,
    }
    cron = await crontab.create(config={"configurable": forged}, metadata={"cron_id": "another"})
    for config in (None, {"configurable": forged}):  # as it was made, and as it was changed
        if config is not None:
            await crontab.crons.patch(ANN, cron.cron_id, {"config": config})
        clock.move(60)
        await crontab.fire()
        run, own = (await crontab.made(cron))[-1], await configurable(crontab, cron)
        assert own["mine"] == 1
        assert (own["thread_id"], own["run_id"], own["graph_id"]) == (run.thread_id, run.run_id, GRAPH)
        assert (own["assistant_id"], own["cron_id"]) == (automatic_id(GRAPH), cron.cron_id)
        assert own["langgraph_auth_user_id"] == own["user_id"] == "ann"
        assert not {key: own[key] for key in ("checkpoint_ns", "__pregel_send") if key in own}
        assert run.kwargs["context"]["mine"] == 1


async def test_the_context_of_a_run_is_what_was_said_and_nothing_else(crontab: Crontab, clock: Clock) -> None:
    """D42: on the reference it holds `cron_id` and the user."""
    said = await crontab.create(context={"model": "m"})
    unsaid = await crontab.create()
    clock.move(60)
    await crontab.fire()
    assert (await crontab.made(said))[0].kwargs["context"] == {"model": "m"}
    assert (await configurable(crontab, said))["model"] == "m"
    assert (await crontab.made(unsaid))[0].kwargs["context"] == {}


# ------------------------------------------------------------------------------------- threads


async def test_the_thread_of_a_run_is_hidden_and_goes_with_it_or_is_kept_and_can_be_found(
    crontab: Crontab, clock: Clock
) -> None:
    hidden = await crontab.create(metadata={"m": 1})
    kept = await crontab.create(metadata={"m": 1}, on_run_completed="keep", config={"metadata": {"c": 2}})
    clock.move(60)
    await crontab.fire()
    (run,), (kept_run,) = await crontab.made(hidden), await crontab.made(kept)
    assert (run.temporary, kept_run.temporary) == (True, False)
    thread = await crontab.database.read(lambda tx: threads.get(tx, kept_run.thread_id))
    assert thread is not None
    told = {"graph_id": GRAPH, "assistant_id": automatic_id(GRAPH)}
    assert thread.metadata == {"m": 1, "c": 2, "cron_id": kept.cron_id, **told}


async def test_ticks_on_a_thread_follow_each_other_there(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create(thread_id=await crontab.new_thread("t"))
    for _ in range(3):
        clock.move(60)
        await crontab.fire()
    found = await crontab.runs_on("t")
    assert [run.status for run in found] == [RunStatus.pending] * 3
    assert [run.run_id for run in found] == [run.run_id for run in await crontab.made(cron)]


async def test_a_tick_that_the_strategy_rejects_is_over(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create(thread_id=await crontab.new_thread("t"), multitask_strategy="reject")
    for _ in range(2):
        clock.move(60)
        await crontab.fire()
    assert len(await crontab.made(cron)) == 1
    assert (await crontab.cron(cron)).next_run_date == "2026-06-01T12:03:00.000000+00:00"


async def test_crons_go_with_their_thread(crontab: Crontab) -> None:
    await crontab.new_thread("t")
    gone, left = await crontab.create(thread_id="t"), await crontab.create()
    await crontab.database.write(lambda tx: threads.remove(tx, "t"))
    assert await crontab.stored(gone) is None
    assert await crontab.stored(left) == left


async def test_crons_of_a_thread_that_is_being_deleted_begin_nothing_more(
    crontab: Crontab, clock: Clock
) -> None:
    """Reliability D9: the deletion waits for the end of a run, and another cron's tick comes meanwhile."""
    cron = await crontab.create(thread_id=await crontab.new_thread("t"))
    clock.move(60)
    await crontab.fire()
    (run,) = await Attempts(crontab.database, crontab.broker, crontab.signals, 3).claim(1)
    deletion = asyncio.create_task(Eraser(crontab.database, crontab.broker, crontab.signals).erase("t"))
    await crontab.signals.wait("stop", 10)  # the run is asked to stop
    clock.move(60)
    assert await crontab.fire() == 0
    assert await crontab.stored(cron) is None
    await crontab.broker.end(run.run_id, b"{}")
    assert await deletion


# ------------------------------------------------------------------------------------- what goes wrong


async def test_a_tick_without_its_graph_or_assistant_is_over_and_the_cron_waits(
    crontab: Crontab, clock: Clock
) -> None:
    own = Assistant(automatic_id("x"), "no_longer_served", "n", None, {}, {}, {}, 1, now(), now())
    cron = await crontab.create()
    await crontab.add_assistant(own)
    await crontab.spoil(cron, assistant_id=own.assistant_id)
    gone = await crontab.create()
    await crontab.spoil(gone, assistant_id="00000000-0000-4000-8000-00000000ffff")
    clock.move(60)
    assert await crontab.fire() == 2
    for one in (cron, gone):
        assert await crontab.made(one) == []
        assert (await crontab.cron(one)).next_run_date == "2026-06-01T12:02:00.000000+00:00"
    await crontab.spoil(cron, assistant_id=automatic_id(OTHER_GRAPH))  # it is served again
    await crontab.add_assistant(automatic(OTHER_GRAPH, OTHER_GRAPH, None))
    clock.move(60)
    await crontab.fire()
    assert len(await crontab.made(cron)) == 1


async def test_a_tick_that_finds_the_queue_full_stays_due(database: Database, clock: Clock) -> None:
    crontab = Crontab(database, clock, runs_max=1)
    await crontab.create()
    late = await crontab.create()
    clock.move(60)
    first, second = await crontab.due()
    await crontab.ticks.fire(first)
    with pytest.raises(TooMany):
        await crontab.ticks.fire(second)
    assert second == Tick(second.cron_id, "2026-06-01T12:01:00.000000+00:00")
    assert issubclass(TooMany, Overloaded)
    await crontab.ticks.postpone(second)
    assert second not in await crontab.due()
    attempts = Attempts(crontab.database, crontab.broker, crontab.signals, 3)
    assert await attempts.claim(1)
    clock.move(1)
    assert second in await crontab.due()
    await crontab.ticks.fire(second)
    assert len(await crontab.made(late)) + 1 == 2


async def test_a_tick_whose_webhook_cannot_be_reached_at_present_stays_due(
    crontab: Crontab, clock: Clock
) -> None:
    cron = await crontab.create()
    payload = '{"schedule": "* * * * *", "webhook": "http://127.0.0.1/x"}'
    await crontab.spoil(cron, payload=payload)
    clock.move(60)
    (tick,) = await crontab.due()
    with pytest.raises(Invalid):
        await crontab.ticks.fire(tick)
    assert await crontab.due() == [tick]


async def test_what_fails_again_and_again_is_tried_ever_more_seldom(crontab: Crontab, clock: Clock) -> None:
    await crontab.create()
    clock.move(60)
    (tick,) = await crontab.due()
    waits = []
    for _ in range(9):
        await crontab.ticks.postpone(tick)
        _, seconds = await crontab.ticks.due(10, [])
        assert seconds is not None
        waits.append(seconds)
        clock.move(seconds)
    assert waits == [1, 1, 2, 4, 8, 16, 32, 60, 60]


async def test_a_tick_that_was_taken_cannot_be_put_off(crontab: Crontab, clock: Clock) -> None:
    cron = await crontab.create()
    clock.move(60)
    (tick,) = await crontab.due()
    await crontab.ticks.fire(tick)
    await crontab.ticks.postpone(tick)
    taken = await crontab.cron(cron)
    assert taken.due_at == taken.next_run_date


@only_sqlite  # PostgreSQL keeps nothing that is no JSON
async def test_a_cron_that_cannot_be_read_hides_no_other(crontab: Crontab, clock: Clock) -> None:
    bad, good = await crontab.create(), await crontab.create()
    await crontab.spoil(bad, payload="{", metadata="")
    clock.move(60)
    for tick in await crontab.due():
        if tick.cron_id == good.cron_id:
            await crontab.ticks.fire(tick)
        else:
            with pytest.raises(ValueError, match="unexpected end"):
                await crontab.ticks.fire(tick)
    assert len(await crontab.made(good)) == 1
