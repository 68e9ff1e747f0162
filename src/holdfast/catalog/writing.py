"""Transactions of a put: T1 writes the intent, T2 makes the content visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
from sqlalchemy import case, insert, literal_column, null, select, update

from holdfast.catalog import quotas
from holdfast.catalog.common import (
    INLINE_GRACE,
    SEGMENT_ADD,
    VERSION_ADD,
    ClashError,
    Head,
    audited,
    check_removable,
    counted,
    in_bucket,
    no_bucket,
    pointed,
    read_head,
    removed,
)
from holdfast.catalog.contract import Actor, Idempotency, NewVersion, Reserve
from holdfast.catalog.diverging import diverged
from holdfast.catalog.owing import owes, told_of_debt
from holdfast.catalog.rows import (
    VERSION,
    is_own_segment,
    made_of,
    segment_params,
    version_of,
    version_params,
)
from holdfast.catalog.schema import buckets, idempotency, replicas, versions
from holdfast.catalog.statements import (
    Batch,
    Call,
    Many,
    Statement,
    among,
    catalog_now,
    constant,
    int_param,
    one_of,
    text_param,
    upsert_into,
)
from holdfast.catalog.terms import found_by
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import ConflictError
from holdfast.core.types import ObjectRef, Replica, Version

_INTENT = ("version_id", "id", "segment_id", "store", "blob", "size", "copy_number", "lease_until")
_NUMBERS = ("size", "copy_number", "lease_until")

#: One row if the bucket is there, none if not.
REPLICA_BEGIN = Statement(
    insert(replicas)
    .inline()
    .from_select(
        [*_INTENT, "state"],
        select(
            *[(int_param if name in _NUMBERS else text_param)(f"r_{name}").label(name) for name in _INTENT],
            literal_column("'pending'").label("state"),
        )
        .select_from(buckets)
        .where(in_bucket()),
    )
    .returning(replicas.c.id)
)

STILL_PENDING = Statement(
    select(replicas.c.id).where(one_of(replicas.c.id, "ids"), replicas.c.state == constant("pending"))
)

RENEW = Statement(
    update(replicas)
    .where(one_of(replicas.c.id, "ids"), replicas.c.state == constant("pending"))
    .values(lease_until=int_param("until"))
    .returning(replicas.c.id)
)

COMMIT = Statement(
    update(replicas)
    .where(
        replicas.c.version_id == text_param("of_version"),
        among(replicas.c.id, "ids"),
        replicas.c.state == constant("pending"),
    )
    .values(state=constant("live"), lease_until=null(), committed=int_param("at"))
    .returning(replicas.c.segment_id)
)
#: The same, for copies whose size nobody could announce.
COMMIT_SIZED = Statement(
    update(replicas)
    .where(
        replicas.c.version_id == text_param("of_version"),
        among(replicas.c.id, "ids"),
        replicas.c.state == constant("pending"),
    )
    .values(
        state=constant("live"),
        lease_until=null(),
        committed=int_param("at"),
        size=case((replicas.c.size == literal_column("0"), int_param("size")), else_=replicas.c.size),
    )
    .returning(replicas.c.segment_id)
)

#: What was acknowledged as a part belongs to its upload, even if whoever sent it never heard so.
ABANDON = Statement(
    update(replicas)
    .where(
        one_of(replicas.c.id, "ids"),
        replicas.c.state == constant("pending"),
        replicas.c.upload_id.is_(None),
    )
    .values(state=constant("doomed"), lease_until=null(), not_before=catalog_now())
)

BY_ID = Statement(select(*VERSION).where(versions.c.id == text_param("of_version")))

COMMITTED = Statement(
    select(replicas.c.committed).where(
        replicas.c.version_id == text_param("of_version"), replicas.c.committed.is_not(None)
    )
)

EARLIER = Statement(
    select(idempotency.c.fingerprint, idempotency.c.answer).where(
        idempotency.c.tenant == text_param("tenant"),
        idempotency.c.key == text_param("request"),
        idempotency.c.expires > catalog_now(),
    )
)
ANSWERED = upsert_into(
    idempotency, "tenant", "key", "fingerprint", "answer", "expires", unique=("tenant", "key")
)


class NotPendingError(ClashError):
    """A replica to be committed is not pending: its lease ended, or it was committed before."""


def begin(
    ref: ObjectRef,
    rows: Sequence[Replica],
    *,
    lease_until: int,
    request: Idempotency | None,
    reserve: Reserve | None = None,
    now: int | None,
) -> Transaction[Version | None]:
    """T1: the intent, or the answer to an earlier request. What it reserves goes by the id of the first copy."""

    def steps(attempt: Attempt) -> Steps[Version | None]:
        if request is not None:
            earlier = yield from answer_of(ref.tenant, request, now)
            if earlier is not None:
                return earlier
        inserted = yield Batch([_intent(ref, replica, lease_until) for replica in rows])
        if not inserted:
            raise no_bucket(ref.bucket)
        if reserve is not None and rows:
            yield from _reserve(ref, rows[0].id, reserve, now)
        return None

    return steps


def _reserve(ref: ObjectRef, id: str, wish: Reserve, now: int | None) -> Steps[None]:
    """Reserve what is asked for, less what it takes the place of, if the bucket is metered."""
    head = yield from read_head(ref, now)
    if not head.metered:
        return
    size, count = wish.bytes, wish.objects
    if wish.replaces and head.current and not head.versioning:
        size, count = max(size - head.size, 0), max(count - 1, 0)
    yield from quotas.reserve(id, ref.tenant, head.bucket_id, bytes=size, objects=count)


def _intent(ref: ObjectRef, replica: Replica, lease_until: int) -> Call:
    return Call(
        REPLICA_BEGIN,
        {
            "tenant": ref.tenant,
            "bucket": ref.bucket,
            "r_version_id": replica.version_id,
            "r_id": replica.id,
            "r_segment_id": replica.segment_id,
            "r_store": replica.store,
            "r_blob": replica.blob,
            "r_size": replica.size,
            "r_copy_number": replica.copy_number,
            "r_lease_until": lease_until,
        },
    )


def begun(rows: Sequence[Replica]) -> Transaction[bool]:
    """Whether all these intents are there, from an attempt whose end we did not hear of."""

    def steps(attempt: Attempt) -> Steps[bool]:
        found = yield STILL_PENDING(ids=[replica.id for replica in rows])
        return {row[0] for row in found} == {replica.id for replica in rows}

    return steps


def answer_of(tenant: str, request: Idempotency, now: int | None) -> Steps[Version | None]:
    """Return what an earlier request with this key was answered.

    Raises:
        ConflictError: the key was used for another request, or may be used once.
    """
    rows = yield EARLIER(tenant=tenant, request=request.key, now=now)
    if not rows:
        return None
    fingerprint, answer = rows[0]
    if request.once:
        raise ConflictError("this may be done once, and was done already", name=request.key)
    if bytes(fingerprint) != request.fingerprint:
        raise ConflictError("the idempotency key was used for another request", name=request.key)
    return msgspec.json.decode(answer, type=Version)


def renew(ids: Sequence[str], *, lease_until: int) -> Transaction[bool]:
    """Longer leases; True when all were still pending."""

    def steps(attempt: Attempt) -> Steps[bool]:
        renewed = yield RENEW(ids=list(ids), until=lease_until)
        return len(renewed) == len(set(ids))

    return steps


def abandon(ids: Sequence[str], now: int | None) -> Transaction[None]:
    """Pending copies doomed, and what they reserved given up."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield ABANDON(ids=list(ids), now=now)
        yield from quotas.release(ids)

    return steps


