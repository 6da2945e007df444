"""Whether requests should be sent here: the database answers in time and its disk has room."""

import asyncio
import os

from sqlalchemy import text

from ..errors import NotReady
from .database import SqliteDatabase, Tx

ANSWER_SECONDS = 2.0  # below the timeout of the usual probes
_one = text("SELECT 1")


class Health:
    """Asks the database and the disk that it is on."""

    def __init__(self, database: SqliteDatabase, free_bytes_min: int) -> None:
        self._database = database
        self._free_bytes_min = free_bytes_min

    async def check(self) -> None:
        """Raises NotReady, which says why. What is under way goes on all the same."""
        free = await asyncio.to_thread(self._free_bytes)
        if free < self._free_bytes_min:
            raise NotReady(f"The disk has {free} bytes left, less than the {self._free_bytes_min} wanted")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._database.read(_look)
                await self._database.write(_look)  # commits nothing, but waits in line
        except TimeoutError:
            raise NotReady(f"The database did not answer within {ANSWER_SECONDS:g} seconds") from None
        except Exception as failure:
            raise NotReady(f"The database does not answer ({type(failure).__name__})") from failure

    def _free_bytes(self) -> int:
        found = os.statvfs(self._database.path)
        return found.f_bavail * found.f_frsize


def _look(tx: Tx) -> None:
    tx.execute(_one)
