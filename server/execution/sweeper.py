"""Throws away what has outlived its use."""

import asyncio

from ..streaming.broker import Broker

SWEEP_SECONDS = 5.0


async def sweep(broker: Broker) -> None:
    """For ever: forget the logs of runs that ended long enough ago."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        broker.expire()
