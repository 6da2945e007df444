"""The database of a checkpointer of LangGraph's own, read for its threads and never written.

What graphs stored is carried over as it is: of objects neither the class is imported nor the code run, so a
file from elsewhere can do no harm and a class that is gone loses nothing.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ormsgpack
import psycopg
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import EXT_DELTA_SNAPSHOT, JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from ..errors import ConfigError
from .checkpoints import DatabaseSaver
from .checkpoints_postgres import PostgresStatements
from .checkpoints_sqlite import SqliteStatements
from .database import Tx
from .layouts import Statement

THREADS = 500  # ids that are asked for at a time
POSTGRES = ("postgresql://", "postgres://")
SQLITE = "sqlite:///"

Write = tuple[str, int, str, str, str, bytes]  # task_id, idx, task_path, channel, type, value

_put_write = Statement("""
    INSERT INTO {writes}
        (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, type, {value})
    VALUES (:thread, :ns, :checkpoint, :task_id, :idx, :task_path, :channel, :type, :value)
    ON CONFLICT DO NOTHING
""")


class Unreadable(Exception):
    """A thread that cannot be taken over, and why."""


class Untouched(JsonPlusSerializer):
    """Leaves what LangGraph's msgpack says of objects as it is, on the way in and out."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, content = data
        if kind == "msgpack":
            return _unpack(content)
        if kind == "pickle":
            raise Unreadable("it holds pickled objects, which are never read: they can run code")
        try:
            return super().loads_typed(data)  # null, bytes, and the JSON of old versions
        except NotImplementedError as error:
            raise Unreadable(f"it holds values of the kind {kind}, which cannot be read here") from error


def _unpack(content: bytes) -> Any:
    return ormsgpack.unpackb(content, ext_hook=_kept, option=ormsgpack.OPT_NON_STR_KEYS)


def _kept(code: int, content: bytes) -> Any:
    # The one object that savers themselves look at.
    return _DeltaSnapshot(_unpack(content)) if code == EXT_DELTA_SNAPSHOT else ormsgpack.Ext(code, content)


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint, and what was written beside it."""

    tuple: CheckpointTuple
    writes: list[Write]


class Source:
    """The threads of one database. Not for several threads of this process."""

    def __init__(self, connection: Any, statements: Any, mark: str, writes: str) -> None:
        self._connection = connection
        self._statements = statements
        self._mark = mark
        self._writes = writes

    def threads(self) -> Iterator[str]:
        """The ids of all threads, in some order."""
        query = "SELECT DISTINCT thread_id FROM checkpoints WHERE thread_id > ? ORDER BY thread_id LIMIT ?"
        last = ""
        while page := [row[0] for row in self._rows(query, (last, THREADS))]:
            yield from page
            last = page[-1]

    def keys(self, thread_id: str) -> list[tuple[str, str]]:
        """Namespaces and ids of a thread's checkpoints, the oldest first."""
        query = (
            "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_id"
        )
        return [(row[0], row[1]) for row in self._rows(query, (thread_id,))]

    def get(self, thread_id: str, namespace: str, checkpoint_id: str) -> Found:
        """One checkpoint. Raises Unreadable."""
        at = {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}
        try:
            found = self._statements.get_tuple({"configurable": at})
        except (ValueError, TypeError, KeyError) as error:
            raise Unreadable(f"checkpoint {checkpoint_id} is damaged: {error}") from error
        if found is None:
            raise Unreadable(f"checkpoint {checkpoint_id} went away meanwhile")
        where = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
        rows = self._rows(f"{self._writes} WHERE {where}", (thread_id, namespace, checkpoint_id))
        return Found(found, [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in rows])

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[Sequence[Any]]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(query.replace("?", self._mark), values)
            return list(cursor.fetchall())


@contextmanager
def open_source(address: str, schema: str | None) -> Iterator[Source]:
    """A SQLite file, or the URI of a PostgreSQL. Raises ConfigError, also for what fails while it is open."""
    opened = _postgres(address, schema) if address.startswith(POSTGRES) else _sqlite(address)
    try:
        with opened as source:
            yield source
    except (sqlite3.Error, psycopg.Error) as error:
        raise ConfigError(f"cannot read {_shown(address)}: {' '.join(str(error).split())}") from error


@contextmanager
def _sqlite(address: str) -> Iterator[Source]:
    path = Path(address.removeprefix(SQLITE))
    if not path.is_file():
        raise ConfigError(f"{path} is no file: name a SQLite file or a URI that begins with postgresql://.")
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, check_same_thread=False)) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(writes)")}
        _demand(columns, "writes")
        task_path = "task_path" if "task_path" in columns else "''"
        writes = f"SELECT task_id, idx, {task_path}, channel, type, value FROM writes"
        statements = SqliteStatements(connection, Untouched())
        statements._has_task_path = "task_path" in columns
        yield Source(connection, statements, "?", writes)


@contextmanager
def _postgres(address: str, schema: str | None) -> Iterator[Source]:
    with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
        connection.execute("SET default_transaction_read_only = on")
        if schema is not None:
            quoted = '"' + schema.replace('"', '""') + '"'
            connection.execute("SELECT set_config('search_path', %s, false)", (quoted,))
        query = (
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = 'checkpoint_writes' AND table_schema = current_schema()"
        )
        columns = {row[0] for row in connection.execute(query)}
        _demand(columns, "checkpoint_writes")
        task_path = "task_path" if "task_path" in columns else "''"
        writes = f"SELECT task_id, idx, {task_path}, channel, type, blob FROM checkpoint_writes"
        yield Source(connection, PostgresStatements(connection, Untouched()), "%s", writes)


def _demand(columns: set[str], table: str) -> None:
    if not {"checkpoint_ns", "checkpoint_id"} <= columns:
        raise ConfigError(
            f"there are no checkpoints of LangGraph there: no table {table} of the kind it makes."
        )


def _shown(address: str) -> str:
    """An address without its password."""
    if not address.startswith(POSTGRES):
        return address
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


class Target:
    """Writes what was found under the id that its thread has here, again without harm."""

    def __init__(self, saver: DatabaseSaver) -> None:
        self._saver = saver.on(saver._database)
        self._saver.serde = Untouched()

    def put(self, tx: Tx, thread_id: str, found: Found) -> None:
        inner = found.tuple.config["configurable"]
        checkpoint, namespace = found.tuple.checkpoint, inner["checkpoint_ns"]
        at = {"thread_id": thread_id, "checkpoint_ns": namespace}
        if found.tuple.parent_config is not None:
            at["checkpoint_id"] = found.tuple.parent_config["configurable"]["checkpoint_id"]
        metadata: Any = dict(found.tuple.metadata or {})
        if "thread_id" in metadata:
            metadata["thread_id"] = thread_id
        versions = checkpoint["channel_versions"]
        stored: Any = {name: versions[name] for name in checkpoint["channel_values"] if name in versions}
        self._saver._on(tx).put({"configurable": at}, checkpoint, metadata, stored)
        here = {"thread": thread_id, "ns": namespace, "checkpoint": checkpoint["id"]}
        names = ("task_id", "idx", "task_path", "channel", "type", "value")
        if found.writes:
            rows = [{**here, **dict(zip(names, write, strict=True))} for write in found.writes]
            tx.execute(_put_write.on(tx), rows)
