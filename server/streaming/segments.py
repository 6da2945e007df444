"""Entries packed into large buffers.

A token is 300 bytes; as a Python object of its own it would cost half as much again, and thousands of them
strewn over the heap keep it from shrinking when a run has ended (8 runs of 10,000 tokens left 94 MB behind
instead of 30). So the bytes of many entries lie in one buffer; an entry becomes an object when it is read.
"""

from array import array
from collections.abc import Iterator

from .broker import Entry

# Large, because a buffer that grows leaves its smaller selves behind as holes in the heap until it is mapped.
SEGMENT_BYTES = 4 * 2**20
KINDS_MAX = 2**16 - 1  # what the two bytes of an index can count
ENTRY_OVERHEAD = 6  # bytes of index an entry


class Segment:
    """Some consecutive entries: their bytes end to end, where each ends, and of what kind it is.

    The kind is (event name, shared tail), of which many entries have the same.
    """

    __slots__ = ("_kinds", "_of", "_which", "data", "ends")

    def __init__(self) -> None:
        self.data = bytearray()
        self.ends = array("I")
        self._which = array("H")
        self._kinds: list[tuple[str, bytes]] = []
        self._of: dict[tuple[str, bytes], int] = {}

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def full(self) -> bool:
        return len(self.data) >= SEGMENT_BYTES or len(self._kinds) >= KINDS_MAX

    def add(self, entry: Entry) -> int:
        """Append; returns by how many bytes the segment grew."""
        kind = (entry.event, entry.shared)
        number = self._of.get(kind)
        grown = len(entry.data) + ENTRY_OVERHEAD
        if number is None:
            number = self._of[kind] = len(self._kinds)
            self._kinds.append(kind)
            grown += len(entry.event) + len(entry.shared)
        self.data += entry.data
        self.ends.append(len(self.data))
        self._which.append(number)
        return grown

    def size(self) -> int:
        """What `add` has returned in all."""
        kinds = sum(len(event) + len(shared) for event, shared in self._kinds)
        return len(self.data) + len(self.ends) * ENTRY_OVERHEAD + kinds

    def entries(self, start: int) -> Iterator[Entry]:
        """The entries from the one at `start` on."""
        begin = self.ends[start - 1] if start else 0
        for index in range(start, len(self.ends)):
            end = self.ends[index]
            event, shared = self._kinds[self._which[index]]
            yield Entry(event, bytes(self.data[begin:end]), shared)
            begin = end
