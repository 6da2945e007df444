"""What every engine behind `streaming.broker.Broker` promises to a run's writer and to its readers."""

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest

from server.streaming.broker import BEGINNING, END, Batch, Broker, Cursor, Cut, Entry

LONG = 10.0
RUN, THREAD = "run", "thread"

OpenBroker = Callable[..., Awaitable[Broker]]


@pytest.fixture
def open_broker(any_broker: OpenBroker) -> OpenBroker:
    """A broker with some limits, and in it the empty log of RUN."""

    async def make(**limits: float) -> Broker:
        broker = await any_broker(**limits)
        await broker.begin(RUN, THREAD, 1)
        return broker

    return make


@pytest.fixture
async def broker(open_broker: OpenBroker) -> Broker:
    return await open_broker()


def number(index: int) -> Entry:
    return Entry("values", b"%d" % index)


async def everything(broker: Broker, after: Cursor = BEGINNING, run_id: str = RUN) -> list[Entry]:
    """What a reader sees from a cursor until the END; a hole in it is a failure."""
    found: list[Entry] = []
    while True:
        batch = await broker.read(run_id, after, LONG)
        assert batch is not None
        assert batch.lost == 0
        assert batch.entries, "nothing came in time"
        found += batch.entries
        after = batch.last
        if found[-1].event == END:
            return found[:-1]


async def held(broker: Broker, run_id: str = RUN) -> Batch:
    """The first batch of what is left of a log, without waiting."""
    batch = await broker.read(run_id, BEGINNING, 0)
    assert batch is not None
    return batch


async def held_bytes(broker: Broker, run_id: str = RUN) -> int:
    """How many bytes of a log can still be read."""
    size, after = 0, BEGINNING
    while (batch := await broker.read(run_id, after, 0)) and batch.entries:
        size += sum(len(entry.event) + len(entry.data) + len(entry.shared) for entry in batch.entries)
        after = batch.last
    return size


# ------------------------------------------------------------------------------------- replay and live


async def test_an_early_reader_waits_for_the_first_entry(broker: Broker) -> None:
    reading = asyncio.ensure_future(broker.read(RUN, BEGINNING, LONG))
    await asyncio.sleep(0)
    broker.append(RUN, number(1))
    batch = await reading
    assert batch is not None
    assert list(batch.entries) == [number(1)]


async def test_a_late_reader_gets_every_entry(broker: Broker) -> None:
    for index in range(2_000):
        broker.append(RUN, number(index))
    await broker.end(RUN, b"{}")
    assert await everything(broker) == [number(index) for index in range(2_000)]


async def test_a_reader_goes_on_where_its_cursor_is(broker: Broker) -> None:
    for index in range(10):
        broker.append(RUN, number(index))
    await broker.end(RUN, b"{}")
    begin = (await held(broker)).first
    for offset in range(-1, 10):
        expected = [number(index) for index in range(offset + 1, 10)]
        assert await everything(broker, Cursor(begin.epoch, offset)) == expected


async def test_a_reader_at_the_end_waits_and_hears_that_nothing_came(broker: Broker) -> None:
    broker.append(RUN, number(0))
    tail = await broker.tail(RUN)
    assert tail is not None
    batch = await broker.read(RUN, tail, 0.02)
    assert batch is not None
    assert (list(batch.entries), batch.lost) == ([], 0)
    assert batch.last == tail


async def test_replay_and_live_are_the_same_to_readers_from_everywhere(broker: Broker) -> None:
    """Readers come from any place, at any time, while a thread appends as fast as it can."""
    total, readers = 20_000, 12
    begin = await broker.tail(RUN)
    assert begin is not None

    def write() -> None:
        for index in range(total):
            broker.append(RUN, number(index))
        asyncio.run(broker.end(RUN, b"{}"))  # a lane: another event loop

    async def read(reader: int) -> list[Entry]:
        start = begin
        while start.offset < reader * 500:  # a reader that comes when so much is there
            batch = await broker.read(RUN, start, LONG)
            assert batch is not None
            start = batch.last
        found = await everything(broker, start)
        return [number(index) for index in range(start.offset + 1)] + found

    writer = threading.Thread(target=write)
    writer.start()
    results = await asyncio.gather(*(read(reader) for reader in range(readers)))
    writer.join()
    expected = [number(index) for index in range(total)]
    assert all(result == expected for result in results)


