"""Transactions of the sweep: what nobody waits for any more is doomed; what is doomed and due is handed out."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, literal_column, null, or_, select, update

from holdfast.catalog import quotas
from holdfast.catalog.common import NOW, is_readable
from holdfast.catalog.contents import FORGOTTEN
from holdfast.catalog.contract import DoomedReplica
from holdfast.catalog.rows import REPLICA, replica_of
from holdfast.catalog.schema import (
    buckets,
    idempotency,
    pins,
    replicas,
    segments,
    uploads,
    usage,
    usage_deltas,
    versions,
)
from holdfast.catalog.sharing import IS_OUTLIVED, IS_SHARED, of_same_blob
from holdfast.catalog.statements import Batch, Statement, catalog_now, constant, int_param, one_of, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.uploads import close_upload
from holdfast.core.types import Replica

#: What is wrong with a blob is wrong with every copy that it is.
SUSPECT = Statement(
    update(replicas)
    .where(replicas.c.id.in_(of_same_blob("of_replica")), replicas.c.state == constant("live"))
    .values(state=constant("suspect"))
)

EXPIRED_UPLOADS = Statement(
    select(uploads.c.id, buckets.c.tenant, buckets.c.name)
    .select_from(uploads.join(buckets, buckets.c.id == uploads.c.bucket_id))
    .where(uploads.c.expires <= int_param("at"))
    .order_by(uploads.c.expires)
    .limit(int_param("rows"))
)
EXPIRED_UPLOAD = Statement(
    select(uploads.c.bucket_id, uploads.c.version_id).where(
        uploads.c.id == text_param("of_upload"), uploads.c.expires <= catalog_now()
    )
)
_ENDED = (
    select(replicas.c.id)
    .where(replicas.c.state == constant("pending"), replicas.c.lease_until <= int_param("at"))
    .order_by(replicas.c.lease_until)
    .limit(int_param("rows"))
)
EXPIRED_LEASES = Statement(
    update(replicas)
    .where(
        replicas.c.id.in_(_ENDED),
        replicas.c.state == constant("pending"),
        replicas.c.lease_until <= int_param("at"),
    )
    .values(state=constant("doomed"), lease_until=null(), not_before=int_param("at"))
    .returning(replicas.c.id)
)
_oldest = (
    select(idempotency.c.expires)
    .where(idempotency.c.expires <= int_param("at"))
    .order_by(idempotency.c.expires)
    .limit(int_param("rows"))
    .subquery()
)
EXPIRED_REQUESTS = Statement(
    idempotency.delete()
    .where(idempotency.c.expires <= select(func.max(_oldest.c.expires)).scalar_subquery())
    .returning(idempotency.c.key)
)

_of_reachable = or_(
    replicas.c.segment_id == replicas.c.version_id,
    select(segments.c.id)
    .where(segments.c.version_id == replicas.c.version_id, segments.c.id == replicas.c.segment_id)
    .correlate(replicas)
    .exists(),
)
_reachable = (
    select(literal_column("1"))
    .select_from(versions)
    .where(versions.c.id == replicas.c.version_id, _of_reachable)
    .correlate(replicas)
    .exists()
)
_other = replicas.alias("other")
_has_other = (
    select(literal_column("1"))
    .select_from(_other)
    .where(
        _other.c.version_id == replicas.c.version_id,
        _other.c.segment_id == replicas.c.segment_id,
        is_readable(_other),
    )
    .correlate(replicas)
    .exists()
)
#: Somebody copies a moment at which these bytes were still wanted.
_pinned = (
    select(pins.c.id)
    .where(
        pins.c.until > catalog_now(),
        replicas.c.committed.is_not(None),
        replicas.c.not_before >= pins.c.at,
    )
    .correlate(replicas)
    .exists()
)
#: Due, and no version needs these bytes: it is gone, or it has another copy. Of the rows of one blob, the last to go is
#: not here before the others are forgotten; so whoever deletes bytes was told that no other row knows them.
DOOMED = Statement(
    select(
        replicas.c.id, replicas.c.store, replicas.c.blob, replicas.c.committed, IS_OUTLIVED.label("shared")
    )
    .where(
        replicas.c.state == constant("doomed"),
        replicas.c.not_before <= catalog_now(),
        or_(~_reachable, _has_other),
        ~_pinned,
        or_(~IS_SHARED, IS_OUTLIVED),
    )
    .order_by(replicas.c.not_before)
    .limit(int_param("rows"))
)
FORGET = Statement(
    replicas.delete().where(one_of(replicas.c.id, "ids"), replicas.c.state == constant("doomed"))
)
POSTPONE = Statement(
    update(replicas)
    .where(one_of(replicas.c.id, "ids"), replicas.c.state == constant("doomed"))
    .values(not_before=int_param("until"))
)

_PAGE = (
    select(*REPLICA)
    .where(replicas.c.id > text_param("after"))
    .order_by(replicas.c.id)
    .limit(int_param("rows"))
)
PAGE = Statement(_PAGE)
PAGE_OF_STORE = Statement(_PAGE.where(replicas.c.store == text_param("of_store")))

_TAKEN = (
    select(usage_deltas.c.id)
    .order_by(usage_deltas.c.id)
    .limit(int_param("rows"))
    .with_for_update(skip_locked=True)
)
DELTAS_TAKE = Statement(
    usage_deltas.delete()
    .where(usage_deltas.c.id.in_(_TAKEN))
    .returning(
        usage_deltas.c.bucket_id,
        usage_deltas.c.objects,
        usage_deltas.c.versions,
        usage_deltas.c.bytes,
        usage_deltas.c.upload_bytes,
    )
)
USAGE_FOLD = Statement(
    update(usage)
    .where(usage.c.bucket_id == int_param("in_bucket"))
    .values(
        objects=usage.c.objects + int_param("more_objects"),
        versions=usage.c.versions + int_param("more_versions"),
        bytes=usage.c.bytes + int_param("more_bytes"),
        upload_bytes=usage.c.upload_bytes + int_param("more_upload_bytes"),
    )
)


def clock(now: int | None) -> Transaction[int]:
    """The catalog's clock."""

    def steps(attempt: Attempt) -> Steps[int]:
        return int((yield NOW(now=now))[0][0])

    return steps


