"""Whether requests should be sent here: the database takes a write in time and its disk has room."""

import asyncio
import os
import time
from pathlib import Path

from sqlalchemy import text

from ..errors import NotReady
from .database import Database, SqliteDatabase, Tx

ANSWER_SECONDS = 2.0  # below the timeout of the usual probes
FRESH_SECONDS = (
    1.0  # how long a finding counts: whoever asks all the time must not make us write all the time
)

# Changes nothing and is written all the same: only that tells of a quota or a disk that has become read-only.
_write = text("UPDATE alembic_version SET version_num = version_num")


class Health:
    """Asks the database, and the disk that it is on: that of a database server is its own business."""

    def __init__(self, database: Database, free_bytes_min: int) -> None:
        self._database = database
        self._free_bytes_min = free_bytes_min
        self._asking = asyncio.Lock()
        self._stale_at = 0.0
        self._problem: str | None = None

    async def check(self) -> None:
        """Raises NotReady, which says why. What is under way goes on all the same."""
        async with self._asking:
            if time.monotonic() >= self._stale_at:
                self._problem = await self._find()
                self._stale_at = time.monotonic() + FRESH_SECONDS
        if self._problem:
            raise NotReady(self._problem)

    async def _find(self) -> str | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if isinstance(self._database, SqliteDatabase):
                    free = await asyncio.to_thread(_free_bytes, self._database.path)
                    if free < self._free_bytes_min:
                        return f"The disk has {free} bytes left; {self._free_bytes_min} are wanted"
                await self._database.write(_touch)
        except TimeoutError:
            return f"The database did not take a write within {ANSWER_SECONDS:g} seconds"
        except Exception as failure:
            return f"The database takes no write ({type(failure).__name__})"
        return None


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _touch(tx: Tx) -> None:
    tx.execute(_write)
