"""Throws away what has outlived its use."""

import asyncio
import time

from .. import heap
from ..streaming.broker import Broker
from .worker import Worker

SWEEP_SECONDS = 0.5
SHARE_MAX = 0.01  # of the time, for collecting garbage while runs are under way: it stops every thread


async def sweep(broker: Broker, worker: Worker) -> None:
    """For ever: forget old logs, and collect what runs left behind: now and then, and when all have ended.

    Python looks for cycles when much is allocated, not when much can be freed: the chunks of a long answer
    would stay until the next one.
    """
    seen, not_before = 0, 0.0
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        broker.expire()
        now = time.monotonic()
        if worker.ended != seen and (worker.idle or now >= not_before):
            seen = worker.ended
            heap.settle()
            not_before = now + (time.monotonic() - now) / SHARE_MAX
