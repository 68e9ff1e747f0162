"""Rows to values and back. Text columns that hold JSON are empty when the mapping is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.catalog.contract import NewVersion
from holdfast.catalog.schema import parts, replicas, segments, uploads, versions
from holdfast.catalog.statements import Row
from holdfast.core.types import (
    EMPTY,
    NO_DIGESTS,
    ChecksumType,
    Digests,
    ObjectRef,
    Part,
    Replica,
    ReplicaState,
    Segment,
    Upload,
    Version,
)

_FULL = ChecksumType.FULL_OBJECT
_TYPES = {kind.value: kind for kind in ChecksumType}
_STATES = {state.value: state for state in ReplicaState}

#: What `version_of` reads, in this order.
VERSION = (
    versions.c.key,
    versions.c.seq,
    versions.c.id,
    versions.c.size,
    versions.c.etag,
    versions.c.created,
    versions.c.content_type,
    versions.c.metadata,
    versions.c.tags,
    versions.c.sha256,
    versions.c.md5,
    versions.c.crc64nvme,
    versions.c.checksum_type,
    versions.c.parts,
    versions.c.storage_class,
    versions.c.tier,
    versions.c.pieces,
    versions.c.delete_marker,
)
VERSION_WIDTH = len(VERSION)
#: The columns of what keeps a version, when nothing does.
UNKEPT: Mapping[str, Any] = {"hold": False, "locked_until": None, "lock_mode": None}

#: What `replica_of` reads, in this order.
REPLICA = (
    replicas.c.id,
    replicas.c.version_id,
    replicas.c.segment_id,
    replicas.c.store,
    replicas.c.blob,
    replicas.c.size,
    replicas.c.state,
    replicas.c.copy_number,
)

#: What `segment_of` reads, in this order.
SEGMENT = tuple(
    segments.c[name] for name in ("id", "size", "sha256", "md5", "crc64nvme", "chunk_size", "chunk_crcs")
)

#: What `part_of` reads, in this order.
PART = tuple(
    parts.c[name]
    for name in (
        "number",
        "segment_id",
        "size",
        "etag",
        "created",
        "sha256",
        "md5",
        "crc64nvme",
        "chunk_size",
        "chunk_crcs",
    )
)

#: What `upload_of` reads, in this order.
UPLOAD = tuple(
    uploads.c[name]
    for name in (
        "key",
        "id",
        "version_id",
        "created",
        "expires",
        "content_type",
        "metadata",
        "tags",
        "kind",
        "length",
        "options",
        "received",
    )
)


def text_of(mapping: Mapping[str, str]) -> str:
    """Return `mapping` as a column holds it."""
    return msgspec.json.encode(dict(mapping)).decode() if mapping else ""


def mapping_of(text: str) -> Mapping[str, str]:
    """Return what `text_of` was given."""
    return msgspec.json.decode(text, type=dict[str, str]) if text else EMPTY


def digests_of(sha256: bytes | None, md5: bytes | None, crc64nvme: bytes | None) -> Digests:
    """Return the digests of three columns."""
    if sha256 is None and md5 is None and crc64nvme is None:
        return NO_DIGESTS
    return Digests(sha256, md5, crc64nvme)


def version_of(row: Row, tenant: str, bucket: str, *, current: bool = True) -> Version:
    """Return the version that begins `row` (see `VERSION`)."""
    (key, seq, id_, size, etag, created, content_type, metadata, tags) = row[:9]
    (sha256, md5, crc64nvme, checksum_type, part_count, storage_class, tier, _, delete_marker) = row[9:18]
    return Version(
        id_,
        ObjectRef(tenant, bucket, key),
        size,
        etag,
        created,
        content_type,
        mapping_of(metadata) if metadata else EMPTY,
        mapping_of(tags) if tags else EMPTY,
        digests_of(sha256, md5, crc64nvme),
        _FULL if checksum_type == "FULL_OBJECT" else _TYPES[checksum_type],
        part_count,
        seq,
        bool(delete_marker),
        current,
        storage_class or "",
        tier=tier or "",
    )


def version_params(version: NewVersion, bucket_id: int, *, seq: int, created: int) -> dict[str, Any]:
    """Return the row that keeps `version`."""
    own = is_own_segment(version)
    segment = version.segments[0] if own else None
    return {
        "bucket_id": bucket_id,
        "key": version.ref.key,
        "seq": seq,
        "id": version.id,
        "size": version.size,
        "etag": version.etag,
        "created": created,
        "content_type": version.content_type,
        "metadata": text_of(version.metadata),
        "tags": text_of(version.tags),
        "sha256": version.digests.sha256,
        "md5": version.digests.md5,
        "crc64nvme": version.digests.crc64nvme,
        "checksum_type": version.checksum_type.value,
        "parts": version.parts,
        "pieces": 0 if own else len(version.segments),
        "delete_marker": False,
        "chunk_size": segment.chunk_size if segment else 0,
        "chunk_crcs": segment.chunk_crcs if segment else b"",
        "expires": version.expires,
        "storage_class": version.storage_class or None,
        "tier": None,
        "pin": version.pin or None,
        "cloned_from": version.cloned_from or None,
        **UNKEPT,
    }


def is_own_segment(version: NewVersion) -> bool:
    """Return whether the version's one segment needs no row of its own."""
    return len(version.segments) == 1 and version.segments[0].id == version.id


