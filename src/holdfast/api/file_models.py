"""The JSON of files by id, searches and batches."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from holdfast.api.describe import iso
from holdfast.api.errors import status_of
from holdfast.api.models import Name, Stored
from holdfast.catalog.contract import Batch, BatchFailure, FileFacts
from holdfast.core.errors import HoldfastError
from holdfast.core.types import Version
from holdfast.engine.batches import Result, told
from holdfast.engine.describing import said_etag

Pairs = dict[str, str]
Changes = dict[str, str | None]


# -- in ---------------------------------------------------------------------------------------------------------------
class FileUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be said of a file. A member that is missing stays; one that is there takes the place of all of it."""

    content_type: str | None = None
    metadata: Pairs | None = None
    tags: Pairs | None = None


class FilePatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be said of a file, entry by entry: each is set, and one that is null is taken away."""

    content_type: str | None = None
    metadata: Changes | None = None
    tags: Changes | None = None


class BatchItem(Struct, frozen=True, forbid_unknown_fields=True):
    """One object of a batch; `bucket` is the batch's when it is missing."""

    key: Name
    bucket: Name = ""
    version_id: str | None = None


class Selection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Objects: by their keys, their ids, one by one, or all with a prefix. At most 10,000 in one batch."""

    bucket: Name = ""
    keys: list[Name] = []
    file_ids: list[Name] = []
    items: list[BatchItem] = []
    prefix: Name | None = None
    batch_id: str | None = None


class BatchDelete(Selection, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Objects to be removed. With `async` it is answered at once, and done afterwards."""

    background: bool = field(name="async", default=False)


