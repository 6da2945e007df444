"""A way around the queue: what need not wait begins in the transaction that admits it."""

from typing import Protocol

from ..models import Run


class Starter(Protocol):
    """A worker in this process that takes runs as they are admitted."""

    @property
    def worker_id(self) -> str | None:
        """Its name among several; None for the only one."""

    def reserve(self) -> bool:
        """Keep a slot free for a run that is about to be admitted; False when there is none.

        Raises Overloaded for a run that another one starts, when too many wait for such already.
        """

    def release(self) -> None:
        """Give the slot back: nothing was admitted, or it has to wait."""

    def start(self, run: Run) -> None:
        """Execute a run that was admitted as running, in the reserved slot."""
