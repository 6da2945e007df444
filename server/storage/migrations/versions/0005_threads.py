"""What searches of threads need, how long threads live, and copies under way.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_id = sa.String(36)
_timestamp = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")
_strategies = "strategy IN ('delete', 'keep_latest')"

# The scalars of a thread's metadata, one row each. Text and numbers keep the class that SQLite has for them;
# truth values and null are blobs, which equal neither. Of a long text its first bytes stand there, as a blob.
_SCALARS = """
    SELECT key, CASE
        WHEN type IN ('true', 'false', 'null') THEN CAST(type AS BLOB)
        WHEN length(CAST(atom AS BLOB)) <= 200 THEN atom
        ELSE substr(CAST(atom AS BLOB), 1, 200) END, {thread_id}
    FROM {source}
    WHERE type NOT IN ('object', 'array') AND length(CAST(key AS BLOB)) <= 200
"""
_ADD = "INSERT OR IGNORE INTO thread_metadata (key, value, thread_id)"
_of_new = _SCALARS.format(thread_id="new.thread_id", source="json_each(new.metadata)")
_of_old = _SCALARS.format(thread_id="old.thread_id", source="json_each(old.metadata)")
_of_all = _SCALARS.format(thread_id="t.thread_id", source="threads t, json_each(t.metadata)")
_remove_old = f"DELETE FROM thread_metadata WHERE (key, value, thread_id) IN ({_of_old})"
_TRIGGERS = (
    f"""
    CREATE TRIGGER threads_added AFTER INSERT ON threads BEGIN
        {_ADD} {_of_new};
        INSERT INTO thread_ttls (thread_id, strategy, ttl_minutes, expires_at)
        SELECT new.thread_id, strategy, ttl_minutes, coalesce(
            strftime('%Y-%m-%dT%H:%M:%f000+00:00', new.created_at, (ttl_minutes * 60) || ' seconds'),
            new.created_at)
        FROM thread_ttl_default;
    END
    """,
    f"""
    CREATE TRIGGER threads_described AFTER UPDATE OF metadata ON threads
    WHEN old.metadata IS NOT new.metadata BEGIN
        {_remove_old};
        {_ADD} {_of_new};
    END
    """,
    f"CREATE TRIGGER threads_removed AFTER DELETE ON threads BEGIN {_remove_old}; END",
)

# PostgreSQL has an index of the metadata; only the time that a thread has to live is left to a trigger.
_FUNCTION = """
    CREATE FUNCTION threads_added() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO thread_ttls (thread_id, strategy, ttl_minutes, expires_at)
        SELECT new.thread_id, strategy, ttl_minutes, to_char(
            (new.created_at::timestamptz + make_interval(secs => ttl_minutes * 60)) AT TIME ZONE 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
        FROM thread_ttl_default;
        RETURN NULL;
    END $$;
    CREATE TRIGGER threads_added AFTER INSERT ON threads FOR EACH ROW EXECUTE FUNCTION threads_added();
"""


def upgrade() -> None:
    op.drop_index("threads_updated_at_idx", "threads")
    for column in ("created_at", "updated_at", "state_updated_at"):
        op.create_index(f"threads_{column}_idx", "threads", [sa.text(f"{column} DESC"), "thread_id"])
    op.create_index("threads_status_idx", "threads", ["status", sa.text("updated_at DESC"), "thread_id"])
    op.create_table(
        "thread_ttls",
        sa.Column("thread_id", _id, nullable=False),
        sa.Column("strategy", sa.String(12), nullable=False),
        sa.Column("ttl_minutes", sa.Float, nullable=False),
        sa.Column("expires_at", _timestamp, nullable=False),
        sa.CheckConstraint(_strategies, name="thread_ttls_strategy_check"),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["threads.thread_id"], name="thread_ttls_thread_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("thread_id", name="thread_ttls_pkey"),
    )
    op.create_index("thread_ttls_expires_at_idx", "thread_ttls", ["expires_at"])
    op.create_table(
        "thread_ttl_default",
        sa.Column("strategy", sa.String(12), nullable=False),
        sa.Column("ttl_minutes", sa.Float, nullable=False),
        sa.CheckConstraint(_strategies, name="thread_ttl_default_strategy_check"),
        sa.PrimaryKeyConstraint("strategy", name="thread_ttl_default_pkey"),
    )
    op.create_table(
        "thread_copies",
        sa.Column("thread_id", _id, nullable=False),
        sa.PrimaryKeyConstraint("thread_id", name="thread_copies_pkey"),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_FUNCTION)
        return
    op.create_table(
        "thread_metadata",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("thread_id", _id, nullable=False),
        sa.PrimaryKeyConstraint("key", "value", "thread_id", name="thread_metadata_pkey"),
        sqlite_with_rowid=False,
    )
    for statement in (*_TRIGGERS, f"{_ADD} {_of_all}"):
        connection.exec_driver_sql(statement)
