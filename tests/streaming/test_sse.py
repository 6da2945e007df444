"""What a reader of a stream gets: frames, heartbeats on a grid, what it asked for, and no silent hole."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from server.streaming.broker import BEGINNING, Cursor, Cut, Entry
from server.streaming.log import Limits
from server.streaming.memory import MemoryBroker
from server.streaming.sse import HEARTBEAT, Rhythm, Shown, frame, frames, of_run

RUN = "run"
NEVER = Rhythm(60.0)
QUICK = Rhythm(0.05)
EVENT = re.compile(rb"event: [^\r\n]*\r\ndata: [^\r\n]*\r\nid: \d+-\d+\r\n(retry: \d+\r\n)?\r\n")


@pytest.fixture
async def broker() -> MemoryBroker:
    made = MemoryBroker(Limits())
    made.open(RUN, "thread")
    return made


everything = of_run(frozenset())


def stream(
    broker: MemoryBroker,
    after: Cursor = BEGINNING,
    rhythm: Rhythm = NEVER,
    shown: Shown = everything,
) -> AsyncIterator[bytes]:
    return frames(partial(broker.read, RUN), after, rhythm, shown)


async def text(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in stream])


def events(body: bytes) -> list[tuple[str, str]]:
    """(event, data) of a body that must be nothing but well-formed frames and heartbeats."""
    rest = body
    found = []
    while rest:
        if rest.startswith(HEARTBEAT):
            rest = rest[len(HEARTBEAT) :]
            continue
        match = EVENT.match(rest)
        assert match, rest[:200]
        event, data, _ = match[0].decode().split("\r\n", 2)
        found.append((event.removeprefix("event: "), data.removeprefix("data: ")))
        rest = rest[match.end() :]
    return found


def ids(body: bytes) -> list[tuple[int, int]]:
    return [(int(epoch), int(offset)) for epoch, offset in re.findall(rb"^id: (\d+)-(\d+)\r$", body, re.M)]


# ------------------------------------------------------------------------------------- frames


def test_a_frame_is_event_data_id_and_an_empty_line() -> None:
    assert frame(Entry("values", b'{"a":1}'), "7-3") == b'event: values\r\ndata: {"a":1}\r\nid: 7-3\r\n\r\n'


def test_the_shared_tail_follows_the_data() -> None:
    assert b"data: [1,{}]\r\n" in frame(Entry("messages", b"[1", b",{}]"), "7-3")


@pytest.mark.parametrize("name", ["a\r\nid: 9", "a\nb", "a\rb", "a\0b", "a\x85b", "a\u2028b", "a\ud800b"])
def test_no_event_name_forges_a_field(name: str) -> None:
    made = frame(Entry(f"custom|{name}", b"1"), "7-3")
    assert EVENT.fullmatch(made)
    assert len(made.decode().splitlines()) == 4
    assert "custom|a\ufffd".encode() in made


def test_a_name_in_any_language_stays_as_it_is() -> None:
    assert "event: updates|数据 ä:1\r\n".encode() in frame(Entry("updates|数据 ä:1", b"1"), "7-3")


# ------------------------------------------------------------------------------------- the stream


async def test_a_stream_is_frames_in_order_and_the_end_is_silent(broker: MemoryBroker) -> None:
    for index in range(1_000):
        broker.append(RUN, Entry("values", b"%d" % index))
    await broker.end(RUN, b'{"final":1}')
    body = await text(stream(broker))
    assert events(body) == [("values", str(index)) for index in range(1_000)]


async def test_ids_strictly_increase(broker: MemoryBroker) -> None:
    for _ in range(1_000):
        broker.append(RUN, Entry("values", b"1"))
    await broker.end(RUN, b"{}")
    found = ids(await text(stream(broker)))
    assert found == sorted(set(found))


async def test_what_is_ready_leaves_in_one_write(broker: MemoryBroker) -> None:
    for index in range(100):
        broker.append(RUN, Entry("values", b"%d" % index))
    first = await anext(stream(broker))
    assert len(events(first)) == 100


async def test_each_event_leaves_an_idle_stream_at_once(broker: MemoryBroker) -> None:
    parts = stream(broker)
    for index in range(5):
        reading = asyncio.ensure_future(anext(parts))
        await asyncio.sleep(0)
        broker.append(RUN, Entry("values", b"%d" % index))
        assert events(await reading) == [("values", str(index))]


async def test_a_reader_that_returns_with_its_last_id_gets_the_rest(broker: MemoryBroker) -> None:
    for index in range(10):
        broker.append(RUN, Entry("values", b"%d" % index))
    await broker.end(RUN, b"{}")
    whole = await text(stream(broker))
    for epoch, offset in ids(whole):
        rest = await text(stream(broker, Cursor(epoch, offset)))
        assert events(rest) == events(whole)[offset + 1 :]


async def test_only_the_first_frame_tells_when_to_try_again(broker: MemoryBroker) -> None:
    parts = stream(broker)
    bodies = []
    for _ in range(3):
        reading = asyncio.ensure_future(anext(parts))
        await asyncio.sleep(0)
        broker.append(RUN, Entry("values", b"1"))
        broker.append(RUN, Entry("values", b"2"))
        bodies.append(await reading)
    assert [body.count(b"retry: ") for body in bodies] == [1, 0, 0]
    assert EVENT.match(bodies[0])
    assert b"retry: 1000\r\n\r\n" in bodies[0]


async def test_the_end_alone_makes_an_empty_stream(broker: MemoryBroker) -> None:
    await broker.end(RUN, b"{}")
    assert await text(stream(broker)) == b""


async def test_a_cut_breaks_the_stream_off(broker: MemoryBroker) -> None:
    reading = asyncio.ensure_future(text(stream(broker)))
    await asyncio.sleep(0)
    broker.cut()
    with pytest.raises(Cut):
        await reading


async def test_a_fast_writer_in_another_thread_loses_no_event(broker: MemoryBroker) -> None:
    def write() -> None:
        for index in range(5_000):
            broker.append(RUN, Entry("values", b"%d" % index))
        asyncio.run(broker.end(RUN, b"{}"))

    writer = threading.Thread(target=write)
    writer.start()
    body = await text(stream(broker, rhythm=Rhythm(0.001)))
    writer.join()
    assert events(body) == [("values", str(index)) for index in range(5_000)]


# ------------------------------------------------------------------------------------- heartbeats


async def test_a_silent_stream_beats_on_its_grid(broker: MemoryBroker) -> None:
    loop = asyncio.get_running_loop()
    parts, start = stream(broker, rhythm=QUICK), loop.time()
    for beat in range(1, 5):
        assert await anext(parts) == HEARTBEAT
        # On the grid counted from the start, never early; late only as far as a busy machine makes it.
        assert loop.time() - start >= beat * QUICK.seconds
    assert loop.time() - start < 4 * QUICK.seconds + 1.0


async def test_events_do_not_move_the_grid(broker: MemoryBroker) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    parts = stream(broker, rhythm=Rhythm(0.4))
    first = asyncio.ensure_future(anext(parts))
    loop.call_later(0.3, broker.append, RUN, Entry("values", b"1"))
    assert events(await first) == [("values", "1")]
    assert await anext(parts) == HEARTBEAT
    assert 0.4 <= loop.time() - start < 0.7  # 0.7 is where it were, counted from the event


async def test_a_stream_of_nothing_but_events_beats_too(broker: MemoryBroker) -> None:
    """A client's watchdog counts comments: a talkative graph must not silence them."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            broker.append(RUN, Entry("values", b"1"))
            stop.wait(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    beats = 0
    async for part in stream(broker, rhythm=QUICK):
        beats += part.count(HEARTBEAT)
        if beats == 3:
            break
    stop.set()
    writer.join()
    assert beats == 3


async def test_a_stream_begins_without_a_heartbeat(broker: MemoryBroker) -> None:
    broker.append(RUN, Entry("values", b"1"))
    assert not (await anext(stream(broker, rhythm=QUICK))).startswith(HEARTBEAT)


# ------------------------------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("modes", "event", "shown"),
    [
        ((), "anything|at:all", True),
        (("values",), "values", True),
        (("values",), "values|sub:1", True),
        (("values",), "updates", False),
        (("values",), "metadata", True),
        (("values",), "error", True),
        (("messages",), "messages", True),
        (("messages",), "messages/partial", True),
        (("messages",), "messages|sub:1", True),
        (("messages-tuple",), "messages", True),
        (("messages-tuple",), "messages/partial", True),
        (("updates", "custom"), "custom", True),
        (("updates", "custom"), "values", False),
        (("custom",), "customers", False),
        (("events",), "events", True),
    ],
)
def test_a_filter_shows_what_belongs_to_its_modes(modes: tuple[str, ...], event: str, shown: bool) -> None:
    assert of_run(frozenset(modes))(event) == (event if shown else None)