async def test_a_reader_that_returns_after_each_batch_sees_each_entry_once(broker: Broker) -> None:
    """As after a cut: each time only the text of the last id is kept."""

    def write() -> None:
        for index in range(5_000):
            broker.append(RUN, number(index))
        asyncio.run(broker.end(RUN, b"{}"))

    writer = threading.Thread(target=write)
    writer.start()
    found: list[Entry] = []
    last_event_id = ""
    while not found or found[-1].event != END:
        batch = await broker.read(RUN, Cursor.parse(last_event_id), LONG)
        assert batch is not None
        found += batch.entries
        last_event_id = str(batch.last)
    writer.join()
    assert found[:-1] == [number(index) for index in range(5_000)]


async def test_readers_of_different_runs_hear_only_theirs(broker: Broker) -> None:
    await broker.begin("other", THREAD, 1)
    broker.append(RUN, number(1))
    broker.append("other", number(2))
    for run_id in (RUN, "other"):
        await broker.end(run_id, b"{}")
    assert await everything(broker) == [number(1)]
    assert await everything(broker, run_id="other") == [number(2)]


async def test_an_entry_is_read_as_it_was_written(broker: Broker) -> None:
    entries = [
        Entry("values|ä|☃", '{"a":"ä☃😀"}'.encode()),
        Entry("messages", b"[1", b",{}]"),
        Entry("messages", b"[2", b",{}]"),
        Entry("", b""),
        Entry("custom", b"x" * 200_000),
    ]
    for entry in entries:
        broker.append(RUN, entry)
    await broker.end(RUN, b"{}")
    assert await everything(broker) == entries


async def test_a_giant_entry_comes_whole_and_alone(broker: Broker) -> None:
    giant = Entry("values", os.urandom(5_000_000))
    for entry in (number(0), giant, number(1)):
        broker.append(RUN, entry)
    await broker.end(RUN, b"{}")
    assert await everything(broker) == [number(0), giant, number(1)]


async def test_one_read_of_a_long_log_is_bounded(broker: Broker) -> None:
    for _ in range(10_000):
        broker.append(RUN, Entry("values", b"x" * 1_000))
    batch = await held(broker)
    assert 0 < sum(len(entry.data) for entry in batch.entries) < 1_000_000


async def test_a_batch_knows_the_place_of_each_entry(broker: Broker) -> None:
    for index in range(1_500):
        broker.append(RUN, number(index))
    after, offsets = BEGINNING, []
    while (batch := await broker.read(RUN, after, 0)) and batch.entries:
        offsets += [int(entry.data) - batch.first.offset - at for at, entry in enumerate(batch.entries)]
        after = batch.last
    assert offsets == [0] * 1_500


# ------------------------------------------------------------------------------------- cursors


@pytest.mark.parametrize("text", ["", "nonsense", "1", "-", "1-", "-1", "1-2-3", "1_000-0", "१-१", "9" * 50])
def test_an_id_that_is_none_means_the_beginning(text: str) -> None:
    assert Cursor.parse(text) == BEGINNING


def test_an_id_names_the_cursor_it_came_from() -> None:
    cursor = Cursor(1_795_000_000_000, 42)
    assert Cursor.parse(f" {cursor} ") == cursor


async def test_a_cursor_of_another_epoch_reads_everything(broker: Broker) -> None:
    for index in range(3):
        broker.append(RUN, number(index))
    await broker.end(RUN, b"{}")
    epoch = (await held(broker)).first.epoch
    for other in (Cursor(epoch - 1, 1), Cursor(epoch + 1, 1)):
        assert await everything(broker, other) == [number(0), number(1), number(2)]


async def test_a_cursor_beyond_the_end_reads_everything(broker: Broker) -> None:
    broker.append(RUN, number(0))
    await broker.end(RUN, b"{}")
    epoch = (await held(broker)).first.epoch
    assert await everything(broker, Cursor(epoch, 1_000)) == [number(0)]


async def test_ids_grow_within_a_log_and_from_log_to_log(broker: Broker) -> None:
    ids: list[tuple[int, int]] = []
    for log in range(50):
        run_id = f"run {log}"
        await broker.begin(run_id, THREAD, 1)
        for index in range(3):
            broker.append(run_id, number(index))
        batch = await held(broker, run_id)
        ids += [(batch.first.epoch, batch.first.offset + at) for at in range(3)]
    assert all(one[0] <= next_[0] for one, next_ in pairwise(ids))
    assert all(one[1] < next_[1] for one, next_ in pairwise(ids) if next_[1] > 0)


