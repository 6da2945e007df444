"""Entries of a log as server-sent events: frames, heartbeats, the end (contract/runs.md 5)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from .broker import ASIDE, BEGINNING, DONE, END, GONE, STATE_UPDATE, STOPPED, Batch, Cursor, Entry, printable

Read = Callable[[Cursor, float], Awaitable[Batch | None]]  # the broker's `read` or `follow` of one log
Shown = Callable[[str], str | None]  # the name of an entry's event on the wire; None: not for this reader

HEARTBEAT = b": heartbeat\r\n\r\n"
RETRY = b"retry: 1000\r\n\r\n"
METADATA = "metadata"
ALWAYS = (METADATA, "error")  # no filter hides how a run began and failed (contract/runs.md 8)
CLOSING = (DONE, STOPPED, END, GONE)
RUN_MODES, LIFECYCLE = "run_modes", "lifecycle"
THREAD_MODES = (RUN_MODES, LIFECYCLE, STATE_UPDATE)


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


def of_run(modes: frozenset[str]) -> Shown:
    """What a reader of a run sees, filtered by stream modes; no modes, no filter."""
    names = {"messages" if mode == "messages-tuple" else mode for mode in modes}

    def shown(event: str) -> str | None:
        if event in CLOSING:
            return METADATA if event == STOPPED else None
        if event.startswith(ASIDE):
            return None
        name = event.partition("|")[0]
        wanted = not names or name in ALWAYS or name in names or name.partition("/")[0] in names
        return event if wanted else None

    return shown


def of_thread(modes: frozenset[str]) -> Shown:
    """What a reader of a thread sees by the modes of contract/runs.md 9; a run's outcome is told too."""
    runs, life = RUN_MODES in modes, LIFECYCLE in modes

    def shown(event: str) -> str | None:
        if event == STATE_UPDATE:
            return event if STATE_UPDATE in modes else None
        if event in CLOSING:
            return METADATA if event in (DONE, STOPPED) and (runs or life) else None
        if event.startswith(ASIDE):
            return None
        return event if runs or (life and event == METADATA) else None

    return shown


async def frames(
    read: Read, after: Cursor, rhythm: Rhythm, shown: Shown, *, endless: bool = False
) -> AsyncIterator[bytes]:
    """The stream of one reader, a write a time: all that is ready is joined.

    Ends after the END entry, an endless one when its thread is GONE. Raises `Cut` when the server closes. A
    reader that comes for events which are no longer held is told so with an `error` event, never left with
    a silent hole (reliability D8): the stream of a run ends there, an endless one goes on with what is held.
    """
    last = GONE if endless else END
    loop = asyncio.get_running_loop()
    beat = loop.time() + rhythm.seconds
    cursor, opening, over = after, True, False
    while not over:
        batch = await read(cursor, beat - loop.time())
        part = _gone(cursor) if batch is None or batch.lost else b""
        if batch is None or (part and not endless):
            yield part
            return
        if batch.entries:
            cursor, over = batch.last, batch.entries[-1].event == last
        elif part:
            cursor = BEGINNING
        part += _render(batch, shown)
        del batch  # a client that does not read keeps this waiting below, with one piece of memory, not many
        if part and opening:
            part, opening = with_retry(part), False
        if loop.time() >= beat:
            part += HEARTBEAT
            beat += rhythm.seconds
        if part:
            yield part


def _render(batch: Batch, shown: Shown) -> bytes:
    """The frames of a batch, joined: one write."""
    epoch, first = batch.first.epoch, batch.first.offset
    return b"".join(
        frame(entry if name == entry.event else entry._replace(event=name), f"{epoch}-{first + index}")
        for index, entry in enumerate(batch.entries)
        if (name := shown(entry.event)) is not None
    )


def with_retry(part: bytes) -> bytes:
    """The part with the time that EventSource waits before it comes back, in its first frame."""
    end = part.index(b"\r\n\r\n") + 2
    return part[:end] + RETRY + part[end + 2 :]


def _gone(cursor: Cursor) -> bytes:
    data = (
        b'{"error":"EventsExpired","message":"Events after this point are no longer held; read the thread"}'
    )
    return frame(Entry("error", data), str(Cursor(cursor.epoch, max(cursor.offset, 0))))
