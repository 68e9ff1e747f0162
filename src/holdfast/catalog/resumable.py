"""Transactions of uploads that grow at their end: each piece is appended at a known offset, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import and_, literal_column, null, select, update

from holdfast.catalog import quotas
from holdfast.catalog.common import ClashError, Head, read_head
from holdfast.catalog.contract import Actor, Idempotency, NewVersion
from holdfast.catalog.rows import PART, REPLICA, UPLOAD, made_of, part_of, replica_of, upload_of
from holdfast.catalog.schema import buckets, parts, replicas, uploads
from holdfast.catalog.statements import (
    Batch,
    Call,
    Statement,
    catalog_now,
    constant,
    int_param,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.uploads import (
    PART_SIZES,
    PARTS_REMOVE,
    UPLOAD_REMOVE,
    Open,
    counted_objects,
    keep_part,
    no_upload,
    read_open,
)
from holdfast.catalog.writing import (
    answer_of,
    answered,
    become_current,
    charge_put,
    check_covered,
    keep_segments,
)
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import ConflictError, InvalidRequestError, TooLargeError
from holdfast.core.types import Part, Replica, Upload, Version

BY_ID = Statement(
    select(*UPLOAD, buckets.c.name)
    .select_from(uploads.join(buckets, buckets.c.id == uploads.c.bucket_id))
    .where(
        uploads.c.id == text_param("of_upload"),
        buckets.c.tenant == text_param("tenant"),
        uploads.c.expires > catalog_now(),
    )
)
LAST_PART = Statement(
    select(*PART)
    .where(parts.c.upload_id == text_param("of_upload"))
    .order_by(parts.c.number.desc())
    .limit(literal_column("1"))
)
COPIES = Statement(
    select(*REPLICA).where(
        replicas.c.version_id == text_param("of_version"),
        replicas.c.segment_id == text_param("of_segment"),
        replicas.c.upload_id == text_param("of_upload"),
        replicas.c.state == constant("pending"),
    )
)
SET_LENGTH = Statement(
    update(uploads).where(uploads.c.id == text_param("of_upload")).values(length=int_param("whole"))
)
#: The copies of a part become copies of the version that takes them over.
TAKE_OVER = Statement(
    update(replicas)
    .where(
        and_(
            replicas.c.version_id == text_param("of_version"),
            replicas.c.upload_id == text_param("of_upload"),
            replicas.c.state == constant("pending"),
        )
    )
    .values(
        version_id=text_param("to_version"),
        state=constant("live"),
        lease_until=null(),
        committed=int_param("at"),
    )
    .returning(replicas.c.segment_id)
)


def upload_by_id(tenant: str, upload_id: str, now: int | None) -> Transaction[Upload]:
    """An open upload of the tenant, by its id alone."""

    def steps(attempt: Attempt) -> Steps[Upload]:
        rows = yield BY_ID(tenant=tenant, of_upload=upload_id, now=now)
        if not rows:
            raise no_upload(upload_id)
        return upload_of(rows[0][:-1], tenant, rows[0][-1])

    return steps


def last_part(upload_id: str) -> Transaction[Part | None]:
    """The part at the end of an upload."""

    def steps(attempt: Attempt) -> Steps[Part | None]:
        rows = yield LAST_PART(of_upload=upload_id)
        return part_of(rows[0]) if rows else None

    return steps


def part_copies(upload: Upload, segment_id: str) -> Transaction[Sequence[Replica]]:
    """The acknowledged copies of one part."""

    def steps(attempt: Attempt) -> Steps[Sequence[Replica]]:
        rows = yield COPIES(of_version=upload.version_id, of_segment=segment_id, of_upload=upload.id)
        return [replica_of(row) for row in rows]

    return steps


def append_part(
    upload_id: str,
    part: Part,
    replica_ids: Sequence[str],
    *,
    offset: int,
    instead_of: str | None,
    most: int,
    now: int | None,
) -> Transaction[Part]:
    """A part put at the end of an upload that has `offset` bytes, or in place of its last one, which it begins with."""

    def steps(attempt: Attempt) -> Steps[Part]:
        found = yield from read_open(upload_id, now)
        last = yield LAST_PART(of_upload=upload_id)
        if last and last[0][1] == part.segment_id:
            return part_of(last[0])
        before = last if instead_of is not None else []
        if found.received != offset or (before and before[0][1] != instead_of):
            raise ConflictError(
                f"the upload has {found.received} bytes, not {offset}; ask for its offset and go on from there",
                name=upload_id,
            )
        _check_room(found, part.size - (before[0][2] if before else 0), upload_id)
        number = (last[0][0] if last else 0) + (0 if before else 1)
        if number > most:
            raise InvalidRequestError(
                f"the upload has {most} pieces, the most that it can have; send larger ones", name=upload_id
            )
        placed = replace(part, number=number)
        yield from keep_part(found, upload_id, placed, replica_ids, before=before)
        return placed

    return steps


def _check_room(found: Open, grown: int, upload_id: str) -> None:
    if found.length is not None and found.received + grown > found.length:
        raise TooLargeError(
            f"the upload was announced with {found.length} bytes, and no more", name=upload_id
        )


def set_length(upload_id: str, length: int, now: int | None) -> Transaction[None]:
    """The length of an upload announced, and reserved, after it was begun without one."""

    def steps(attempt: Attempt) -> Steps[None]:
        found = yield from read_open(upload_id, now)
        if found.length == length:
            return
        if found.length is not None or length < found.received:
            raise ConflictError(
                f"the length cannot become {length}: it is {found.length}, and {found.received} bytes are here",
                name=upload_id,
            )
        yield SET_LENGTH(of_upload=upload_id, whole=length)
        if found.metered:
            yield from quotas.release([upload_id])
            yield from quotas.reserve(
                upload_id,
                found.tenant,
                found.bucket_id,
                bytes=length - found.received,
                objects=counted_objects(found.kind),
            )

    return steps


def earlier_answer(tenant: str, request: Idempotency, now: int | None) -> Transaction[Version | None]:
    """What an earlier request of that name was answered."""

    def steps(attempt: Attempt) -> Steps[Version | None]:
        return (yield from answer_of(tenant, request, now))

    return steps


def concatenate(
    version: NewVersion,
    partials: Sequence[Upload],
    *,
    conditions: Preconditions,
    request: Idempotency,
    grace: int,
    actor: Actor,
    now: int | None,
) -> Transaction[Version]:
    """The parts of finished partial uploads become the current version, and the partial uploads are no more."""

    def steps(attempt: Attempt) -> Steps[Version]:
        head = yield from read_head(version.ref, now)
        earlier = yield from answer_of(version.ref.tenant, request, now)
        if earlier is not None:
            return earlier
        if head.version_id == version.id:
            raise ClashError("the version is there already", name=str(version.ref))
        conditions.check_write(head.current)
        segments = yield from _taken_over(head, version, partials, now)
        check_covered(version, segments, len(segments))
        made = made_of(version, seq=(head.seq or 0) + 1, created=head.now)
        calls = become_current(
            head,
            version,
            made,
            grace=grace,
            actor=actor,
            action="complete-upload",
            upload_bytes=version.size,
        )
        for partial in partials:
            calls += [UPLOAD_REMOVE(of_upload=partial.id), PARTS_REMOVE(of_upload=partial.id)]
        yield Batch(calls)
        yield from keep_segments(version)
        yield answered(version.ref.tenant, request, made)
        yield from charge_put(
            head, version, release=[partial.id for partial in partials], upload_bytes=version.size
        )
        return made

    return steps


def _taken_over(
    head: Head, version: NewVersion, partials: Sequence[Upload], now: int | None
) -> Steps[list[str]]:
    """Move the copies of the partial uploads to the version; return the segment of each copy."""
    wanted = {segment.id: segment.size for segment in version.segments}
    held: dict[str, int] = {}
    taken: list[str] = []
    for partial in partials:
        found = yield from read_open(partial.id, now)
        if found.bucket_id != head.bucket_id:
            raise InvalidRequestError("the partial uploads are of another bucket", name=partial.id)
        for segment_id, size in (yield PART_SIZES(of_upload=partial.id)):
            held[segment_id] = size
        rows = yield Call(
            TAKE_OVER,
            {
                "of_version": found.version_id,
                "of_upload": partial.id,
                "to_version": version.id,
                "at": head.now,
            },
        )
        taken += [row[0] for row in rows]
    if held != wanted:
        raise ConflictError("a partial upload changed while it was being put together", name=version.id)
    return taken
