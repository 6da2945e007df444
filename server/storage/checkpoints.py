"""LangGraph's own savers, on our connections.

LangGraph brings the statements and the format; this file brings the transactions: writes join the group
commit, reads have their own connections, and any thread or event loop may call. The serializer is strict
(only known types are revived, no pickle: reliability I5, I7) and never fails a run: what msgpack cannot
hold is stored as the nearest value that it can.
"""

import copy
import dataclasses
import decimal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import ormsgpack
import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from pydantic import BaseModel

from ..errors import Superseded, describe
from .database import Database, SqliteDatabase, Tx
from .traces import note_writes

T = TypeVar("T")
_log = structlog.get_logger(__name__)

DEPTH_MAX = 100
VALUES_MAX = 2_000_000  # a value that contains itself in many ways must not keep the writer for ever


# Without these a secret that no state declares would come back as the text it hides.
_SECRETS = (("pydantic.types", "SecretStr"), ("pydantic.types", "SecretBytes"))


class TolerantSerializer(JsonPlusSerializer):
    """LangGraph's msgpack, strict on the way in, forgiving on the way out."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=_SECRETS)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        # The exceptions of tasks are langgraph's own business.
        if obj is None or isinstance(obj, bytes | bytearray | BaseException):
            return super().dumps_typed(obj)
        try:
            return "msgpack", ormsgpack.packb(obj, _default, _OPTION)
        except (TypeError, ValueError, RecursionError):
            return "msgpack", ormsgpack.packb(_Storable().of(obj), _default, _OPTION)


# langgraph's packer writes "?" for a lone surrogate, also in messages; streams say U+FFFD. Without this
# option it refuses, and the forgiving path above repairs the text (reliability 2.9).
_OPTION = jsonplus._option & ~ormsgpack.OPT_REPLACE_SURROGATES
jsonplus._option = _OPTION


def _default(value: Any) -> Any:
    """langgraph's rule for what msgpack does not know, save that exceptions look as on the streams."""
    if isinstance(value, BaseException):
        return describe(value)
    return jsonplus._msgpack_default(value)


class _Storable:
    """Makes the nearest value that msgpack can hold: text for odd keys, U+FFFD for surrogates, else None."""

    def __init__(self) -> None:
        self._left = VALUES_MAX
        self._path: set[int] = set()  # the containers around the value at hand: a cycle ends as None

    def of(self, value: Any) -> Any:
        self._left -= 1
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
            return decimal.Decimal(value)
        if self._left < 0 or len(self._path) >= DEPTH_MAX or id(value) in self._path:
            return None
        self._path.add(id(value))
        try:
            return self._container(value)
        except Exception:  # attributes and iteration are user code
            return None
        finally:
            self._path.discard(id(value))

    def _container(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {_storable_key(key): self.of(item) for key, item in value.items()}
        if isinstance(value, list | set | frozenset) or type(value) is tuple:
            return type(value)(self.of(item) for item in value)
        if isinstance(value, tuple) and hasattr(value, "_make"):  # a named tuple
            return value._make(self.of(item) for item in value)
        if isinstance(value, BaseModel):
            fields = {**value.__dict__, **(value.__pydantic_extra__ or {})}
            copied = value.model_copy(update={name: self.of(item) for name, item in fields.items()})
            return copied if _fits(copied) else None
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value) if field.init]
            replaced = dataclasses.replace(value, **{name: self.of(getattr(value, name)) for name in names})
            return replaced if _fits(replaced) else None
        return value if _fits(value) else None


def _fits(value: Any) -> bool:
    try:
        ormsgpack.packb(value, _default, _OPTION)
    except (TypeError, ValueError, RecursionError):
        _log.warning("a value in the state cannot be stored and becomes null", type=type(value).__qualname__)
        return False
    return True


def _text(value: str) -> str:
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _storable_key(key: Any) -> Any:
    if isinstance(key, str):
        return _text(key)
    return key if key is None or isinstance(key, bool | int | float) else str(key)


class _Statements(SqliteSaver):
    """LangGraph's statements on a connection whose transaction is somebody else's to end."""

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[Any]:
        cursor = self.conn.cursor()
        try:
            yield cursor
        finally:
            cursor.close()


