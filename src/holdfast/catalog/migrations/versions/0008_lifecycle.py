"""Legal hold and retention lock of versions; when versions were read last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    hold = sa.Column("hold", sa.Boolean, nullable=False, server_default=sa.text("false"))
    op.add_column("versions", hold)
    op.add_column("versions", sa.Column("locked_until", sa.BigInteger))
    op.add_column("versions", sa.Column("lock_mode", sa.Text))
    op.create_index(
        "ix_versions_hold",
        "versions",
        ["bucket_id"],
        sqlite_where=sa.text("hold IS 1"),
        postgresql_where=sa.text("hold IS true"),
    )
    locked = sa.text("locked_until IS NOT NULL")
    op.create_index(
        "ix_versions_locked_until",
        "versions",
        ["bucket_id", "locked_until"],
        sqlite_where=locked,
        postgresql_where=locked,
    )
    op.add_column("buckets", sa.Column("counting_since", sa.BigInteger))
    op.create_table(
        "accesses",
        sa.Column("version_id", Bytewise, primary_key=True),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
