"""Rules of state: read what a thread's graph remembers, now and before (contract/resources.md 5)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, Protocol, TypeVar

from ..errors import GraphFailed, GraphwireError, NotFound, TooLarge, describe
from ..graph.catalog import Catalog, Graph
from ..graph.snapshots import empty_snapshot, selected, snapshot_json
from ..models import Caller, HistoryRequest, Json, Place, StateRequest, Thread
from ..storage.checkpoints import DatabaseSaver
from ..storage.history import HistorySaver
from ..streaming.encode import encode
from .threads import Threads

T = TypeVar("T")

ANSWER_SECONDS = 60.0  # how long a graph may think about its state
PAGE = 20  # states of a history that are in memory at a time, beside what they became
HISTORY_BYTES_MAX = 64 * 2**20


class OffLoop(Protocol):
    """Runs what asks a graph off the loop that serves HTTP: graphs are user code."""

    def __call__(self, work: Coroutine[Any, Any, T]) -> Awaitable[T]: ...


class State:
    """Reads the state of threads."""

    def __init__(self, threads: Threads, catalog: Catalog, saver: DatabaseSaver, off_loop: OffLoop) -> None:
        self._threads = threads
        self._catalog = catalog
        self._saver = saver
        self._off_loop = off_loop

    async def get(self, caller: Caller, thread_id: str, asked: StateRequest) -> bytes:
        """One state as JSON, live while a run is under way.

        Raises NotFound for the thread, the graph it last ran, or a checkpoint that is not there; GraphFailed.
        """
        thread = await self._threads.get(caller, thread_id)
        graph_id = graph_of(thread, self._catalog)
        if graph_id is not None:
            reading = self._read(caller, thread, graph_id, asked)
            return await ask(self._off_loop, "show its state", reading)
        if asked.place is not None and asked.place.checkpoint_id is not None:
            raise missing_checkpoint(thread_id, asked.place)
        return encode(selected(empty_snapshot(_nothing_at(thread_id, asked.place)), asked.select))

    async def history(self, caller: Caller, thread_id: str, asked: HistoryRequest) -> bytes:
        """States as a JSON list, newest first. Raises NotFound, GraphFailed, TooLarge beyond 64 MiB."""
        thread = await self._threads.get(caller, thread_id)
        graph_id = graph_of(thread, self._catalog)
        if graph_id is None:
            return b"[]"
        return await ask(self._off_loop, "show its history", self._list(caller, thread, graph_id, asked))

    async def _read(self, caller: Caller, thread: Thread, graph_id: str, asked: StateRequest) -> bytes:
        place = asked.place or Place()
        config = config_of(thread, place)
        async with self._open(caller, graph_id, config, self._saver) as graph:
            snapshot = await graph.aget_state(config, subgraphs=asked.subgraphs)
        if place.checkpoint_id is not None and snapshot.created_at is None:
            raise missing_checkpoint(thread.thread_id, place)
        found = snapshot_json(snapshot, _nothing_at(thread.thread_id, asked.place))
        return encode(selected(found, asked.select))

    async def _list(self, caller: Caller, thread: Thread, graph_id: str, asked: HistoryRequest) -> bytes:
        found: list[bytes] = []
        size = 0
        config = config_of(thread, asked.place)
        async with self._open(caller, graph_id, config, HistorySaver(self._saver)) as graph:
            async for snapshot in _states(graph, config, asked):
                found.append(encode(selected(snapshot_json(snapshot), asked.select)))
                size += len(found[-1])
                if size > HISTORY_BYTES_MAX:
                    raise TooLarge(
                        f"{len(found)} states are larger than {HISTORY_BYTES_MAX} bytes: "
                        "ask for fewer (limit) or for less of them (select)"
                    )
        return b"[" + b",".join(found) + b"]"

    def _open(self, caller: Caller, graph_id: str, config: Any, saver: DatabaseSaver) -> Any:
        return self._catalog.open(
            graph_id, config, checkpointer=saver, access="threads.read", user=caller.user
        )


async def _states(graph: Graph, config: Any, asked: HistoryRequest) -> AsyncIterator[Any]:
    """As many states as were asked for, read page by page."""
    left, before = asked.limit, asked.before
    while left > 0:
        earlier: Any = None if before is None else {"configurable": {"checkpoint_id": before}}
        page = [
            snapshot
            async for snapshot in graph.aget_state_history(
                config, filter=asked.metadata, before=earlier, limit=min(left, PAGE)
            )
        ]
        for snapshot in page:
            yield snapshot
        if len(page) < PAGE:
            return
        left -= len(page)
        before = page[-1].config["configurable"]["checkpoint_id"]


async def ask(off_loop: OffLoop, what: str, work: Coroutine[Any, Any, T]) -> T:
    """Have a graph asked. Raises GraphFailed for what its code raises: factories, reducers, edges."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS) as limit:
            return await off_loop(work)
    except (GraphwireError, asyncio.CancelledError):
        raise
    except BaseException as failure:  # the run boundary: SystemExit and all
        if limit.expired():
            text = f"The graph did not {what} within {ANSWER_SECONDS:g} seconds"
        else:
            found = describe(failure)
            text = f"The graph cannot {what}: {found['error']}: {found['message']}"
        raise GraphFailed(text) from failure


def graph_of(thread: Thread, catalog: Catalog) -> str | None:
    """The graph that a thread last ran; None if it never ran. Raises NotFound when it is not served."""
    graph_id = thread.metadata.get("graph_id")
    if graph_id is None:
        return None
    if not isinstance(graph_id, str) or graph_id not in catalog:
        raise NotFound(f"Graph {graph_id} of thread {thread.thread_id} not found")
    return graph_id


def config_of(thread: Thread, place: Place) -> Any:
    """The config that leads a graph to a state."""
    inner: Json = {
        **thread.config.get("configurable", {}),
        "thread_id": thread.thread_id,
        "checkpoint_ns": place.namespace,
    }
    if place.checkpoint_id is not None:
        inner["checkpoint_id"] = place.checkpoint_id
    return {"configurable": inner}


def missing_checkpoint(thread_id: str, place: Place) -> NotFound:
    """The error for a place that holds no state."""
    what = f"Checkpoint {place.checkpoint_id}" if place.checkpoint_id else "A checkpoint"
    where = f" in namespace {place.namespace}" if place.namespace else ""
    return NotFound(f"{what}{where} of thread {thread_id} not found")


def _nothing_at(thread_id: str, place: Place | None) -> Json | None:
    """What stands for a checkpoint where there is none, for those who named a place."""
    if place is None:
        return None
    return {"checkpoint_id": None, "thread_id": thread_id, "checkpoint_ns": place.namespace}
