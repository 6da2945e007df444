"""Assistants, threads, runs.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_document = sa.JSON(none_as_null=True)
_searched = _document.with_variant(JSONB(none_as_null=True), "postgresql")
_id = sa.String(36)
_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_timestamp = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "assistants",
        sa.Column("assistant_id", _id, nullable=False),
        sa.Column("graph_id", _text, nullable=False),
        sa.Column("name", _text, nullable=False),
        sa.Column("description", _text),
        sa.Column("config", _document, nullable=False),
        sa.Column("context", _document, nullable=False),
        sa.Column("metadata", _searched, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", _timestamp, nullable=False),
        sa.Column("updated_at", _timestamp, nullable=False),
        sa.PrimaryKeyConstraint("assistant_id", name="assistants_pkey"),
    )
    op.create_index("assistants_graph_id_idx", "assistants", ["graph_id"])
    op.create_table(
        "threads",
        sa.Column("thread_id", _id, nullable=False),
        sa.Column("created_at", _timestamp, nullable=False),
        sa.Column("updated_at", _timestamp, nullable=False),
        sa.Column("state_updated_at", _timestamp, nullable=False),
        sa.Column("metadata", _searched, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("config", _document, nullable=False),
        sa.Column("values", sa.Text),
        sa.Column("error", _document),
        sa.Column("interrupts", sa.Text, nullable=False),
        sa.CheckConstraint("status IN ('idle', 'busy', 'interrupted', 'error')", name="threads_status_check"),
        sa.PrimaryKeyConstraint("thread_id", name="threads_pkey"),
    )
    op.create_index("threads_updated_at_idx", "threads", ["updated_at"])
    op.create_table(
        "runs",
        sa.Column(
            "seq", sa.Integer().with_variant(sa.BigInteger, "postgresql"), sa.Identity(), primary_key=True
        ),
        sa.Column("run_id", _id, nullable=False),
        sa.Column("thread_id", _id, nullable=False),
        sa.Column("assistant_id", _id, nullable=False),
        sa.Column("graph_id", sa.Text, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("metadata", _document, nullable=False),
        sa.Column("kwargs", _document, nullable=False),
        sa.Column("multitask_strategy", sa.String(12), nullable=False),
        sa.Column("created_at", _timestamp, nullable=False),
        sa.Column("updated_at", _timestamp, nullable=False),
        sa.Column("due_at", _timestamp, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("stop", sa.String(12)),
        sa.Column("reason", sa.Text),
        sa.Column("error", _document),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')",
            name="runs_status_check",
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["threads.thread_id"], name="runs_thread_id_fkey", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("run_id", name="runs_run_id_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("runs_thread_id_idx", "runs", ["thread_id"])
    op.create_index(
        "runs_one_running_per_thread",
        "runs",
        ["thread_id"],
        unique=True,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "runs_pending_idx",
        "runs",
        ["seq"],
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in ("assistants", "threads"):
            op.create_index(
                f"{table}_metadata_idx",
                table,
                ["metadata"],
                postgresql_using="gin",
                postgresql_ops={"metadata": "jsonb_path_ops"},
            )
