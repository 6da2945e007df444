"""Workers on several machines: who they are, what each executes, and who does what only one may do.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_id = sa.String(36)


def upgrade() -> None:
    op.add_column("runs", sa.Column("worker_id", _id))
    op.create_table(
        "workers",
        sa.Column("worker_id", _id, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="workers_pkey"),
    )
    op.create_table(
        "duties",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("holder", _id, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("name", name="duties_pkey"),
    )
    if op.get_bind().dialect.name == "postgresql":  # see storage/postgres.py
        op.execute("CREATE TABLE marks (slot text PRIMARY KEY, mark text NOT NULL, at timestamptz NOT NULL)")
