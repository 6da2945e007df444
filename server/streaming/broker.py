"""The log of a run: what it emits, in order, each entry with an offset. Readers hold a cursor, not a queue.

Replay and live are the same call, so there is no gap between them to lose a token in. A log closes with two
entries: how the run ended for those who watch (DONE, or STOPPED if somebody made it end), and END with what
those get who wait. The logs of a thread, in the order in which they began, are the log of the thread.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

DONE = "done"
STOPPED = "stopped"
END = "end"
STATE_UPDATE = "state_update"  # a note: the state of the thread was changed by hand
GONE = "gone"  # a note, the last of a thread: it was deleted
ASIDE = "~"  # begins the names of events that only protocol v2 shows (execution/asides.py)
_PLACE = re.compile(r"-1?|(?P<epoch>\d{1,19})(-(?P<offset>\d{1,19}))?", re.ASCII)


class Entry(NamedTuple):
    """One event. Its data is one line of JSON: `data` followed by `shared`.

    `shared` is what many entries have in common to the byte (the metadata of a model call, 700 of the 1,000
    bytes of a token): the log holds it once.
    """

    event: str
    data: bytes
    shared: bytes = b""


def aside(name: str, namespace: Sequence[str] = ()) -> str:
    """The name of an event that only protocol v2 shows."""
    return "|".join((ASIDE + name, *namespace))


def printable(name: str) -> str:
    """An event name that cannot forge a field or break an encoding: subgraphs bring users' text into it."""
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a log: after entry `offset` of the log that began at `epoch` (milliseconds).

    No two logs have the same epoch, and one that began later has a larger one: so a place in the log of a
    run is a place in its thread's, and a log that was lost and begun anew can be told from the old one.
    """

    epoch: int
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """The cursor that an event id names; anything else means the beginning (contract/runs.md 8)."""
        epoch, _, offset = text.strip().partition("-")
        plain = text.isascii() and epoch.isdigit() and offset.isdigit() and len(text) <= 40
        return cls(int(epoch), int(offset)) if plain else BEGINNING

    @classmethod
    def parse_place(cls, text: str) -> "Cursor | None":
        """The place in the log of a thread that an event id names: `<ms>-<n>`, `<ms>`, or `-` and `-1`, the
        beginning (contract/runs.md 9). None for anything else."""
        found = _PLACE.fullmatch(text.strip())
        if found is None:
            return None
        return cls(int(found["epoch"]), int(found["offset"] or 0)) if found["epoch"] else BEGINNING


BEGINNING = Cursor(0, -1)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a read found: `entries`, the first of them at `first`; `lost` entries before it are gone."""

    entries: Sequence[Entry]
    first: Cursor
    lost: int = 0

    @property
    def last(self) -> Cursor:
        return Cursor(self.first.epoch, self.first.offset + len(self.entries) - 1)


class Broker(Protocol):
    """Keeps the logs. One writer a log, any number of readers."""

    def open(self, run_id: str, thread_id: str) -> None:
        """Let it be known that there is such a log, or will be: readers wait for what comes."""

    async def begin(self, run_id: str, thread_id: str, attempt: int) -> None:
        """Write the log from here on; keeps what an earlier attempt wrote, but hears its writer no more.

        Never fails: where the log is kept elsewhere and out of reach, it is sent on later. Who is cancelled
        meanwhile may call again and waits for the same.
        """

    async def thread_of(self, run_id: str) -> str | None:
        """The thread of a log, which may outlive its run; None when there is no such log."""

    def append(self, run_id: str, entry: Entry) -> None:
        """Add an entry to a log that was begun here. Never blocks; any thread."""

    async def end(self, run_id: str, data: bytes) -> None:
        """Close the log with its END entry. Later appends are dropped. Ending twice does nothing."""

    async def note(self, thread_id: str, entry: Entry) -> None:
        """Add an entry of no run to the log of a thread. After GONE the thread begins anew."""

    async def tail(self, run_id: str) -> Cursor | None:
        """The place after everything there is; None when there is no such log."""

    async def tail_of_thread(self, thread_id: str) -> Cursor:
        """The place from which on everything is new: after all that the runs of a thread have emitted,
        as long as one of them is under way after what that one has."""

    async def read(self, run_id: str, after: Cursor, seconds: float) -> Batch | None:
        """Entries after a cursor: those there are, else those that come within `seconds`.

        An empty batch means that the time is over; None that there is no such log. A cursor of another
        epoch reads from the beginning. Raises `Cut` where it would wait and the server closes its streams.
        """

    async def follow(self, thread_id: str, after: Cursor, seconds: float) -> Batch:
        """`read` over all logs of a thread, one after the other; each batch is of one of them.

        Entries after a cursor are those of later logs too. `lost` tells that logs in between are gone; the
        beginning asks for what there is, since the thread began anew, and has lost nothing. Raises `Cut`.
        """

    async def ended(self, run_id: str, seconds: float) -> Entry | None:
        """The END entry, waiting for it up to `seconds`, whatever else the run emits meanwhile.

        None when the time is over or there is no such log. Raises `Cut`.
        """

    def expire(self) -> None:
        """Forget the logs that ended long enough ago."""

    def held(self) -> tuple[int, int]:
        """How many logs are in the memory of this process, and their bytes."""

    def cut(self) -> None:
        """Let every reader, present and future, raise `Cut` when it has read what there is."""


class Cut(Exception):
    """The server is closing: the stream must break off, not end (reliability D6)."""
