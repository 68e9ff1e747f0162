"""Transactions of snapshots: a moment of a bucket gets a name, and loses it.

One is made under the bucket's lock, alone: whoever was writing has ended, and whoever writes later is given a later time.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update

from holdfast.catalog.common import BUCKET, audited, no_bucket
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import buckets, snapshots
from holdfast.catalog.statements import Row, Statement, catalog_now, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import AlreadyExistsError, ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.records import Snapshot
from holdfast.core.retention import moment

_COLUMNS = ("name", "at", "created", "principal", "note")
_ONE = (snapshots.c.bucket_id == int_param("in_bucket"), snapshots.c.name == text_param("of_name"))
ADD = insert_into(snapshots, "bucket_id", *_COLUMNS)
ONE = Statement(select(*[snapshots.c[name] for name in _COLUMNS]).where(*_ONE))
ALL = Statement(
    select(*[snapshots.c[name] for name in _COLUMNS])
    .where(snapshots.c.bucket_id == int_param("in_bucket"), snapshots.c.name > text_param("after"))
    .order_by(snapshots.c.name)
    .limit(int_param("rows"))
)
REMOVE = Statement(snapshots.delete().where(*_ONE).returning(snapshots.c.at))
REMOVE_ALL = Statement(snapshots.delete().where(snapshots.c.bucket_id == int_param("in_bucket")))
NEWEST = (
    select(func.max(snapshots.c.at)).where(snapshots.c.bucket_id == int_param("in_bucket")).scalar_subquery()
)
MARK = Statement(update(buckets).where(buckets.c.id == int_param("in_bucket")).values(snapped=NEWEST))
SNAPPED = Statement(
    select(catalog_now().label("now"), buckets.c.snapped).where(
        buckets.c.tenant == text_param("tenant"), buckets.c.name == text_param("bucket")
    )
)
UPSTREAM = Statement(select(buckets.c.upstream).where(buckets.c.id == int_param("in_bucket")))


def create(
    tenant: str, bucket: str, name: str, *, at: int | None, note: str, actor: Actor, now: int | None
) -> Transaction[Snapshot]:
    """A snapshot of now, or of an earlier moment as far as its versions are still there; see the contract."""

    def steps(attempt: Attempt) -> Steps[Snapshot]:
        bucket_id, versioning, clock = yield from _bucket(tenant, bucket, now)
        when = clock if at is None else at
        if not versioning:
            raise ConflictError(
                "a snapshot needs a bucket that keeps versions; switch versioning on first", name=bucket
            )
        if when > clock:
            raise InvalidRequestError("the moment of a snapshot is not in the future", name=name)
        if (yield UPSTREAM(in_bucket=bucket_id))[0][0] == "attached":
            raise ConflictError(
                "the bucket follows a store, which brings old times; detach it first", name=bucket
            )
        there = yield ONE(in_bucket=bucket_id, of_name=name)
        made = Snapshot(tenant, bucket, name, when, clock, actor.principal, note)
        if there:
            held = _of(there[0], tenant, bucket)
            if attempt.again and held.created == clock and held.note == note:
                return held
            raise AlreadyExistsError("there is a snapshot of that name", name=name)
        row = {"at": when, "created": clock, "principal": actor.principal, "note": note}
        yield ADD(bucket_id=bucket_id, name=name, **row)
        yield MARK(in_bucket=bucket_id)
        told = {"snapshot": name, "at": moment(when)}
        yield audited(clock, tenant, "create-snapshot", actor, bucket=bucket, detail=told)
        return made

    return steps


def one(tenant: str, bucket: str, name: str) -> Transaction[Snapshot]:
    """A snapshot by its name."""

    def steps(attempt: Attempt) -> Steps[Snapshot]:
        bucket_id, _, _ = yield from _bucket(tenant, bucket, 0)
        rows = yield ONE(in_bucket=bucket_id, of_name=name)
        if not rows:
            raise no_snapshot(name)
        return _of(rows[0], tenant, bucket)

    return steps


def reached(tenant: str, bucket: str, at: int, now: int | None) -> Transaction[int]:
    """The time that what was made by `at` has at most; see the contract."""

    def steps(attempt: Attempt) -> Steps[int]:
        rows = yield SNAPPED(tenant=tenant, bucket=bucket, now=now)
        if not rows:
            raise no_bucket(bucket)
        clock, snapped = rows[0]
        return at if snapped is None or snapped <= clock else max(at, int(snapped) + 1)

    return steps


def page(tenant: str, bucket: str, after: str, limit: int) -> Transaction[Sequence[Snapshot]]:
    """Snapshots of a bucket by name."""

    def steps(attempt: Attempt) -> Steps[Sequence[Snapshot]]:
        bucket_id, _, _ = yield from _bucket(tenant, bucket, 0)
        rows = yield ALL(in_bucket=bucket_id, after=after, rows=limit)
        return [_of(row, tenant, bucket) for row in rows]

    return steps


def delete(tenant: str, bucket: str, name: str, *, actor: Actor, now: int | None) -> Transaction[None]:
    """A snapshot forgotten; the versions that it showed stay, and may be removed again."""

    def steps(attempt: Attempt) -> Steps[None]:
        bucket_id, _, clock = yield from _bucket(tenant, bucket, now)
        gone = yield REMOVE(in_bucket=bucket_id, of_name=name)
        if not gone:
            if attempt.again and "gone" in attempt.seen:
                return
            raise no_snapshot(name)
        attempt.seen["gone"] = True
        yield MARK(in_bucket=bucket_id)
        told = {"snapshot": name, "at": moment(gone[0][0])}
        yield audited(clock, tenant, "delete-snapshot", actor, bucket=bucket, detail=told)

    return steps


def clear(tenant: str, bucket: str) -> Transaction[None]:
    """All snapshots of a bucket forgotten, when it is about to go with its tenant."""

    def steps(attempt: Attempt) -> Steps[None]:
        bucket_id, _, _ = yield from _bucket(tenant, bucket, 0)
        yield REMOVE_ALL(in_bucket=bucket_id)
        yield MARK(in_bucket=bucket_id)

    return steps


def no_snapshot(name: str) -> NotFoundError:
    """Return the error for a snapshot that is not there."""
    return NotFoundError("there is no such snapshot", name=name)


def _bucket(tenant: str, bucket: str, now: int | None) -> Steps[tuple[int, bool, int]]:
    rows = yield BUCKET(tenant=tenant, bucket=bucket, now=now)
    if not rows:
        raise no_bucket(bucket)
    return rows[0][0], bool(rows[0][1]), rows[0][3]


def _of(row: Row, tenant: str, bucket: str) -> Snapshot:
    return Snapshot(tenant, bucket, *row)
