"""Rules of changing a state from outside: never beside a run, never by half, none lost.

A graph computes the change off the loop and writes into a staged saver. One transaction then commits it with
the thread's row, if the thread is still what it was: otherwise the change is computed anew. What a change may
say is in contract/resources.md 5.2. A new thread with a past is such a change too: all of it, or nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from ..clock import new_id, now
from ..errors import Conflict, Contradiction, Overloaded
from ..graph.catalog import Catalog, Graph
from ..graph.commands import superstep
from ..graph.snapshots import address, interrupts_by_task, snapshot_json
from ..models import Caller, Json, Outcome, Place, RunStatus, StateChange, Thread, ThreadStatus
from ..rules.access import EVERYTHING, Scope
from ..rules.threads import NewThread
from ..storage import runs
from ..storage import threads as statements
from ..storage.checkpoints import DatabaseSaver
from ..storage.database import Database, Tx
from ..storage.locks import lock_thread
from ..storage.staged import StagedSaver
from ..streaming.broker import Broker, Entry
from ..streaming.encode import encode, raw
from .authorization import OPEN, Authorization
from .state import OffLoop, ask, config_of, graph_of, missing_checkpoint
from .threads import Threads, add, missing, new_thread, taken

TRIES = 10  # how often a change is computed before the caller is told that others are faster
TURN_SECONDS = 60.0  # the longest that a change waits for earlier ones on its thread

Writing = Callable[
    [Graph, Any], Awaitable[Any]
]  # writes into a graph where a config leads; returns where it is


@dataclass(frozen=True, slots=True)
class _Computed:
    """A change that is ready to be committed, and what is told of it afterwards."""

    saver: StagedSaver
    outcome: Outcome
    written: Json  # where the new checkpoint lies
    state: bytes


class StateUpdates:
    """Changes the state of threads."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        threads: Threads,
        catalog: Catalog,
        saver: DatabaseSaver,
        off_loop: OffLoop,
        authorization: Authorization = OPEN,
    ) -> None:
        self._database = database
        self._broker = broker
        self._threads = threads
        self._catalog = catalog
        self._saver = saver
        self._off_loop = off_loop
        self._authorization = authorization
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def update(self, caller: Caller, thread_id: str, change: StateChange) -> Json:
        """Write into the state; returns where: `{thread_id, checkpoint_ns, checkpoint_id[, checkpoint_map]}`.

        Raises NotFound (thread, graph, checkpoint), Contradiction for a thread without a graph, Conflict
        while a run is waiting or running, GraphFailed for what the graph does not take, Overloaded.
        """

        async def write(graph: Graph, config: Any) -> Any:
            return await graph.aupdate_state(config, change.values, change.as_node)

        scope = await self._writing(caller, thread_id)
        async with self._turn(thread_id):
            for _ in range(TRIES):
                thread = await self._database.read(lambda tx: statements.get(tx, thread_id, scope))
                if thread is None:
                    raise missing(thread_id)
                computed = await self._computed(caller, thread, write, change.place)
                commit = partial(_commit, scope, thread=thread, computed=computed)
                if await self._database.write(commit):
                    await self._tell(thread, computed)
                    return computed.written
        raise Conflict(f"Thread {thread_id} keeps changing while its state is updated; try again")

    async def create(self, caller: Caller, new: NewThread) -> Thread:
        """Make a thread with the past that its supersteps describe, or none.

        With `do_nothing` they are written into a thread of that id which exists (contract/resources.md 4.2).
        Raises Conflict otherwise, and for the rest like `update`.
        """

        async def write(graph: Graph, config: Any) -> Any:
            return await graph.abulk_update_state(config, [superstep(writes) for writes in new.supersteps])

        thread_id = new.thread_id or new_id()
        metadata, creating = await self._threads.creating(caller, thread_id, new)
        writing = await self._writing(caller, thread_id)

        def find(tx: Tx) -> Thread | None:
            found = statements.get(tx, thread_id, creating & writing)
            untouched = new.if_exists != "do_nothing" or found is None
            if untouched and statements.exists(tx, thread_id):
                raise taken(thread_id)
            return found

        async with self._turn(thread_id):
            for _ in range(TRIES):
                found = await self._database.read(find)
                thread = found or new_thread(thread_id, metadata, caller.identity)
                computed = await self._computed(caller, thread, write, Place())
                commit = partial(_commit, creating & writing) if found else partial(_commit_new, new)
                if await self._database.write(partial(commit, thread=thread, computed=computed)):
                    await self._tell(thread, computed)
                    return await self._made(thread_id)
        raise Conflict(f"Thread {thread_id} keeps changing while its state is written; try again")

    async def _writing(self, caller: Caller, thread_id: str) -> Scope:
        """Who writes a state may read it, too."""
        updating = await self._authorization.ask(caller, "threads", "update", {"thread_id": thread_id})
        return updating & await self._threads.reading(caller, thread_id)

    async def _made(self, thread_id: str) -> Thread:
        made = await self._database.read(lambda tx: statements.get(tx, thread_id))
        if made is None:  # somebody else was fast
            raise missing(thread_id)
        return made

    @asynccontextmanager
    async def _turn(self, thread_id: str) -> AsyncIterator[None]:
        """One change of a thread at a time: they need not compute in vain."""
        lock = self._turns.setdefault(thread_id, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await lock.acquire()
        except TimeoutError:
            raise Overloaded(f"Earlier updates of thread {thread_id} take too long") from None
        try:
            yield
        finally:
            lock.release()

    async def _computed(self, caller: Caller, thread: Thread, write: Writing, place: Place) -> _Computed:
        graph_id = graph_of(thread, self._catalog)
        if graph_id is None:
            raise Contradiction(
                f"Thread {thread.thread_id} has no graph yet: run one on it first, "
                "or put a graph's name into its metadata as graph_id"
            )
        await self._database.read(lambda tx: _refuse_busy(tx, thread.thread_id))
        computing = self._compute(caller, thread, graph_id, write, place)
        return await ask(self._off_loop, "take the update", computing)

    async def _compute(
        self, caller: Caller, thread: Thread, graph_id: str, write: Writing, place: Place
    ) -> _Computed:
        saver = StagedSaver(self._saver, {"graph_id": graph_id, "thread_id": thread.thread_id})
        config = config_of(thread, place)
        opened = self._catalog.open(
            graph_id, config, checkpointer=saver, access="threads.update", user=caller.user
        )
        async with opened as graph:
            # LangGraph would begin with an empty state and so wipe the thread's.
            if place != Place() and (await graph.aget_state(config)).created_at is None:
                raise missing_checkpoint(thread.thread_id, place)
            written = await write(graph, config)
            # The row shows the root, also when a subgraph's state was written.
            root = await graph.aget_state(config_of(thread, Place()))
        status = ThreadStatus.interrupted if root.next else ThreadStatus.idle
        outcome = Outcome(RunStatus.success, status, encode(root.values), encode(interrupts_by_task(root)))
        return _Computed(saver, outcome, address(written) or {}, encode(snapshot_json(root)))

    async def _tell(self, thread: Thread, computed: _Computed) -> None:
        told = {"state": raw(computed.state), "thread_id": thread.thread_id}
        await self._broker.note(thread.thread_id, Entry("state_update", encode(told)))


def _refuse_busy(tx: Tx, thread_id: str) -> None:
    if runs.has_active(tx, thread_id):
        raise Conflict(f"Thread {thread_id} has a run that waits or runs: cancel it, or wait for its end")


def _commit(scope: Scope, tx: Tx, thread: Thread, computed: _Computed) -> bool:
    """Checkpoints and row together. False when the thread is not what the change was computed from."""
    lock_thread(tx, thread.thread_id)
    _refuse_busy(tx, thread.thread_id)
    changed_at = statements.changed_at(tx, thread.thread_id, scope)
    if changed_at is None:
        raise missing(thread.thread_id)
    if changed_at != thread.updated_at:
        return False
    computed.saver.commit(tx)
    outcome = computed.outcome
    statements.set_outcome(tx, thread.thread_id, outcome, outcome.thread_status, now())
    return True


def _commit_new(new: NewThread, tx: Tx, thread: Thread, computed: _Computed) -> bool:
    """The thread with its past. False when somebody else has made one of that id."""
    lock_thread(tx, thread.thread_id)
    if statements.exists(tx, thread.thread_id):
        return False
    add(tx, thread, new.ttl)
    return _commit(EVERYTHING, tx, thread, computed)
