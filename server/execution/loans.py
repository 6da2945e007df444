"""Slots that runs leave to others while they wait for an answer of their own server (docs/decisions/0008)."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from ..asker import UNKNOWN
from ..errors import Overloaded

WAITING_MAX = 5_000  # about 0.1 MB each: a graph that calls itself for ever must not take the process along


class Loans:
    """Which runs wait. A run lends its one slot, however many answers it waits for."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._waiting_max = waiting_max
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def lend(self, run_id: str) -> Iterator[None]:
        """While entered, the run does nothing but wait."""
        self._waiting[run_id] += 1
        try:
            yield
        finally:
            self._waiting[run_id] -= 1
            if not self._waiting[run_id]:
                del self._waiting[run_id]

    def check(self) -> None:
        """Raises Overloaded when so many runs wait already that no more may be started by runs."""
        if len(self._waiting) >= self._waiting_max:
            raise Overloaded(f"{len(self._waiting)} runs are waiting for others that they started")

    def count(self, active: Collection[str], asking: str = "") -> int:
        """How many slots of the active runs others may use, that of a run which is about to wait included."""
        waiting = {*self._waiting, asking} & {*active}
        # Each unknown is some run that waits on a thread of its own; not one more than there are runs.
        return min(len(waiting) + self._waiting[UNKNOWN], len(active))
