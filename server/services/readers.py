"""Rules of reading: where a reader of a run or of a thread begins, and what is left when the log is gone."""

from ..errors import NotFound
from ..models import Caller, Json, Run, RunStatus, Thread
from ..rules.access import Scope
from ..storage import runs, threads
from ..storage.database import Database, Tx
from ..streaming.broker import BEGINNING, Broker, Cursor
from . import naming
from .authorization import OPEN, Authorization
from .endings import FAILURES, closing, failed, stopped
from .threads import missing


def told_by_rows(run: Run | None, thread: Thread | None) -> bytes:
    """What a run that is over answers to those who wait, when its log does not tell."""
    values = thread.values if thread is not None else None
    if run is not None and run.status in FAILURES:
        return failed(run.error)
    if run is not None and run.status is RunStatus.interrupted:
        return stopped(run.run_id, closing(run.run_id, run.status, run.reason), values)
    return values or b"{}"


class Readers:
    """Those who follow runs: from the start, from now, from where they left off, or only for the result."""

    def __init__(self, database: Database, broker: Broker, authorization: Authorization = OPEN) -> None:
        self._database = database
        self._broker = broker
        self._authorization = authorization

    @property
    def asks(self) -> bool:
        """Whether anybody may be refused."""
        return self._authorization.asks

    async def watch(
        self, caller: Caller, thread_id: str | None, run_id: str, last_event_id: str | None
    ) -> Cursor | None:
        """Where a reader of this run begins: after `last_event_id`, else now. None: there is nothing to come.

        Raises NotFound (contract/runs.md 8; an unknown run is a 404 here).
        """
        scope = await self._reading(caller, thread_id, run_id)
        run = await self._database.read(lambda tx: runs.get(tx, thread_id, run_id, scope))
        if run is None and not await self._outlived(caller, thread_id, run_id):
            raise NotFound(f"Run with ID {run_id} not found")
        tail = await self._broker.tail(run_id)
        unknown = tail is None and run is not None and run.status.active
        if run is not None and unknown:  # not begun yet, or where its log is kept is out of reach
            self._broker.open(run_id, run.thread_id)
        if last_event_id is not None:
            return Cursor.parse(last_event_id)
        if unknown:
            return BEGINNING
        if run is None or not run.status.active:
            return None
        return tail if run.status is RunStatus.running else BEGINNING

    async def watch_thread(self, caller: Caller, thread_id: str, after: Cursor | None) -> Cursor:
        """Where a reader of all runs of a thread begins: after a place, else now. Raises NotFound."""
        scope = await self._reading(caller, thread_id)
        tail = await self._broker.tail_of_thread(thread_id)  # first: so a deletion meanwhile comes after it
        if not await self._database.read(lambda tx: threads.exists(tx, thread_id, scope)):
            raise missing(thread_id)
        return tail if after is None else after

    async def watch_events(self, caller: Caller, thread_id: str) -> Cursor:
        """The place behind which all events of a thread are new. The thread need not be there yet: clients
        of protocol v2 name it and watch it before its first run (contract/protocol-v2.md 1).

        Raises NotFound for a thread that is there, but not for this caller.
        """
        if self.asks:
            await self.sees(caller, thread_id)
        return await self._broker.tail_of_thread(thread_id)

    async def sees(self, caller: Caller, thread_id: str) -> bool:
        """Whether there is such a thread, for those who follow it already: it may have become somebody's.

        Raises NotFound for one that is there, but not for this caller; and as `Authorization.ask`.
        """
        scope = await self._reading(caller, thread_id)

        def look(tx: Tx) -> tuple[bool, bool]:
            return threads.exists(tx, thread_id), threads.exists(tx, thread_id, scope)

        there, visible = await self._database.read(look)
        if there and not visible:
            raise missing(thread_id)
        return there

    async def returned(self, caller: Caller, thread_id: str, run_id: str) -> bytes | None:
        """What a run answers to those who join it, when only its row is left to tell; None: its log will.

        Raises NotFound for an unknown run.
        """

        scope = await self._reading(caller, thread_id, run_id)

        def work(tx: Tx) -> tuple[Run | None, Thread | None]:
            return runs.get(tx, thread_id, run_id, scope), threads.get(tx, thread_id, scope)

        run, thread = await self._database.read(work)
        if run is None and not await self._outlived(caller, thread_id, run_id):
            raise NotFound(f"Run with ID {run_id} not found")
        if await self._broker.thread_of(run_id) is not None:
            return None
        if run is not None and run.status.active:
            self._broker.open(run_id, thread_id)
            return None
        return told_by_rows(run, thread)

    async def _outlived(self, caller: Caller, thread_id: str | None, run_id: str) -> bool:
        """Whether there is the log of a temporary run whose row is gone, and which the caller may read."""
        owner = await self._broker.thread_of(run_id)
        if owner is None or thread_id not in (None, owner):
            return False
        if not self._authorization.asks or caller.trusted:
            return True
        return await self._database.read(lambda tx: naming.is_maker(tx, caller, run_id))

    async def _reading(self, caller: Caller, thread_id: str | None, run_id: str | None = None) -> Scope:
        value: Json = {"thread_id": thread_id, **({} if run_id is None else {"run_id": run_id})}
        return await self._authorization.ask(caller, "threads", "read", value)
