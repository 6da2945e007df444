"""LangGraph's own savers, on our connections.

LangGraph brings the statements and the format (checkpoints_sqlite.py, checkpoints_postgres.py); this file
brings the transactions: any thread or event loop may call, and a stale attempt of a run writes nothing.
"""

import copy
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde.types import ERROR

from . import checkpoints_sqlite
from .checkpoints_sqlite import SqliteStatements
from .database import Database, SqliteDatabase, Tx
from .serializer import TolerantSerializer
from .traces import note_writes

if TYPE_CHECKING:
    from .checkpoints_postgres import PostgresStatements
    from .postgres import PostgresDatabase

T = TypeVar("T")
Statements: TypeAlias = "SqliteStatements | PostgresStatements"


class DatabaseSaver(BaseCheckpointSaver[str]):
    """Checkpoints in the database. `fenced()` makes one that writes for one attempt of one run."""

    def __init__(self, database: Database, statements: Callable[[Any, Any], Statements]) -> None:
        super().__init__(serde=TolerantSerializer())
        self._database = database
        self._statements = statements
        self._fence: tuple[str, int] | None = None
        self._own: set[str] = set()  # the checkpoints that this attempt has made; shared with copies

    def fenced(self, run_id: str, attempt: int) -> "DatabaseSaver":
        """A saver whose writes are refused (`Superseded`) once this attempt no longer owns the run."""
        clone = copy.copy(self)
        clone._fence, clone._own = (run_id, attempt), set()
        return clone

    def on(self, database: Database) -> "DatabaseSaver":
        """The same checkpoints, reached by another way."""
        return DatabaseSaver(database, self._statements)

    # The same on every engine: versions are texts that sort as they came.
    get_next_version = SqliteStatements.get_next_version

    def _on(self, tx: Tx) -> Statements:
        return self._statements(tx.connection.driver_connection, self.serde)

    def _writing(
        self, call: Callable[[Statements], T], first: Callable[[Tx], None] | None = None
    ) -> Callable[[Tx], T]:
        def work(tx: Tx) -> T:
            if first:
                first(tx)
            on = self._on(tx)
            with on.owned(*self._fence) if self._fence else nullcontext():
                return call(on)

        return work

    def _reading(self, call: Callable[[Statements], T]) -> Callable[[Tx], T]:
        return lambda tx: call(self._on(tx))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._database.read_now(self._reading(lambda on: on.get_tuple(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._database.read_here(self._reading(lambda on: on.get_tuple(config)))

    def list(self, config: RunnableConfig | None, **filters: Any) -> Iterator[CheckpointTuple]:
        yield from self._database.read_now(self._reading(lambda on: [*on.list(config, **filters)]))

    async def alist(self, config: RunnableConfig | None, **filters: Any) -> AsyncIterator[CheckpointTuple]:
        for found in await self._database.read(self._reading(lambda on: [*on.list(config, **filters)])):
            yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._database.write_now(self._put(config, checkpoint, metadata, new_versions))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await self._database.write(self._put(config, checkpoint, metadata, new_versions))

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Callable[[Tx], RunnableConfig]:
        self._own.add(checkpoint["id"])
        return self._writing(lambda on: on.put(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if not _cancelled(writes):
            self._database.write_now(self._put_writes(config, writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if not _cancelled(writes):
            await self._database.write(self._put_writes(config, writes, task_id, task_path))

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Callable[[Tx], None]:
        """Beside a checkpoint of another run, what stands there is noted first."""
        note: Callable[[Tx], None] | None = None
        if self._fence and config["configurable"]["checkpoint_id"] not in self._own:
            indexes = [WRITES_IDX_MAP.get(channel, index) for index, (channel, _) in enumerate(writes)]
            note = partial(note_writes, self._fence[0], config, task_id, indexes)
        return self._writing(lambda on: on.put_writes(config, writes, task_id, task_path), note)

    def delete_thread(self, thread_id: str) -> None:
        self._database.write_now(self._writing(lambda on: on.delete_thread(thread_id)))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._database.write(self._writing(lambda on: on.delete_thread(thread_id)))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        return self._database.read_now(
            self._reading(lambda on: on.get_delta_channel_history(config=config, channels=channels))
        )

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        return await self._database.read(
            self._reading(lambda on: on.get_delta_channel_history(config=config, channels=channels))
        )


def open_saver(database: "SqliteDatabase | PostgresDatabase") -> DatabaseSaver:
    """Bring LangGraph's tables up to date; the saver on this database."""
    if isinstance(database, SqliteDatabase):
        checkpoints_sqlite.prepare(database)
        return DatabaseSaver(database, SqliteStatements)
    # Its driver takes a third of a second to import: who uses SQLite is spared it.
    from . import checkpoints_postgres

    checkpoints_postgres.prepare(database)
    return DatabaseSaver(database, checkpoints_postgres.PostgresStatements)


def _cancelled(writes: Sequence[tuple[str, Any]]) -> bool:
    """Whether these are the writes of a cancelled task: LangGraph brings them, if there is time.

    They do not count: the answer that such a task was given would stand in the way of another one.
    """
    return any(channel == ERROR and isinstance(value, CancelledError) for channel, value in writes)
