"""What was asked of stores, and what they held, by day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("store", Bytewise, primary_key=True),
        sa.Column("verb", sa.Text, primary_key=True),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("sent", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "store_days",
        sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("store", Bytewise, primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("blobs", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
