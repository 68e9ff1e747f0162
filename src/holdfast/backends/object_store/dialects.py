"""What each server of the S3 family can do, declared: one frozen row per dialect, nothing found out by failing.

A row is where a store begins. What an operator says in the settings stands above it (see `S3Settings.server`), since
servers learn, and since some facts here come from documentation alone; the guide says which.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

MIB: Final = 1 << 20
GIB: Final = 1 << 30
TIB: Final = 1 << 40
MAX_PARTS: Final = 10_000
MIN_PART: Final = 5 * MIB
MAX_PART: Final = 5 * GIB

# fmt: off
Name = Literal[
    "aws", "minio", "r2", "gcs", "b2", "wasabi", "garage", "seaweedfs", "ceph", "versitygw", "rclone", "naas", "generic"
]
# fmt: on
Checksum = Literal["auto", "when_required", "crc64nvme", "sha256"]

_CUSTOMER: Final = frozenset({"sse-c"})
_STORE_AND_CUSTOMER: Final = frozenset({"sse-s3", "sse-c"})
_ALL_SSE: Final = frozenset({"sse-s3", "sse-kms", "sse-c"})
_STANDARD: Final = frozenset({"STANDARD"})


class Dialect(NamedTuple):
    """One server's way with S3. Sizes are bytes; an empty set of classes means that the server's operator names them."""

    name: str
    title: str  #: as people call it
    region: str = "us-east-1"  #: what requests are signed for when nobody says
    checksum: Checksum = "auto"  #: what is sent with bodies; many servers refuse such headers
    batch_delete: bool = True  #: DeleteObjects with Content-MD5, which all that have it take
    conditional_put: bool = False  #: If-None-Match: * on PutObject, without a race
    conditional_complete: bool = False  #: the same on CompleteMultipartUpload
    md5_etags: bool = True  #: an ETag of 32 hexadecimal digits is the MD5 of what one request put
    folders: bool = False  #: cannot hold `a` beside `a/b`
    sorted_listing: bool = True  #: in byte order
    full_key_for_uploads: bool = (
        False  #: shows open multipart uploads only for a prefix that is the whole key
    )
    max_object_size: int = 5 * TIB
    max_part: int = MAX_PART  #: of a part, and of what one request puts
    max_parts: int = MAX_PARTS
    equal_parts: bool = False  #: all parts but the last must be of one size (ours always are)
    max_copy: int = 5 * GIB  #: what one request copies; above, parts are copied
    copy_parts: bool = True
    metadata_bytes: int = 2048
    sse: frozenset[str] = _ALL_SSE  #: which encryption by the server can be asked for
    storage_classes: frozenset[str] = frozenset()
    tagging: bool = True
    versioning: bool = True
    post_forms: bool = True
    seen: str = "documentation"  #: how we know: a real server in our tests, or what is written about it

    @property
    def conditional_writes(self) -> bool:
        """Whether a blob of any size can be put only if its name is free."""
        return self.conditional_put and self.conditional_complete


_AWS = Dialect(
    name="aws",
    title="Amazon S3",
    conditional_put=True,
    conditional_complete=True,
    md5_etags=False,  # not under a KMS key, which a bucket can have by default; CRC64NVME is sent instead
    max_object_size=MAX_PARTS * MAX_PART,
    storage_classes=frozenset(
        {
            *("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY"),
            *("GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"),
        }
    ),
)

_ROWS: Final = (
    _AWS,
    Dialect(
        name="minio",
        title="MinIO",
        conditional_put=True,
        conditional_complete=True,
        folders=True,
        full_key_for_uploads=True,
        max_object_size=MAX_PARTS * MAX_PART,
        storage_classes=frozenset({"STANDARD", "REDUCED_REDUNDANCY"}),
        seen="a real server",
    ),
    Dialect(
        name="r2",
        title="Cloudflare R2",
        region="auto",
        conditional_put=True,
        max_object_size=5 * TIB - 5 * GIB,
        max_part=5 * GIB - 5 * MIB,
        max_copy=5 * GIB - 5 * MIB,
        equal_parts=True,
        metadata_bytes=8192,
        sse=_CUSTOMER,
        storage_classes=frozenset({"STANDARD", "STANDARD_IA"}),
        tagging=False,
        versioning=False,
        post_forms=False,
    ),
    Dialect(
        name="gcs",
        title="Google Cloud Storage, S3 dialect",
        region="auto",
        checksum="when_required",
        batch_delete=False,
        copy_parts=False,
        max_copy=5 * TIB,
        metadata_bytes=8192,
        sse=frozenset(),
        storage_classes=frozenset({"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"}),
        tagging=False,
    ),
    Dialect(
        name="b2",
        title="Backblaze B2",
        checksum="when_required",
        max_object_size=10 * 10**12,
        max_part=5 * 10**9,
        max_copy=5 * 10**9,
        sse=_STORE_AND_CUSTOMER,
        storage_classes=_STANDARD,
        tagging=False,
        post_forms=False,
    ),
    Dialect(
        name="wasabi",
        title="Wasabi",
        checksum="when_required",
        sse=_STORE_AND_CUSTOMER,
        storage_classes=_STANDARD,
    ),
    Dialect(
        name="garage",
        title="Garage",
        region="garage",
        checksum="when_required",
        sse=_CUSTOMER,
        storage_classes=_STANDARD,
        tagging=False,
        versioning=False,
    ),
    Dialect(
        name="seaweedfs",
        title="SeaweedFS",
        checksum="when_required",
        folders=True,
        sorted_listing=False,
    ),
    Dialect(name="ceph", title="Ceph RGW", checksum="when_required", conditional_put=True),
    Dialect(
        name="versitygw",
        title="Versity S3 Gateway",
        conditional_put=True,
        conditional_complete=True,
        folders=True,
        sse=frozenset(),
        storage_classes=_STANDARD,
        seen="a real server",
    ),
    Dialect(
        name="rclone",
        title="rclone serve s3",
        folders=True,
        sse=frozenset(),
        storage_classes=_STANDARD,
        tagging=False,
        versioning=False,
        post_forms=False,
        seen="a real server",
    ),
    _AWS._replace(name="naas", title="Naas (Amazon S3 with keys that end)"),
    Dialect(name="generic", title="Any other server", seen="a real server (moto)"),
)

DIALECTS: Final = {row.name: row for row in _ROWS}

#: Ends of host names that can be nobody else's.
_HOSTS: Final = (
    ("r2.cloudflarestorage.com", "r2"),
    ("storage.googleapis.com", "gcs"),
    ("backblazeb2.com", "b2"),
    ("wasabisys.com", "wasabi"),
    ("amazonaws.com", "aws"),
    ("amazonaws.com.cn", "aws"),
)
_REGION = re.compile(
    r"(?:^|\.)s3[.-](?:dualstack\.)?([a-z]{2}[a-z0-9-]*-[a-z0-9-]*\d)\.(?:backblazeb2|wasabisys|amazonaws)\.com"
)


def told_by(endpoint: str) -> Dialect:
    """Return the dialect that the host of `endpoint` is known to speak ("" is AWS); of an unknown one the generic row."""
    if not endpoint:
        return DIALECTS["aws"]
    host = urlsplit(endpoint).hostname or ""
    name = next((name for end, name in _HOSTS if host == end or host.endswith(f".{end}")), "generic")
    return DIALECTS[name]


def region_of(endpoint: str) -> str:
    """Return the region that the host of `endpoint` names, "" when it names none."""
    found = _REGION.search(urlsplit(endpoint).hostname or "")
    return found[1] if found else ""
