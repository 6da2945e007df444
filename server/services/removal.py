"""Deleting a run: what it did is undone as far as it can be, and the thread shows what is left."""

from langchain_core.runnables import RunnableConfig

from ..clock import now
from ..errors import GraphwireError, NotFound
from ..graph.catalog import Catalog
from ..graph.snapshots import interrupts_by_task
from ..models import Caller, Json, Outcome, Run, RunStatus, ThreadStatus
from ..rules.access import EVERYTHING, Scope
from ..storage import runs, threads, traces
from ..storage.before_run import SaverBeforeRun
from ..storage.checkpoints import DatabaseSaver
from ..storage.database import Database, Tx
from ..storage.locks import lock_thread
from ..streaming.broker import Broker
from ..streaming.encode import encode
from .admission import STOP_WAIT_SECONDS
from .authorization import OPEN, Authorization
from .runs import Runs
from .state import OffLoop, ask

REASON = "the run was deleted"


class Removal:
    """Removes runs with their checkpoints."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        runs: Runs,
        catalog: Catalog,
        saver: DatabaseSaver,
        off_loop: OffLoop,
        authorization: Authorization = OPEN,
    ) -> None:
        self._database = database
        self._broker = broker
        self._runs = runs
        self._catalog = catalog
        self._saver = saver
        self._off_loop = off_loop
        self._authorization = authorization

    async def delete(self, caller: Caller, thread_id: str, run_id: str) -> None:
        """Delete a run of a thread; one that waits or runs is stopped first (contract/runs.md 14).

        When the thread's state was the run's, it is from now on what was before. Raises NotFound.
        """
        value: Json = {"run_id": run_id, "thread_id": thread_id}
        scope = await self._authorization.ask(caller, "threads", "delete", value)
        if await self._find(thread_id, run_id, scope) is None:
            raise NotFound("Run not found")
        if await self._runs.stop(thread_id, run_id, "rollback", REASON):
            await self._broker.ended(run_id, STOP_WAIT_SECONDS)
            if await self._find(thread_id, run_id) is None:
                return  # the rollback has deleted it
        run = await self._find(thread_id, run_id)
        if run is None:
            raise NotFound("Run not found")
        while not await self._delete(run):
            pass  # the thread moved on while its state was read

    async def _find(self, thread_id: str, run_id: str, scope: Scope = EVERYTHING) -> Run | None:
        return await self._database.read(lambda tx: runs.get(tx, thread_id, run_id, scope))

    async def _delete(self, run: Run) -> bool:
        """Delete a run that has ended. False when what is left of the thread was changed meanwhile."""
        place = await self._database.read(lambda tx: traces.newest_without(tx, run.thread_id, run.run_id))
        before, changed = place
        left = await self._state_before(run, before) if changed else None

        def work(tx: Tx) -> bool:
            lock_thread(tx, run.thread_id)
            if traces.newest_without(tx, run.thread_id, run.run_id) != place:
                return False
            traces.delete_run(tx, run.thread_id, run.run_id)
            runs.remove(tx, run.run_id)
            if left is not None and not runs.has_active(tx, run.thread_id):
                threads.set_outcome(tx, run.thread_id, left, left.thread_status, now())
            return True

        return await self._database.write(work)

    async def _state_before(self, run: Run, checkpoint_id: str | None) -> Outcome:
        """What the thread will show; nothing where no checkpoint is left, or no graph that can tell."""
        nothing = Outcome(RunStatus.success, ThreadStatus.idle, b"null")
        if checkpoint_id is None or run.graph_id not in self._catalog:
            return nothing
        try:
            return await ask(self._off_loop, "show its state", self._read(run))
        except GraphwireError:
            return nothing

    async def _read(self, run: Run) -> Outcome:
        config: RunnableConfig = {"configurable": {"thread_id": run.thread_id}}
        saver = SaverBeforeRun(self._saver, run.run_id)
        async with self._catalog.open(
            run.graph_id, config, checkpointer=saver, access="threads.read"
        ) as graph:
            found = await graph.aget_state(config)
        status = ThreadStatus.interrupted if found.next else ThreadStatus.idle
        return Outcome(RunStatus.success, status, encode(found.values), encode(interrupts_by_task(found)))
