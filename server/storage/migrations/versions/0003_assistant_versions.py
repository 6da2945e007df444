"""The versions of assistants; those there are become the first.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_document = sa.JSON(none_as_null=True)
_searched = _document.with_variant(JSONB(none_as_null=True), "postgresql")
_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_timestamp = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")
_KEPT = "assistant_id, version, graph_id, name, description, config, context, metadata"


def upgrade() -> None:
    op.create_table(
        "assistant_versions",
        sa.Column("assistant_id", sa.String(36), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("graph_id", _text, nullable=False),
        sa.Column("name", _text, nullable=False),
        sa.Column("description", _text),
        sa.Column("config", _document, nullable=False),
        sa.Column("context", _document, nullable=False),
        sa.Column("metadata", _searched, nullable=False),
        sa.Column("created_at", _timestamp, nullable=False),
        sa.ForeignKeyConstraint(
            ["assistant_id"],
            ["assistants.assistant_id"],
            name="assistant_versions_assistant_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("assistant_id", "version", name="assistant_versions_pkey"),
    )
    op.execute(
        f"INSERT INTO assistant_versions ({_KEPT}, created_at) SELECT {_KEPT}, updated_at FROM assistants"
    )
