"""Throws away what has outlived its use."""

import asyncio
import time
from collections.abc import Callable

from .. import heap
from ..streaming.broker import Broker

SWEEP_SECONDS = 1.0
SHARE_MAX = 0.01  # of the time, for collecting garbage: it stops every thread


async def sweep(broker: Broker, ended: Callable[[], int]) -> None:
    """For ever: forget old logs, and collect what runs left behind; `ended` counts the runs that ended.

    Python looks for cycles when much is allocated, not when much can be freed: the chunks of a long answer
    would stay until the next one.
    """
    seen, not_before = 0, 0.0
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        broker.expire()
        now = time.monotonic()
        if ended() != seen and now >= not_before:
            seen = ended()
            heap.settle()
            not_before = now + (time.monotonic() - now) / SHARE_MAX
