"""Entries packed into a few buffers, the older ones compressed.

A token is 300 bytes of JSON, nearly all of it the same as in the token before. As a Python object of its own
it would cost half as much again, and thousands of small objects strewn over the heap keep it from shrinking
when a run has ended. So the bytes of the newest entries lie in one buffer; when that is full it is compressed
(to a tenth, at 3 microseconds a token) and added to another. An entry becomes an object when it is read.
Live readers are at the end of the log, in the buffer that is not full: they never wait for a decompression.
"""

import zlib
from array import array
from collections.abc import Iterator

import orjson

from .broker import Entry, printable

PAGE_BYTES = 64 * 1024
KINDS_MAX = 2**16 - 1  # what the two bytes of an index can count
ENTRY_OVERHEAD = 6  # bytes of index an entry
LEVEL = 1


class Packed:
    """Consecutive entries, the first of them at `base`, in pages: all but the last are compressed.

    The kind of an entry is (event name, shared tail): each page has the kinds of its entries once.
    """

    __slots__ = (
        "_archive",
        "_counts",
        "_ends",
        "_kind_bytes",
        "_kinds",
        "_lengths",
        "_numbers",
        "_of",
        "_open",
        "_sealed",
        "_sizes",
        "base",
    )

    def __init__(self) -> None:
        self.base = 0
        self._sealed = 0  # how many of the entries are in compressed pages
        self._archive = bytearray()
        # Of each compressed page: its bytes in the archive, the bytes of its entries, their number.
        # Arrays and not a list of objects, for the reason above.
        self._lengths, self._sizes, self._counts = array("I"), array("I"), array("I")
        self._open = bytearray()
        self._ends, self._numbers = array("I"), array("H")  # of each entry: its end in its page, its kind
        self._kinds: list[tuple[str, bytes]] = []
        self._of: dict[tuple[str, bytes], int] = {}
        self._kind_bytes = 0

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def pages(self) -> int:
        """How many pages have entries."""
        return len(self._counts) + (len(self) > self._sealed)

    @property
    def full(self) -> bool:
        """Whether the open page wants to be sealed."""
        return len(self._open) + self._kind_bytes >= PAGE_BYTES or len(self._kinds) >= KINDS_MAX

    def add(self, entry: Entry) -> int:
        """Append; returns by how many bytes this grew."""
        kind = (printable(entry.event), entry.shared)
        number = self._of.get(kind)
        grown = len(entry.data) + ENTRY_OVERHEAD
        if number is None:
            number = self._of[kind] = len(self._kinds)
            self._kinds.append(kind)
            self._kind_bytes += len(entry.event) + len(entry.shared)
            grown += len(entry.event) + len(entry.shared)
        self._open += entry.data
        self._ends.append(len(self._open))
        self._numbers.append(number)
        return grown

    def seal(self) -> int:
        """Compress the open page and begin another; returns by how many bytes this shrank."""
        size = len(self._open)
        before = size + self._kind_bytes
        page = zlib.compress(self._open + _dump(self._kinds), LEVEL)
        self._archive += page
        self._lengths.append(len(page))
        self._sizes.append(size)
        self._counts.append(len(self) - self._sealed)
        self._sealed = len(self)
        self._open, self._kinds, self._of, self._kind_bytes = bytearray(), [], {}, 0
        return before - len(page)

    def forget(self) -> int:
        """Drop the oldest compressed page, if there is one; returns the bytes freed."""
        if not self._counts:
            return 0
        length, count = self._lengths.pop(0), self._counts.pop(0)
        self._sizes.pop(0)
        del self._archive[:length], self._ends[:count], self._numbers[:count]
        self.base += count
        self._sealed -= count
        return length + count * ENTRY_OVERHEAD

    def entries(self, start: int) -> Iterator[Entry]:
        """The entries from offset `start` on, as far as there are any."""
        at, skip = 0, start - self.base
        position = 0
        for length, size, count in zip(self._lengths, self._sizes, self._counts, strict=True):
            if skip < at + count:
                page = zlib.decompress(memoryview(self._archive)[position : position + length])
                yield from self._page(page[:size], _load(page[size:]), at, at + count, skip)
            at, position = at + count, position + length
        yield from self._page(self._open, self._kinds, at, len(self), skip)

    def _page(
        self, data: bytes | bytearray, kinds: list[tuple[str, bytes]], first: int, last: int, skip: int
    ) -> Iterator[Entry]:
        """The entries of one page, which are those from `first` to `last`, without those before `skip`."""
        start = max(first, skip)
        begin = self._ends[start - 1] if start > first else 0
        for index in range(start, last):
            end = self._ends[index]
            event, shared = kinds[self._numbers[index]]
            yield Entry(event, bytes(data[begin:end]), shared)
            begin = end


def _dump(kinds: list[tuple[str, bytes]]) -> bytes:
    return orjson.dumps([part for event, shared in kinds for part in (event, shared.decode())])


def _load(data: bytes) -> list[tuple[str, bytes]]:
    parts: list[str] = orjson.loads(data)
    return [(event, shared.encode()) for event, shared in zip(parts[::2], parts[1::2], strict=True)]
