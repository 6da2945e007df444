"""Asking again whether somebody may still read what he reads for long (reliability S4)."""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.requests import HTTPConnection

from ..errors import AccessError, NotFound, Overloaded
from ..models import Caller
from ..services.readers import Readers
from ..streaming.broker import Batch, Cursor, Cut
from ..streaming.sse import Read
from .context import caller, services

AGAIN_SECONDS = 50.0


class Again:
    """Asks for one reader of a thread, now and then. Costs nothing where nobody may be refused."""

    def __init__(self, readers: Readers, who: Caller, *, at_once: bool = False) -> None:
        self._readers = readers
        self._who = who
        self.asks = readers.asks and not who.trusted
        self._next = 0.0 if at_once else time.monotonic() + AGAIN_SECONDS

    @property
    def due(self) -> bool:
        return self.asks and time.monotonic() >= self._next

    async def ask(self, thread_id: str) -> bool:
        """Whether there is such a thread. Raises Cut where it is not the reader's, who then comes back."""
        self._next = time.monotonic() + AGAIN_SECONDS
        try:
            return await self._readers.sees(self._who, thread_id)
        except (AccessError, NotFound):
            raise Cut from None


def asked_again(
    request: HTTPConnection, read: Callable[[Cursor, float], Awaitable[Batch | None]], thread: object
) -> Read:
    """A way to read a log, of a thread by its id, or of a run by what tells its thread."""
    again = Again(services(request).readers, caller(request))
    if not again.asks:
        return read

    async def read_and_ask(cursor: Cursor, seconds: float) -> Batch | None:
        if again.due:
            thread_id = await thread() if callable(thread) else thread
            with suppress(Overloaded):  # nobody can tell at present
                if isinstance(thread_id, str):
                    await again.ask(thread_id)
        return await read(cursor, seconds)

    return read_and_ask