# The fence (reliability D4): whether this attempt may still write. Asked with every write, so without the
# cost of composing a statement.
_STILL_OWNED = "SELECT 1 FROM runs WHERE run_id = ? AND attempt = ? AND status = 'running'"


class EmbeddedSaver(_Statements):
    """Checkpoints in the embedded database. `fenced()` makes one that writes for one attempt of one run."""

    def __init__(self, database: Database, fence: tuple[str, int] | None = None) -> None:
        super().__init__(cast(Any, None), serde=TolerantSerializer())
        self.is_setup = True
        self._database = database
        self._fence = fence
        self._own: set[str] = set()  # the checkpoints that this attempt has made; shared with copies

    def fenced(self, run_id: str, attempt: int) -> "EmbeddedSaver":
        """A saver whose writes are refused (`Superseded`) once this attempt no longer owns the run."""
        clone = copy.copy(self)
        clone._fence, clone._own = (run_id, attempt), set()
        return clone

    def _on(self, tx: Tx) -> _Statements:
        statements = _Statements.__new__(_Statements)
        statements.__dict__.update(self.__dict__, conn=tx.connection.driver_connection)
        return statements

    def _writing(self, call: Callable[[_Statements], T]) -> Callable[[Tx], T]:
        def work(tx: Tx) -> T:
            statements = self._on(tx)
            if self._fence and statements.conn.execute(_STILL_OWNED, self._fence).fetchone() is None:
                raise Superseded
            return call(statements)

        return work

    def _reading(self, call: Callable[[_Statements], T]) -> Callable[[Tx], T]:
        return lambda tx: call(self._on(tx))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._database.read_now(self._reading(lambda saver: saver.get_tuple(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._database.read_here(self._reading(lambda saver: saver.get_tuple(config)))

    def list(self, config: RunnableConfig | None, **filters: Any) -> Iterator[CheckpointTuple]:
        yield from self._database.read_now(self._reading(lambda saver: [*saver.list(config, **filters)]))

    async def alist(self, config: RunnableConfig | None, **filters: Any) -> AsyncIterator[CheckpointTuple]:
        for found in await self._database.read(self._reading(lambda saver: [*saver.list(config, **filters)])):
            yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self._own.add(checkpoint["id"])
        return self._database.write_now(
            self._writing(lambda saver: saver.put(config, checkpoint, metadata, new_versions))
        )

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self._own.add(checkpoint["id"])
        return await self._database.write(
            self._writing(lambda saver: saver.put(config, checkpoint, metadata, new_versions))
        )

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._database.write_now(self._writing(self._put_writes(config, writes, task_id, task_path)))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._database.write(self._writing(self._put_writes(config, writes, task_id, task_path)))

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Callable[[_Statements], None]:
        """Beside a checkpoint of another run, what stood there is noted first."""
        fence = self._fence
        if fence is None or config["configurable"]["checkpoint_id"] in self._own:
            return lambda saver: saver.put_writes(config, writes, task_id, task_path)
        indexes = [WRITES_IDX_MAP.get(channel, index) for index, (channel, _) in enumerate(writes)]

        def work(saver: _Statements) -> None:
            note_writes(saver.conn, fence[0], config, task_id, indexes)
            saver.put_writes(config, writes, task_id, task_path)

        return work

    def delete_thread(self, thread_id: str) -> None:
        self._database.write_now(self._writing(lambda saver: saver.delete_thread(thread_id)))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._database.write(self._writing(lambda saver: saver.delete_thread(thread_id)))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        return self._database.read_now(
            self._reading(lambda saver: saver.get_delta_channel_history(config=config, channels=channels))
        )

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        return await self._database.read(
            self._reading(lambda saver: saver.get_delta_channel_history(config=config, channels=channels))
        )


def open_saver(database: SqliteDatabase) -> EmbeddedSaver:
    """Create LangGraph's tables where missing; the saver on this database."""
    with database.engine.connect() as connection:
        SqliteSaver(cast(Any, connection.connection.driver_connection)).setup()
    return EmbeddedSaver(database)