def suspect(replica_id: str) -> Transaction[None]:
    """A live copy that failed a read."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield SUSPECT(of_replica=replica_id)

    return steps


def expired_uploads(limit: int, at: int) -> Transaction[Sequence[tuple[str, str, str]]]:
    """Uploads whose time is over: id, tenant and bucket of each."""

    def steps(attempt: Attempt) -> Steps[Sequence[tuple[str, str, str]]]:
        return [(row[0], row[1], row[2]) for row in (yield EXPIRED_UPLOADS(at=at, rows=limit))]

    return steps


def expire_upload(upload_id: str, at: int) -> Transaction[int]:
    """One upload closed, if its time is over; whether it was."""

    def steps(attempt: Attempt) -> Steps[int]:
        rows = yield EXPIRED_UPLOAD(of_upload=upload_id, now=at)
        if not rows:
            return 0
        yield from close_upload(rows[0][0], upload_id, rows[0][1], at)
        return 1

    return steps


def expire_leases(limit: int, at: int) -> Transaction[int]:
    """Pending copies whose lease ended, doomed, and what they reserved given up."""

    def steps(attempt: Attempt) -> Steps[int]:
        ended = yield EXPIRED_LEASES(at=at, rows=limit)
        yield from quotas.release([row[0] for row in ended])
        return len(ended)

    return steps


def expire_requests(limit: int, at: int) -> Transaction[int]:
    """Idempotency keys past their time, dropped."""

    def steps(attempt: Attempt) -> Steps[int]:
        return len((yield EXPIRED_REQUESTS(at=at, rows=limit)))

    return steps


def fold_usage(limit: int) -> Transaction[int]:
    """Open changes of counters added to them, in an order that two folders share; how many there were."""

    def steps(attempt: Attempt) -> Steps[int]:
        rows = yield DELTAS_TAKE(rows=limit)
        sums: dict[int, list[int]] = {}
        for bucket_id, *numbers in rows:
            total = sums.setdefault(bucket_id, [0, 0, 0, 0])
            for place, number in enumerate(numbers):
                total[place] += number
        for bucket_id in sorted(sums):
            objects, versions_, size, upload_bytes = sums[bucket_id]
            yield USAGE_FOLD(
                in_bucket=bucket_id,
                more_objects=objects,
                more_versions=versions_,
                more_bytes=size,
                more_upload_bytes=upload_bytes,
            )
        return len(rows)

    return steps


def doomed(limit: int, now: int | None) -> Transaction[Sequence[DoomedReplica]]:
    """Copies whose bytes may be deleted now."""

    def steps(attempt: Attempt) -> Steps[Sequence[DoomedReplica]]:
        rows = yield DOOMED(rows=limit, now=now)
        return [DoomedReplica(row[0], row[1], row[2], row[3] is not None, bool(row[4])) for row in rows]

    return steps


def forget(ids: Sequence[str]) -> Transaction[None]:
    """Rows of deleted bytes, dropped; where the bytes lie in the catalog, they go with them."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield Batch([FORGOTTEN(ids=list(ids)), FORGET(ids=list(ids))])

    return steps


def postpone(ids: Sequence[str], until: int) -> Transaction[None]:
    """Doomed copies to be tried again later."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield POSTPONE(ids=list(ids), until=until)

    return steps


def page_of_replicas(store: str | None, after: str, limit: int) -> Transaction[Sequence[Replica]]:
    """Copies by id."""

    def steps(attempt: Attempt) -> Steps[Sequence[Replica]]:
        if store is None:
            rows = yield PAGE(after=after, rows=limit)
        else:
            rows = yield PAGE_OF_STORE(after=after, rows=limit, of_store=store)
        return [replica_of(row) for row in rows]

    return steps
