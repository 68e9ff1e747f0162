"""Values that cross rooms. All frozen; times are microseconds since the epoch (UTC), sizes are bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.core.blobs import EMPTY as EMPTY
from holdfast.core.blobs import NO_DIGESTS as NO_DIGESTS
from holdfast.core.blobs import BlobInfo as BlobInfo
from holdfast.core.blobs import ByteRange as ByteRange
from holdfast.core.blobs import Digests as Digests
from holdfast.core.blobs import More as More
from holdfast.core.blobs import Origin as Origin
from holdfast.core.blobs import Span as Span
from holdfast.core.lifecycle import LifecycleRule
from holdfast.core.retention import DefaultLock


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """What a user names. It never says where bytes are."""

    tenant: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"


class ChecksumType(StrEnum):
    """How a version's `sha256` was taken (the S3 terms)."""

    FULL_OBJECT = "FULL_OBJECT"  #: of all bytes
    COMPOSITE = "COMPOSITE"  #: of the parts' raw SHA-256 digests in order (multipart)


@dataclass(frozen=True, slots=True)
class Segment:
    """One run of a version's bytes, held as one blob per replica. Most versions have one; a multipart one has a segment per part."""

    id: str
    size: int
    digests: Digests = NO_DIGESTS
    chunk_size: int = 0  #: bytes covered by each entry of `chunk_crcs`; 0 when there are none
    chunk_crcs: bytes = b""  #: CRC-64/NVME of each chunk, 8 bytes big-endian each


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable content of an object, as the catalog knows it."""

    id: str  #: UUIDv7; also the `file_id` of the REST API
    ref: ObjectRef
    size: int
    etag: str  #: without quotes
    created: int  #: the time of the commit: Last-Modified
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    digests: Digests = NO_DIGESTS
    checksum_type: ChecksumType = ChecksumType.FULL_OBJECT
    parts: int = 0  #: number of parts of a multipart version; 0 when written in one piece
    seq: int = 1  #: order of commits of this key, 1 first
    delete_marker: bool = False
    current: bool = True
    storage_class: str = ""  #: what its writer asked for, for placement rules; "": nothing
    owed: str = ""  #: why it is not (wholly) where it belongs; "" when it is, and in listings
    tier: str = ""  #: where it belongs instead of where its rule says (`policy.moving`); "": as the rule says


class ReplicaState(StrEnum):
    """The life of a copy: `pending` → `live` → `doomed`; `suspect` when a read of it failed."""

    PENDING = "pending"
    LIVE = "live"
    SUSPECT = "suspect"
    DOOMED = "doomed"


@dataclass(frozen=True, slots=True)
class Replica:
    """Catalog row: this segment of this version is this blob in this store."""

    id: str
    version_id: str
    segment_id: str
    store: str
    blob: str
    size: int
    state: ReplicaState = ReplicaState.LIVE
    copy_number: int = 0


@dataclass(frozen=True, slots=True)
class Located:
    """A version with everything needed to read it."""

    version: Version
    segments: Sequence[Segment]
    replicas: Sequence[Replica]  #: live and suspect, any order
    settings: BucketSettings | None = None  #: of its bucket; None: all defaults
    data: bytes | None = None  #: all bytes, when they were asked for and live in the catalog


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of a bucket, or of all buckets of a tenant. Exact at every commit."""

    objects: int = 0  #: keys with a current version
    versions: int = 0  #: contents kept, delete markers not counted
    bytes: int = 0  #: of those versions
    upload_bytes: int = 0  #: parts of uploads still open


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that a tenant or a bucket may hold; None: no limit. Versions and parts of open uploads count."""

    max_bytes: int | None = None
    max_objects: int | None = None  #: versions kept


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """A quota and how much of it is taken. Exact at every commit."""

    quota: Quota
    bytes: int = 0
    objects: int = 0
    reserved_bytes: int = 0  #: announced by writes and uploads in flight
    reserved_objects: int = 0


@dataclass(frozen=True, slots=True)
class IpRules:
    """Networks in CIDR form. A denied one is refused; where `allow` names any, all others are too."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """The most per second that one principal, tenant or address may ask for; None: no limit. Bodies only."""

    requests: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None


class Visibility(StrEnum):
    """Who may read objects of a bucket by their names."""

    PRIVATE = "private"  #: whoever the access rules allow
    PUBLIC = "public"  #: everybody; listing still needs a credential


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """What a bucket asks of its objects."""

    visibility: Visibility = Visibility.PRIVATE
    allowed_types: tuple[str, ...] = ()  #: media types (`image/*`) and file endings (`.csv`); empty: all
    max_object_size: int | None = None  #: bytes
    quota: Quota = Quota()
    retention_days: int | None = None  #: versions are removed when they are this old; None: never
    encryption: str = "none"  #: `none`, or `store`: the store's own encryption is required
    ip: IpRules = IpRules()
    inline: int | None = None  #: bytes; contents below it live in the catalog; None: as the tenant says
    lifecycle: tuple[LifecycleRule, ...] = ()  #: what happens to objects as they grow old
    default_lock: DefaultLock | None = None  #: of every version that is made; None: versions are not locked

    @property
    def counts_reads(self) -> bool:
        """Whether a rule asks when versions were read last."""
        return any(rule.counts_reads for rule in self.lifecycle)


class TenantState(StrEnum):
    """Whether a tenant is served."""

    ACTIVE = "active"
    SUSPENDED = "suspended"  #: every request of its principals is refused
    DELETING = "deleting"  #: the same, and at `delete_after` all that it has is removed


@dataclass(frozen=True, slots=True)
class Threshold:
    """The size below which contents live in the catalog; None: as what is above says (tenant, service)."""

    bytes: int | None


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """What holds for all buckets and principals of a tenant."""

    quota: Quota = Quota()
    ip: IpRules = IpRules()
    rate: Rate = Rate()
    inline: int | None = None  #: bytes; contents below it live in the catalog; None: as the service says
    categories: tuple[str, ...] = ()  #: of the hierarchy that `provision` made
    subfolders: tuple[str, ...] = ()  #: below each category
    suspended: bool = False  #: it was when its deletion was asked for, and is again when it is restored


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns buckets."""

    name: str
    created: int
    state: TenantState = TenantState.ACTIVE
    settings: TenantSettings = TenantSettings()
    signing_generation: int = 1  #: signed URLs of earlier generations hold no longer
    delete_after: int | None = None  #: while it is `deleting`: when its data goes


