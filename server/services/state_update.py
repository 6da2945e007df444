"""Rules of changing a state from outside: never beside a run, never by half, none lost.

A graph computes the change off the loop and writes into a staged saver. One transaction then commits it with
the thread's row, if the thread is still what it was: otherwise the change is computed anew. What a change may
say is in contract/resources.md 5.2.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from ..clock import now
from ..errors import Conflict, Contradiction, Overloaded
from ..graph.catalog import Catalog
from ..graph.snapshots import address, interrupts_by_task, snapshot_json
from ..models import Caller, Json, Outcome, Place, RunStatus, StateChange, Thread, ThreadStatus
from ..storage import runs
from ..storage import threads as statements
from ..storage.checkpoints import EmbeddedSaver
from ..storage.database import Database, Tx
from ..storage.staged import StagedSaver
from ..streaming.broker import Broker, Entry
from ..streaming.encode import encode, raw
from .state import OffLoop, ask, config_of, graph_of, missing_checkpoint
from .threads import Threads, missing

TRIES = 10  # how often a change is computed before the caller is told that others are faster
TURN_SECONDS = 60.0  # the longest that a change waits for earlier ones on its thread


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
        saver: EmbeddedSaver,
        off_loop: OffLoop,
    ) -> None:
        self._database = database
        self._broker = broker
        self._threads = threads
        self._catalog = catalog
        self._saver = saver
        self._off_loop = off_loop
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def update(self, caller: Caller, thread_id: str, change: StateChange) -> Json:
        """Write into the state; returns where: `{thread_id, checkpoint_ns, checkpoint_id[, checkpoint_map]}`.

        Raises NotFound (thread, graph, checkpoint), Contradiction for a thread without a graph, Conflict
        while a run is waiting or running, GraphFailed for what the graph does not take, Overloaded.
        """
        async with self._turn(thread_id):
            for _ in range(TRIES):
                thread = await self._threads.get(caller, thread_id)
                if (written := await self._try(thread, change)) is not None:
                    return written
        raise Conflict(f"Thread {thread_id} keeps changing while its state is updated; try again")

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

    async def _try(self, thread: Thread, change: StateChange) -> Json | None:
        """Compute and commit; None when the thread has changed meanwhile."""
        graph_id = graph_of(thread, self._catalog)
        if graph_id is None:
            raise Contradiction(
                f"Thread {thread.thread_id} has no graph yet: run one on it first, "
                "or put a graph's name into its metadata as graph_id"
            )
        await self._database.read(lambda tx: _refuse_busy(tx, thread.thread_id))
        computed = await ask(self._off_loop, "take the update", self._compute(thread, graph_id, change))
        if not await self._database.write(lambda tx: _commit(tx, thread, computed)):
            return None
        told = {"state": raw(computed.state), "thread_id": thread.thread_id}
        self._broker.note(thread.thread_id, Entry("state_update", encode(told)))
        return computed.written

    async def _compute(self, thread: Thread, graph_id: str, change: StateChange) -> _Computed:
        saver = StagedSaver(self._saver, {"graph_id": graph_id, "thread_id": thread.thread_id})
        config = config_of(thread, change.place)
        async with self._catalog.open(graph_id, config, checkpointer=saver, access="threads.update") as graph:
            # LangGraph would begin with an empty state and so wipe the thread's.
            if change.place != Place() and (await graph.aget_state(config)).created_at is None:
                raise missing_checkpoint(thread.thread_id, change.place)
            written = await graph.aupdate_state(config, change.values, change.as_node)
            # The row shows the root, also when a subgraph's state was written.
            root = await graph.aget_state(config_of(thread, Place()))
        status = ThreadStatus.interrupted if root.next else ThreadStatus.idle
        outcome = Outcome(RunStatus.success, status, encode(root.values), encode(interrupts_by_task(root)))
        return _Computed(saver, outcome, address(written) or {}, encode(snapshot_json(root)))


def _refuse_busy(tx: Tx, thread_id: str) -> None:
    if runs.has_active(tx, thread_id):
        raise Conflict(f"Thread {thread_id} has a run that waits or runs: cancel it, or wait for its end")


def _commit(tx: Tx, thread: Thread, computed: _Computed) -> bool:
    """Checkpoints and row together. False when the thread is not what the change was computed from."""
    _refuse_busy(tx, thread.thread_id)
    changed_at = statements.changed_at(tx, thread.thread_id)
    if changed_at is None:
        raise missing(thread.thread_id)
    if changed_at != thread.updated_at:
        return False
    computed.saver.commit(tx)
    outcome = computed.outcome
    statements.set_outcome(tx, thread.thread_id, outcome, outcome.thread_status, now())
    return True