def commit_put(
    version: NewVersion,
    replica_ids: Sequence[str],
    *,
    conditions: Preconditions,
    request: Idempotency | None,
    grace: int,
    actor: Actor,
    now: int | None,
) -> Transaction[Version]:
    """T2. Raises `NotPendingError` or `ClashError` when it may have been made before (see `made_before`)."""

    def steps(attempt: Attempt) -> Steps[Version]:
        head = yield from read_head(version.ref, now)
        if request is not None:
            earlier = yield from answer_of(version.ref.tenant, request, now)
            if earlier is not None:
                yield ABANDON(ids=list(replica_ids), now=now)
                yield from quotas.release(replica_ids)
                return earlier
        if head.version_id == version.id:
            raise NotPendingError("the version is there already", name=str(version.ref))
        conditions.check_write(head.current)
        made = made_of(version, seq=(head.seq or 0) + 1, created=head.now)
        size = version.size if is_own_segment(version) else 0
        flip = COMMIT_SIZED(of_version=version.id, ids=list(replica_ids), at=head.now, size=size)
        flipped = yield Batch(
            [flip, *become_current(head, version, made, grace=grace, actor=actor, action="put")]
        )
        check_covered(version, [row[0] for row in flipped], len(set(replica_ids)))
        yield from keep_segments(version)
        if request is not None:
            yield answered(version.ref.tenant, request, made)
        yield from charge_put(head, version, release=replica_ids)
        return made

    return steps