@dataclass(frozen=True, slots=True)
class Bucket:
    """A named set of objects of one tenant."""

    tenant: str
    name: str
    created: int
    versioning: bool = False
    id: int = 0
    settings: BucketSettings = BucketSettings()
    metered: bool = False  #: a quota of the bucket or its tenant is kept


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in pieces that is open."""

    id: str
    ref: ObjectRef
    version_id: str  #: the version that completing will make
    created: int
    expires: int
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    kind: str = "multipart"  #: or `tus`, `tus-partial`
    length: int | None = None  #: of the whole, when it was announced: so much is reserved of a quota
    options: Mapping[str, str] = field(default_factory=dict)  #: what its door wants to remember
    received: int = 0  #: bytes of its parts


@dataclass(frozen=True, slots=True)
class Part:
    """One acknowledged part of an upload."""

    number: int  #: 1 to 10,000
    segment_id: str
    size: int
    etag: str
    digests: Digests
    created: int
    chunk_size: int = 0
    chunk_crcs: bytes = b""


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a listing in byte order. `next_marker` is the marker of the next page, "" when this is the last."""

    items: Sequence[Version]
    prefixes: Sequence[str] = ()
    next_marker: str = ""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of versions: by key, newest first within a key; delete markers included."""

    items: Sequence[Version]
    prefixes: Sequence[str] = ()
    next_key: str = ""
    next_version: str = ""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a delete did. `version_id` is the removed version, or the new delete marker; None when nothing was there."""

    version_id: str | None = None
    delete_marker: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """A narrowing of a role: only these verbs, on buckets and keys that match."""

    bucket: str = "*"  #: a name, or a pattern with `*`
    prefix: str = ""  #: keys must start with it
    verbs: tuple[str, ...] = ()  #: empty: all verbs of the role
    key: str | None = None  #: exactly this key


@dataclass(frozen=True, slots=True)
class Grant:
    """What a signed URL adds to its scope: bounds of the one thing that it allows."""

    max_size: int | None = None  #: bytes of the body
    content_type: str | None = None  #: the only one, or a pattern such as `image/*`
    once: str = ""  #: a nonce; the first commit uses it up
    expires: int = 0  #: microseconds; for how long a used nonce must be remembered


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What narrows an API key."""

    scopes: tuple[Scope, ...] = ()  #: empty: all that the role allows
    ip: IpRules = IpRules()
    rate: Rate = Rate()
    by: tuple[str, ...] = ()  #: the credentials that it was made with; it ends with each of them


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `tenant` is the only tenant it can name."""

    id: str  #: nobody else has it, and nobody can choose it
    tenant: str
    role: str = "admin"
    name: str = ""
    scopes: tuple[Scope, ...] = ()  #: empty: all that the role allows; else one of them must allow it
    ip: tuple[IpRules, ...] = ()  #: of the tenant and of the key; each must let the address pass
    rate: Rate = Rate()
    tenant_rate: Rate = Rate()
    grant: Grant | None = None  #: set for signed URLs
    expires: int | None = None  #: when the credential ends
    credentials: tuple[
        str, ...
    ] = ()  #: what it rests on, each of which can be revoked: `key:ID`, `TENANT/ISSUER:JTI`
    root: str = ""  #: the id of the principal whose rate it shares, as a token does; "": its own


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A credential as the catalog holds it: never the secret, only its SHA-256."""

    id: str
    tenant: str
    name: str
    role: str
    secret_sha256: bytes
    created: int
    revoked: int | None = None
    expires: int | None = None
    settings: KeySettings = KeySettings()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit. Of a change: written in the transaction that it tells of."""

    at: int
    tenant: str
    principal: str
    action: str
    bucket: str = ""
    key: str = ""
    version_id: str = ""
    request_id: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    number: int = 0  #: its place in the tenant's audit, from 1, for paging
    address: str = ""  #: of the client
    status: int = 0  #: the HTTP status of an access; 0 for a change, which is committed
    bytes: int = 0  #: of the object, or of the bodies that travelled, both ways together
    received: int = 0  #: how many of these the client sent
    agent: str = ""  #: what the client calls itself
    error: str = ""  #: the code of the error that it was answered with