async def test_a_log_begun_anew_has_another_epoch(open_broker: OpenBroker) -> None:
    broker = await open_broker(replay_seconds=0)
    epochs = []
    for _ in range(20):
        broker.append(RUN, number(0))
        tail = await broker.tail(RUN)
        assert tail is not None
        epochs.append(tail.epoch)
        await broker.end(RUN, b"{}")
        while await broker.tail(RUN) is not None:
            broker.expire()
            await asyncio.sleep(0)
        await broker.begin(RUN, THREAD, 1)
    assert len(set(epochs)) == len(epochs)


# ------------------------------------------------------------------------------------- limits


async def test_a_log_forgets_its_oldest_beyond_its_entries_and_says_how_many(open_broker: OpenBroker) -> None:
    broker = await open_broker(entries_max=1_000)
    for index in range(20_000):
        broker.append(RUN, Entry("values", b"%0100d" % index))
    batch = await held(broker)
    assert 18_000 < batch.lost < 20_000
    assert (batch.first.offset, int(batch.entries[0].data)) == (batch.lost, batch.lost)


async def test_a_log_forgets_its_oldest_beyond_its_bytes_and_says_how_many(open_broker: OpenBroker) -> None:
    broker = await open_broker(bytes_max=1_000_000)
    for _ in range(4_000):
        broker.append(RUN, Entry("values", os.urandom(1_000)))
    batch = await held(broker)
    assert 2_900 < batch.lost < 4_000
    assert await held_bytes(broker) < 1_100_000


async def test_shared_tails_count_as_bytes_too(open_broker: OpenBroker) -> None:
    broker = await open_broker(bytes_max=1_000_000)
    for _ in range(2_000):
        broker.append(RUN, Entry("messages", b"[1", b"%b]" % os.urandom(5_000).hex().encode()))
    assert await held_bytes(broker) < 2_000_000


async def test_a_reader_that_falls_behind_is_told_once_and_goes_on(open_broker: OpenBroker) -> None:
    broker = await open_broker(bytes_max=300_000)
    broker.append(RUN, number(0))
    after = (await held(broker)).last
    for index in range(1, 2_000):
        broker.append(RUN, Entry("values", os.urandom(500).hex().encode() + b"%d" % index))
    await broker.end(RUN, b"{}")
    batch = await broker.read(RUN, after, LONG)
    assert batch is not None
    assert batch.lost > 0
    assert batch.first.offset == after.offset + 1 + batch.lost
    assert len(await everything(broker, batch.last)) + len(batch.entries) + batch.lost == 1_999


async def test_an_entry_larger_than_its_log_may_be_is_still_delivered(open_broker: OpenBroker) -> None:
    broker = await open_broker(bytes_max=1_000)
    giant = Entry("values", os.urandom(100_000))
    broker.append(RUN, giant)
    assert list((await held(broker)).entries) == [giant]


async def test_what_all_logs_may_hold_is_taken_from_finished_ones_first(
    open_broker: OpenBroker, carried_by: str
) -> None:
    broker = await open_broker(total_bytes_max=1_000_000)
    broker.append(RUN, Entry("values", os.urandom(400_000)))
    await broker.end(RUN, b"{}")
    await broker.begin("busy", THREAD, 1)
    for _ in range(8):
        broker.append("busy", Entry("values", os.urandom(100_000)))
    assert (await held(broker, "busy")).lost == 0
    if carried_by == "memory":  # others have it elsewhere
        assert await broker.read(RUN, BEGINNING, 0) is None


async def test_what_all_logs_may_hold_bounds_a_running_one(open_broker: OpenBroker) -> None:
    broker = await open_broker(total_bytes_max=1_000_000)
    for _ in range(40):
        broker.append(RUN, Entry("values", os.urandom(100_000)))
    assert (await held(broker)).lost > 25
    assert await held_bytes(broker) < 1_200_000