def become_current(
    head: Head,
    version: NewVersion,
    made: Version,
    *,
    grace: int,
    actor: Actor,
    action: str,
    upload_bytes: int = 0,
) -> list[Call]:
    """Return the calls that put `version` on top of its key and settle what follows from it."""
    ref, key = version.ref, version.ref.key
    old = head.current
    replaced = head.seq is not None and not head.versioning
    if replaced:
        check_removable(str(ref), head.hold, head.locked_until, head.clock)
    if version.expires is None and head.settings:
        version = replace(version, expires=head.expires)
    row = version_params(version, head.bucket_id, seq=made.seq, created=made.created)
    calls = [
        Call(VERSION_ADD, {**row, **head.lock}),
        pointed(head.bucket_id, key, seq=made.seq, version_id=version.id),
        counted(
            head.bucket_id,
            objects=0 if old else 1,
            versions=0 if old and replaced else 1,
            bytes=version.size - (old.size if old and replaced else 0),
            upload_bytes=-upload_bytes,
        ),
        audited(
            head.clock,
            ref.tenant,
            action,
            actor,
            bucket=ref.bucket,
            key=key,
            version_id=version.id,
            size=version.size,
            detail=told_of_debt(version),
        ),
    ]
    calls += owes(version, head.bucket_id, head.clock)
    calls += diverged(head, key, version.id)
    calls += found_by(head.bucket_id, key, version.id, version.metadata, version.tags)
    if replaced:
        calls += removed_head(head, key, grace=grace)
    return calls


def charge_put(
    head: Head, version: NewVersion, *, release: Sequence[str], upload_bytes: int = 0
) -> Steps[None]:
    """Charge a metered bucket for `version` on top of `head`; last in its transaction.

    `upload_bytes` are its parts, charged before; `release` the reservations that it takes the place of.
    """
    if head.metered:
        yield from quotas.charge(
            version.ref.tenant,
            head.bucket_id,
            bytes=version.size - head.freed - upload_bytes,
            objects=0 if head.current and not head.versioning else 1,
            release=release,
        )


def removed_head(head: Head, key: str, *, grace: int) -> list[Call]:
    """Return the calls that remove the newest version of the key."""
    assert head.seq is not None
    assert head.version_id is not None
    return removed(
        head.bucket_id,
        key,
        seq=head.seq,
        version_id=head.version_id,
        pieces=head.pieces,
        labelled=head.labelled,
        delete_marker=head.delete_marker,
        delete_from=head.clock + grace,
        inline_from=head.clock + min(grace, INLINE_GRACE),
    )


def keep_segments(version: NewVersion) -> Steps[None]:
    """Write the rows of a version that was put together from several segments."""
    if not is_own_segment(version):
        rows = [segment_params(version.id, place, part) for place, part in enumerate(version.segments)]
        yield Many(SEGMENT_ADD, rows)


def check_covered(version: NewVersion, segment_ids: Sequence[str], wanted: int) -> None:
    """Return when `wanted` replicas were committed and every segment has one of them."""
    if len(segment_ids) != wanted or not set(segment_ids) >= {segment.id for segment in version.segments}:
        raise NotPendingError("a copy to be committed is no longer pending", name=str(version.ref))


def answered(tenant: str, request: Idempotency, made: Version) -> Call:
    """Return the call that remembers what a request was answered."""
    return ANSWERED(
        tenant=tenant,
        key=request.key,
        fingerprint=request.fingerprint,
        answer=msgspec.json.encode(made).decode(),
        expires=request.expires,
    )


def made_before(version: NewVersion) -> Transaction[Version | None]:
    """Return what an earlier commit of the same version id made, or None: so a commit can be asked for again."""

    def steps(attempt: Attempt) -> Steps[Version | None]:
        rows = yield BY_ID(of_version=version.id)
        if rows:
            return version_of(rows[0], version.ref.tenant, version.ref.bucket)
        rows = yield COMMITTED(of_version=version.id)
        if rows:  # made, and replaced or removed since
            return made_of(version, seq=1, created=rows[0][0], current=False)
        return None

    return steps
