"""Whose threads, assistants and early cancels are; which crons the server's own code made.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for table, column in (("threads", "owner"), ("assistants", "owner"), ("early_cancels", "identity")):
        op.add_column(table, sa.Column(column, _text, nullable=False, server_default=sa.text("''")))
    op.add_column("crons", sa.Column("trusted", sa.Boolean, nullable=False, server_default=sa.text("false")))
    newest = sa.text("updated_at DESC")
    op.create_index("threads_owner_idx", "threads", ["owner", newest, "thread_id"])
    op.create_index("assistants_owner_idx", "assistants", ["owner"])
