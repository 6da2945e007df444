"""What the whole life of a run needs: handovers, who asked, names, early cancels, webhooks, rollback.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_document = sa.JSON(none_as_null=True)
_id = sa.String(36)
_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_name = sa.String(300).with_variant(sa.String(300, collation="C"), "postgresql")
_timestamp = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("runs", sa.Column("handovers", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("runs", sa.Column("identity", _text, nullable=False, server_default=sa.text("''")))
    _names()
    _undoing()
    _webhooks()


def _names() -> None:
    op.create_table(
        "run_names",
        sa.Column("identity", _text, nullable=False),
        sa.Column("name", _name, nullable=False),
        sa.Column("run_id", _id, nullable=False),
        sa.Column("thread_id", _id, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("created_at", _timestamp, nullable=False),
        sa.PrimaryKeyConstraint("identity", "name", name="run_names_pkey"),
    )
    op.create_index("run_names_created_at_idx", "run_names", ["created_at"])
    op.create_table(
        "early_cancels",
        sa.Column("run_id", _id, nullable=False),
        sa.Column("reason", _text, nullable=False),
        sa.Column("created_at", _timestamp, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="early_cancels_pkey"),
    )
    op.create_index("early_cancels_created_at_idx", "early_cancels", ["created_at"])


def _undoing() -> None:
    op.create_table(
        "run_writes",
        sa.Column("run_id", _id, nullable=False),
        sa.Column("thread_id", _id, nullable=False),
        sa.Column("checkpoint_ns", sa.Text, nullable=False),
        sa.Column("checkpoint_id", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("idx", sa.Integer, nullable=False),
        sa.Column("task_path", sa.Text),
        sa.Column("channel", sa.Text),
        sa.Column("type", sa.Text),
        sa.Column("value", sa.LargeBinary),
        sa.PrimaryKeyConstraint(
            "run_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", name="run_writes_pkey"
        ),
    )
    op.create_index("run_writes_thread_id_idx", "run_writes", ["thread_id"])


def _webhooks() -> None:
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", _id, nullable=False),
        sa.Column("run_id", _id, nullable=False),
        sa.Column("thread_id", _id, nullable=False),
        sa.Column("identity", _text, nullable=False),
        sa.Column("url", _text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("tries", _document, nullable=False),
        sa.Column("due_at", _timestamp, nullable=False),
        sa.Column("created_at", _timestamp, nullable=False),
        sa.Column("updated_at", _timestamp, nullable=False),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="deliveries_status_check"),
        sa.PrimaryKeyConstraint("delivery_id", name="deliveries_pkey"),
    )
    op.create_index("deliveries_run_id_idx", "deliveries", ["run_id"])
    op.create_index("deliveries_updated_at_idx", "deliveries", ["updated_at"])
    op.create_index(
        "deliveries_pending_idx",
        "deliveries",
        ["due_at"],
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