class BatchTag(Selection, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Objects to be tagged: entries are set, and taken away where they are null; with `replace` all others go."""

    tags: Changes | None = None
    metadata: Changes | None = None
    replace: bool = False
    background: bool = field(name="async", default=False)


class Destination(Struct, frozen=True, forbid_unknown_fields=True):
    """Where copies go: `prefix` takes the place of the selection's prefix, or goes before each key."""

    bucket: Name = ""
    prefix: Name = ""


class CopyPair(Struct, frozen=True, forbid_unknown_fields=True):
    """One copy."""

    source: BatchItem
    target: BatchItem


class BatchCopy(Selection, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Copies: `copies` one by one, or a selection and where it goes."""

    copies: list[CopyPair] = []
    target: Destination | None = None
    background: bool = field(name="async", default=False)


class BatchDownload(Selection, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Objects to be sent as one archive."""

    format: Annotated[str, Meta(extra_json_schema={"enum": ["zip", "tar", "tar.gz"]})] = "zip"
    name: Annotated[str, Meta(max_length=200)] = "files"


# -- out --------------------------------------------------------------------------------------------------------------
class FileInfo(Struct, frozen=True, kw_only=True):
    """A file: one content of an object. `etag` is of the content, `metadata_etag` of what is said about it."""

    file_id: str
    bucket: str
    key: str
    size: int
    etag: str
    metadata_etag: str
    content_type: str
    last_modified: str
    metadata: Pairs
    tags: Pairs
    sha256: str | None
    md5: str | None
    crc64nvme: str | None
    checksum_type: str
    parts: int
    seq: int
    current: bool
    versions: int | UnsetType = UNSET
    replicas: int | UnsetType = UNSET
    expires: str | UnsetType | None = UNSET
    placement: str | UnsetType = UNSET  # `home`, or `owed`: it is not (wholly) where it belongs yet
    owed: str | UnsetType = UNSET  # why
    restored: bool | UnsetType = UNSET


class FileVersions(Struct, frozen=True):
    """One page of versions of a key, the newest first; `next_after` is the `after` of the next page."""

    bucket: str
    key: str
    versions: list[Stored]
    truncated: bool
    next_after: str


class FoundFiles(Struct, frozen=True):
    """One page of a search. It may be short or empty and still be `truncated`: then go on with `cursor`."""

    files: list[Stored]
    truncated: bool
    cursor: str


class FileOutcome(Struct, frozen=True, kw_only=True):
    """How it went with one file: what was stored, or why not."""

    success: bool
    bucket: str
    key: str
    file_id: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    etag: str | UnsetType = UNSET
    content_type: str | UnsetType = UNSET
    sha256: str | UnsetType = UNSET
    status: int | UnsetType = UNSET
    code: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


class FilesUploaded(Struct, frozen=True, kw_only=True):
    """How it went with the files of a form. `file_id` is that of the one file, when there is only one."""

    success: bool
    message: str
    bucket: str
    files: list[FileOutcome]
    file_id: str | UnsetType = UNSET
    batch_id: str | UnsetType = UNSET


class BatchResults(Struct, frozen=True, kw_only=True):
    """How it went with each object of a batch, in their order."""

    success: bool
    total: int
    done: int
    failed: int
    bytes: int
    results: list[FileOutcome]
    batch_id: str | UnsetType = UNSET


class BatchInfo(Struct, frozen=True, kw_only=True):
    """How far a batch is. `failures` names the first 100 that failed; `failed` counts all."""

    batch_id: str
    kind: str
    state: str
    total: int
    done: int
    failed: int
    bytes: int
    created: str
    updated: str
    expires: str
    failures: list[FileOutcome]


class BatchList(Struct, frozen=True):
    """One page of batches, the newest first; `next_before` is the `before` of the next page, 0 for the last."""

    batches: list[BatchInfo]
    next_before: int


def file_info(version: Version, facts: FileFacts | None = None, *, restored: bool | None = None) -> FileInfo:
    """Return a file as answers show it."""
    digests = version.digests
    return FileInfo(
        file_id=version.id,
        bucket=version.ref.bucket,
        key=version.ref.key,
        size=version.size,
        etag=version.etag,
        metadata_etag=said_etag(version),
        content_type=version.content_type,
        last_modified=iso(version.created),
        metadata=dict(version.metadata),
        tags=dict(version.tags),
        sha256=_hex(digests.sha256),
        md5=_hex(digests.md5),
        crc64nvme=_hex(digests.crc64nvme),
        checksum_type=version.checksum_type.value,
        parts=version.parts,
        seq=version.seq,
        current=version.current,
        versions=UNSET if facts is None else facts.versions,
        replicas=UNSET if facts is None else facts.replicas,
        expires=UNSET if facts is None else _when(facts.expires),
        placement=UNSET if facts is None else "owed" if facts.owed else "home",
        owed=UNSET if facts is None or not facts.owed else facts.owed,
        restored=UNSET if restored is None else restored,
    )


def stored_outcome(version: Version, filename: str | None = None) -> FileOutcome:
    """Return the outcome of a file that was stored."""
    sha256 = _hex(version.digests.sha256)
    return FileOutcome(
        success=True,
        bucket=version.ref.bucket,
        key=version.ref.key,
        file_id=version.id,
        filename=UNSET if filename is None else filename,
        size=version.size,
        etag=version.etag,
        content_type=version.content_type,
        sha256=UNSET if sha256 is None else sha256,
    )


def failed_outcome(bucket: str, key: str, error: HoldfastError, **more: str) -> FileOutcome:
    """Return the outcome of a file that failed."""
    return FileOutcome(
        success=False,
        bucket=bucket,
        key=key,
        status=status_of(error),
        code=error.code,
        error=told(error),
        file_id=more.get("file_id") or UNSET,
        filename=more.get("filename") or UNSET,
    )


def outcome(result: Result) -> FileOutcome:
    """Return how it went with an item of a batch."""
    item = result.item
    if result.error is not None:
        return failed_outcome(item.bucket, item.key, result.error, file_id=item.version_id or "")
    return FileOutcome(
        success=True,
        bucket=item.bucket,
        key=item.key,
        file_id=result.version_id or UNSET,
        size=result.size,
    )


def batch_info(batch: Batch) -> BatchInfo:
    """Return a batch as answers show it."""
    return BatchInfo(
        batch_id=batch.id,
        kind=batch.kind,
        state=batch.state.value,
        total=batch.total,
        done=batch.done,
        failed=batch.failed,
        bytes=batch.bytes,
        created=iso(batch.created),
        updated=iso(batch.updated),
        expires=iso(batch.expires),
        failures=[_failure(failure) for failure in batch.failures],
    )


def _failure(failure: BatchFailure) -> FileOutcome:
    return FileOutcome(
        success=False,
        bucket=failure.bucket,
        key=failure.key,
        file_id=failure.version_id or UNSET,
        code=failure.code,
        error=failure.detail,
    )


def _hex(raw: bytes | None) -> str | None:
    return None if raw is None else raw.hex()


def _when(micros: int | None) -> str | None:
    return None if micros is None else iso(micros)
