"""Tenants, buckets, objects, versions, copies, uploads, counters, audit, requests and keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("name", Bytewise, primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "buckets",
        sa.Column("id", RowNumber, primary_key=True),
        sa.Column("tenant", Bytewise, sa.ForeignKey("tenants.name"), nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("versioning", sa.Boolean, nullable=False),
        sa.UniqueConstraint("tenant", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "objects",
        sa.Column("bucket_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", Bytewise, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("version_id", Bytewise, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "versions",
        sa.Column("bucket_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", Bytewise, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", Bytewise, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("sha256", sa.LargeBinary),
        sa.Column("md5", sa.LargeBinary),
        sa.Column("crc64nvme", sa.LargeBinary),
        sa.Column("checksum_type", sa.Text, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("pieces", sa.Integer, nullable=False),
        sa.Column("delete_marker", sa.Boolean, nullable=False),
        sa.Column("chunk_size", sa.Integer, nullable=False),
        sa.Column("chunk_crcs", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "segments",
        sa.Column("version_id", Bytewise, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", Bytewise, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary),
        sa.Column("md5", sa.LargeBinary),
        sa.Column("crc64nvme", sa.LargeBinary),
        sa.Column("chunk_size", sa.Integer, nullable=False),
        sa.Column("chunk_crcs", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
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
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("store", "blob"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_replicas_pending",
        "replicas",
        ["lease_until"],
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_replicas_doomed",
        "replicas",
        ["not_before"],
        sqlite_where=sa.text("state = 'doomed'"),
        postgresql_where=sa.text("state = 'doomed'"),
    )
    op.create_table(
        "uploads",
        sa.Column("bucket_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", Bytewise, primary_key=True),
        sa.Column("id", Bytewise, primary_key=True),
        sa.Column("version_id", Bytewise, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_uploads_expires", "uploads", ["expires"])
    op.create_table(
        "parts",
        sa.Column("upload_id", Bytewise, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("segment_id", Bytewise, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary),
        sa.Column("md5", sa.LargeBinary),
        sa.Column("crc64nvme", sa.LargeBinary),
        sa.Column("chunk_size", sa.Integer, nullable=False),
        sa.Column("chunk_crcs", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage",
        sa.Column("bucket_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("objects", sa.BigInteger, nullable=False),
        sa.Column("versions", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("upload_bytes", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "usage_deltas",
        sa.Column("id", RowNumber, primary_key=True),
        sa.Column("bucket_id", sa.BigInteger, nullable=False),
        sa.Column("objects", sa.BigInteger, nullable=False),
        sa.Column("versions", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("upload_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_usage_deltas_bucket_id", "usage_deltas", ["bucket_id"])
    op.create_table(
        "audit",
        sa.Column("id", RowNumber, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("tenant", Bytewise, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("version_id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_tenant_id", "audit", ["tenant", "id"])
    op.create_table(
        "idempotency",
        sa.Column("tenant", Bytewise, primary_key=True),
        sa.Column("key", Bytewise, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_idempotency_expires", "idempotency", ["expires"])
    op.create_table(
        "api_keys",
        sa.Column("id", Bytewise, primary_key=True),
        sa.Column("tenant", Bytewise, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
    )
    op.create_index("ix_api_keys_tenant", "api_keys", ["tenant"])
