"""Rules of threads: create, read, delete."""

from ..clock import new_id, now
from ..errors import Conflict, NotFound
from ..models import Caller, Json, Thread, ThreadStatus
from ..storage import runs, traces
from ..storage import threads as statements
from ..storage.database import Database, Tx
from ..streaming.broker import Broker
from ..streaming.signals import Signals
from .admission import STOP_WAIT_SECONDS, Displaced, Ended, displace, tell
from .endings import DELETED, THREAD_GONE

# The server writes these three itself; what a client says of them is dropped (contract/resources.md 4.1).
_OWN = ("thread_id", "run_id", "assistant_id")

THREAD_DELETED = "the thread was deleted"


def new_thread(thread_id: str, metadata: Json) -> Thread:
    """A thread that has not run."""
    at = now()
    kept = {key: value for key, value in metadata.items() if key not in _OWN}
    return Thread(thread_id, at, at, at, kept, ThreadStatus.idle, {}, None, None)


def missing(thread_id: str) -> NotFound:
    """The error for a thread that is not there."""
    return NotFound(f"Thread with ID {thread_id} not found")


class Threads:
    """The threads of this server."""

    def __init__(self, database: Database, broker: Broker, signals: Signals) -> None:
        self._database = database
        self._broker = broker
        self._signals = signals

    async def create(self, caller: Caller, thread_id: str | None, metadata: Json, if_exists: str) -> Thread:
        """Make a thread. An id that exists: Conflict, or with `do_nothing` the thread as it is."""
        thread = new_thread(thread_id or new_id(), metadata)

        def work(tx: Tx) -> Thread:
            if thread_id is not None and (found := statements.get(tx, thread_id)):
                if if_exists == "do_nothing":
                    return found
                raise Conflict(f"Thread with ID {thread_id} already exists")
            statements.add(tx, thread)
            return thread

        return await self._database.write(work)

    async def get(self, caller: Caller, thread_id: str) -> Thread:
        """One thread. Raises NotFound."""
        found = await self._database.read(lambda tx: statements.get(tx, thread_id))
        if found is None:
            raise missing(thread_id)
        return found

    async def delete(self, caller: Caller, thread_id: str) -> None:
        """Delete a thread with its runs and checkpoints. Raises NotFound.

        What runs for it is stopped first: when this returns, no step of it begins any more (reliability D9).
        Code that cannot be stopped finds its run gone: the fence refuses its writes.
        """
        displaced = await self._database.write(lambda tx: self._stop_all(tx, thread_id))
        tell(self._broker, self._signals, displaced)
        for run_id in displaced.stopping:
            await self._broker.ended(run_id, STOP_WAIT_SECONDS)

        def work(tx: Tx) -> list[Ended]:
            if not statements.exists(tx, thread_id):
                raise missing(thread_id)
            active = runs.active(tx, thread_id)
            stopped = [Ended.of(tx, run, DELETED, THREAD_DELETED) for run in active]
            traces.delete_thread(tx, thread_id)
            statements.remove(tx, thread_id)
            return stopped

        for ended in await self._database.write(work):
            self._broker.append(ended.run_id, ended.how)
            self._broker.end(ended.run_id, ended.returned)
        self._broker.note(thread_id, THREAD_GONE)
        self._signals.notify("stop")

    def _stop_all(self, tx: Tx, thread_id: str) -> Displaced:
        if not statements.exists(tx, thread_id):
            raise missing(thread_id)
        displaced = Displaced()
        for run in runs.active(tx, thread_id):
            displace(tx, run, "delete", THREAD_DELETED, displaced)
        return displaced
