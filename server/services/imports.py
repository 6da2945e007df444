"""Rules of taking over threads from elsewhere: the whole past of each, once, under an id that fits here.

The row of a thread is written last, when all of its past is there: one that was cut short is done again, one
that is there is left alone. Reading it once shows that its graph understands it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid5

from ..clock import now
from ..errors import describe
from ..graph.catalog import Catalog
from ..graph.snapshots import interrupts_by_task
from ..models import Json, Place, Thread, ThreadStatus
from ..storage import threads as statements
from ..storage.checkpoints import DatabaseSaver
from ..storage.database import Database, Tx
from ..storage.foreign import Found, Source, Target, Unreadable
from ..storage.locks import lock_thread
from ..streaming.encode import encode
from .resolution import automatic_id
from .state import config_of
from .threads import add, new_thread

AT_ONCE = 20  # checkpoints in memory and in one transaction
_NAMES = UUID("c1d0f3a6-6a3c-5b0e-9a52-3c2e7f5d8b41")  # of ids that are no UUIDs


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be said of the threads that are taken over."""

    graph_id: str | None = None  # None: what their checkpoints say
    metadata: Json = field(default_factory=dict)
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one thread."""

    source_id: str
    thread_id: str
    checkpoints: int = 0
    exists: bool = False
    failure: str | None = None  # it was not taken over
    warning: str | None = None  # it was, and this is odd


def id_here(source_id: str) -> str:
    """The id of a thread that is called so elsewhere: the same if it is a UUID, always the same otherwise."""
    try:
        return str(UUID(source_id))
    except ValueError:
        return str(uuid5(_NAMES, source_id))


class Imports:
    """Takes threads over."""

    def __init__(self, database: Database, catalog: Catalog, saver: DatabaseSaver) -> None:
        self._database = database
        self._catalog = catalog
        self._saver = saver
        self._target = Target(saver)

    async def take(self, source: Source, source_id: str, wish: Wish) -> Taken:
        """Take over one thread, unless it is here already. What is wrong with it is told, not raised."""
        found = Taken(source_id, id_here(source_id))
        if await self._database.read(lambda tx: statements.exists(tx, found.thread_id)):
            return replace(found, exists=True)
        keys = source.keys(source_id)
        found = replace(found, checkpoints=len(keys))
        try:
            thread = self._thread(source, source_id, keys, wish)
            if wish.dry_run:
                return found
            await self._past(source, source_id, thread, keys)
        except Unreadable as error:
            return replace(found, failure=str(error))
        thread, warning = await self._shown(thread)
        if not await self._database.write(partial(_add, thread)):
            return replace(found, exists=True)
        return replace(found, warning=warning)

    def _thread(self, source: Source, source_id: str, keys: Sequence[tuple[str, str]], wish: Wish) -> Thread:
        """Its row, as far as it is known without its graph. Raises Unreadable."""
        roots = [key for key in keys if key[0] == ""]
        if not roots:
            raise Unreadable("it has no checkpoint of its own")
        first, last = (source.get(source_id, *roots[index]).tuple for index in (0, -1))
        said: Any = last.metadata or {}
        graph_id = wish.graph_id or said.get("graph_id")
        if graph_id not in self._catalog:
            problem = (
                "do not say of which graph they are" if graph_id is None else f"are of the graph {graph_id}"
            )
            raise Unreadable(f"its checkpoints {problem}: name one that is served with --graph")
        named = {} if id_here(source_id) == source_id else {"imported_thread_id": source_id}
        own = {"graph_id": graph_id, "assistant_id": automatic_id(graph_id)}
        thread = new_thread(id_here(source_id), {**wish.metadata, **named})
        begun, changed = _time(first.checkpoint["ts"]), _time(last.checkpoint["ts"])
        return replace(
            thread,
            metadata={**thread.metadata, **own},
            created_at=begun,
            updated_at=changed,
            state_updated_at=changed,
        )

    async def _past(
        self, source: Source, source_id: str, thread: Thread, keys: Sequence[tuple[str, str]]
    ) -> None:
        for start in range(0, len(keys), AT_ONCE):
            part = [source.get(source_id, *key) for key in keys[start : start + AT_ONCE]]
            await self._database.write(partial(self._write, thread.thread_id, part))

    def _write(self, thread_id: str, part: Sequence[Found], tx: Tx) -> None:
        lock_thread(tx, thread_id)
        for found in part:
            self._target.put(tx, thread_id, found)

    async def _shown(self, thread: Thread) -> tuple[Thread, str | None]:
        """The thread with what its graph shows of it; what is odd when that fails."""
        config = config_of(thread, Place())
        graph_id = str(thread.metadata["graph_id"])
        try:
            async with self._catalog.open(
                graph_id, config, checkpointer=self._saver, access="threads.read"
            ) as graph:
                root = await graph.aget_state(config)
        except Exception as error:  # the graph is user code
            told = describe(error)
            return thread, f"the graph cannot read it: {told['error']}: {told['message']}"
        status = ThreadStatus.interrupted if root.next else ThreadStatus.idle
        values, interrupts = encode(root.values), encode(interrupts_by_task(root))
        return replace(thread, status=status, values=values, interrupts=interrupts), None


def _add(thread: Thread, tx: Tx) -> bool:
    """False when somebody has made such a thread meanwhile."""
    lock_thread(tx, thread.thread_id)
    if statements.exists(tx, thread.thread_id):
        return False
    add(tx, thread, None)
    return True


def _time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="microseconds")
    except ValueError:
        return now()
