"""Transactions of what keeps a version: legal hold and retention lock; and whether a bucket or tenant holds such versions.

They hold the lock of the key, as every removal does: so a removal is either before a lock, which then finds nothing, or
after it, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import case, literal_column, select, update

from holdfast.catalog.common import audited, no_object, read_head
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import buckets, versions
from holdfast.catalog.snapped import OF_BUCKET
from holdfast.catalog.statements import Row, Statement, catalog_now, constant, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import ConflictError, InvalidRequestError
from holdfast.core.retention import Keeping, LockMode, moment, relocked
from holdfast.core.types import ObjectRef

_ONE: Final = (
    versions.c.bucket_id == int_param("in_bucket"),
    versions.c.key == text_param("of_key"),
    versions.c.id == text_param("of_version"),
)
KEPT = Statement(
    select(
        versions.c.seq,
        versions.c.delete_marker,
        versions.c.hold,
        versions.c.lock_mode,
        versions.c.locked_until,
        catalog_now().label("now"),
    ).where(*_ONE)
)
KEEP = Statement(
    update(versions)
    .where(
        versions.c.bucket_id == int_param("in_bucket"),
        versions.c.key == text_param("of_key"),
        versions.c.seq == int_param("of_seq"),
    )
    .values(
        hold=case(
            (int_param("held") == literal_column("1"), literal_column("true")), else_=literal_column("false")
        ),
        lock_mode=text_param("mode"),
        locked_until=int_param("until"),
    )
)
_OF_PLACE = (
    buckets.c.tenant == text_param("tenant"),
    (text_param("in_bucket") == literal_column("''")) | (buckets.c.name == text_param("in_bucket")),
)
_IN_BUCKETS = buckets.join(versions, versions.c.bucket_id == buckets.c.id)
#: The first version of a tenant, or of one of its buckets, that is under hold.
HELD = Statement(
    select(buckets.c.name, versions.c.key, versions.c.id)
    .select_from(_IN_BUCKETS)
    .where(*_OF_PLACE, versions.c.hold.is_(True))
    .limit(constant(1))
)
#: The one whose lock ends last, of those that end later than a time.
LOCKED = Statement(
    select(buckets.c.name, versions.c.key, versions.c.id, versions.c.locked_until)
    .select_from(_IN_BUCKETS)
    .where(*_OF_PLACE, versions.c.locked_until > int_param("at"))
    .order_by(versions.c.locked_until.desc())
    .limit(constant(1))
)


def keeping(ref: ObjectRef, version_id: str | None, now: int | None) -> Transaction[tuple[str, Keeping]]:
    """The version that is meant, and what keeps it."""

    def steps(attempt: Attempt) -> Steps[tuple[str, Keeping]]:
        found, row = yield from _find(ref, version_id, now)
        return found, keeping_of(row)

    return steps


def set_hold(
    ref: ObjectRef, version_id: str | None, hold: bool, *, reason: str, actor: Actor, now: int | None
) -> Transaction[tuple[str, Keeping]]:
    """The hold of a version set or cleared."""

    def steps(attempt: Attempt) -> Steps[tuple[str, Keeping]]:
        found, row = yield from _find(ref, version_id, now)
        held = keeping_of(row)
        made = Keeping(hold, held.mode, held.until)
        if made != held:
            action = "set-hold" if hold else "clear-hold"
            yield from _keep(ref, found, row, made, action, {"reason": reason} if reason else {}, actor, now)
        return found, made

    return steps


def set_lock(
    ref: ObjectRef,
    version_id: str | None,
    mode: LockMode | None,
    until: int | None,
    *,
    reason: str,
    actor: Actor,
    now: int | None,
) -> Transaction[tuple[str, Keeping]]:
    """The lock of a version changed as far as `core.retention.relocked` allows; only where the bucket keeps versions."""

    def steps(attempt: Attempt) -> Steps[tuple[str, Keeping]]:
        found, row = yield from _find(ref, version_id, now)
        held, at = keeping_of(row), row[5]
        if (held.mode, held.until) == (mode, until):
            return found, held
        made = relocked(held, mode, until, now=at, reason=reason)
        if until is not None and not (yield from read_head(ref, now)).versioning:
            raise ConflictError(
                "a lock needs a bucket that keeps versions; switch versioning on first", name=str(ref)
            )
        told = {"mode": str(mode), "until": moment(until)} if until is not None else {"mode": "none"}
        if reason and held.locked(at):
            told |= {"bypassed": str(held.mode), "was": moment(held.until or 0), "reason": reason}
        yield from _keep(ref, found, row, made, "set-lock", told, actor, now)
        return found, made

    return steps


def kept(tenant: str, bucket: str, at: int) -> Transaction[str]:
    """What is held, or locked at `at`, in a bucket ("": in any of the tenant), in words; "" when nothing is.

    Of a bucket that is named also its snapshots; a tenant that goes takes them with it.
    """

    def steps(attempt: Attempt) -> Steps[str]:
        rows = yield HELD(tenant=tenant, in_bucket=bucket)
        if rows:
            return f"{rows[0][0]}/{rows[0][1]} (version {rows[0][2]}) is under legal hold"
        rows = yield LOCKED(tenant=tenant, in_bucket=bucket, at=at)
        if rows:
            return f"{rows[0][0]}/{rows[0][1]} (version {rows[0][2]}) is locked until {moment(rows[0][3])}"
        if bucket and (rows := (yield OF_BUCKET(tenant=tenant, in_bucket=bucket))):
            return f"snapshot {rows[0][0]!r} shows versions of {bucket}; delete it first"
        return ""

    return steps


def _find(ref: ObjectRef, version_id: str | None, now: int | None) -> Steps[tuple[str, Row]]:
    """Return the id and the row of a version, without `version_id` of the current one.

    Raises:
        NotFoundError: there is no such.
        InvalidRequestError: it is a delete marker, which holds nothing that could be kept.
    """
    head = yield from read_head(ref, now)
    wanted = version_id if version_id is not None else head.version_id if head.current else None
    rows = yield KEPT(in_bucket=head.bucket_id, of_key=ref.key, of_version=wanted or "", now=now)
    if not rows:
        raise no_object(ref)
    if rows[0][1]:
        raise InvalidRequestError("a delete marker cannot be held or locked", name=str(ref))
    return wanted or "", rows[0]


def keeping_of(row: Row) -> Keeping:
    """Return what keeps the version of a row of `KEPT`."""
    return Keeping(bool(row[2]), None if row[3] is None else LockMode(row[3]), row[4])


def _keep(
    ref: ObjectRef,
    version_id: str,
    row: Row,
    made: Keeping,
    action: str,
    detail: Mapping[str, str],
    actor: Actor,
    now: int | None,
) -> Steps[None]:
    head = yield from read_head(ref, now)
    mode = None if made.mode is None else made.mode.value
    yield KEEP(
        in_bucket=head.bucket_id,
        of_key=ref.key,
        of_seq=row[0],
        held=int(made.hold),
        mode=mode,
        until=made.until,
    )
    yield audited(
        row[5],
        ref.tenant,
        action,
        actor,
        bucket=ref.bucket,
        key=ref.key,
        version_id=version_id,
        detail=detail,
    )