async def test_filtered_events_keep_the_ids_that_they_have_for_everybody(broker: MemoryBroker) -> None:
    for event in ("metadata", "values", "updates", "values", "updates"):
        broker.append(RUN, Entry(event, b"1"))
    await broker.end(RUN, b"{}")
    body = await text(stream(broker, shown=of_run(frozenset({"updates"}))))
    assert [offset for _, offset in ids(body)] == [0, 2, 4]


async def test_a_stream_of_which_nothing_is_wanted_still_beats_and_ends(broker: MemoryBroker) -> None:
    parts = stream(broker, rhythm=QUICK, shown=lambda event: None)
    broker.append(RUN, Entry("values", b"1"))
    assert await anext(parts) == HEARTBEAT
    await broker.end(RUN, b"{}")
    assert await text(parts) == b""


# ------------------------------------------------------------------------------------- gaps


async def test_a_reader_of_forgotten_events_is_told() -> None:
    broker = MemoryBroker(Limits(entries_max=100))
    broker.open(RUN, "thread")
    for _ in range(2_000):
        broker.append(RUN, Entry("values", b"%01000d" % 1))
    await broker.end(RUN, b"{}")
    found = events(await text(stream(broker)))
    assert [event for event, _ in found] == ["error"]
    assert '"EventsExpired"' in found[0][1]


async def test_a_reader_that_falls_behind_while_it_reads_is_told() -> None:
    broker = MemoryBroker(Limits(entries_max=100))
    broker.open(RUN, "thread")
    broker.append(RUN, Entry("values", b"1"))
    parts = stream(broker)
    assert events(await anext(parts)) == [("values", "1")]
    for _ in range(2_000):
        broker.append(RUN, Entry("values", b"%01000d" % 1))
    assert [event for event, _ in events(await text(parts))] == ["error"]


async def test_a_reader_of_a_log_that_is_gone_is_told(broker: MemoryBroker) -> None:
    body = await text(frames(partial(broker.read, "unknown"), Cursor(7, 3), NEVER, everything))
    assert [event for event, _ in events(body)] == ["error"]
    assert ids(body) == [(7, 3)]


async def test_a_gap_is_told_whatever_the_reader_filters() -> None:
    body = await text(
        frames(
            partial(MemoryBroker(Limits()).read, "unknown"), BEGINNING, NEVER, of_run(frozenset({"updates"}))
        )
    )
    assert [event for event, _ in events(body)] == ["error"]
