"""Reading the log of a thread for one subscription: a cursor, a view, and the time of the next heartbeat."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from ...api.again import Again
from ...backend import Backend
from ...models import Caller
from ...streaming.broker import BEGINNING, Cut
from .events import Event
from .subscriptions import Subscription
from .view import View

# How long a state waits for its checkpoint, which langgraph tells in the same moment, save where it saves the
# checkpoint first.
HOLD_SECONDS = 0.05


async def events(
    door: Backend, caller: Caller, thread_id: str, subscription: Subscription
) -> AsyncIterator[tuple[list[Event], bool]]:
    """What there is, then what comes, for ever; each with whether a heartbeat is due.

    Raises `Cut` when the server closes, and where events are gone that the reader has not had: he comes back,
    and begins with what there is.
    """
    loop = asyncio.get_running_loop()
    beat = loop.time() + door.rhythm.seconds
    view, cursor = View(subscription), BEGINNING
    # At once: the thread need not have been there, and may be somebody else's by now.
    again = Again(door.services.readers, caller, at_once=True)
    while True:
        wait = beat - loop.time()
        batch = await door.broker.follow(thread_id, cursor, min(wait, HOLD_SECONDS) if view.holds else wait)
        if batch.lost and cursor.epoch:
            raise Cut
        if batch.entries:
            cursor = batch.last
            if again.due and not await again.ask(thread_id):
                batch = replace(batch, entries=())  # of a thread that is gone; whose it was, nobody can tell
        found = view.feed(batch) if batch.entries else view.flush()
        del batch  # a client that does not read keeps this waiting below, with one piece of memory, not many
        if due := loop.time() >= beat:
            beat += door.rhythm.seconds
        if found or due:
            yield found, due
