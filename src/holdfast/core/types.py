"""Values that cross rooms. All frozen; times are microseconds since the epoch (UTC), sizes are bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from holdfast.core.errors import InvalidRangeError

EMPTY: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """What a user names. It never says where bytes are."""

    tenant: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A wish: `start..end` inclusive as in RFC 9110 §14; `end=None` to the end; `start=None` the last `end` bytes."""

    start: int | None
    end: int | None = None

    def resolve(self, size: int) -> Span:
        """Return the part of `size` bytes that is meant; an end past the end is cut.

        Raises:
            InvalidRangeError: when no byte of the object is in it (so always for an empty object).
        """
        if self.start is None:
            length = min(self.end or 0, size)
            if length <= 0:
                raise InvalidRangeError(f"no last {self.end or 0} bytes in an object of {size} bytes")
            return Span(size - length, length)
        if self.start < 0 or self.start >= size or (self.end is not None and self.end < self.start):
            raise InvalidRangeError(
                f"range {self.start}-{'' if self.end is None else self.end} lies outside {size} bytes"
            )
        last = size - 1 if self.end is None else min(self.end, size - 1)
        return Span(self.start, last - self.start + 1)


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes from `offset`."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset just past the last byte."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Digests:
    """What is known of some bytes: raw digests, not text. `None` means not computed."""

    sha256: bytes | None = None
    md5: bytes | None = None
    crc64nvme: bytes | None = None  #: 8 bytes, big-endian

    def mismatch(self, other: Digests) -> str | None:
        """Return the name of the first algorithm both know and disagree on, or None."""
        for name in ("sha256", "crc64nvme", "md5"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and theirs is not None and mine != theirs:
                return name
        return None


NO_DIGESTS: Final = Digests()


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What a backend knows of a blob."""

    name: str
    size: int
    modified: int  #: microseconds since the epoch
    etag: str | None = None  #: the store's own, opaque
    metadata: Mapping[str, str] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of a bucket, or of all buckets of a tenant. Exact at every commit."""

    objects: int = 0  #: keys with a current version
    versions: int = 0  #: contents kept, delete markers not counted
    bytes: int = 0  #: of those versions
    upload_bytes: int = 0  #: parts of uploads still open


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns buckets."""

    name: str
    created: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """A named set of objects of one tenant."""

    tenant: str
    name: str
    created: int
    versioning: bool = False
    id: int = 0


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that is open."""

    id: str
    ref: ObjectRef
    version_id: str  #: the version that completing will make
    created: int
    expires: int
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


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
class Principal:
    """Who is calling. `tenant` is the only tenant it can name."""

    id: str
    tenant: str
    role: str = "admin"
    name: str = ""


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


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit: written in the transaction that it tells of."""

    at: int
    tenant: str
    principal: str
    action: str
    bucket: str = ""
    key: str = ""
    version_id: str = ""
    request_id: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    number: int = 0  #: its place in the audit, for paging
