"""Moves of stores; tiers of versions, and those that are back for a while."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("versions", sa.Column("tier", Bytewise))
    op.create_index(
        "ix_versions_tier",
        "versions",
        ["tier"],
        sqlite_where=sa.text("tier IS NOT NULL"),
        postgresql_where=sa.text("tier IS NOT NULL"),
    )
    op.create_table(
        "moves",
        sa.Column("source", Bytewise, primary_key=True),
        sa.Column("target", Bytewise, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("finish_at", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "recalls",
        sa.Column("version_id", Bytewise, primary_key=True),
        sa.Column("tier", Bytewise, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_recalls_until", "recalls", ["until"])
