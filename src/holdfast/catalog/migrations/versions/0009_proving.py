"""When copies were proved; findings; what blobs say of themselves while a catalog is rebuilt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("replicas", sa.Column("proved", sa.BigInteger))
    known = sa.text("proved IS NOT NULL")
    op.create_index(
        "ix_replicas_proved",
        "replicas",
        ["store", "proved", "id"],
        sqlite_where=known,
        postgresql_where=known,
    )
    _findings()
    _told()


def _findings() -> None:
    op.create_table(
        "findings",
        _key("store"),
        _key("blob"),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("version_id", Bytewise, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("run", Bytewise, nullable=False),
        sa.Column("first_seen", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("sightings", sa.Integer, nullable=False),
        sa.Column("noted", sa.BigInteger),
        sa.Column("until", sa.BigInteger),
        sqlite_with_rowid=False,
    )


def _told() -> None:
    op.create_table(
        "told_blobs",
        _key("run"),
        _key("tenant"),
        _key("bucket"),
        _key("key"),
        _key("version_id"),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        _key("segment_id"),
        _key("store"),
        _key("blob"),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, Bytewise, primary_key=True)
