"""What brokers of several processes promise each other over one Redis, whatever becomes of it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from itertools import repeat
from pathlib import Path
from uuid import uuid4

import pytest
from fix_async_proxy import Proxy
from fix_broker import Process, Start
from fix_redis import Redis

from server.streaming.broker import BEGINNING, END, GONE, Batch, Broker, Cursor, Cut, Entry

LONG = 15.0
RUN, THREAD = "run", "thread"
NAMES = ("drain", "runs", "stop")

OpenProxy = Callable[[int], Awaitable[Proxy]]


@pytest.fixture
def namespace() -> str:
    return uuid4().hex


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that a test may kill."""
    server = Redis(tmp_path)
    yield server
    server.kill()


def token(index: int) -> Entry:
    return Entry(
        "messages", b'[{"content":"token %d"}' % index, b',{"run":"one","name":"model %d"}]' % (index // 50)
    )


def number(index: int) -> Entry:
    return Entry("values", b"%d" % index)


async def everything(broker: Broker, run_id: str = RUN, after: Cursor = BEGINNING) -> list[Entry]:
    """What a reader sees up to the END, each entry once; a hole in it is a failure."""
    found: list[Entry] = []
    while not found or found[-1].event != END:
        batch = await broker.read(run_id, after, LONG)
        assert batch is not None
        assert batch.lost == 0
        assert batch.entries, "nothing came in time"
        assert after is BEGINNING or batch.first == Cursor(after.epoch, after.offset + 1)
        found += batch.entries
        after = batch.last
    return found[:-1]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        for wait in repeat(0.005):
            if holds():
                return
            await asyncio.sleep(wait)


def texts(batch: Batch) -> list[str]:
    return [entry.data.decode() for entry in batch.entries if entry.event != END]


async def test_a_hundred_readers_may_come_at_the_same_time(
    start_process: Start, redis: Redis, namespace: str
) -> None:
    writer, reader = [await start_process(redis, namespace) for _ in range(2)]
    runs = [f"run {index}" for index in range(100)]
    for run in runs:
        await writer.broker.begin(run, f"thread of {run}", 1)
        writer.broker.append(run, token(0))
        await writer.broker.end(run, b"null")
    assert await writer.broker.drain(LONG)
    found = await asyncio.gather(*(everything(reader.broker, run) for run in runs))
    assert all(token(0) in entries for entries in found)
    assert not reader.link.away


async def test_what_one_writes_another_reads_as_it_comes(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(redis, namespace) for _ in range(2)]
    there.broker.open(RUN, THREAD)
    reading = asyncio.ensure_future(everything(there.broker))
    await here.broker.begin(RUN, THREAD, 1)
    for index in range(500):
        here.broker.append(RUN, token(index))
        await asyncio.sleep(0)
    await here.broker.end(RUN, b"[1]")
    assert await reading == [token(index) for index in range(500)]
    assert await there.broker.ended(RUN, 0) == Entry(END, b"[1]")


async def test_late_readers_elsewhere_get_everything_with_the_same_ids(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(redis, namespace) for _ in range(2)]
    await here.broker.begin(RUN, THREAD, 1)
    for index in range(5_000):
        here.broker.append(RUN, token(index))
    await here.broker.end(RUN, b"{}")
    assert await here.broker.flushed(RUN, LONG)
    results = await asyncio.gather(*(everything(there.broker) for _ in range(5)))
    assert results == [[token(index) for index in range(5_000)]] * 5
    assert await there.broker.tail(RUN) == await here.broker.tail(RUN)
    assert await there.broker.thread_of(RUN) == THREAD
    middle = Cursor((await there.broker.tail(RUN) or BEGINNING).epoch, 2_499)
    late = await start_process(redis, namespace)
    assert await everything(late.broker, after=middle) == [token(index) for index in range(2_500, 5_000)]


async def test_a_reader_who_saw_more_beside_the_writer_waits_elsewhere_until_that_comes(
    redis: Redis, start_process: Start, namespace: str, open_proxy: OpenProxy
) -> None:
    proxy = await open_proxy(redis.port)
    here, there = await start_process(proxy.uri, namespace), await start_process(redis, namespace)
    await here.broker.begin(RUN, THREAD, 1)
    here.broker.append(RUN, number(0))
    assert await here.broker.flushed(RUN, LONG)
    proxy.silence()
    for index in range(1, 10):
        here.broker.append(RUN, number(index))
    seen = await here.broker.tail(RUN)
    assert seen is not None
    reading = asyncio.ensure_future(there.broker.read(RUN, seen, LONG))
    here.broker.append(RUN, number(10))
    proxy.speak()
    batch = await reading
    assert batch is not None
    assert (list(batch.entries), batch.first.offset) == ([number(10)], 10)


async def test_an_attempt_that_comes_back_to_its_first_process_goes_on_after_the_one_between(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    first, second, reader = [await start_process(redis, namespace) for _ in range(3)]
    for attempt, process in enumerate((first, second, first), 1):
        await process.broker.begin(RUN, THREAD, attempt)
        for index in range(3):
            process.broker.append(RUN, number(10 * attempt + index))
        assert await process.broker.flushed(RUN, LONG)
    await first.broker.end(RUN, b"{}")
    written = [number(10 * attempt + index) for attempt in (1, 2, 3) for index in range(3)]
    for process in (reader, first):
        assert await everything(process.broker, RUN) == written


async def test_a_later_attempt_elsewhere_goes_on_and_the_earlier_one_is_heard_no_more(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    first, second, third = [await start_process(redis, namespace) for _ in range(3)]
    await first.broker.begin(RUN, THREAD, 1)
    for index in range(100):
        first.broker.append(RUN, token(index))
    assert await first.broker.flushed(RUN, LONG)
    await second.broker.begin(RUN, THREAD, 2)
    for index in range(100, 200):
        first.broker.append(RUN, number(-index))
        second.broker.append(RUN, token(index))
        await asyncio.sleep(0)
    await second.broker.end(RUN, b"{}")
    expected = [token(index) for index in range(200)]
    assert await everything(second.broker) == expected
    assert await everything(third.broker) == expected
    assert await everything(first.broker) == expected
    await first.broker.begin(RUN, THREAD, 1)  # which has not heard of it
    first.broker.append(RUN, number(0))
    assert await everything(first.broker) == expected


async def test_a_redis_that_comes_back_empty_in_mid_run_costs_nobody_a_token(
    own_redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(own_redis, namespace) for _ in range(2)]
    await here.broker.begin(RUN, THREAD, 1)
    reading = [asyncio.ensure_future(everything(process.broker)) for process in (here, there)]
    for index in range(3_000):
        here.broker.append(RUN, token(index))
        if index in (1_000, 2_000):
            assert await here.broker.flushed(RUN, LONG)
            own_redis.kill()
        if index == 1_500:
            own_redis.start()
        if index % 50 == 0:
            await asyncio.sleep(0)
    own_redis.start()
    await here.broker.end(RUN, b"{}")
    expected = [token(index) for index in range(3_000)]
    assert await asyncio.gather(*reading) == [expected] * 2
    assert await here.broker.flushed(RUN, LONG)
    late = await start_process(own_redis, namespace)
    assert await everything(late.broker) == expected


async def test_runs_begin_and_end_while_redis_is_away_and_are_told_of_afterwards(
    own_redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(own_redis, namespace) for _ in range(2)]
    assert await there.broker.follow(THREAD, BEGINNING, 0)
    own_redis.kill()
    await until(lambda: here.link.away)
    await here.broker.begin(RUN, THREAD, 1)
    here.broker.append(RUN, number(1))
    await here.broker.end(RUN, b"{}")
    assert await everything(here.broker) == [number(1)]
    assert not await here.broker.flushed(RUN, 0.01)
    own_redis.start()
    assert await here.broker.flushed(RUN, LONG)
    batch = await there.broker.follow(THREAD, BEGINNING, LONG)
    assert (texts(batch), batch.lost) == (["1"], 0)


@pytest.mark.parametrize("way", ["cut", "silence"])
async def test_a_way_to_redis_that_is_gone_for_a_while_loses_and_doubles_nothing(
    way: str, redis: Redis, start_process: Start, namespace: str, open_proxy: OpenProxy
) -> None:
    """Of the writer and of the reader; answers get lost while what they answer was done."""
    ways = [await open_proxy(redis.port) for _ in range(2)]
    here, there = [await start_process(proxy.uri, namespace) for proxy in ways]
    await here.broker.begin(RUN, THREAD, 1)
    reading = asyncio.ensure_future(everything(there.broker))
    for index in range(2_000):
        here.broker.append(RUN, token(index))
        await asyncio.sleep(0)
        proxy, process = (ways[0], here) if index == 500 else (ways[1], there)
        if index in (500, 1_000):
            if way == "cut":
                await proxy.cut()
            else:
                proxy.silence()
            await until(lambda away=process.link: away.away)  # type: ignore[misc]
        if index in (700, 1_300):
            for proxy in ways:
                proxy.speak()
                await proxy.cut()
                await proxy.start()
    await here.broker.end(RUN, b"{}")
    assert await reading == [token(index) for index in range(2_000)]
    assert await everything((await start_process(redis, namespace)).broker) == [
        token(index) for index in range(2_000)
    ]


async def test_connections_that_redis_closes_are_made_again(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(redis, namespace) for _ in range(2)]
    await here.broker.begin(RUN, THREAD, 1)
    reading = asyncio.ensure_future(everything(there.broker))
    for index in range(1_000):
        here.broker.append(RUN, number(index))
        if index % 300 == 0:
            await here.broker.flushed(RUN, LONG)
            for kind in ("pubsub", "normal"):
                async with asyncio.timeout(LONG):
                    await kill_clients(redis, kind)
    await here.broker.end(RUN, b"{}")
    assert await reading == [number(index) for index in range(1_000)]


async def kill_clients(redis: Redis, kind: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", redis.port)
    writer.write(f"CLIENT KILL TYPE {kind} SKIPME yes\r\n".encode())
    assert (await reader.readline()).startswith(b":")
    writer.close()


async def test_who_follows_others_is_cut_when_redis_is_away_for_long_and_who_reads_beside_the_writer_is_not(
    own_redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(own_redis, namespace, away_seconds=0.2) for _ in range(2)]
    await here.broker.begin(RUN, THREAD, 1)
    here.broker.append(RUN, number(0))
    batch = await there.broker.read(RUN, BEGINNING, LONG)
    assert batch is not None
    waiting = [asyncio.ensure_future(process.broker.read(RUN, batch.last, LONG)) for process in (here, there)]
    following = asyncio.ensure_future(there.broker.follow(THREAD, batch.last, LONG))
    result = asyncio.ensure_future(there.broker.ended(RUN, LONG))
    await asyncio.sleep(0)
    own_redis.kill()
    for cut in (waiting[1], following, result):
        with pytest.raises(Cut):
            await cut
    here.broker.append(RUN, number(1))
    mine = await waiting[0]
    assert mine is not None
    assert list(mine.entries) == [number(1)]
    own_redis.start()
    await until(lambda: not there.link.away and not there.broker._logs.unreachable)
    after = await there.broker.read(RUN, batch.last, LONG)
    assert after is not None
    assert list(after.entries) == [number(1)]


async def test_a_thread_is_followed_over_runs_of_several_processes(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    one, two, follower = [await start_process(redis, namespace) for _ in range(3)]

    async def follow(broker: Broker) -> list[str]:
        found, after = list[str](), BEGINNING
        while len(found) < 40:
            batch = await broker.follow(THREAD, after, LONG)
            assert (bool(batch.entries), batch.lost) == (True, 0)
            found += texts(batch)
            after = batch.last
        return found

    following = [asyncio.ensure_future(follow(process.broker)) for process in (one, two, follower)]
    for run in range(20):
        writer = (one, two)[run % 2].broker
        await writer.begin(f"run {run}", THREAD, 1)
        for part in "ab":
            writer.append(f"run {run}", Entry("values", f"{run}{part}".encode()))
        await writer.end(f"run {run}", b"{}")
    expected = [f"{run}{part}" for run in range(20) for part in "ab"]
    assert await asyncio.gather(*following) == [expected] * 3
    late = await start_process(redis, namespace)
    assert await follow(late.broker) == expected


async def test_a_note_and_the_end_of_a_thread_are_heard_elsewhere(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(redis, namespace) for _ in range(2)]
    now = await there.broker.tail_of_thread(THREAD)
    waiting = asyncio.ensure_future(there.broker.follow(THREAD, now, LONG))
    await here.broker.note(THREAD, Entry("state_update", b"n"))
    batch = await waiting
    assert texts(batch) == ["n"]
    await here.broker.note(THREAD, Entry(GONE, b"{}"))
    batch = await there.broker.follow(THREAD, batch.last, LONG)
    assert [entry.event for entry in batch.entries] == [GONE]
    late = await start_process(redis, namespace)
    assert not (await late.broker.follow(THREAD, BEGINNING, 0.1)).entries


async def test_the_tail_of_a_thread_is_that_of_the_run_under_way_elsewhere(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(redis, namespace) for _ in range(2)]
    quiet = await there.broker.tail_of_thread(THREAD)
    await here.broker.begin(RUN, THREAD, 1)
    here.broker.append(RUN, number(0))
    assert await here.broker.flushed(RUN, LONG)
    tail = await there.broker.tail_of_thread(THREAD)
    assert tail == await here.broker.tail_of_thread(THREAD) == await here.broker.tail(RUN)
    assert texts(await there.broker.follow(THREAD, quiet, LONG)) == ["0"]
    here.broker.append(RUN, number(1))
    assert texts(await there.broker.follow(THREAD, tail, LONG)) == ["1"]


async def test_what_is_gone_of_a_thread_is_known_to_a_process_that_comes_later(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here = await start_process(redis, namespace, replay_seconds=0)
    before = await here.broker.tail_of_thread(THREAD)
    await here.broker.begin("old", THREAD, 1)
    await here.broker.end("old", b"{}")
    while await here.broker.tail("old") is not None:
        here.broker.expire()
        await asyncio.sleep(0.001)
    await here.broker.begin(RUN, THREAD, 1)
    here.broker.append(RUN, number(1))
    assert await here.broker.flushed(RUN, LONG)
    late = await start_process(redis, namespace)
    assert (await late.broker.follow(THREAD, before, LONG)).lost
    assert texts(await late.broker.follow(THREAD, BEGINNING, LONG)) == ["1"]


async def test_two_hundred_runs_at_once_are_read_elsewhere(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    writers = [await start_process(redis, namespace) for _ in range(2)]
    reader = await start_process(redis, namespace)

    async def write(run: int) -> None:
        broker = writers[run % 2].broker
        await broker.begin(f"run {run}", f"thread {run}", 1)
        for index in range(50):
            broker.append(f"run {run}", token(run * 1000 + index))
            await asyncio.sleep(0)
        await broker.end(f"run {run}", b"{}")

    for run in range(200):
        reader.broker.open(f"run {run}", f"thread {run}")
    reading = [asyncio.ensure_future(everything(reader.broker, f"run {run}")) for run in range(200)]
    await asyncio.gather(*(write(run) for run in range(200)))
    for run, found in enumerate(await asyncio.gather(*reading)):
        assert found == [token(run * 1000 + index) for index in range(50)]


async def test_more_questions_at_once_than_connections_wait_their_turn(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    process = await start_process(redis, namespace)
    tails = await asyncio.gather(*(process.broker.tail(f"run {number}") for number in range(200)))
    assert (set(tails), process.link.away) == ({None}, False)


async def test_a_graph_on_another_event_loop_writes_through_the_broker(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(redis, namespace) for _ in range(2)]

    async def run() -> None:
        await here.broker.begin(RUN, THREAD, 1)
        for index in range(1_000):
            here.broker.append(RUN, number(index))
        await here.broker.end(RUN, b"{}")
        await here.broker.note(THREAD, Entry("state_update", b"n"))
        assert await here.broker.thread_of(RUN) == THREAD
        assert await here.broker.flushed(RUN, LONG)
        assert await here.broker.thread_of("unknown") is None
        assert (await here.broker.tail_of_thread(THREAD)).epoch > 0

    await asyncio.to_thread(asyncio.run, run())
    assert await everything(there.broker) == [number(index) for index in range(1_000)]


async def test_processes_on_event_loops_of_their_own_meet(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here = await start_process(redis, namespace)

    async def write() -> None:
        process = await Process(redis.uri, namespace).start()
        await process.broker.begin(RUN, THREAD, 1)
        for index in range(2_000):
            process.broker.append(RUN, token(index))
        await process.broker.end(RUN, b"{}")
        assert await process.broker.drain(LONG)
        await process.stop()

    here.broker.open(RUN, THREAD)
    reading = asyncio.ensure_future(everything(here.broker))
    await asyncio.to_thread(asyncio.run, write())
    assert await reading == [token(index) for index in range(2_000)]


async def test_a_log_whose_writer_died_is_found_by_who_waits_for_it_and_can_be_closed(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(redis, namespace) for _ in range(2)]
    await here.broker.begin(RUN, THREAD, 1)
    here.broker.append(RUN, number(0))
    assert await here.broker.flushed(RUN, LONG)
    reading = asyncio.ensure_future(everything(there.broker))
    await until(lambda: there.broker.awaited(0.01) == [RUN])
    await here.stop()
    await there.broker.begin(RUN, THREAD, 1)  # of the same attempt: the writer has no say any more
    await there.broker.end(RUN, b"{}")
    assert await reading == [number(0)]
    assert there.broker.awaited(0) == []


async def test_what_nobody_reads_any_more_is_held_no_more(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(redis, namespace) for _ in range(2)]
    await here.broker.begin(RUN, THREAD, 1)
    here.broker.append(RUN, number(0))
    batch = await there.broker.read(RUN, BEGINNING, LONG)
    assert batch is not None
    await there.broker.follow(THREAD, batch.last, 0)
    await there.broker._follower.forget_idle(0)
    assert there.broker._logs.get(RUN) is None
    assert there.broker._logs._bytes == 0
    here.broker.append(RUN, number(1))
    after = await there.broker.read(RUN, batch.last, LONG)
    assert after is not None
    assert list(after.entries) == [number(1)]
    assert texts(await there.broker.follow(THREAD, BEGINNING, LONG)) == ["0", "1"]


async def test_two_projects_share_a_redis_and_see_nothing_of_each_other(
    redis: Redis, start_process: Start
) -> None:
    one, other = await start_process(redis, uuid4().hex), await start_process(redis, uuid4().hex)
    await one.broker.begin(RUN, THREAD, 1)
    await one.broker.end(RUN, b"{}")
    assert await one.broker.flushed(RUN, LONG)
    assert await other.broker.tail(RUN) is None
    assert not (await other.broker.follow(THREAD, BEGINNING, 0)).entries


async def test_a_redis_that_comes_back_as_it_was_before_is_brought_up_to_date(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    """As after a failover to a replica that was behind."""
    here, there = [await start_process(redis, namespace) for _ in range(2)]
    await here.broker.begin(RUN, THREAD, 1)
    reading = asyncio.ensure_future(everything(there.broker))
    for index in range(300):
        here.broker.append(RUN, token(index))
        if index == 100:
            assert await here.broker.flushed(RUN, LONG)
            (keys,) = await there.link.ask(("KEYS", f"{namespace}:*"))
            dumps = await there.link.ask(*(("DUMP", key) for key in keys))
        if index == 200:
            assert await here.broker.flushed(RUN, LONG)
            again = zip(keys, dumps, strict=True)
            await there.link.ask(*(("RESTORE", key, 60_000, dump, "REPLACE") for key, dump in again))
    await here.broker.end(RUN, b"{}")
    expected = [token(index) for index in range(300)]
    assert await reading == expected
    assert await here.broker.flushed(RUN, LONG)
    assert await everything((await start_process(redis, namespace)).broker) == expected


async def test_a_redis_with_a_password_and_a_database_of_many(
    own_redis: Redis, start_process: Start, namespace: str
) -> None:
    plain = await start_process(own_redis, namespace)
    await plain.link.ask(("CONFIG", "SET", "requirepass", "p@ss/word"))
    uri = f"redis://:p%40ss%2Fword@127.0.0.1:{own_redis.port}/3"
    here, there = [await start_process(uri, namespace) for _ in range(2)]
    await here.broker.begin(RUN, THREAD, 1)
    await here.broker.end(RUN, b"[1]")
    assert await here.broker.flushed(RUN, LONG)
    assert await there.broker.ended(RUN, LONG) == Entry(END, b"[1]")
    (keyspace,) = await there.link.ask(("INFO", "keyspace"))
    assert "db3" in keyspace
    assert "db0" not in keyspace


async def test_a_redis_whose_memory_is_full_gets_the_rest_when_it_has_room(
    own_redis: Redis, start_process: Start, namespace: str
) -> None:
    here, there = [await start_process(own_redis, namespace) for _ in range(2)]
    await here.broker.begin(RUN, THREAD, 1)
    here.broker.append(RUN, number(0))
    assert await here.broker.flushed(RUN, LONG)
    await there.link.ask(("CONFIG", "SET", "maxmemory", "1mb"))
    for index in range(1, 50):
        here.broker.append(RUN, number(index))
    assert not await here.broker.flushed(RUN, 0.1)
    await here.broker.begin("other", "other", 1)  # goes on without
    here.broker.append("other", number(0))
    await there.link.ask(("CONFIG", "SET", "maxmemory", "0"))
    for key in (RUN, "other"):
        await here.broker.end(key, b"{}")
        assert await here.broker.flushed(key, LONG)
    assert await everything(there.broker) == [number(index) for index in range(50)]
    assert await everything(there.broker, "other") == [number(0)]


async def test_windows_of_a_long_log_are_trimmed_and_who_comes_late_is_told(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    here = await start_process(redis, namespace, entries_max=3_000)
    there = await start_process(redis, namespace)
    await here.broker.begin(RUN, THREAD, 1)
    for index in range(10_000):
        here.broker.append(RUN, token(index))
        if index % 100 == 0:
            await here.broker.flushed(RUN, LONG)
    await here.broker.end(RUN, b"{}")
    assert await here.broker.flushed(RUN, LONG)
    batch = await there.broker.read(RUN, BEGINNING, LONG)
    assert batch is not None
    assert 10_000 - 3_000 - 2 * 1024 <= batch.lost <= 10_000 - 2_000
    assert batch.entries[0] == token(batch.lost)
    assert (await everything(there.broker, after=batch.last))[-1] == token(9_999)


async def test_nothing_stays_in_redis_for_ever(
    own_redis: Redis, start_process: Start, namespace: str
) -> None:
    here = await start_process(own_redis, namespace, replay_seconds=100)
    await here.broker.begin(RUN, THREAD, 1)
    here.broker.append(RUN, number(0))
    await here.broker.begin("ended", "other", 1)
    await here.broker.end("ended", b"{}")
    await here.broker.note(THREAD, Entry("state_update", b"n"))
    for key in (RUN, "ended"):
        assert await here.broker.flushed(key, LONG)
    (keys,) = await here.link.ask(("KEYS", "*"))
    ttls = dict(zip(keys, await here.link.ask(*(("PTTL", key) for key in keys)), strict=True))
    assert len(ttls) >= 8
    assert [key for key, ttl in ttls.items() if ttl < 0] == [f"{namespace}:clock".encode()]
    assert ttls[f"{namespace}:log:ended".encode()] <= 100_000
    assert ttls[f"{namespace}:log:{RUN}".encode()] > 1_000_000


async def test_a_ring_is_heard_in_other_processes_but_not_what_is_only_local(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    one, other = [await start_process(redis, namespace) for _ in range(2)]
    await until(lambda: f"{namespace}:signals".encode() in getattr(other.link._pubsub, "channels", ()))
    waiting = {
        name: asyncio.ensure_future(other.signals.wait(name, LONG)) for name in ("drain", "runs", "stop")
    }
    one.signals.notify("drain")
    one.signals.notify("runs")
    threading.Thread(target=one.signals.notify, args=("stop",)).start()
    async with asyncio.timeout(5):
        await waiting["stop"]
    for name in ("drain", "runs"):
        assert not waiting[name].done()
        waiting[name].cancel()


async def gone(process: Process, key: str) -> None:
    """As if nobody had renewed the log of this key until its time was over."""
    await process.link.ask(("DEL", *process.link.keys.log(key)))


async def test_who_follows_a_thread_goes_on_past_a_log_that_went_before_its_end_came(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    writer, reader = [await start_process(redis, namespace) for _ in range(2)]
    await writer.broker.begin("one", THREAD, 1)
    writer.broker.append("one", number(1))
    seen = await reader.broker.follow(THREAD, BEGINNING, LONG)
    waiting = asyncio.ensure_future(reader.broker.follow(THREAD, seen.last, LONG))
    await writer.stop()
    await gone(reader, "one")
    other = await start_process(redis, namespace)
    await other.broker.begin("two", THREAD, 1)
    other.broker.append("two", number(2))
    assert (await waiting).lost  # what else there was
    assert texts(await reader.broker.follow(THREAD, BEGINNING, LONG)) == ["2"]


async def test_who_reads_a_run_whose_log_is_gone_is_told(
    redis: Redis, start_process: Start, namespace: str
) -> None:
    writer, reader = [await start_process(redis, namespace) for _ in range(2)]
    await writer.broker.begin("one", THREAD, 1)
    writer.broker.append("one", number(1))
    seen = await reader.broker.read("one", BEGINNING, LONG)
    assert seen is not None
    following = asyncio.ensure_future(reader.broker.follow(THREAD, BEGINNING, LONG))
    waiting = asyncio.ensure_future(reader.broker.read("one", seen.last, LONG))
    await following
    await writer.stop()
    await gone(reader, "one")
    other = await start_process(redis, namespace)
    await other.broker.begin("two", THREAD, 1)
    batch = await waiting
    assert batch is not None
    assert batch.entries == []
    assert await reader.broker.read("one", seen.last, LONG) is None
