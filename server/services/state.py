"""Rules of state: what a thread's graph remembers (contract/resources.md 5)."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ..errors import GraphFailed, GraphwireError, NotFound, describe
from ..graph.catalog import Catalog
from ..graph.snapshots import empty_snapshot, snapshot_json
from ..models import Caller, Json, Thread
from ..storage.checkpoints import EmbeddedSaver
from ..streaming.encode import encode
from .threads import Threads

OffLoop = Callable[[Coroutine[Any, Any, bytes]], Awaitable[bytes]]


class State:
    """Reads the state of threads. Graphs are user code, so they are asked `off_loop`."""

    def __init__(self, threads: Threads, catalog: Catalog, saver: EmbeddedSaver, off_loop: OffLoop) -> None:
        self._threads = threads
        self._catalog = catalog
        self._saver = saver
        self._off_loop = off_loop

    async def get(self, caller: Caller, thread_id: str, *, subgraphs: bool) -> bytes:
        """The latest state as JSON. Raises NotFound for the thread, or for the graph it last ran."""
        thread = await self._threads.get(caller, thread_id)
        graph_id = thread.metadata.get("graph_id")
        if graph_id is None:
            return encode(empty_snapshot())
        if graph_id not in self._catalog:
            raise NotFound(f"Graph {graph_id} of thread {thread_id} not found")
        try:
            return await self._off_loop(self._read(thread, str(graph_id), subgraphs))
        except GraphwireError:
            raise
        except Exception as failure:  # the run boundary of reading: factories and reducers are user code
            found = describe(failure)
            raise GraphFailed(
                f"The graph cannot show its state: {found['error']}: {found['message']}"
            ) from failure

    async def _read(self, thread: Thread, graph_id: str, subgraphs: bool) -> bytes:
        inner: Json = {**thread.config.get("configurable", {}), "thread_id": thread.thread_id}
        async with self._catalog.open(
            graph_id, {"configurable": inner}, checkpointer=self._saver, access="threads.read"
        ) as graph:
            snapshot = await graph.aget_state({"configurable": inner}, subgraphs=subgraphs)
        return encode(snapshot_json(snapshot) if snapshot.created_at else empty_snapshot())
