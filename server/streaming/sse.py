"""Entries of a log as server-sent events: frames, heartbeats, the end (contract/runs.md 5)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from .broker import END, Batch, Broker, Cursor, Entry, printable

HEARTBEAT = b": heartbeat\r\n\r\n"
RETRY = b"retry: 1000\r\n\r\n"
ALWAYS = ("metadata", "error")  # no filter hides how a run began and failed (contract/runs.md 8)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The heartbeat: every `seconds` on a fixed grid, counted from the start of the response."""

    seconds: float = 5.0


def frame(entry: Entry, event_id: str) -> bytes:
    """One event on the wire: event, data, id. A name with a line break cannot forge a field."""
    return b"event: %b\r\ndata: %b%b\r\nid: %b\r\n\r\n" % (
        printable(entry.event).encode(),
        entry.data,
        entry.shared,
        event_id.encode(),
    )


def wants(modes: frozenset[str]) -> Callable[[str], bool]:
    """A filter of event names by stream modes; no modes, no filter."""
    if not modes:
        return lambda event: True
    names = {"messages" if mode == "messages-tuple" else mode for mode in modes}

    def wanted(event: str) -> bool:
        name = event.partition("|")[0]
        return name in ALWAYS or name in names or name.partition("/")[0] in names

    return wanted


async def frames(
    broker: Broker, run_id: str, after: Cursor, rhythm: Rhythm, wanted: Callable[[str], bool]
) -> AsyncIterator[bytes]:
    """The stream of one reader, a write a time: all that is ready is joined.

    Ends after the END entry. Raises `Cut` when the server closes. A reader that comes for events which are
    no longer held is told so with an `error` event, never left with a silent hole (reliability D8).
    """
    loop = asyncio.get_running_loop()
    beat = loop.time() + rhythm.seconds
    cursor, opening, over = after, True, False
    while not over:
        batch = await broker.read(run_id, cursor, beat - loop.time())
        if batch is None or batch.lost:
            yield _gone(cursor)
            return
        if batch.entries:
            cursor, over = batch.last, batch.entries[-1].event == END
        part = _render(batch, wanted)
        del batch  # a client that does not read keeps this waiting below, with one piece of memory, not many
        if part and opening:
            part, opening = _with_retry(part), False
        if loop.time() >= beat:
            part += HEARTBEAT
            beat += rhythm.seconds
        if part:
            yield part


def _render(batch: Batch, wanted: Callable[[str], bool]) -> bytes:
    """The frames of a batch, joined: one write."""
    epoch, first = batch.first.epoch, batch.first.offset
    return b"".join(
        frame(entry, f"{epoch}-{first + index}")
        for index, entry in enumerate(batch.entries)
        if entry.event != END and wanted(entry.event)
    )


def _with_retry(part: bytes) -> bytes:
    """The part with the time that EventSource waits before it comes back, in its first frame."""
    end = part.index(b"\r\n\r\n") + 2
    return part[:end] + RETRY + part[end + 2 :]


def _gone(cursor: Cursor) -> bytes:
    data = (
        b'{"error":"EventsExpired","message":"Events after this point are no longer held; read the thread"}'
    )
    return frame(Entry("error", data), str(Cursor(cursor.epoch, max(cursor.offset, 0))))