async def test_a_finished_log_is_forgotten_when_it_is_old(open_broker: OpenBroker) -> None:
    broker = await open_broker(replay_seconds=0)
    await broker.end(RUN, b"{}")
    while await broker.tail(RUN) is not None:
        broker.expire()
        await asyncio.sleep(0)
    assert await broker.read(RUN, BEGINNING, LONG) is None
    assert await broker.ended(RUN, LONG) is None


async def test_a_log_that_has_not_ended_is_never_too_old(open_broker: OpenBroker) -> None:
    broker = await open_broker(replay_seconds=0)
    broker.append(RUN, number(0))
    for _ in range(100):
        broker.expire()
    assert list((await held(broker)).entries) == [number(0)]


async def test_a_finished_log_can_be_read_until_it_is_old(open_broker: OpenBroker) -> None:
    broker = await open_broker(replay_seconds=3600)
    broker.append(RUN, number(0))
    await broker.end(RUN, b"{}")
    broker.expire()
    assert await everything(broker) == [number(0)]


# ------------------------------------------------------------------------------------- the end


async def test_the_end_is_the_last_entry_and_carries_its_data(broker: Broker) -> None:
    broker.append(RUN, number(0))
    await broker.end(RUN, b'{"a":1}')
    assert list((await held(broker)).entries) == [number(0), Entry(END, b'{"a":1}')]


async def test_whoever_waits_for_the_end_hears_of_nothing_else(broker: Broker) -> None:
    waiting = asyncio.ensure_future(broker.ended(RUN, LONG))
    for index in range(100):
        broker.append(RUN, number(index))
        await asyncio.sleep(0)
    assert not waiting.done()
    await broker.end(RUN, b"[1]")
    assert await waiting == Entry(END, b"[1]")


async def test_whoever_asks_after_the_end_has_it_at_once(broker: Broker) -> None:
    await broker.end(RUN, b"[1]")
    assert await broker.ended(RUN, 0) == Entry(END, b"[1]")


async def test_waiting_for_the_end_ends_in_time(broker: Broker) -> None:
    assert await broker.ended(RUN, 0.02) is None


@pytest.mark.parametrize(
    "limits",
    [{"bytes_max": 1_000}, {"entries_max": 1}, {"total_bytes_max": 1_000}],
    ids=lambda limits: next(iter(limits)),
)
async def test_no_limit_forgets_the_end(open_broker: OpenBroker, limits: dict[str, int]) -> None:
    """Final values larger than the log may be are still what `wait` answers."""
    broker, values = await open_broker(**limits), os.urandom(50_000)
    waiting = asyncio.ensure_future(broker.ended(RUN, LONG))
    await asyncio.sleep(0)
    broker.append(RUN, number(0))
    await broker.end(RUN, values)
    assert await waiting == Entry(END, values)


async def test_what_comes_after_the_end_is_dropped(broker: Broker) -> None:
    broker.append(RUN, number(0))
    await broker.end(RUN, b"[1]")
    broker.append(RUN, number(1))
    await broker.end(RUN, b"[2]")
    assert list((await held(broker)).entries) == [number(0), Entry(END, b"[1]")]


async def test_a_new_attempt_keeps_what_the_earlier_one_wrote(broker: Broker) -> None:
    broker.append(RUN, number(0))
    before = (await held(broker)).first
    await broker.begin(RUN, THREAD, 2)
    broker.append(RUN, number(1))
    batch = await held(broker)
    assert (list(batch.entries), batch.first) == ([number(0), number(1)], before)


# ------------------------------------------------------------------------------------- other questions


async def test_a_log_knows_its_thread_also_after_its_end(broker: Broker) -> None:
    assert await broker.thread_of(RUN) == THREAD
    await broker.end(RUN, b"{}")
    assert await broker.thread_of(RUN) == THREAD


async def test_a_log_that_does_not_exist_is_none_to_everybody(broker: Broker) -> None:
    assert await broker.thread_of("unknown") is None
    assert await broker.tail("unknown") is None
    assert await broker.read("unknown", BEGINNING, LONG) is None
    assert await broker.ended("unknown", LONG) is None


async def test_writing_to_a_log_that_does_not_exist_does_nothing(broker: Broker) -> None:
    broker.append("unknown", number(0))
    await broker.end("unknown", b"{}")
    assert await broker.tail("unknown") is None


