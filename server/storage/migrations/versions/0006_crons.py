"""Crons.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_document = sa.JSON(none_as_null=True)
_searched = _document.with_variant(JSONB(none_as_null=True), "postgresql")
_id = sa.String(36)
_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_timestamp = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "crons",
        sa.Column("cron_id", _id, nullable=False),
        sa.Column("assistant_id", _id, nullable=False),
        sa.Column("thread_id", _id),
        sa.Column("schedule", _text, nullable=False),
        sa.Column("timezone", _text),
        sa.Column("end_time", _text),
        sa.Column("ends_at", _timestamp),
        sa.Column("payload", _document, nullable=False),
        sa.Column("metadata", _searched, nullable=False),
        sa.Column("on_run_completed", sa.String(8)),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("next_run_date", _timestamp),
        sa.Column("due_at", _timestamp),
        sa.Column("created_at", _timestamp, nullable=False),
        sa.Column("updated_at", _timestamp, nullable=False),
        sa.Column("identity", _text, nullable=False),
        sa.Column("permissions", _document, nullable=False),
        sa.Column("user", _document),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["threads.thread_id"], name="crons_thread_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cron_id", name="crons_pkey"),
    )
    for column in ("assistant_id", "thread_id", "identity"):
        op.create_index(f"crons_{column}_idx", "crons", [column])
    op.create_index("crons_due_idx", "crons", ["enabled", "due_at"])
