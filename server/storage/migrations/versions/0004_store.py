"""The long-term store in tables of our own; what LangGraph's had kept moves over.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_timestamp = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")
_vector = sa.LargeBinary().with_variant(ARRAY(sa.REAL), "postgresql")

# LangGraph's times are UTC, to the second, and mostly do not say so.
_MOVE = """
    INSERT INTO items (namespace, key, created_at, updated_at, expires_at, ttl_seconds, value)
    SELECT prefix, key,
        strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', created_at),
        strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', updated_at),
        CAST(strftime('%s', expires_at) AS REAL), ttl_minutes * 60, CAST(value AS TEXT)
    FROM store
"""


def upgrade() -> None:
    op.create_table(
        "items",
        sa.Column("namespace", _text, nullable=False),
        sa.Column("key", _text, nullable=False),
        sa.Column("created_at", _timestamp, nullable=False),
        sa.Column("updated_at", _timestamp, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("ttl_seconds", sa.Float),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "key", name="items_pkey"),
    )
    op.create_index(
        "items_expires_at_idx",
        "items",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_table(
        "item_vectors",
        sa.Column("namespace", _text, nullable=False),
        sa.Column("key", _text, nullable=False),
        sa.Column("idx", sa.Integer, nullable=False),
        sa.Column("vector", _vector, nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace", "key"],
            ["items.namespace", "items.key"],
            name="item_vectors_namespace_key_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("namespace", "key", "idx", name="item_vectors_pkey"),
    )
    if op.get_bind().dialect.name == "sqlite" and sa.inspect(op.get_bind()).has_table("store"):
        op.execute(_MOVE)
        op.drop_table("store")
        op.drop_table("store_migrations")
