"""What LangGraph's tables are called on each engine, and how one asks them the same.

On SQLite a checkpoint holds the values of all channels. On PostgreSQL it holds the small ones, and names the
versions of the others, which stand in a table of their own: what is read together need not go together.
"""

from sqlalchemy import TextClause, text

from .database import Tx

_WORDS = {
    "sqlite": {
        "writes": "writes",
        "value": "value",
        # of a row `c` of checkpoints
        "run_id": "json_extract(CAST(c.metadata AS TEXT), '$.run_id')",
        "said_thread_id": "json_extract(CAST(c.metadata AS TEXT), '$.thread_id')",
        "told_thread_id": "CAST(json_set(CAST(c.metadata AS TEXT), '$.thread_id', :target) AS BLOB)",
        "delta_counters": "json_extract(CAST(c.metadata AS TEXT), '$.counters_since_delta_snapshot')",
        "stored_bytes": "length(c.checkpoint) + length(c.metadata)",
    },
    "postgresql": {
        "writes": "checkpoint_writes",
        "value": "blob",
        "run_id": "(c.metadata ->> 'run_id')",
        "said_thread_id": "(c.metadata ->> 'thread_id')",
        "told_thread_id": "jsonb_set(c.metadata, '{thread_id}', to_jsonb(CAST(:target AS TEXT)))",
        "delta_counters": "(c.metadata ->> 'counters_since_delta_snapshot')",
        "stored_bytes": "pg_column_size(c.checkpoint) + pg_column_size(c.metadata)",
    },
}


class Statement:
    """A statement for LangGraph's tables: `{words}` in braces are those of the engine."""

    def __init__(self, template: str) -> None:
        self._of = {engine: text(template.format(**words)) for engine, words in _WORDS.items()}

    def on(self, tx: Tx) -> TextClause:
        return self._of[tx.dialect.name]


def has_blobs(tx: Tx) -> bool:
    """Whether values stand in a table of their own, `checkpoint_blobs`."""
    return tx.dialect.name == "postgresql"
