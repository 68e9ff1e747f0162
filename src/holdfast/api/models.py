"""The JSON of the door: what bodies hold, coming in and going out. The OpenAPI page is made from these."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.api.describe import iso
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Part, Upload, Version

T = TypeVar("T")
Name = Annotated[str, Meta(max_length=1024)]
encode = msgspec.json.Encoder().encode


# -- in ---------------------------------------------------------------------------------------------------------------
class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """An object, or one version of it."""

    bucket: Name
    key: Name
    version_id: str | None = None


class Copy(Struct, frozen=True, forbid_unknown_fields=True):
    """A copy to be made. Content type, metadata and tags are carried over unless one of them is given."""

    source: Place
    target: Place
    content_type: str | None = None
    metadata: dict[str, str] | None = None
    tags: dict[str, str] | None = None


class NewUpload(Struct, frozen=True, forbid_unknown_fields=True):
    """A multipart upload to be opened.

    `size` is the bytes of the whole: it is reserved, and what does not fit is refused at once. `expires_in` seconds
    shorten the time in which it must be completed.
    """

    bucket: Name
    key: Name
    content_type: str | None = None
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    size: Annotated[int, Meta(ge=0, le=2**60)] | None = None
    expires_in: Annotated[float, Meta(gt=0, le=10**9)] | None = None
    storage_class: Annotated[str, Meta(max_length=64)] = ""


class PartName(Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a multipart upload, as it was answered."""

    number: Annotated[int, Meta(ge=1, le=10_000)]
    etag: Name


class Completion(Struct, frozen=True, forbid_unknown_fields=True):
    """The parts that make the object, in ascending order."""

    parts: Annotated[list[PartName], Meta(max_length=10_000)]


# -- out --------------------------------------------------------------------------------------------------------------
class Stored(Struct, frozen=True, kw_only=True):
    """What was stored. `version_id` names this very content for ever."""

    success: bool | UnsetType = UNSET
    message: str | UnsetType = UNSET
    bucket: str | UnsetType = UNSET
    name: str | UnsetType = UNSET  # the key once more, for clients that look for it here
    key: str
    size: int
    last_modified: str
    etag: str
    content_type: str
    version_id: str
    file_id: str | UnsetType = UNSET
    sha256: str | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    tags: dict[str, str] | UnsetType = UNSET
    checksum_type: str | UnsetType = UNSET
    parts: int | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    delete_marker: bool | UnsetType = UNSET
    current: bool | UnsetType = UNSET


class StoredFiles(Struct, frozen=True):
    """What was stored of a form with several files."""

    success: bool
    message: str
    bucket: str
    files: list[Stored]


class Done(Struct, frozen=True):
    """That it was done."""

    message: str
    bucket: str
    key: str | UnsetType = UNSET
    success: bool = True
    deleted: bool | UnsetType = UNSET  # whether there was anything to delete
    object_name: str | UnsetType = UNSET  # the key once more, for clients that look for it here


class Listing(Struct, frozen=True):
    """One page of objects in byte order; `next_marker` is the `marker` of the next."""

    bucket: str
    prefix: str
    delimiter: str
    objects: list[Stored]
    prefixes: list[str]
    truncated: bool
    next_marker: str
    count: int | UnsetType = UNSET


class Versions(Struct, frozen=True):
    """One page of versions: keys in byte order, newest first within a key, delete markers included."""

    bucket: str
    prefix: str
    delimiter: str
    versions: list[Stored]
    prefixes: list[str]
    truncated: bool
    next_key_marker: str
    next_version_marker: str


class UploadInfo(Struct, frozen=True):
    """A multipart upload that is open."""

    upload_id: str
    bucket: str
    key: str
    version_id: str
    created: str
    expires: str
    content_type: str
    metadata: dict[str, str]
    tags: dict[str, str]
    kind: str = "multipart"  # or `tus`, `tus-partial`: those grow at their end
    size: int | None = None  # of the whole, when it was announced
    received: int = 0  # bytes of its parts


class Uploads(Struct, frozen=True):
    """One page of open uploads, by key and id; the last item's `key` and `upload_id` are the next page's markers."""

    bucket: str
    uploads: list[UploadInfo]
    truncated: bool


class PartInfo(Struct, frozen=True):
    """One part that has arrived."""

    number: int
    size: int
    etag: str
    created: str
    sha256: str | None = None


class Parts(Struct, frozen=True):
    """One page of parts, by number."""

    upload_id: str
    parts: list[PartInfo]
    truncated: bool


class Health(Struct, frozen=True):
    """Whether the service can work. `minio_connected` says that the default store answers, whatever kind it is.

    The counts are null for who brings no token, unless `health_counts` is set.
    """

    status: str
    service: str
    minio_connected: bool
    catalog_connected: bool
    buckets_available: int | None
    total_objects: int | None
    timestamp: str
    problems: list[str] = []
    owed: int = 0  # versions that are not where they belong yet: on a fallback store, or with too few copies


def decode(kind: type[T], body: bytes) -> T:
    """Return `body` as `kind`; `InvalidRequestError` names the member that is wrong."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"the JSON of the body is not what belongs here: {error}") from None
    except RecursionError:
        raise InvalidRequestError("the JSON of the body is nested too deeply") from None


def stored(version: Version, message: str = "File uploaded successfully") -> Stored:
    """Return the answer to an upload."""
    return msgspec.structs.replace(
        listed(version, full=True), success=True, message=message, bucket=version.ref.bucket
    )


def listed(version: Version, *, full: bool = False, named: bool = False) -> Stored:
    """Return a version as listings show it; `full` adds what only versions and uploads tell."""
    sha256 = version.digests.sha256
    told = full or version.parts > 0  # else a digest of parts would be taken for one of the content
    return Stored(
        name=version.ref.key if named else UNSET,
        key=version.ref.key,
        size=version.size,
        last_modified=iso(version.created),
        etag=version.etag,
        content_type=version.content_type,
        version_id=version.id,
        sha256=UNSET if sha256 is None else sha256.hex(),
        metadata=dict(version.metadata) or UNSET,
        tags=dict(version.tags) or UNSET,
        checksum_type=version.checksum_type.value if told else UNSET,
        parts=version.parts if told else UNSET,
        seq=version.seq if full else UNSET,
        delete_marker=version.delete_marker if full else UNSET,
        current=version.current if full else UNSET,
    )


def upload_info(upload: Upload) -> UploadInfo:
    """Return an upload as answers show it."""
    return UploadInfo(
        upload_id=upload.id,
        bucket=upload.ref.bucket,
        key=upload.ref.key,
        version_id=upload.version_id,
        created=iso(upload.created),
        expires=iso(upload.expires),
        content_type=upload.content_type,
        metadata=dict(upload.metadata),
        tags=dict(upload.tags),
        kind=upload.kind,
        size=upload.length,
        received=upload.received,
    )


def part_info(part: Part) -> PartInfo:
    """Return a part as answers show it."""
    sha256 = part.digests.sha256
    return PartInfo(part.number, part.size, part.etag, iso(part.created), sha256.hex() if sha256 else None)
