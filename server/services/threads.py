"""Rules of a thread (contract/resources.md 4): how it begins, what it is called, how long it lives.

- Its metadata are the client's, save for the names of the server's own; a run writes `graph_id` and
  `assistant_id` into them. They stay small, however they are put together.
- It lives for ever, or for its TTL after its last change. A thread that is busy is never swept away.
- It is busy while a run waits or runs, and only then; what it shows otherwise is what the last run left
  (docs/run-states.md). Its state is changed in `state_update.py`.
- Deleting it stops what runs for it: `erasure.py`. Searching: `thread_search.py`. Copying: `thread_copy.py`.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..clock import new_id, now
from ..errors import Conflict, Invalid, NotFound
from ..models import METADATA_BYTES_MAX, Caller, Json, Thread, ThreadStatus
from ..rules.access import Scope
from ..rules.threads import NewThread, Ttl
from ..storage import threads as statements
from ..storage import ttls
from ..storage.database import Database, Tx
from ..storage.locks import lock_thread
from ..streaming.broker import Broker
from ..streaming.encode import encode
from ..streaming.signals import Signals
from .authorization import OPEN, Authorization, metadata_in
from .erasure import Eraser

# The server writes these three itself; what a client says of them is dropped (contract/resources.md 4.1).
_OWN = ("thread_id", "run_id", "assistant_id")
METADATA_KEYS_MAX = 1_000  # each is a row of the index (reliability A10)


def new_thread(thread_id: str, metadata: Json, owner: str = "") -> Thread:
    """A thread that has not run. Raises Invalid for metadata that are too much."""
    at, told = now(), described({}, metadata)
    return Thread(thread_id, at, at, at, told, ThreadStatus.idle, {}, None, None, owner=owner)


def described(metadata: Json, change: Mapping[str, Any]) -> Json:
    """Metadata after a client's change of some keys. Raises Invalid."""
    merged = {**metadata, **{key: value for key, value in change.items() if key not in _OWN}}
    if len(merged) > METADATA_KEYS_MAX:
        raise Invalid(f"metadata: must have at most {METADATA_KEYS_MAX} keys, with what is there")
    if len(encode(merged)) > METADATA_BYTES_MAX:
        raise Invalid(f"metadata: must be at most {METADATA_BYTES_MAX} bytes of JSON, with what is there")
    return merged


def missing(thread_id: str) -> NotFound:
    """The error for a thread that is not there."""
    return NotFound(f"Thread with ID {thread_id} not found")


def taken(thread_id: str) -> Conflict:
    """The error for an id that another thread has."""
    return Conflict(f"Thread with ID {thread_id} already exists")


def later(at: str, minutes: float) -> str:
    """A time in the form of `now()`, so many minutes after another."""
    return (datetime.fromisoformat(at) + timedelta(minutes=minutes)).isoformat(timespec="microseconds")


def add(tx: Tx, thread: Thread, ttl: Ttl | None) -> None:
    """Store a new thread; without a TTL of its own it gets the default, if there is one."""
    statements.add(tx, thread)
    if ttl is not None:
        ttls.put(tx, thread.thread_id, replace(ttl, expires_at=later(thread.updated_at, ttl.minutes)))


class Threads:
    """The threads of this server."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        signals: Signals,
        authorization: Authorization = OPEN,
    ) -> None:
        self._database = database
        self._eraser = Eraser(database, broker, signals)
        self._authorization = authorization

    async def create(self, caller: Caller, new: NewThread) -> Thread:
        """Make a thread without a past; `StateUpdates.create` makes one with supersteps.

        An id that exists: Conflict, or with `do_nothing` the thread as it is.
        """
        thread_id = new.thread_id or new_id()
        metadata, scope = await self.creating(caller, thread_id, new)
        thread = new_thread(thread_id, metadata, caller.identity)

        def work(tx: Tx) -> Thread:
            lock_thread(tx, thread.thread_id)
            if new.thread_id is not None and statements.exists(tx, new.thread_id):
                if new.if_exists == "do_nothing" and (found := statements.get(tx, new.thread_id, scope)):
                    return found
                raise taken(new.thread_id)
            add(tx, thread, new.ttl)
            return thread

        return await self._database.write(work)

    async def get(self, caller: Caller, thread_id: str) -> Thread:
        """One thread. Raises NotFound."""
        scope = await self.reading(caller, thread_id)
        found = await self._database.read(lambda tx: statements.get(tx, thread_id, scope))
        if found is None:
            raise missing(thread_id)
        return found

    async def creating(self, caller: Caller, thread_id: str, new: NewThread) -> tuple[Json, Scope]:
        """The metadata to store, and the scope of what is there already."""
        value = {"thread_id": thread_id, "metadata": dict(new.metadata), "if_exists": new.if_exists}
        scope = await self._authorization.ask(caller, "threads", "create", value)
        return metadata_in(value), scope

    async def reading(self, caller: Caller, thread_id: str) -> Scope:
        """Within what the caller may read the thread."""
        return await self._authorization.ask(caller, "threads", "read", {"thread_id": thread_id})

    async def get_with_ttl(self, caller: Caller, thread_id: str) -> tuple[Thread, Ttl | None]:
        """One thread, and how long it lives if not for ever. Raises NotFound."""
        thread = await self.get(caller, thread_id)
        ttl = await self._database.read(lambda tx: ttls.get(tx, thread_id))
        if ttl is None:
            return thread, None
        expires_at = max(ttl.expires_at, later(thread.updated_at, ttl.minutes))
        return thread, replace(ttl, expires_at=expires_at)

    async def update(self, caller: Caller, thread_id: str, metadata: Json, ttl: Ttl | None) -> Thread:
        """Change some keys of the metadata, and the TTL if one is given; its time begins anew in any case.

        Raises NotFound, Invalid.
        """

        value = {"thread_id": thread_id, "metadata": dict(metadata)}
        scope = await self._authorization.ask(caller, "threads", "update", value)
        change = metadata_in(value)

        def work(tx: Tx) -> Thread | None:
            lock_thread(tx, thread_id)
            found = statements.metadata_of(tx, thread_id, scope)
            if found is None:
                raise missing(thread_id)
            at = now()
            statements.describe(tx, thread_id, described(found, change), at)
            if ttl is not None:
                ttls.put(tx, thread_id, replace(ttl, expires_at=later(at, ttl.minutes)))
            return statements.get(tx, thread_id)

        thread = await self._database.write(work)
        assert thread is not None
        return thread

    async def delete(self, caller: Caller, thread_id: str) -> None:
        """Delete a thread with its runs and checkpoints; nothing runs for it any more. Raises NotFound."""
        scope = await self._authorization.ask(caller, "threads", "delete", {"thread_id": thread_id})
        if not await self._eraser.erase(thread_id, scope=scope):
            raise missing(thread_id)
