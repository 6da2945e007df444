"""Rules of searches for threads: a few at a time, so that they never keep all readers of the database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from ..errors import Overloaded
from ..models import Caller, Json, Page
from ..rules.access import Scope
from ..rules.threads import ThreadFields, ThreadQuery
from ..storage import thread_search as statements
from ..storage.database import Database, Tx
from .authorization import OPEN, Authorization, metadata_in

T = TypeVar("T")

AT_ONCE = 2  # of the database's four readers: states and joins must not wait for a search
WAIT_SECONDS = 10.0


class ThreadSearch:
    """Finds threads."""

    def __init__(self, database: Database, authorization: Authorization = OPEN) -> None:
        self._database = database
        self._authorization = authorization
        self._free = asyncio.Semaphore(AT_ONCE)

    async def search(
        self, caller: Caller, query: ThreadQuery, page: Page, show: ThreadFields
    ) -> tuple[list[Json], int]:
        """A page of the threads that a query describes, as their fields, and how many there are in all.

        What graphs made is JSON in bytes, also under `extracted`. Raises Invalid for a filter beyond the
        limits, TooLarge for a search that takes too long or a page that is too large, Overloaded.
        """
        query, scope = await self._searching(caller, query, page.limit, page.offset)
        return await self._read(lambda tx: statements.search(tx, query, page, show, scope))

    async def count(self, caller: Caller, query: ThreadQuery) -> int:
        """How many threads a query describes. Raises like `search`."""
        query, scope = await self._searching(caller, query, 0, 0)
        return await self._read(lambda tx: statements.count(tx, query, scope))

    async def _searching(
        self, caller: Caller, query: ThreadQuery, limit: int, offset: int
    ) -> tuple[ThreadQuery, Scope]:
        value: dict[str, Any] = {
            "metadata": dict(query.metadata),
            "values": query.values,
            "status": query.status,
            "limit": limit,
            "offset": offset,
        }
        if query.ids:
            value["ids"] = [*query.ids]
        scope = await self._authorization.ask(caller, "threads", "search", value)
        return replace(query, metadata=metadata_in(value)), scope

    async def _read(self, work: Callable[[Tx], T]) -> T:
        async with self._turn():
            return await self._database.read(work)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded("Earlier searches take too long; try again later") from None
        try:
            yield
        finally:
            self._free.release()
