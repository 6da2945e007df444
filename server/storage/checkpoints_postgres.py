"""LangGraph's statements for PostgreSQL, on a connection whose transaction is somebody else's to end.

LangGraph keeps a checkpoint as `jsonb`, small plain values within it and all others as rows of their own, one
a version of a channel. `jsonb` cannot hold every plain value: NUL and half characters are errors, 1e20 comes
back as an integer. Those become rows too, which LangGraph's own saver reads as well.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg.rows import DictRow, dict_row

from ..errors import Superseded, describe
from .database import Tx
from .postgres import PostgresDatabase
from .serializer import fit_text

INLINE_MAX = 1_000  # characters: a longer text is stored once a version, not with every checkpoint

# The fence (reliability D4): whether this attempt may still write. The lock makes it so until the end of the
# transaction: who takes the run over waits for it, and finds here what this attempt has written.
_OWNS = "SELECT 1 FROM runs WHERE run_id = %s AND attempt = %s AND status = 'running' FOR SHARE"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ':checkpoints', 0))"


class PostgresStatements(PostgresSaver):
    """For one transaction: made with each, so without what its base sets up."""

    # A cast to `bytea` takes a backslash in a name for an escape.
    SELECT_SQL = (
        PostgresSaver.SELECT_SQL.replace("bl.channel::bytea", "convert_to(bl.channel, 'UTF8')")
        .replace("cw.channel::bytea", "convert_to(cw.channel, 'UTF8')")
        .replace("cw.task_id::text::bytea", "convert_to(cw.task_id, 'UTF8')")
    )

    def __init__(self, connection: "psycopg.Connection[Any]", serde: SerializerProtocol) -> None:
        self.conn = connection
        self.serde = cast(Any, serde)

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> "Iterator[psycopg.Cursor[DictRow]]":
        with cast(Any, self.conn).cursor(binary=True, row_factory=dict_row) as cursor:
            yield cursor

    @contextmanager
    def owned(self, run_id: str, attempt: int) -> Iterator[None]:
        """What is done within is done only if this attempt owns its run. Raises Superseded.

        All of it is sent at once, and the answers are read at the end.
        """
        connection = cast(Any, self.conn)
        with connection.pipeline():
            found = connection.execute(_OWNS, (run_id, attempt))
            yield
        if found.fetchone() is None:
            raise Superseded

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        apart = {name: _Apart(value) for name, value in values.items() if _is_odd(value)}
        if apart:  # with what a checkpoint of LangGraph's own saver may have had within it
            checkpoint = {**checkpoint, "channel_values": {**values, **apart}}
            new_versions = {
                **new_versions,
                **{name: versions[name] for name in apart if name in versions},
            }
        told: Any = _fit(get_serializable_checkpoint_metadata(config, metadata))
        inner = config["configurable"]
        at = {"thread_id": inner["thread_id"], "checkpoint_ns": inner["checkpoint_ns"]}
        if (parent := inner.get("checkpoint_id")) is not None:
            at["checkpoint_id"] = parent
        return super().put({"configurable": at}, checkpoint, told, new_versions)

    def _dump_blobs(
        self, thread_id: str, checkpoint_ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> list[tuple[str, str, str, str, str, bytes | None]]:
        stored = {name: _as_stored(value) for name, value in values.items()}
        return super()._dump_blobs(thread_id, checkpoint_ns, stored, versions)


class _Apart:
    """Hides from LangGraph that a value is a plain one."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _as_stored(value: Any) -> Any:
    """The value of a channel. An exception looks as on the streams, also where it is all that there is."""
    if isinstance(value, _Apart):
        return value.value
    return describe(value) if isinstance(value, BaseException) else value


def _is_odd(value: Any) -> bool:
    """Whether LangGraph would put a value into a checkpoint that `jsonb` changes or refuses."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return False
    if type(value) is int:
        return not -(2**63) <= value < 2**63
    if type(value) is str:
        return len(value) > INLINE_MAX or value != _fit_text(value)
    return True  # a float, or an enum


def _fit(value: Any) -> Any:
    """The nearest JSON that `jsonb` can hold."""
    if isinstance(value, str):
        return _fit_text(value)
    if isinstance(value, dict):
        return {_fit_text(str(key)): _fit(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_fit(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def _fit_text(value: str) -> str:
    return value.replace("\0", "") if value.isascii() else fit_text(value).replace("\0", "")


def prepare(database: PostgresDatabase) -> None:
    """Run the migrations of LangGraph that are missing, once however many processes start."""
    if database.read_now(_version) < len(PostgresSaver.MIGRATIONS) - 1:
        database.write_now(_migrate)


def _version(tx: Tx) -> int:
    """The newest of LangGraph's migrations that this schema has seen, -1 for none."""
    if tx.exec_driver_sql("SELECT to_regclass('checkpoint_migrations')").scalar() is None:
        return -1
    newest = tx.exec_driver_sql("SELECT max(v) FROM checkpoint_migrations").scalar()
    return -1 if newest is None else int(newest)


def _migrate(tx: Tx) -> None:
    tx.exec_driver_sql(_LOCK)
    for number in range(_version(tx) + 1, len(PostgresSaver.MIGRATIONS)):
        # An index that is built CONCURRENTLY cannot be part of a transaction, and may be left half done.
        tx.exec_driver_sql(PostgresSaver.MIGRATIONS[number].replace(" CONCURRENTLY", ""))
        tx.exec_driver_sql("INSERT INTO checkpoint_migrations (v) VALUES (%s)", (number,))
