"""Keeps the tasks of the server going: an error in one is told and the task begins again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0


async def every(seconds: float, *works: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do some things now and then, for ever."""
    while True:
        await asyncio.sleep(seconds)
        for work in works:
            await work()


async def keep_going(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a task that has no end until it returns. A full disk must not leave a server without it."""
    while True:
        try:
            return await work()
        except Exception:
            _log.exception("a task of the server failed and begins again", task=name)
            await asyncio.sleep(AGAIN_SECONDS)
