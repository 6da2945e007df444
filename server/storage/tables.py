"""The tables and the rules they hold by themselves: keys, checks, one running run a thread."""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from ..models import DeliveryStatus, RunStatus, ThreadStatus
from ..rules.threads import PruneStrategy
from .types import Document, Id, Metadata, RawJson, Timestamp, Vector, Words

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    names = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({names})", name=column)


assistants = Table(
    "assistants",
    metadata,
    Column("assistant_id", Id, primary_key=True),
    Column("graph_id", Words, nullable=False, index=True),
    Column("name", Words, nullable=False),
    Column("description", Words),
    Column("config", Document, nullable=False),
    Column("context", Document, nullable=False),
    Column("metadata", Metadata, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("owner", Words, nullable=False, server_default=text("''"), index=True),  # who made it
)

# What an assistant was after each change; the row above holds what it is now.
assistant_versions = Table(
    "assistant_versions",
    metadata,
    Column("assistant_id", Id, ForeignKey("assistants.assistant_id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("graph_id", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("description", Words),
    Column("config", Document, nullable=False),
    Column("context", Document, nullable=False),
    Column("metadata", Metadata, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

threads = Table(
    "threads",
    metadata,
    Column("thread_id", Id, primary_key=True),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("state_updated_at", Timestamp, nullable=False),
    Column("metadata", Metadata, nullable=False),
    Column("status", String(12), _one_of("status", ThreadStatus), nullable=False),
    Column("config", Document, nullable=False),
    Column("values", RawJson),
    Column("error", Document),
    Column("interrupts", RawJson, nullable=False),
    Column("owner", Words, nullable=False, server_default=text("''")),  # who made it
)
# What threads are sorted by. With the id in them a search need not touch the rows that it passes over.
Index("threads_created_at_idx", threads.c.created_at.desc(), threads.c.thread_id)
Index("threads_updated_at_idx", threads.c.updated_at.desc(), threads.c.thread_id)
Index("threads_state_updated_at_idx", threads.c.state_updated_at.desc(), threads.c.thread_id)
Index("threads_owner_idx", threads.c.owner, threads.c.updated_at.desc(), threads.c.thread_id)
Index("threads_status_idx", threads.c.status, threads.c.updated_at.desc(), threads.c.thread_id)

# The metadata of threads the other way round, for searches (storage/metadata_index.py). On SQLite triggers
# of `threads` keep it: no statement can forget to. PostgreSQL has an index for it, and not this table.
thread_metadata = Table(
    "thread_metadata",
    metadata,
    Column("key", Words, primary_key=True),
    Column("value", LargeBinary, primary_key=True),  # of the class that SQLite has for it
    Column("thread_id", Id, primary_key=True),
    sqlite_with_rowid=False,
)

# Threads that do not live for ever. A thread lives for so long after its last change; `expires_at` is only
# when to look at it, and may be too early, so that no run has to write it.
thread_ttls = Table(
    "thread_ttls",
    metadata,
    Column("thread_id", Id, ForeignKey("threads.thread_id", ondelete="CASCADE"), primary_key=True),
    Column("strategy", String(12), _one_of("strategy", PruneStrategy), nullable=False),
    Column("ttl_minutes", Float, nullable=False),
    Column("expires_at", Timestamp, nullable=False, index=True),
)

# What threads get that say nothing themselves: one row or none, written at the start. A trigger copies it.
thread_ttl_default = Table(
    "thread_ttl_default",
    metadata,
    Column("strategy", String(12), _one_of("strategy", PruneStrategy), primary_key=True),
    Column("ttl_minutes", Float, nullable=False),
)

# Ids that threads are being copied to, piece by piece, before there is such a thread.
thread_copies = Table("thread_copies", metadata, Column("thread_id", Id, primary_key=True))

runs = Table(
    "runs",
    metadata,
    # The order of admission. Ids within a millisecond are in no order, and first come is first served.
    Column("seq", Integer().with_variant(BigInteger, "postgresql"), Identity(), primary_key=True),
    Column("run_id", Id, nullable=False, unique=True),
    Column("thread_id", Id, ForeignKey("threads.thread_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("assistant_id", Id, nullable=False),
    Column("graph_id", Text, nullable=False),
    Column("status", String(12), _one_of("status", RunStatus), nullable=False),
    Column("metadata", Document, nullable=False),
    Column("kwargs", Document, nullable=False),
    Column("multitask_strategy", String(12), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("due_at", Timestamp, nullable=False),  # not to be started before
    Column("attempt", Integer, nullable=False, server_default=text("0")),  # counts starts; fences writes
    Column("stop", String(12)),  # how the caller wants the run stopped: interrupt or rollback
    Column("reason", Text),  # why it was stopped
    Column("error", Document),
    # How often a server that stopped in order gave the run to the next: those attempts are no failures.
    Column("handovers", Integer, nullable=False, server_default=text("0")),
    Column("identity", Words, nullable=False, server_default=text("''")),  # whose it is
    Column("worker_id", Id),  # who executes it; null where there is only one
    # Two starters of one thread cannot both win, whatever the claim statement looks like.
    Index(
        "runs_one_running_per_thread",
        "thread_id",
        unique=True,
        sqlite_where=text("status = 'running'"),
        postgresql_where=text("status = 'running'"),
    ),
    Index(
        "runs_pending_idx",
        "seq",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    sqlite_autoincrement=True,
)

# The workers that are alive, where there are several. Those whose time is over are dead.
workers = Table(
    "workers",
    metadata,
    Column("worker_id", Id, primary_key=True),
    Column("expires_at", Float(53), nullable=False),  # seconds since 1970 by the database's clock
)

# What only one process may do at a time, and which one does.
duties = Table(
    "duties",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("holder", Id, nullable=False),
    Column("expires_at", Float(53), nullable=False),
)

# What a client calls a run before it knows whether it exists: `run_id` or an Idempotency-Key. Kept for a
# while beside the run, because stateless runs vanish and a repeated call must not start them again.
run_names = Table(
    "run_names",
    metadata,
    Column("identity", Words, primary_key=True),
    Column("name", String(300).with_variant(String(300, collation="C"), "postgresql"), primary_key=True),
    Column("run_id", Id, nullable=False),
    Column("thread_id", Id, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("created_at", Timestamp, nullable=False, index=True),
)

# Cancels that came before the run they name.
early_cancels = Table(
    "early_cancels",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("reason", Words, nullable=False),
    Column("created_at", Timestamp, nullable=False, index=True),
    Column("identity", Words, nullable=False, server_default=text("''")),  # whose runs it stops
)

# What runs wrote beside checkpoints that are not their own (answers to interrupts, and what came of them),
# with what stood there before: undoing a run brings it back.
run_writes = Table(
    "run_writes",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("thread_id", Id, nullable=False, index=True),
    Column("checkpoint_ns", Text, primary_key=True),
    Column("checkpoint_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("idx", Integer, primary_key=True),
    Column("task_path", Text),
    Column("channel", Text),  # null: nothing stood there
    Column("type", Text),
    Column("value", LargeBinary),
)

# The outbox of webhooks: written with the final status of a run, emptied by a sender.
deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", Id, primary_key=True),
    Column("run_id", Id, nullable=False, index=True),
    Column("thread_id", Id, nullable=False),
    Column("identity", Words, nullable=False),
    Column("url", Words, nullable=False),
    Column("body", RawJson, nullable=False),
    Column("status", String(12), _one_of("status", DeliveryStatus), nullable=False),
    Column("tries", Document, nullable=False),  # [{at, status, error, ms}], the oldest first
    Column("due_at", Timestamp, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False, index=True),
    Index(
        "deliveries_pending_idx",
        "due_at",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
)

# Runs that are made again and again. Those of a thread go with it; those of an assistant are deleted with it,
# but need none: the name of a graph will do.
crons = Table(
    "crons",
    metadata,
    Column("cron_id", Id, primary_key=True),
    Column("assistant_id", Id, nullable=False, index=True),
    Column("thread_id", Id, ForeignKey("threads.thread_id", ondelete="CASCADE"), index=True),
    Column("schedule", Words, nullable=False),
    Column("timezone", Words),
    Column("end_time", Words),  # as it was said
    Column("ends_at", Timestamp),
    Column("payload", Document, nullable=False),
    Column("metadata", Metadata, nullable=False),
    Column("on_run_completed", String(8)),
    Column("enabled", Boolean, nullable=False),
    Column("next_run_date", Timestamp),  # null: never again
    Column("due_at", Timestamp),  # when to see to it: later than that date after a failure
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("identity", Words, nullable=False, index=True),
    Column("permissions", Document, nullable=False),
    Column("user", Document),
    Column("trusted", Boolean, nullable=False, server_default=text("false")),  # made by the server's own code
    Index("crons_due_idx", "enabled", "due_at"),
)

# The long-term store. A namespace is its labels joined by dots, which no label may hold. What is large
# stands last: SQLite reads a row from the left.
items = Table(
    "items",
    metadata,
    Column("namespace", Words, primary_key=True),
    Column("key", Words, primary_key=True),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("expires_at", Float),  # seconds since 1970; null: never
    Column("ttl_seconds", Float),
    Column("value", RawJson, nullable=False),
    Index(
        "items_expires_at_idx",
        "expires_at",
        sqlite_where=text("expires_at IS NOT NULL"),
        postgresql_where=text("expires_at IS NOT NULL"),
    ),
)

# What searches by meaning compare: one vector of length 1 for each indexed text of an item.
item_vectors = Table(
    "item_vectors",
    metadata,
    Column("namespace", Words, primary_key=True),
    Column("key", Words, primary_key=True),
    Column("idx", Integer, primary_key=True),
    Column("vector", Vector, nullable=False),
    ForeignKeyConstraint(["namespace", "key"], ["items.namespace", "items.key"], ondelete="CASCADE"),
)