def marker_params(bucket_id: int, key: str, *, seq: int, id: str, created: int) -> dict[str, Any]:
    """Return the row of a delete marker."""
    return {
        "bucket_id": bucket_id,
        "key": key,
        "seq": seq,
        "id": id,
        "size": 0,
        "etag": "",
        "created": created,
        "content_type": "",
        "metadata": "",
        "tags": "",
        "sha256": None,
        "md5": None,
        "crc64nvme": None,
        "checksum_type": "FULL_OBJECT",
        "parts": 0,
        "pieces": 0,
        "delete_marker": True,
        "chunk_size": 0,
        "chunk_crcs": b"",
        "expires": None,
        "storage_class": None,
        "tier": None,
        "pin": None,
        "cloned_from": None,
        **UNKEPT,
    }


def made_of(version: NewVersion, *, seq: int, created: int, current: bool = True) -> Version:
    """Return what a commit of `version` made."""
    return Version(
        id=version.id,
        ref=version.ref,
        size=version.size,
        etag=version.etag,
        created=created,
        content_type=version.content_type,
        metadata=version.metadata,
        tags=version.tags,
        digests=version.digests,
        checksum_type=version.checksum_type,
        parts=version.parts,
        seq=seq,
        current=current,
        storage_class=version.storage_class,
        owed="" if version.owed is None else version.owed.reason,
    )


def segment_params(version_id: str, position: int, segment: Segment) -> dict[str, Any]:
    """Return the row that keeps `segment`."""
    return {
        "version_id": version_id,
        "position": position,
        "id": segment.id,
        "size": segment.size,
        "sha256": segment.digests.sha256,
        "md5": segment.digests.md5,
        "crc64nvme": segment.digests.crc64nvme,
        "chunk_size": segment.chunk_size,
        "chunk_crcs": segment.chunk_crcs,
    }


def segment_of(row: Row) -> Segment:
    """Return the segment of `row` (see `SEGMENT`)."""
    id_, size, sha256, md5, crc64nvme, chunk_size, chunk_crcs = row
    return Segment(id_, size, digests_of(sha256, md5, crc64nvme), chunk_size, chunk_crcs)


def replica_of(row: Row) -> Replica:
    """Return the replica of `row` (see `REPLICA`)."""
    id_, version_id, segment_id, store, blob, size, state, copy_number = row
    return Replica(id_, version_id, segment_id, store, blob, size, _STATES[state], copy_number)


def part_of(row: Row) -> Part:
    """Return the part of `row` (see `PART`)."""
    number, segment_id, size, etag, created, sha256, md5, crc64nvme, chunk_size, chunk_crcs = row
    return Part(
        number, segment_id, size, etag, digests_of(sha256, md5, crc64nvme), created, chunk_size, chunk_crcs
    )


def part_params(upload_id: str, part: Part) -> dict[str, Any]:
    """Return the row that keeps `part`."""
    return {
        "upload_id": upload_id,
        "number": part.number,
        "segment_id": part.segment_id,
        "size": part.size,
        "etag": part.etag,
        "created": part.created,
        "sha256": part.digests.sha256,
        "md5": part.digests.md5,
        "crc64nvme": part.digests.crc64nvme,
        "chunk_size": part.chunk_size,
        "chunk_crcs": part.chunk_crcs,
    }


def upload_of(row: Row, tenant: str, bucket: str) -> Upload:
    """Return the upload of `row` (see `UPLOAD`)."""
    key, id_, version_id, created, expires, content_type, metadata, tags, kind, length, options, got = row
    return Upload(
        id_,
        ObjectRef(tenant, bucket, key),
        version_id,
        created,
        expires,
        content_type,
        mapping_of(metadata),
        mapping_of(tags),
        kind,
        length,
        mapping_of(options),
        got,
    )


def upload_params(upload: Upload, bucket_id: int) -> dict[str, Any]:
    """Return the row that keeps `upload`."""
    return {
        "bucket_id": bucket_id,
        "key": upload.ref.key,
        "id": upload.id,
        "version_id": upload.version_id,
        "created": upload.created,
        "expires": upload.expires,
        "content_type": upload.content_type,
        "metadata": text_of(upload.metadata),
        "tags": text_of(upload.tags),
        "kind": upload.kind,
        "length": upload.length,
        "options": text_of(upload.options),
        "received": upload.received,
    }
