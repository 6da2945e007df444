"""Entries as they lie in Redis: one field each, named by where its kind was written down.

The kind of an entry is (event name, shared tail). The first entry of its kind in a window has it beside its
data; those after it name that entry by its offset. As an entry never changes, neither does what the offset
means: whoever does not know it can look it up. Redis forgets whole windows, and no kind before its use.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from .broker import Entry, printable

WINDOW_ENTRIES, WINDOW_BYTES = 1024, 256 * 1024
DATA, EVENT, SHARED = b"", b"e", b"s"  # fields of an entry that has its kind beside it
KINDS_MAX = 2 * WINDOW_ENTRIES

Kind = tuple[str, bytes]


class Windows:
    """The writer's side: names kinds, and knows which windows to keep within the limits."""

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._kinds: dict[Kind, bytes] = {}
        self._windows: deque[list[int]] = deque()  # of each: its first offset, the bytes of its entries
        self._bytes = 0
        self._next = -1

    def restart(self) -> None:
        """What is written next is not what was expected: begin a window, so that it stands for itself."""
        self._next = -1

    def fields(self, offset: int, entries: Iterable[Entry]) -> list[str | bytes | int]:
        """Consecutive entries as arguments: of each the number of strings and they."""
        found: list[str | bytes | int] = []
        for entry in entries:
            self._place(offset, entry)
            kind = (printable(entry.event), entry.shared)
            name = self._kinds.get(kind)
            if name is None:
                self._kinds[kind] = b"%d" % offset
                found += (6, DATA, entry.data, EVENT, kind[0], SHARED, entry.shared)
            else:
                found += (2, name, entry.data)
            offset += 1
        return found

    def _place(self, offset: int, entry: Entry) -> None:
        """The entry has its place in the newest window, or begins another one."""
        newest = self._windows[-1] if self._windows else None
        full = newest is None or offset - newest[0] >= WINDOW_ENTRIES or newest[1] >= WINDOW_BYTES
        if newest is None or full or offset != self._next:
            newest = [offset, 0]
            self._windows.append(newest)
            self._kinds.clear()
        size = len(entry.data) + len(entry.shared) * ((entry.event, entry.shared) not in self._kinds)
        newest[1] += size
        self._bytes += size
        self._next = offset + 1

    def keep_from(self) -> int | None:
        """The first offset to keep, if there is more than the limits allow. The newest window stays."""
        moved = False
        while len(self._windows) > 1 and (
            self._bytes > self._bytes_max or self._next - self._windows[1][0] >= self._entries_max
        ):
            self._bytes -= self._windows.popleft()[1]
            moved = True
        return self._windows[0][0] if moved else None


class Kinds:
    """The reader's side: the kinds that it came by, those of the last windows."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, Kind] = {}

    def learn(self, offset: int, fields: Sequence[bytes]) -> None:
        """Remember the kind that an entry has beside it."""
        if len(fields) > 2:
            self._kinds[b"%d" % offset] = fields[3].decode(), fields[5]
            if len(self._kinds) > KINDS_MAX:
                self._kinds = dict(list(self._kinds.items())[-WINDOW_ENTRIES:])

    def unknown(self, fields: Sequence[bytes]) -> int | None:
        """The offset of the entry that has the kind of this one beside it, if it must be looked up."""
        return int(fields[0]) if len(fields) == 2 and fields[0] not in self._kinds else None

    def entry(self, offset: int, fields: Sequence[bytes]) -> Entry:
        """The entry that these fields are. Raises KeyError when its kind is not known."""
        self.learn(offset, fields)
        event, shared = self._kinds[fields[0] if len(fields) == 2 else b"%d" % offset]
        return Entry(event, fields[1], shared)
