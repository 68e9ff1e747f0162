"""Transactions of multipart uploads: parts are pending copies that the upload protects until it is completed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, null, or_, select, update

from holdfast.catalog import quotas
from holdfast.catalog.common import BUCKET, audited, counted, in_bucket, no_bucket, read_head
from holdfast.catalog.contract import Actor, Idempotency, NewVersion
from holdfast.catalog.folding import BEYOND, successor
from holdfast.catalog.rows import PART, UPLOAD, made_of, part_of, part_params, upload_of, upload_params
from holdfast.catalog.schema import buckets, parts, replicas, uploads
from holdfast.catalog.statements import (
    Batch,
    Call,
    Row,
    Statement,
    among,
    catalog_now,
    constant,
    insert_into,
    int_param,
    one_of,
    text_param,
    upsert_into,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.writing import (
    answer_of,
    answered,
    become_current,
    charge_put,
    check_covered,
    keep_segments,
)
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.types import ObjectRef, Part, Upload, Version

UPLOAD_ADD = insert_into(uploads, *[column.name for column in uploads.columns], unless_there=True)
UPLOAD_REMOVE = Statement(uploads.delete().where(uploads.c.id == text_param("of_upload")))
PARTS_REMOVE = Statement(parts.delete().where(parts.c.upload_id == text_param("of_upload")))

_OPEN = and_(uploads.c.id == text_param("of_upload"), uploads.c.expires > catalog_now())
OF_KEY = Statement(
    select(*UPLOAD, buckets.c.id)
    .select_from(uploads.join(buckets, buckets.c.id == uploads.c.bucket_id))
    .where(in_bucket(), uploads.c.key == text_param("of_key"), _OPEN)
)
_STATE = (
    select(
        uploads.c.bucket_id,
        uploads.c.version_id,
        uploads.c.kind,
        uploads.c.length,
        uploads.c.received,
        uploads.c.expires,
        catalog_now().label("now"),
        buckets.c.tenant,
        buckets.c.metered,
    )
    .select_from(uploads.join(buckets, buckets.c.id == uploads.c.bucket_id))
    .where(uploads.c.id == text_param("of_upload"))
)
OPEN = Statement(_STATE.where(uploads.c.expires > catalog_now()))
ANY = Statement(_STATE)
METERED = Statement(select(buckets.c.metered).where(buckets.c.id == int_param("in_bucket")))
ARRIVED = Statement(
    update(uploads)
    .where(uploads.c.id == text_param("of_upload"))
    .values(received=uploads.c.received + int_param("more"))
)
PAGE = Statement(
    select(*UPLOAD)
    .where(
        uploads.c.bucket_id == int_param("in_bucket"),
        uploads.c.key >= text_param("lower"),
        uploads.c.key < text_param("upper"),
        or_(uploads.c.key > text_param("after_key"), uploads.c.id > text_param("after_id")),
        uploads.c.expires > catalog_now(),
    )
    .order_by(uploads.c.key, uploads.c.id)
    .limit(int_param("rows"))
)

PART_PUT = upsert_into(parts, *[column.name for column in parts.columns], unique=("upload_id", "number"))
PART_AT = Statement(
    select(*PART).where(
        parts.c.upload_id == text_param("of_upload"), parts.c.number == int_param("at_number")
    )
)
PARTS = Statement(
    select(*PART)
    .where(parts.c.upload_id == text_param("of_upload"), parts.c.number > int_param("after_number"))
    .order_by(parts.c.number)
    .limit(int_param("rows"))
)
PART_SIZES = Statement(
    select(parts.c.segment_id, parts.c.size).where(parts.c.upload_id == text_param("of_upload"))
)

#: An acknowledged part: durable, still pending, protected by the upload.
ACKNOWLEDGE = Statement(
    update(replicas)
    .where(
        replicas.c.version_id == text_param("of_version"),
        among(replicas.c.id, "ids"),
        replicas.c.segment_id == text_param("of_segment"),
        replicas.c.state == constant("pending"),
    )
    .values(
        lease_until=int_param("until"), upload_id=text_param("of_upload"), size=int_param("received_size")
    )
    .returning(replicas.c.id)
)
_ACKNOWLEDGED = and_(
    replicas.c.version_id == text_param("of_version"),
    replicas.c.upload_id == text_param("of_upload"),
    replicas.c.state == constant("pending"),
)
_DOOMED: dict[str, Any] = {
    "state": constant("doomed"),
    "lease_until": null(),
    "not_before": int_param("delete_from"),
}
SEGMENT_DOOM = Statement(
    update(replicas).where(_ACKNOWLEDGED, replicas.c.segment_id == text_param("of_segment")).values(**_DOOMED)
)
REST_DOOM = Statement(update(replicas).where(_ACKNOWLEDGED).values(**_DOOMED))
COMPLETE = Statement(
    update(replicas)
    .where(_ACKNOWLEDGED, one_of(replicas.c.segment_id, "segments"))
    .values(state=constant("live"), lease_until=null(), committed=int_param("at"))
    .returning(replicas.c.segment_id)
)


class Open(NamedTuple):
    """An upload as a transaction finds it."""

    bucket_id: int
    version_id: str
    kind: str
    length: int | None
    received: int
    expires: int
    now: int
    tenant: str
    metered: bool


def read_open(upload_id: str, now: int | None) -> Steps[Open]:
    """Return the state of an open upload, or raise `NotFoundError`."""
    rows = yield OPEN(of_upload=upload_id, now=now)
    if not rows:
        raise no_upload(upload_id)
    return Open._make(rows[0])


def no_upload(upload_id: str) -> NotFoundError:
    return NotFoundError(
        "there is no such open upload: it was completed, aborted or has expired", name=upload_id
    )


def create_upload(upload: Upload, *, actor: Actor, now: int | None) -> Transaction[Upload]:
    """A new open upload."""
    ref = upload.ref

    def steps(attempt: Attempt) -> Steps[Upload]:
        rows = yield BUCKET(tenant=ref.tenant, bucket=ref.bucket, now=now)
        if not rows:
            raise no_bucket(ref.bucket)
        bucket_id = rows[0][0]
        before = yield OPEN(of_upload=upload.id, now=now)
        if before:
            return upload
        yield Call(UPLOAD_ADD, upload_params(upload, bucket_id))
        yield audited(
            rows[0][3],
            ref.tenant,
            "create-upload",
            actor,
            bucket=ref.bucket,
            key=ref.key,
            version_id=upload.version_id,
            detail={"upload": upload.id},
        )
        if (yield METERED(in_bucket=bucket_id))[0][0]:
            yield from quotas.reserve(
                upload.id,
                ref.tenant,
                bucket_id,
                bytes=upload.length or 0,
                objects=counted_objects(upload.kind),
            )
        return upload

    return steps


def counted_objects(kind: str) -> int:
    """Return how many objects an upload will make: what it reserves of a quota."""
    return 0 if kind == "tus-partial" else 1


def _of_key(ref: ObjectRef, upload_id: str, now: int | None) -> Call:
    return OF_KEY(tenant=ref.tenant, bucket=ref.bucket, of_key=ref.key, of_upload=upload_id, now=now)


def upload(ref: ObjectRef, upload_id: str, now: int | None) -> Transaction[Upload]:
    """One open upload."""

    def steps(attempt: Attempt) -> Steps[Upload]:
        rows = yield _of_key(ref, upload_id, now)
        if not rows:
            raise no_upload(upload_id)
        return upload_of(rows[0][:-1], ref.tenant, ref.bucket)

    return steps


def list_uploads(
    tenant: str, bucket: str, *, prefix: str, key_marker: str, id_marker: str, limit: int, now: int | None
) -> Transaction[tuple[Sequence[Upload], bool]]:
    """One page of open uploads by key then id, after the markers."""

    def steps(attempt: Attempt) -> Steps[tuple[Sequence[Upload], bool]]:
        found = yield BUCKET(tenant=tenant, bucket=bucket, now=now)
        if not found:
            raise no_bucket(bucket)
        rows = yield PAGE(
            in_bucket=found[0][0],
            lower=max(prefix, key_marker),
            upper=successor(prefix) if prefix else BEYOND,
            after_key=key_marker,
            after_id=id_marker if id_marker else BEYOND,
            rows=max(limit, 0) + 1,
            now=now,
        )
        return [upload_of(row, tenant, bucket) for row in rows[:limit]], limit > 0 and len(rows) > limit

    return steps


def commit_part(
    upload_id: str, part: Part, replica_ids: Sequence[str], *, now: int | None
) -> Transaction[Part]:
    """A part acknowledged, in place of an earlier one of the same number."""

    def steps(attempt: Attempt) -> Steps[Part]:
        found = yield from read_open(upload_id, now)
        before = yield PART_AT(of_upload=upload_id, at_number=part.number)
        if before and before[0][1] == part.segment_id:
            return part_of(before[0])
        yield from keep_part(found, upload_id, part, replica_ids, before=before)
        return part

    return steps


def keep_part(
    found: Open, upload_id: str, part: Part, replica_ids: Sequence[str], *, before: Sequence[Row]
) -> Steps[None]:
    """Acknowledge a part in place of the one in `before`, if there is one, and settle what follows from it."""
    taken = yield ACKNOWLEDGE(
        of_version=found.version_id,
        ids=list(replica_ids),
        of_segment=part.segment_id,
        until=found.expires,
        of_upload=upload_id,
        received_size=part.size,
    )
    if len(taken) != len(set(replica_ids)) or not taken:
        raise ConflictError("a copy of the part is no longer pending; send the part again", name=upload_id)
    if before:
        yield SEGMENT_DOOM(
            of_version=found.version_id,
            of_upload=upload_id,
            of_segment=before[0][1],
            delete_from=found.now,
        )
    grown = part.size - (before[0][2] if before else 0)
    yield Batch(
        [
            Call(PART_PUT, part_params(upload_id, part)),
            ARRIVED(of_upload=upload_id, more=grown),
            counted(found.bucket_id, upload_bytes=grown),
        ]
    )
    if found.metered:
        yield from quotas.charge(
            found.tenant, found.bucket_id, bytes=grown, release=list(replica_ids), draw=upload_id
        )


def list_parts(upload_id: str, *, after: int, limit: int) -> Transaction[Sequence[Part]]:
    """Acknowledged parts by number."""

    def steps(attempt: Attempt) -> Steps[Sequence[Part]]:
        rows = yield PARTS(of_upload=upload_id, after_number=after, rows=max(limit, 0))
        return [part_of(row) for row in rows]

    return steps


def complete_upload(
    upload_id: str,
    version: NewVersion,
    *,
    conditions: Preconditions,
    request: Idempotency | None = None,
    grace: int,
    actor: Actor,
    now: int | None,
) -> Transaction[Version]:
    """The parts named by the version's segments become the current version.

    Raises `NotFoundError` when the upload is not open, perhaps because this was done before (see `made_before`).
    """
    ref = version.ref

    def steps(attempt: Attempt) -> Steps[Version]:
        head = yield from read_head(ref, now)
        rows = yield _of_key(ref, upload_id, now)
        if not rows or rows[0][2] != version.id:
            raise no_upload(upload_id)
        if request is not None:
            yield from answer_of(ref.tenant, request, now)
        sizes: dict[str, int] = {row[0]: row[1] for row in (yield PART_SIZES(of_upload=upload_id))}
        segments = [segment.id for segment in version.segments]
        if not segments or not sizes.keys() >= set(segments):
            raise ConflictError("a part was replaced while the upload was being completed", name=upload_id)
        conditions.check_write(head.current)
        made = made_of(version, seq=(head.seq or 0) + 1, created=head.now)
        flipped = yield COMPLETE(of_version=version.id, of_upload=upload_id, segments=segments, at=head.now)
        check_covered(version, [row[0] for row in flipped], len(flipped))
        yield REST_DOOM(of_version=version.id, of_upload=upload_id, delete_from=head.clock + grace)
        calls = become_current(
            head,
            version,
            made,
            grace=grace,
            actor=actor,
            action="complete-upload",
            upload_bytes=sum(sizes.values()),
        )
        yield Batch([*calls, UPLOAD_REMOVE(of_upload=upload_id), PARTS_REMOVE(of_upload=upload_id)])
        yield from keep_segments(version)
        if request is not None:
            yield answered(ref.tenant, request, made)
        yield from charge_put(head, version, release=[upload_id], upload_bytes=sum(sizes.values()))
        return made

    return steps


def abort_upload(ref: ObjectRef, upload_id: str, *, actor: Actor, now: int | None) -> Transaction[None]:
    """An open upload closed and its parts doomed."""

    def steps(attempt: Attempt) -> Steps[None]:
        rows = yield _of_key(ref, upload_id, now)
        if not rows and attempt.again and "found" in attempt.seen:
            return
        if not rows:
            raise no_upload(upload_id)
        attempt.seen["found"] = True
        at = (yield BUCKET(tenant=ref.tenant, bucket=ref.bucket, now=now))[0][3]
        yield audited(
            at,
            ref.tenant,
            "abort-upload",
            actor,
            bucket=ref.bucket,
            key=ref.key,
            detail={"upload": upload_id},
        )
        yield from close_upload(rows[0][-1], upload_id, rows[0][2], at)

    return steps


def close_upload(bucket_id: int, upload_id: str, version_id: str, at: int) -> Steps[None]:
    """Doom the parts of an upload and forget it."""
    rows = yield ANY(of_upload=upload_id, now=at)
    if not rows:
        return
    found = Open._make(rows[0])
    yield Batch(
        [
            REST_DOOM(of_version=version_id, of_upload=upload_id, delete_from=at),
            UPLOAD_REMOVE(of_upload=upload_id),
            PARTS_REMOVE(of_upload=upload_id),
            counted(bucket_id, upload_bytes=-found.received),
        ]
    )
    if found.metered:
        yield from quotas.charge(found.tenant, bucket_id, bytes=-found.received, release=[upload_id])
