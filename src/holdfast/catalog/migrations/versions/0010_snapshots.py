"""Pins: moments whose bytes stay while somebody copies them; snapshots; rows of versions that share blobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "pins",
        sa.Column("id", Bytewise, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_pins_until", "pins", ["until"])
    op.create_table(
        "snapshots",
        sa.Column("bucket_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", Bytewise, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.add_column("buckets", sa.Column("snapped", sa.BigInteger))
    op.add_column("versions", sa.Column("cloned_from", sa.Text))
    if op.get_context().dialect.name == "sqlite":
        _replicas_anew()
    else:
        op.drop_constraint("uq_replicas_store_blob", "replicas", type_="unique")
    op.create_index("ix_replicas_store_blob", "replicas", ["store", "blob"])


def _replicas_anew() -> None:
    """SQLite takes no constraint off a table, so there is a new table with the rows of the old one."""
    op.rename_table("replicas", "replicas_before")
    op.create_table(
        "replicas",
        sa.Column("version_id", Bytewise, primary_key=True),
        sa.Column("id", Bytewise, primary_key=True),
        sa.Column("segment_id", Bytewise, nullable=False),
        sa.Column("store", Bytewise, nullable=False),
        sa.Column("blob", Bytewise, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("copy_number", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("committed", sa.BigInteger),
        sa.Column("upload_id", Bytewise),
        sa.Column("proved", sa.BigInteger),
        sa.UniqueConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO replicas SELECT * FROM replicas_before")
    op.drop_table("replicas_before")
    for name, columns, where in (
        ("pending", ["lease_until"], "state = 'pending'"),
        ("doomed", ["not_before"], "state = 'doomed'"),
        ("proved", ["store", "proved", "id"], "proved IS NOT NULL"),
    ):
        op.create_index(f"ix_replicas_{name}", "replicas", columns, sqlite_where=sa.text(where))
