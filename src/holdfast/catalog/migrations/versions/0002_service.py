"""Settings and quotas of tenants and buckets, sealed audit, scoped keys, search terms, batches, shared limits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    _widen()
    _quotas()
    _audit()
    _access()
    _rest()


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, Bytewise, primary_key=True)


def _widen() -> None:
    op.add_column("tenants", _text("state", "active"))
    op.add_column("tenants", _text("settings"))
    op.add_column(
        "tenants", sa.Column("signing_generation", sa.BigInteger, nullable=False, server_default="1")
    )
    op.add_column("buckets", _text("settings"))
    op.add_column(
        "buckets", sa.Column("metered", sa.Boolean, nullable=False, server_default=sa.text("false"))
    )
    op.add_column("buckets", sa.Column("dating", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.add_column("versions", _number("expires", nullable=True))
    some = sa.text("expires IS NOT NULL")
    op.create_index("ix_versions_expires", "versions", ["expires"], sqlite_where=some, postgresql_where=some)
    op.add_column("uploads", _text("kind", "multipart"))
    op.add_column("uploads", _number("length", nullable=True))
    op.add_column("uploads", _text("options"))
    op.add_column("uploads", sa.Column("received", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(
        "UPDATE uploads SET received = "
        "(SELECT coalesce(sum(parts.size), 0) FROM parts WHERE parts.upload_id = uploads.id)"
    )
    op.add_column("audit", _text("address"))
    op.add_column("audit", sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("api_keys", _number("expires", nullable=True))
    op.add_column("api_keys", _text("settings"))


def _quotas() -> None:
    op.create_table(
        "quotas",
        _key("tenant"),
        sa.Column("bucket_id", sa.BigInteger, primary_key=True, autoincrement=False),
        _number("max_bytes", nullable=True),
        _number("max_objects", nullable=True),
        _number("bytes"),
        _number("objects"),
        _number("reserved_bytes"),
        _number("reserved_objects"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reservations",
        _key("id"),
        sa.Column("tenant", Bytewise, nullable=False),
        _number("bucket_id"),
        _number("bytes"),
        _number("objects"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_reservations_bucket_id", "reservations", ["bucket_id"])


def _audit() -> None:
    op.create_table(
        "audit_segments",
        _key("tenant"),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        _number("first"),
        sa.Column("count", sa.Integer, nullable=False),
        _number("from_at"),
        _number("to_at"),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.Column("records", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_audit_segments_tenant_first", "audit_segments", ["tenant", "first"])
    op.create_table(
        "audit_heads",
        _key("tenant"),
        _number("segments"),
        _number("records"),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        _number("pruned_segments"),
        _number("pruned_records"),
        sa.Column("pruned_mac", sa.LargeBinary, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def _access() -> None:
    op.create_table(
        "revoked_tokens",
        _key("id"),
        sa.Column("tenant", Bytewise, nullable=False),
        _number("expires"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_revoked_tokens_expires", "revoked_tokens", ["expires"])
    op.create_table(
        "secrets",
        _key("name"),
        sa.Column("value", sa.LargeBinary, nullable=False),
        _number("created"),
        sqlite_with_rowid=False,
    )
    op.create_table("rate_limits", _key("key"), _number("arrival"), _number("taken"))
    op.create_index("ix_rate_limits_arrival", "rate_limits", ["arrival"])
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE rate_limits SET UNLOGGED")


def _rest() -> None:
    op.create_table(
        "terms",
        sa.Column("bucket_id", sa.BigInteger, primary_key=True, autoincrement=False),
        _key("term"),
        _key("key"),
        _key("version_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_terms_version_id", "terms", ["version_id"])
    _index_versions()
    op.create_table(
        "batches",
        _key("tenant"),
        _key("id"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        *[_number(name) for name in ("total", "done", "failed", "bytes")],
        *[_number(name) for name in ("created", "updated", "lease_until", "expires")],
        sa.Column("results", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_batches_tenant_created", "batches", ["tenant", "created"])
    op.create_index("ix_batches_expires", "batches", ["expires"])


def _index_versions() -> None:
    """Make the terms of the versions that are there."""
    postgres = op.get_context().dialect.name == "postgresql"
    for kind, column in (("t", "tags"), ("m", "metadata")):
        pairs = f"json_each_text(versions.{column}::json)" if postgres else f"json_each(versions.{column})"
        term = f"'{kind}' || chr(31) || substr(pair.key || chr(31) || pair.value, 1, 256)"
        op.execute(
            "INSERT INTO terms (bucket_id, term, key, version_id) "
            f"SELECT versions.bucket_id, {term if postgres else term.replace('chr', 'char')}, versions.key, versions.id "
            f"FROM (SELECT * FROM versions WHERE {column} <> '') AS versions CROSS JOIN {pairs} AS pair "
            "WHERE true ON CONFLICT DO NOTHING"
        )
