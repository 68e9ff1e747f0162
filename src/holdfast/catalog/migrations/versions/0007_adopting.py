"""Buckets that take over what others wrote, and still write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("buckets", sa.Column("upstream", sa.Text, nullable=False, server_default=""))
    op.add_column("versions", sa.Column("pin", sa.Text))
    op.create_table(
        "upstreams",
        _bucket(),
        sa.Column("store", Bytewise, nullable=False),
        sa.Column("prefix", Bytewise, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        *(sa.Column(name, sa.Boolean, nullable=False) for name in ("dual_write", "fresh", "keep")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("attached", "passes")),
        *(sa.Column(name, sa.BigInteger) for name in ("passed", "verified", "differences")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "divergences",
        _bucket(),
        sa.Column("key", Bytewise, primary_key=True),
        sa.Column("version_id", Bytewise, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("pin", sa.Text, nullable=False),
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.Column("owed", sa.Boolean, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("trouble", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "misses",
        _bucket(),
        sa.Column("key", Bytewise, primary_key=True),
        sa.Column("version_id", Bytewise, nullable=False),
        sa.Column("pass", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _bucket() -> sa.Column[int]:
    return sa.Column("bucket_id", sa.BigInteger, primary_key=True, autoincrement=False)
