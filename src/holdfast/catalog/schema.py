"""The tables, once, for both databases. Times are microseconds since the epoch; text is compared byte by byte.

How a row is found decides its key: `versions` and `objects` lie in key order, so that a page of a listing is one
stretch of each; `replicas` lie by version, so that a read finds its copies in one seek. Hot tables carry no foreign
keys: every write that could break one holds the lock of its key and shares the lock of its bucket (`locks.py`), and the
check of a foreign key is a second look at the same rows.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

#: Text in byte order: SQLite compares so by itself, PostgreSQL when told to.
Bytewise = Text().with_variant(Text(collation="C"), "postgresql")
#: A row number: SQLite numbers rows only when the type is exactly INTEGER.
RowNumber = BigInteger().with_variant(Integer(), "sqlite")

tenants = Table(
    "tenants",
    metadata,
    Column("name", Bytewise, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("state", Text, nullable=False, server_default="active"),
    Column(
        "settings", Text, nullable=False, server_default=""
    ),  # TenantSettings as JSON, "" for all defaults
    Column("signing_generation", BigInteger, nullable=False, server_default="1"),
    Column("delete_after", BigInteger),  # while it is being deleted
)

buckets = Table(
    "buckets",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("tenant", Bytewise, ForeignKey("tenants.name"), nullable=False),
    Column("name", Bytewise, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("versioning", Boolean, nullable=False),
    Column(
        "settings", Text, nullable=False, server_default=""
    ),  # BucketSettings as JSON, "" for all defaults
    Column("metered", Boolean, nullable=False, server_default=text("false")),  # has rows in `quotas`
    Column(
        "dating", Boolean, nullable=False, server_default=text("false")
    ),  # `versions.expires` is being redone
    Column(
        "upstream", Text, nullable=False, server_default=""
    ),  # adopted: deletes are remembered; attached: writes too (`divergences`)
    Column("counting_since", BigInteger),  # reads of its versions are counted since then; NULL: they are not
    Column("snapped", BigInteger),  # moment of its newest snapshot: what is made later has a later time
    UniqueConstraint("tenant", "name"),
    sqlite_autoincrement=True,
)

#: One row per key that has a current version which is not a delete marker: what a plain listing reads.
objects = Table(
    "objects",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Bytewise, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("version_id", Bytewise, nullable=False),
    Column("generation", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Committed versions only, delete markers included. The newest of a key (highest `seq`) is the current one.
versions = Table(
    "versions",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Bytewise, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Bytewise, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("sha256", LargeBinary),
    Column("md5", LargeBinary),
    Column("crc64nvme", LargeBinary),
    Column("checksum_type", Text, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("pieces", Integer, nullable=False),  # rows in `segments`; 0: the version is its own only segment
    Column("delete_marker", Boolean, nullable=False),
    Column("chunk_size", Integer, nullable=False),
    Column(
        "chunk_crcs", LargeBinary, nullable=False
    ),  # last of those that matter: a listing never reads that far
    Column("expires", BigInteger),  # to be removed then; NULL: never
    Column("storage_class", Text),  # what its writer asked for; NULL: nothing
    Column("tier", Bytewise),  # where it belongs instead of where its rule says; NULL: as the rule says
    Column("pin", Text),  # what the store calls the content that it was adopted from; NULL: written here
    Column("hold", Boolean, nullable=False, server_default=text("false")),  # legal hold: nobody removes it
    Column("locked_until", BigInteger),  # nobody removes it before
    Column("lock_mode", Text),  # governance or compliance
    Column("cloned_from", Text),  # the version that its blobs were written for; NULL: for itself
    UniqueConstraint("id"),
    Index(
        "ix_versions_expires",
        "expires",
        sqlite_where=text("expires IS NOT NULL"),
        postgresql_where=text("expires IS NOT NULL"),
    ),
    Index(
        "ix_versions_hold",
        "bucket_id",
        sqlite_where=text("hold IS 1"),
        postgresql_where=text("hold IS true"),
    ),
    Index(
        "ix_versions_locked_until",
        "bucket_id",
        "locked_until",
        sqlite_where=text("locked_until IS NOT NULL"),
        postgresql_where=text("locked_until IS NOT NULL"),
    ),
    Index(
        "ix_versions_tier",
        "tier",
        sqlite_where=text("tier IS NOT NULL"),
        postgresql_where=text("tier IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

#: The pieces of versions that were put together from several.
segments = Table(
    "segments",
    metadata,
    Column("version_id", Bytewise, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("id", Bytewise, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", LargeBinary),
    Column("md5", LargeBinary),
    Column("crc64nvme", LargeBinary),
    Column("chunk_size", Integer, nullable=False),
    Column("chunk_crcs", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

#: The intent and the fact: written `pending` before bytes move, `live` from the commit on.
replicas = Table(
    "replicas",
    metadata,
    Column("version_id", Bytewise, primary_key=True),
    Column("id", Bytewise, primary_key=True),
    Column("segment_id", Bytewise, nullable=False),
    Column("store", Bytewise, nullable=False),
    Column("blob", Bytewise, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("copy_number", Integer, nullable=False),
    Column("lease_until", BigInteger),  # while pending: protected until then
    Column("not_before", BigInteger),  # when doomed: the bytes stay until then
    Column(
        "committed", BigInteger
    ),  # when it became live; stays when doomed, so a commit can be recognised later
    Column("upload_id", Bytewise),  # set when the part that it holds was acknowledged
    Column("proved", BigInteger),  # when it was last read whole and right; NULL: never, or found bad since
    UniqueConstraint("id"),
    Index(None, "store", "blob"),  # not unique: a clone is one more row of the same blob
    Index(
        "ix_replicas_pending",
        "lease_until",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "ix_replicas_doomed",
        "not_before",
        sqlite_where=text("state = 'doomed'"),
        postgresql_where=text("state = 'doomed'"),
    ),
    Index(
        "ix_replicas_proved",
        "store",
        "proved",
        "id",
        sqlite_where=text("proved IS NOT NULL"),
        postgresql_where=text("proved IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

uploads = Table(
    "uploads",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Bytewise, primary_key=True),
    Column("id", Bytewise, primary_key=True),
    Column("version_id", Bytewise, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("kind", Text, nullable=False, server_default="multipart"),  # or tus, tus-partial
    Column("length", BigInteger),  # of the whole, when it was announced
    Column("options", Text, nullable=False, server_default=""),  # what its door wants to remember, JSON
    Column("received", BigInteger, nullable=False, server_default="0"),  # bytes of its parts
    UniqueConstraint("id"),
    Index(None, "expires"),
)

parts = Table(
    "parts",
    metadata,
    Column("upload_id", Bytewise, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("segment_id", Bytewise, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("sha256", LargeBinary),
    Column("md5", LargeBinary),
    Column("crc64nvme", LargeBinary),
    Column("chunk_size", Integer, nullable=False),
    Column("chunk_crcs", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

usage = Table(
    "usage",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("objects", BigInteger, nullable=False),
    Column("versions", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("upload_bytes", BigInteger, nullable=False),
)

#: Changes of `usage` not yet added to it: on PostgreSQL one counter row would make all writers of a bucket queue.
usage_deltas = Table(
    "usage_deltas",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("bucket_id", BigInteger, nullable=False),
    Column("objects", BigInteger, nullable=False),
    Column("versions", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("upload_bytes", BigInteger, nullable=False),
    Index(None, "bucket_id"),
)

#: Limits and exact sums of a metered tenant (bucket 0) and of each of its buckets. `bytes` counts versions and parts.
quotas = Table(
    "quotas",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("max_bytes", BigInteger),
    Column("max_objects", BigInteger),
    Column("bytes", BigInteger, nullable=False),
    Column("objects", BigInteger, nullable=False),
    Column("reserved_bytes", BigInteger, nullable=False),
    Column("reserved_objects", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What is reserved and by what: a replica that is pending, or an open upload. `quotas.reserved_*` are their sums.
reservations = Table(
    "reservations",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("tenant", Bytewise, nullable=False),
    Column("bucket_id", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("objects", BigInteger, nullable=False),
    Index(None, "bucket_id"),
    sqlite_with_rowid=False,
)

#: Tags and metadata of versions, to find them by; `terms.py` says how a term is spelled.
terms = Table(
    "terms",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("term", Bytewise, primary_key=True),
    Column("key", Bytewise, primary_key=True),
    Column("version_id", Bytewise, primary_key=True),
    Index(None, "version_id"),
    sqlite_with_rowid=False,
)

#: Audit of changes, each written in the transaction that it tells of; `audit_segments` takes them over.
audit = Table(
    "audit",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("tenant", Bytewise, nullable=False),
    Column("principal", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("version_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("address", Text, nullable=False, server_default=""),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Index(None, "tenant", "id"),
    sqlite_autoincrement=True,
)

#: The sealed audit of a tenant: records packed and chained, segment by segment, each MAC over the one before.
audit_segments = Table(
    "audit_segments",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),  # number of its first record in the tenant's audit
    Column("count", Integer, nullable=False),
    Column("from_at", BigInteger, nullable=False),
    Column("to_at", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Column("records", LargeBinary, nullable=False),  # JSON lines, zlib
    Index(None, "tenant", "first"),
)

#: Where the chain of each tenant stands, and where it begins since it was pruned.
audit_heads = Table(
    "audit_heads",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("segments", BigInteger, nullable=False),  # numbers up to this one have been used
    Column("records", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),  # of the last segment
    Column("pruned_segments", BigInteger, nullable=False),
    Column("pruned_records", BigInteger, nullable=False),
    Column("pruned_mac", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),  # MAC over this row
    sqlite_with_rowid=False,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("key", Bytewise, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("answer", Text, nullable=False),  # the version as it was answered, JSON
    Column("expires", BigInteger, nullable=False),
    Index(None, "expires"),
    sqlite_with_rowid=False,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("tenant", Bytewise, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("revoked", BigInteger),
    Column("expires", BigInteger),
    Column("settings", Text, nullable=False, server_default=""),  # KeySettings as JSON, "" for all defaults
    Index(None, "tenant"),
)

#: Tokens that were signed, and hold no longer.
revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("id", Bytewise, primary_key=True),  # issuer and jti
    Column("tenant", Bytewise, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index(None, "expires"),
    sqlite_with_rowid=False,
)

#: Random bytes that all replicas of the service share, when the operator names none.
secrets = Table(
    "secrets",
    metadata,
    Column("name", Bytewise, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Shared rate limits: when each principal, tenant or address is next on time (GCRA). Not logged by PostgreSQL: a
#: crash forgets them, and nothing is lost but a limit for a moment.
rate_limits = Table(
    "rate_limits",
    metadata,
    Column("key", Bytewise, primary_key=True),
    Column("arrival", BigInteger, nullable=False),
    Column("taken", BigInteger, nullable=False),  # what the last call was granted
    Index(None, "arrival"),
)

#: Requests over many objects, and how far they are.
batches = Table(
    "batches",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("id", Bytewise, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("results", Text, nullable=False),
    Column("job_id", Bytewise),  # of the job that does it; NULL: a request does
    Column("begun", Text),  # what that job is to know of how it was begun
    Index(None, "tenant", "created"),
    Index(None, "expires"),
    sqlite_with_rowid=False,
)

#: Bytes of replicas whose store is the catalog itself, by the name of the blob.
contents = Table(
    "contents",
    metadata,
    Column("blob", Bytewise, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
)

#: Stores that are described here and not in a file of the process (`core.records.Connection`).
stores = Table(
    "stores",
    metadata,
    Column("name", Bytewise, primary_key=True),
    Column("driver", Text, nullable=False),
    Column("settings", Text, nullable=False),  # JSON, without secrets
    Column("sealed", LargeBinary, nullable=False),  # the secret settings
    Column("layout", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("labels", Text, nullable=False),  # JSON list
    Column("region", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("max_in_flight", Integer),
    Column("active", Boolean, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("tested", Text, nullable=False),
    Column("tested_at", BigInteger),
    Column("trouble", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("encrypt", Boolean, nullable=False, server_default=text("false")),
    Column("cache", Boolean, nullable=False, server_default=text("false")),
    Column("cache_bytes", BigInteger, nullable=False, server_default=text("1073741824")),
    Column("describe", Text, nullable=False, server_default=text("'auto'")),
    sqlite_with_rowid=False,
)

#: Placement rules (`policy.placement.Rule`, JSON), asked by scope and then by position.
rules = Table(
    "rules",
    metadata,
    Column("name", Bytewise, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("rule", Text, nullable=False),
    Column("updated", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Counts the changes of what processes keep a copy of: `stores`, `rules`.
generations = Table(
    "generations",
    metadata,
    Column("name", Bytewise, primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Versions that are not where their plan wants them (`core.records.Debt`).
debts = Table(
    "debts",
    metadata,
    Column("version_id", Bytewise, primary_key=True),
    Column("bucket_id", BigInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("trouble", Text, nullable=False),
    Index(None, "not_before"),
    sqlite_with_rowid=False,
)

#: What each bucket holds in each store, as it was measured last.
store_usage = Table(
    "store_usage",
    metadata,
    Column("store", Bytewise, primary_key=True),
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("blobs", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("measured", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

executions = Table(
    "executions",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("id", Bytewise, primary_key=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Index(None, "tenant", "created"),
    sqlite_with_rowid=False,
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("execution_id", Bytewise, primary_key=True),
    Column("id", Bytewise, primary_key=True),
    Column("name", Text, nullable=False),
    Column("artifact_type", Text, nullable=False),
    Column("storage_type", Text, nullable=False),
    Column("file_path", Text, nullable=False),
    Column("bucket", Bytewise, nullable=False),
    Column("key", Bytewise, nullable=False),
    Column("version_id", Bytewise, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("checksum", Text, nullable=False),
    Column("compression", Text, nullable=False),
    Column("encryption_key_ref", Text, nullable=False),
    Column("retention_policy", Text, nullable=False),
    Column("expires", BigInteger),
    Column("access_count", BigInteger, nullable=False),
    Column("last_access", BigInteger),
    Column("metadata", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index(
        "ix_artifacts_expires",
        "expires",
        sqlite_where=text("expires IS NOT NULL"),
        postgresql_where=text("expires IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

#: What drivers remember, each of its own store; `core.notes` says what for.
store_notes = Table(
    "store_notes",
    metadata,
    Column("store", Bytewise, primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

#: Keys of tenants by generation, wrapped by a root key; `engine.keyring` says how. A destroyed one leaves its number.
tenant_keys = Table(
    "tenant_keys",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("root_key_id", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),  # active, retired (opens only), destroyed
    Column("created", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Keys of encrypted blobs, wrapped by a key of their tenant.
blob_keys = Table(
    "blob_keys",
    metadata,
    Column("store", Bytewise, primary_key=True),
    Column("blob", Bytewise, primary_key=True),
    Column("tenant", Bytewise, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("format", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Index("ix_blob_keys_tenant_generation", "tenant", "generation"),
    sqlite_with_rowid=False,
)

#: Stores whose name is replaced in every plan, and how far that is.
moves = Table(
    "moves",
    metadata,
    Column("source", Bytewise, primary_key=True),
    Column("target", Bytewise, nullable=False),
    Column("phase", Text, nullable=False),  # copying, cutover, done or back
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("finish_at", BigInteger),  # during cutover: when the source may be let go of
    sqlite_with_rowid=False,
)

#: Versions that are also elsewhere for a while: `tier` is what is theirs again at `until`.
recalls = Table(
    "recalls",
    metadata,
    Column("version_id", Bytewise, primary_key=True),
    Column("tier", Bytewise, nullable=False),
    Column("until", BigInteger, nullable=False),
    Index(None, "until"),
    sqlite_with_rowid=False,
)

#: When versions were read last, in days since 1970, and how often; only of buckets whose rules ask for it.
accesses = Table(
    "accesses",
    metadata,
    Column("version_id", Bytewise, primary_key=True),
    Column("day", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Jobs (`core.jobs.Job`). `ready` is when somebody may take the job itself, to split it or to end it: never while its
#: parts are under way, nor once it is paused or over.
jobs = Table(
    "jobs",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("tenant", Bytewise, nullable=False),
    Column("kind", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("started", BigInteger),
    Column("ended", BigInteger),
    Column("updated", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("total_bytes", BigInteger),
    Column("counts", Text, nullable=False),  # core.jobs.Counts as JSON
    Column("recent", Text, nullable=False),  # what was done when, over the last minute: for the rate
    Column("pace_objects", Float),
    Column("pace_bytes", BigInteger),
    Column("parts", Integer, nullable=False),
    Column("parts_done", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("schedule", Text, nullable=False),
    Column("trouble", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("expires", BigInteger),
    Column("failures", Integer, nullable=False),  # rows in `job_failures`
    Column("worker", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("ready", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Index("ix_jobs_tenant_id", "tenant", "id"),
    Index("ix_jobs_ready", "ready"),
    Index("ix_jobs_expires", "expires"),
    Index("ix_jobs_kind_state", "kind", "state"),
    sqlite_with_rowid=False,
)

#: Ranges of jobs. `ready` is when a part may be taken: the end of its lease or of a pause; never once it is over.
job_parts = Table(
    "job_parts",
    metadata,
    Column("job_id", Bytewise, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("range_start", Text, nullable=False),
    Column("range_end", Text, nullable=False),
    Column("place", Text, nullable=False),  # the cursor
    Column("over", Boolean, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("ready", BigInteger, nullable=False),
    Column("counts", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("trouble", Text, nullable=False),
    Column("mark", Text, nullable=False),  # of the last checkpoint, to know it again
    Index("ix_job_parts_ready", "ready"),
    sqlite_with_rowid=False,
)

#: Items that jobs could not do, the first ten thousand of each.
job_failures = Table(
    "job_failures",
    metadata,
    Column("job_id", Bytewise, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tenant", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("version_id", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Jobs that are started again and again (`core.jobs.Schedule`).
schedules = Table(
    "schedules",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("pace_objects", Float),
    Column("pace_bytes", BigInteger),
    Column("enabled", Boolean, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("last_job", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Index("ix_schedules_next_at", "next_at"),
    sqlite_with_rowid=False,
)

#: What a look at a store found that is not as the rows say (`core.findings.Finding`).
findings = Table(
    "findings",
    metadata,
    Column("store", Bytewise, primary_key=True),
    Column("blob", Bytewise, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("version_id", Bytewise, nullable=False),  # of the row; "" where there is none
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("run", Bytewise, nullable=False),  # the job that saw it last
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("sightings", Integer, nullable=False),
    Column("noted", BigInteger),  # seen then by a run that has not ended yet, and counts only when it does
    Column("until", BigInteger),  # while quarantined: the bytes stay until then
    sqlite_with_rowid=False,
)

#: What blobs say they are, gathered from the stores while a catalog is rebuilt (`core.findings.Told`).
told_blobs = Table(
    "told_blobs",
    metadata,
    Column("run", Bytewise, primary_key=True),  # the job that gathers them
    Column("tenant", Bytewise, primary_key=True),
    Column("bucket", Bytewise, primary_key=True),
    Column("key", Bytewise, primary_key=True),
    Column("version_id", Bytewise, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),  # 0: the version is one piece
    Column("segment_id", Bytewise, primary_key=True),
    Column("store", Bytewise, primary_key=True),
    Column("blob", Bytewise, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),
    Column("origin", Text, nullable=False),  # the line, as the blob has it
    sqlite_with_rowid=False,
)

#: Moments that somebody copies: bytes that were given up since `at` stay until `until`. `secret` goes with the pin.
pins = Table(
    "pins",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("secret", Text, nullable=False),
    Index(None, "until"),
    sqlite_with_rowid=False,
)

#: Items of batches that jobs do, some in each row.
batch_items = Table(
    "batch_items",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("job_id", Bytewise, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("items", Text, nullable=False),  # JSON
    Column("expires", BigInteger, nullable=False),
    Index(None, "expires"),
    sqlite_with_rowid=False,
)

#: Stores that others still write to, and that a bucket follows (`core.adopted.Upstream`).
upstreams = Table(
    "upstreams",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("store", Bytewise, nullable=False),
    Column("prefix", Bytewise, nullable=False),
    Column("phase", Text, nullable=False),
    Column("dual_write", Boolean, nullable=False),
    Column("fresh", Boolean, nullable=False),
    Column("keep", Boolean, nullable=False),
    Column("attached", BigInteger, nullable=False),
    Column("passes", BigInteger, nullable=False),
    Column("passed", BigInteger),
    Column("verified", BigInteger),
    Column("differences", BigInteger),
    sqlite_with_rowid=False,
)

#: Keys that were changed here and not by the upstream (`core.adopted.Divergence`); deleted ones are tombstones.
divergences = Table(
    "divergences",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Bytewise, primary_key=True),
    Column("version_id", Bytewise, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("pin", Text, nullable=False),
    Column("modified", BigInteger, nullable=False),
    Column("owed", Boolean, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("trouble", Text, nullable=False),
    Column("sent", Text, nullable=False, server_default=""),  # what may have been written out, unknown to us
    sqlite_with_rowid=False,
)

#: Adopted versions that a listing of the upstream did not show, and in which pass.
misses = Table(
    "misses",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Bytewise, primary_key=True),
    Column("version_id", Bytewise, nullable=False),
    Column("pass", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Calls to stores and their bytes by day (UTC, days since the epoch), as providers bill them (`core.ledger`).
ledger = Table(
    "ledger",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("store", Bytewise, primary_key=True),
    Column("verb", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What each store held when it was measured last on a day.
store_days = Table(
    "store_days",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("store", Bytewise, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("blobs", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Moments of buckets that have a name; versions that were current then stay as long as it does.
snapshots = Table(
    "snapshots",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Bytewise, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("principal", Text, nullable=False),
    Column("note", Text, nullable=False),
    sqlite_with_rowid=False,
)