async def test_the_tail_is_the_place_after_everything(broker: Broker) -> None:
    broker.append(RUN, number(0))
    tail = await broker.tail(RUN)
    assert tail is not None
    broker.append(RUN, number(1))
    batch = await broker.read(RUN, tail, LONG)
    assert batch is not None
    assert list(batch.entries) == [number(1)]


async def test_a_cut_reaches_every_waiting_reader(broker: Broker) -> None:
    tail = await broker.tail(RUN)
    assert tail is not None
    waiting = [asyncio.ensure_future(broker.read(RUN, tail, LONG)) for _ in range(3)]
    waiting.append(asyncio.ensure_future(broker.ended(RUN, LONG)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    broker.cut()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [Cut] * 4


async def test_a_cut_reaches_readers_that_come_later(broker: Broker) -> None:
    broker.cut()
    with pytest.raises(Cut):
        await broker.read(RUN, BEGINNING, LONG)
    with pytest.raises(Cut):
        await broker.ended(RUN, LONG)


async def test_who_is_cut_has_read_what_there_is(broker: Broker) -> None:
    broker.append(RUN, number(0))
    tail = await broker.tail(RUN)
    assert tail is not None
    broker.cut()
    assert list((await held(broker)).entries) == [number(0)]
    with pytest.raises(Cut):
        await broker.read(RUN, tail, LONG)


async def test_a_run_that_has_ended_is_read_to_its_end_also_after_the_cut(broker: Broker) -> None:
    for index in range(2_000):
        broker.append(RUN, number(index))
    await broker.end(RUN, b"{}")
    broker.cut()
    assert len(await everything(broker)) == 2_000


async def test_a_cut_does_not_stop_the_writer(broker: Broker) -> None:
    broker.cut()
    broker.append(RUN, number(0))
    await broker.end(RUN, b"[1]")
    assert await broker.ended(RUN, LONG) == Entry(END, b"[1]")


async def test_a_reader_that_gives_up_disturbs_nobody(broker: Broker) -> None:
    leaving = asyncio.ensure_future(broker.read(RUN, BEGINNING, LONG))
    staying = asyncio.ensure_future(broker.read(RUN, BEGINNING, LONG))
    await asyncio.sleep(0)
    leaving.cancel()
    broker.append(RUN, number(0))
    batch = await staying
    assert batch is not None
    assert list(batch.entries) == [number(0)]


# ------------------------------------------------------------------------------------- two threads in turn


class Paused:
    """A thread that stops once within a function: where it is entered, or at one of its lines."""

    def __init__(self, work: Callable[[], Any], function: str, line: int = 0) -> None:
        self._function, self._left = function, line
        self._reached, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,))
        self._thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        sys.settrace(self._trace)
        work()
        self._reached.set()

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_name != self._function or "streaming" not in frame.f_code.co_filename:
            return None
        if event in ("call", "line"):
            self._left -= 1
            if self._left == -1:
                self._reached.set()
                self._go_on.wait(0.1)  # bounded: it may hold the lock that the other side waits for
        return self._trace

    async def reached(self) -> bool:
        """Wait until it stands there; False if it ran to its end without coming by."""
        assert await asyncio.to_thread(self._reached.wait, LONG)
        return self._left < 0

    def finish(self) -> None:
        self._go_on.set()
        self._thread.join()


async def test_nothing_follows_the_end_also_when_another_thread_is_appending(broker: Broker) -> None:
    writer = Paused(lambda: broker.append(RUN, number(1)), "add")
    assert await writer.reached()
    await broker.end(RUN, b"[1]")
    writer.finish()
    assert await broker.ended(RUN, 0) == Entry(END, b"[1]")


async def test_a_reader_at_the_tail_loses_nothing_while_the_log_forgets(open_broker: OpenBroker) -> None:
    line, lost, came_by = 0, 0, True
    while came_by:
        broker = await open_broker(entries_max=1_000)
        for index in range(1_000):
            broker.append(RUN, Entry("values", b"%0100d" % index))
        tail = await broker.tail(RUN)
        assert tail is not None
        writer = Paused(lambda log=broker: log.append(RUN, number(1)), "forget", line)  # type: ignore[misc]
        came_by = await writer.reached()
        batch = await broker.read(RUN, tail, 0)
        writer.finish()
        assert batch is not None
        lost += batch.lost
        line += 1
    assert line > 1, "the log has not forgotten anything"
    assert lost == 0
