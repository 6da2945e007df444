"""What every engine behind `streaming.broker.Broker` promises to those who follow a thread, run after run."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from server.streaming.broker import BEGINNING, END, GONE, Batch, Broker, Cursor, Cut, Entry
from server.streaming.log import Limits
from server.streaming.logs import PLACES_MAX
from server.streaming.memory import MemoryBroker

LONG = 10.0
THREAD = "thread"

OpenBroker = Callable[..., Awaitable[Broker]]


@pytest.fixture
async def broker(any_broker: OpenBroker) -> Broker:
    return await any_broker()


async def a_run(broker: Broker, run_id: str, *texts: str, thread: str = THREAD, ends: bool = True) -> None:
    await broker.begin(run_id, thread, 1)
    for text in texts:
        broker.append(run_id, Entry("values", text.encode()))
    if ends:
        await broker.end(run_id, b"{}")


def texts(batch: Batch) -> list[str]:
    return [entry.data.decode() for entry in batch.entries if entry.event != END]


async def followed(broker: Broker, after: Cursor = BEGINNING, thread: str = THREAD) -> list[str]:
    """What there is after a place, and nothing of it lost."""
    found: list[str] = []
    while (batch := await broker.follow(thread, after, 0)).entries:
        assert batch.lost == 0
        found += texts(batch)
        after = batch.last
    assert batch.lost == 0
    return found


async def places(broker: Broker) -> list[Cursor]:
    """Where each entry of the thread is."""
    found: list[Cursor] = []
    after = BEGINNING
    while (batch := await broker.follow(THREAD, after, 0)).entries:
        found += [Cursor(batch.first.epoch, batch.first.offset + at) for at in range(len(batch.entries))]
        after = batch.last
    return found


async def expire_all(broker: Broker, *run_ids: str) -> None:
    while any([await broker.tail(run_id) for run_id in run_ids]):
        broker.expire()
        await asyncio.sleep(0)


async def test_a_thread_is_its_runs_one_after_the_other(broker: Broker) -> None:
    await a_run(broker, "one", "a", "b")
    await a_run(broker, "elsewhere", "x", thread="other")
    await a_run(broker, "two", "c")
    assert await followed(broker) == ["a", "b", "c"]


async def test_a_run_of_which_nothing_came_yet_holds_up_nobody(broker: Broker) -> None:
    broker.open("waiting", THREAD)
    await a_run(broker, "running", "a")
    await a_run(broker, "waiting", "b")
    assert await followed(broker) == ["a", "b"]


async def test_places_are_those_of_the_runs_and_grow_from_run_to_run(broker: Broker) -> None:
    for index in range(20):
        await a_run(broker, f"run {index}", "a", "b")
    found = await places(broker)
    of_runs = [
        Cursor(batch.first.epoch, at)
        for index in range(20)
        if (batch := await broker.read(f"run {index}", BEGINNING, 0))
        for at in range(len(batch.entries))
    ]
    assert found == of_runs
    assert all((one.epoch, one.offset) < (next_.epoch, next_.offset) for one, next_ in pairwise(found))


async def test_a_follower_goes_on_after_any_place(broker: Broker) -> None:
    everything = ["a", "b", "c", "d"]
    await a_run(broker, "one", "a", "b")
    await a_run(broker, "two", "c")
    await a_run(broker, "three", "d")
    after = 0
    for place in await places(broker):
        held = await broker.follow(THREAD, Cursor(place.epoch, place.offset - 1), 0)
        after += held.entries[0].event != END
        assert await followed(broker, place) == everything[after:]


async def test_a_run_that_ended_while_another_goes_on_is_told_of_after_it(broker: Broker) -> None:
    """As one that is cancelled while it waits for the other."""
    await a_run(broker, "long", "a", ends=False)
    await a_run(broker, "cancelled", "c")
    assert await followed(broker) == ["a"]
    await a_run(broker, "long", "b")
    assert await followed(broker) == ["a", "b", "c"]


async def test_now_is_within_the_run_that_goes_on_also_when_another_ended_since(broker: Broker) -> None:
    await a_run(broker, "long", "a", ends=False)
    await a_run(broker, "cancelled", "c")
    now = await broker.tail_of_thread(THREAD)
    await a_run(broker, "long", "b")
    assert await followed(broker, now) == ["b", "c"]


async def test_now_is_after_everything_where_no_run_goes_on(broker: Broker) -> None:
    await a_run(broker, "one", "a")
    now = await broker.tail_of_thread(THREAD)
    assert await followed(broker, now) == []
    await a_run(broker, "two", "b")
    assert await followed(broker, now) == ["b"]


async def test_a_follower_of_a_quiet_thread_hears_of_its_next_run_at_once(broker: Broker) -> None:
    waiting = asyncio.ensure_future(broker.follow(THREAD, await broker.tail_of_thread(THREAD), LONG))
    await asyncio.sleep(0)
    await a_run(broker, "one", "a", ends=False)
    assert texts(await waiting) == ["a"]


async def test_a_follower_within_a_run_hears_of_its_next_entry_at_once(broker: Broker) -> None:
    await a_run(broker, "one", "a", ends=False)
    waiting = asyncio.ensure_future(broker.follow(THREAD, await broker.tail_of_thread(THREAD), LONG))
    await asyncio.sleep(0)
    await a_run(broker, "one", "b", ends=False)
    assert texts(await waiting) == ["b"]


async def test_following_a_quiet_thread_ends_in_time_where_it_was(broker: Broker) -> None:
    now = await broker.tail_of_thread(THREAD)
    batch = await broker.follow(THREAD, now, 0.02)
    assert (list(batch.entries), batch.lost, batch.last) == ([], 0, now)
    await a_run(broker, "one", "a", ends=False)
    after = await broker.tail_of_thread(THREAD)
    batch = await broker.follow(THREAD, after, 0.02)
    assert (list(batch.entries), batch.lost, batch.last) == ([], 0, after)


async def test_a_note_has_its_place_between_the_runs(broker: Broker) -> None:
    await a_run(broker, "one", "a")
    await broker.note(THREAD, Entry("state_update", b"n"))
    await a_run(broker, "two", "b")
    await broker.note("other", Entry("state_update", b"x"))
    assert await followed(broker) == ["a", "n", "b"]


async def test_a_note_wakes_followers(broker: Broker) -> None:
    waiting = asyncio.ensure_future(broker.follow(THREAD, await broker.tail_of_thread(THREAD), LONG))
    await asyncio.sleep(0)
    await broker.note(THREAD, Entry("state_update", b"n"))
    assert texts(await waiting) == ["n"]


async def test_a_follower_sees_each_entry_once_while_threads_write_run_after_run(broker: Broker) -> None:
    """Each batch is asked for by the text of the last id, as after a cut."""
    runs, entries = 60, 50

    def write() -> None:
        for run in range(runs):
            asyncio.run(a_run(broker, f"run {run}", *(f"{run}.{index}" for index in range(entries))))

    async def follow() -> list[str]:
        found: list[str] = []
        last_event_id = "-"
        while len(found) < runs * entries:
            after = Cursor.parse_place(last_event_id)
            assert after is not None
            batch = await broker.follow(THREAD, after, LONG)
            assert (bool(batch.entries), batch.lost) == (True, 0)
            found += texts(batch)
            last_event_id = str(batch.last)
        return found

    writer = threading.Thread(target=write)
    followers = [asyncio.ensure_future(follow()) for _ in range(8)]
    await asyncio.sleep(0)
    writer.start()
    results = await asyncio.gather(*followers)
    writer.join()
    expected = [f"{run}.{index}" for run in range(runs) for index in range(entries)]
    assert all(result == expected for result in results)


async def test_logs_of_many_threads_are_written_at_once_and_none_is_mixed_up(broker: Broker) -> None:
    threads = [f"thread {index}" for index in range(8)]

    def write(thread: str) -> None:
        for run in range(40):
            asyncio.run(a_run(broker, f"{thread} {run}", f"{thread}.{run}", thread=thread))

    writers = [threading.Thread(target=write, args=(thread,)) for thread in threads]
    for writer in writers:
        writer.start()
    for writer in writers:
        await asyncio.to_thread(writer.join)
    for thread in threads:
        assert await followed(broker, thread=thread) == [f"{thread}.{run}" for run in range(40)]


async def test_a_follower_that_is_late_is_told_and_goes_on_with_what_there_is(
    any_broker: OpenBroker,
) -> None:
    broker = await any_broker(replay_seconds=0)
    now = await broker.tail_of_thread(THREAD)
    await a_run(broker, "one", "a")
    await expire_all(broker, "one")
    await a_run(broker, "two", "b", ends=False)
    assert (await broker.follow(THREAD, now, LONG)).lost
    assert await followed(broker) == ["b"]


async def test_a_follower_that_has_all_of_what_is_gone_has_lost_nothing(any_broker: OpenBroker) -> None:
    broker = await any_broker(replay_seconds=0)
    await a_run(broker, "one", "a", ends=False)
    seen = await broker.tail_of_thread(THREAD)
    await broker.end("one", b"{}")  # which no reader is shown
    await expire_all(broker, "one")
    await a_run(broker, "two", "b", ends=False)
    assert await followed(broker, seen) == ["b"]


async def test_the_beginning_is_what_there_is_and_has_lost_nothing(any_broker: OpenBroker) -> None:
    broker = await any_broker(replay_seconds=0)
    await a_run(broker, "one", "a")
    await expire_all(broker, "one")
    await a_run(broker, "two", "b", ends=False)
    for text in ("-", "-1", "0", "0-0"):
        place = Cursor.parse_place(text)
        assert place is not None
        assert await followed(broker, place) == ["b"]


async def test_a_place_from_before_this_process_may_have_lost_something(broker: Broker) -> None:
    assert (await broker.follow(THREAD, Cursor(1, 5), LONG)).lost


async def test_a_place_beyond_everything_waits_for_what_begins_after_it(broker: Broker) -> None:
    await a_run(broker, "one", "a")
    assert await followed(broker, Cursor(9 * 10**12, 0)) == []


async def test_whoever_waits_while_the_last_log_of_the_thread_goes_hears_of_the_next_run(
    any_broker: OpenBroker,
) -> None:
    broker = await any_broker(replay_seconds=0)
    await a_run(broker, "one", "a", ends=False)
    await broker.end("one", b"{}")
    waiting = asyncio.ensure_future(broker.follow(THREAD, await broker.tail_of_thread(THREAD), LONG))
    await asyncio.sleep(0)
    await expire_all(broker, "one")
    await asyncio.sleep(0)
    await a_run(broker, "two", "b", ends=False)
    batch = await waiting
    assert (texts(batch), batch.lost) == (["b"], 0)


async def test_whoever_waits_gets_the_last_entries_of_a_run_however_soon_its_log_goes(
    any_broker: OpenBroker,
) -> None:
    broker = await any_broker(replay_seconds=0)
    await a_run(broker, "one", "a", ends=False)
    waiting = asyncio.ensure_future(broker.follow(THREAD, await broker.tail_of_thread(THREAD), LONG))
    await asyncio.sleep(0)
    await a_run(broker, "one", "b")
    await expire_all(broker, "one")
    batch = await waiting
    assert (texts(batch), batch.entries[-1].event, batch.lost) == (["b"], END, 0)


async def test_a_reader_of_a_long_run_loses_nothing_when_the_log_of_a_later_one_is_old(
    any_broker: OpenBroker, carried_by: str
) -> None:
    broker = await any_broker(replay_seconds=0)
    await a_run(broker, "long", "a", ends=False)
    seen = await broker.tail_of_thread(THREAD)
    await a_run(broker, "cancelled", "c")
    if carried_by == "memory":  # Redis keeps it until it can be told of
        await expire_all(broker, "cancelled")
    await a_run(broker, "long", "b", ends=False)
    assert await followed(broker, seen) == ["b"]
    waiting = asyncio.ensure_future(broker.follow(THREAD, await broker.tail_of_thread(THREAD), LONG))
    await asyncio.sleep(0)
    await broker.end("long", b"{}")
    assert (await waiting).entries[-1].event == END


async def test_a_run_that_was_cancelled_while_it_waited_is_told_of_however_long_that_took(
    any_broker: OpenBroker, carried_by: str
) -> None:
    broker = await any_broker(total_bytes_max=100_000)
    await a_run(broker, "long", "a", ends=False)
    await a_run(broker, "cancelled", "c")
    await a_run(broker, "large", os.urandom(100_000).hex(), thread="other")  # old ones make room for it
    if carried_by == "memory":  # others have it elsewhere
        assert await broker.tail("cancelled") is None
    await a_run(broker, "long", "b")
    assert await followed(broker) == ["a", "b", "c"]


async def test_of_a_thread_that_was_deleted_and_made_again_nothing_is_shown_to_new_followers(
    broker: Broker,
) -> None:
    await a_run(broker, "one", "a")
    seen = await broker.tail_of_thread(THREAD)
    await broker.note(THREAD, Entry(GONE, b"{}"))
    batch = await broker.follow(THREAD, seen, 0)
    assert [entry.event for entry in batch.entries] == [GONE]
    assert await followed(broker) == []
    await a_run(broker, "two", "b", ends=False)
    assert await followed(broker) == ["b"]


async def test_of_most_quiet_threads_it_is_known_what_of_them_is_gone() -> None:
    """In the memory of one process. Of those quiet for longest only that it may be more than is known."""
    broker = MemoryBroker(Limits(replay_seconds=0))
    seen = []
    for index in range(PLACES_MAX + 100):
        thread = f"thread {index}"
        await a_run(broker, thread, "a", thread=thread)
        seen.append(await broker.tail_of_thread(thread))
    await expire_all(broker, f"thread {PLACES_MAX + 99}")
    for index in reversed(range(100, PLACES_MAX + 100)):
        assert not (await broker.follow(f"thread {index}", seen[index], 0)).lost
    assert (await broker.follow("thread 150", Cursor(seen[149].epoch, 0), 0)).lost
    assert (await broker.follow("thread 10", Cursor(seen[9].epoch, 0), 0)).lost


async def test_a_cut_reaches_followers_that_wait_for_a_run_and_within_one(broker: Broker) -> None:
    await a_run(broker, "one", "a", ends=False)
    waiting = [
        asyncio.ensure_future(broker.follow(thread, await broker.tail_of_thread(thread), LONG))
        for thread in (THREAD, "quiet")
    ]
    await asyncio.sleep(0)
    broker.cut()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [Cut, Cut]
    assert texts(await broker.follow(THREAD, BEGINNING, LONG)) == ["a"]
    with pytest.raises(Cut):
        await broker.follow(THREAD, await broker.tail_of_thread(THREAD), LONG)


async def test_a_follower_that_gives_up_disturbs_nobody(broker: Broker) -> None:
    now = await broker.tail_of_thread(THREAD)
    leaving, staying = (asyncio.ensure_future(broker.follow(THREAD, now, LONG)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await a_run(broker, "one", "a", ends=False)
    assert texts(await staying) == ["a"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("-", BEGINNING),
        ("-1", BEGINNING),
        ("0", Cursor(0, 0)),
        ("1795350854198", Cursor(1795350854198, 0)),
        (" 1795350854198-7 ", Cursor(1795350854198, 7)),
        ("", None),
        ("garbage", None),
        ("1-2-3", None),
        ("-2", None),
        ("+", None),
        ("$", None),
        ("1_0", None),
        ("१", None),
        ("1" * 30, None),
    ],
)
def test_what_names_a_place_in_the_log_of_a_thread(text: str, place: Cursor | None) -> None:
    assert Cursor.parse_place(text) == place
