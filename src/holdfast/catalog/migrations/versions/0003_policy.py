"""Stores, rules, debts and inline contents; tenants that go; use of stores; executions and their artifacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("tenants", _number("delete_after", nullable=True))
    op.add_column("versions", sa.Column("storage_class", sa.Text))
    _stores()
    _contents()
    _artifacts()


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _bytewise(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, Bytewise, nullable=False) for name in names]


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, Bytewise, primary_key=True)


def _stores() -> None:
    op.create_table(
        "stores",
        _key("name"),
        *_text("driver", "settings"),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        *_text("layout", "state", "labels", "region", "price"),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("max_in_flight", sa.Integer),
        sa.Column("active", sa.Boolean, nullable=False),
        *_text("fingerprint", "tested"),
        _number("tested_at", nullable=True),
        *_text("trouble"),
        _number("created"),
        _number("updated"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rules",
        _key("name"),
        sa.Column("position", sa.Integer, nullable=False),
        *_text("rule"),
        _number("updated"),
        sqlite_with_rowid=False,
    )
    op.create_table("generations", _key("name"), _number("value"), sqlite_with_rowid=False)


def _contents() -> None:
    op.create_table(
        "contents",
        _key("blob"),
        sa.Column("data", sa.LargeBinary, nullable=False),
        _number("created"),
    )
    op.create_table(
        "debts",
        _key("version_id"),
        _number("bucket_id"),
        *_text("rule", "reason"),
        _number("since"),
        sa.Column("tries", sa.Integer, nullable=False),
        _number("not_before"),
        *_text("trouble"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_debts_not_before", "debts", ["not_before"])
    op.create_table(
        "store_usage",
        _key("store"),
        sa.Column("bucket_id", sa.BigInteger, primary_key=True, autoincrement=False),
        _number("blobs"),
        _number("bytes"),
        _number("measured"),
        sqlite_with_rowid=False,
    )


def _artifacts() -> None:
    op.create_table(
        "executions",
        _key("tenant"),
        _key("id"),
        *_text("name", "status", "metadata"),
        _number("created"),
        _number("updated"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_executions_tenant_created", "executions", ["tenant", "created"])
    op.create_table(
        "artifacts",
        _key("tenant"),
        _key("execution_id"),
        _key("id"),
        *_text("name", "artifact_type", "storage_type", "file_path"),
        *_bytewise("bucket", "key", "version_id"),
        *_text("content_type"),
        _number("size"),
        *_text("checksum", "compression", "encryption_key_ref", "retention_policy"),
        _number("expires", nullable=True),
        _number("access_count"),
        _number("last_access", nullable=True),
        *_text("metadata"),
        _number("created"),
        sqlite_with_rowid=False,
    )
    some = sa.text("expires IS NOT NULL")
    op.create_index(
        "ix_artifacts_expires", "artifacts", ["expires"], sqlite_where=some, postgresql_where=some
    )
