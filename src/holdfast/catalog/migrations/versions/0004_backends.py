"""Notes of drivers; keys of tenants and of encrypted blobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "store_notes",
        _key("store"),
        _key("name"),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.add_column("stores", sa.Column("encrypt", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.add_column("stores", sa.Column("cache", sa.Boolean, nullable=False, server_default=sa.text("false")))
    held = sa.Column("cache_bytes", sa.BigInteger, nullable=False, server_default=sa.text("1073741824"))
    op.add_column("stores", held)
    op.add_column("stores", sa.Column("describe", sa.Text, nullable=False, server_default=sa.text("'auto'")))
    _keys()


def _keys() -> None:
    op.create_table(
        "tenant_keys",
        _key("tenant"),
        sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("root_key_id", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blob_keys",
        _key("store"),
        _key("blob"),
        sa.Column("tenant", Bytewise, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("format", sa.Integer, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_blob_keys_tenant_generation", "blob_keys", ["tenant", "generation"])


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, Bytewise, primary_key=True)
