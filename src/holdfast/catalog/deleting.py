"""Transactions of a delete. Bytes are only doomed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select

from holdfast.catalog import quotas
from holdfast.catalog.common import (
    INLINE_GRACE,
    OBJECT_REMOVE,
    VERSION_ADD,
    Head,
    audited,
    check_removable,
    counted,
    pointed,
    read_head,
    removed,
)
from holdfast.catalog.contract import Actor, Said, Seen
from holdfast.catalog.diverging import diverged
from holdfast.catalog.rows import VERSION, VERSION_WIDTH, marker_params, version_of
from holdfast.catalog.schema import buckets, versions
from holdfast.catalog.settings import bucket_settings
from holdfast.catalog.snapped import IS_UNSNAPPED, check_unsnapped
from holdfast.catalog.statements import (
    Batch,
    Call,
    Row,
    Statement,
    catalog_now,
    constant,
    int_param,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.writing import removed_head
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import ConflictError
from holdfast.core.types import Deleted, ObjectRef

_OF_KEY = (versions.c.bucket_id == int_param("in_bucket"), versions.c.key == text_param("of_key"))

OF_KEY_BY_ID = Statement(
    select(*VERSION, versions.c.hold, versions.c.locked_until).where(
        *_OF_KEY, versions.c.id == text_param("of_version")
    )
)
NEWER = Statement(
    select(versions.c.id)
    .where(*_OF_KEY, versions.c.seq > int_param("above"), versions.c.delete_marker.is_(False))
    .order_by(versions.c.seq)
    .limit(int_param("rows"))
)
NEXT_OLDER = Statement(
    select(versions.c.seq, versions.c.id, versions.c.delete_marker)
    .where(*_OF_KEY, versions.c.seq < int_param("below"))
    .order_by(versions.c.seq.desc())
    .limit(constant(1))
)

#: One row if the version is due: its time is over, its bucket's dates are settled, and it hides nothing.
_older = versions.alias("older")
DUE = Statement(
    select(versions.c.seq)
    .select_from(versions.join(buckets, buckets.c.id == versions.c.bucket_id))
    .where(
        *_OF_KEY,
        versions.c.id == text_param("of_version"),
        versions.c.expires <= catalog_now(),
        versions.c.hold.is_(False),
        or_(versions.c.locked_until.is_(None), versions.c.locked_until <= catalog_now()),
        IS_UNSNAPPED,
        buckets.c.dating.is_(False),
        or_(
            versions.c.delete_marker.is_(False),
            ~select(_older.c.seq)
            .where(
                _older.c.bucket_id == versions.c.bucket_id,
                _older.c.key == versions.c.key,
                _older.c.seq < versions.c.seq,
            )
            .correlate(versions)
            .exists(),
        ),
    )
)

NOTHING = Deleted(None)


def delete_object(
    ref: ObjectRef,
    version_id: str | None,
    *,
    marker_id: str,
    conditions: Preconditions,
    grace: int,
    actor: Actor,
    if_due: bool = False,
    if_as: Seen | None = None,
    there: tuple[str, int] | None = None,
    now: int | None,
) -> Transaction[Deleted]:
    """The object, or one version of it, removed; see the contract."""

    def steps(attempt: Attempt) -> Steps[Deleted]:
        head = (yield from read_head(ref, now))._replace(seen=there)
        if if_due and not (
            yield DUE(in_bucket=head.bucket_id, of_key=ref.key, of_version=version_id, now=now)
        ):
            return NOTHING
        if if_as is not None and not (yield from _is_still(ref, head, if_as)):
            return NOTHING
        if if_due and version_id == head.version_id and (yield from _hides(ref, head)):
            return (yield from newest_removed(ref, head, marker_id, grace, actor, attempt))
        if version_id is not None:
            return (yield from _one_version(ref, head, version_id, conditions, grace, actor, attempt))
        if attempt.again:
            found = yield OF_KEY_BY_ID(in_bucket=head.bucket_id, of_key=ref.key, of_version=marker_id)
            if found:
                return Deleted(marker_id, True)
            if "removed" in attempt.seen and head.version_id != attempt.seen["removed"]:
                return Deleted(attempt.seen["removed"], False)
        conditions.check_write(head.current)
        if head.versioning:
            yield from _leave_marker(ref, head, marker_id, (), actor)
            return Deleted(marker_id, True)
        return (yield from newest_removed(ref, head, marker_id, grace, actor, attempt))

    return steps


def hide_object(
    ref: ObjectRef, over: str, *, marker_id: str, actor: Actor, now: int | None
) -> Transaction[Deleted]:
    """A delete marker on top of the version `over`, which stays; see the contract."""

    def steps(attempt: Attempt) -> Steps[Deleted]:
        head = yield from read_head(ref, now)
        if attempt.again and head.version_id == marker_id:
            return Deleted(marker_id, True)
        if not head.current or head.version_id != over:
            raise ConflictError("the object changed meanwhile", name=str(ref))
        if not head.versioning:
            raise ConflictError("the bucket keeps no versions any more", name=ref.bucket)
        yield from _leave_marker(ref, head, marker_id, (), actor)
        return Deleted(marker_id, True)

    return steps


def _is_still(ref: ObjectRef, head: Head, seen: Seen) -> Steps[bool]:
    """Return whether the version and the rules of its bucket still are as they were when it was judged by them."""
    was = seen.version
    if bucket_settings(head.settings).lifecycle != seen.rules or (head.version_id == was.id) != was.current:
        return False
    rows = yield OF_KEY_BY_ID(in_bucket=head.bucket_id, of_key=ref.key, of_version=was.id)
    if not rows or Said.of(version_of(rows[0], ref.tenant, ref.bucket)) != Said.of(was):
        return False
    if was.delete_marker and was.current:
        older = yield NEXT_OLDER(in_bucket=head.bucket_id, of_key=ref.key, below=was.seq)
        return not older
    if not seen.newer:
        return True
    wanted = seen.newer + (1 if head.current else 0)
    newer = yield NEWER(in_bucket=head.bucket_id, of_key=ref.key, above=was.seq, rows=wanted)
    return len(newer) == wanted


def _hides(ref: ObjectRef, head: Head) -> Steps[bool]:
    """Return whether the newest version hides an older one, which something keeps longer and must not come back."""
    if head.current is None:
        return False
    older = yield NEXT_OLDER(in_bucket=head.bucket_id, of_key=ref.key, below=head.seq)
    return bool(older) and not older[0][2]


def newest_removed(
    ref: ObjectRef, head: Head, marker_id: str, grace: int, actor: Actor, attempt: Attempt
) -> Steps[Deleted]:
    """Remove the current version; hide older ones, if any, behind a marker."""
    if head.current is None:
        if head.upstream == "attached":  # it may be on its way here
            yield Batch(diverged(head, ref.key, ""))
        return NOTHING
    assert head.version_id is not None
    check_removable(str(ref), head.hold, head.locked_until, head.clock)
    yield from check_unsnapped(head.bucket_id, head.snapped, ref.key, head.seq or 0, head.created)
    attempt.seen["removed"] = head.version_id
    older = yield NEXT_OLDER(in_bucket=head.bucket_id, of_key=ref.key, below=head.seq)
    gone = removed_head(head, ref.key, grace=grace)
    if older:
        yield from _leave_marker(ref, head, marker_id, gone, actor)
        return Deleted(marker_id, True)
    yield Batch(
        [
            *gone,
            Call(OBJECT_REMOVE, {"in_bucket": head.bucket_id, "of_key": ref.key}),
            counted(head.bucket_id, objects=-1, versions=-1, bytes=-head.size),
            _told(ref, head.clock, actor, head.version_id, size=head.size),
            *diverged(head, ref.key, ""),
        ]
    )
    yield from _uncharge(ref, head, head.size)
    return Deleted(head.version_id)


def _leave_marker(
    ref: ObjectRef, head: Head, marker_id: str, gone: Sequence[Call], actor: Actor
) -> Steps[None]:
    """Put a delete marker on top of the key, in place of what `gone` removes (if anything)."""
    row = marker_params(head.bucket_id, ref.key, seq=(head.seq or 0) + 1, id=marker_id, created=head.now)
    row["expires"] = head.expires
    calls = [Call(VERSION_ADD, row), *gone, _told(ref, head.clock, actor, marker_id, "delete-marker")]
    calls += diverged(head, ref.key, "")
    if head.current:
        calls.append(Call(OBJECT_REMOVE, {"in_bucket": head.bucket_id, "of_key": ref.key}))
        calls.append(
            counted(head.bucket_id, objects=-1, versions=-1 if gone else 0, bytes=-head.size if gone else 0)
        )
    yield Batch(calls)
    if gone and head.current:
        yield from _uncharge(ref, head, head.size)


def _one_version(
    ref: ObjectRef,
    head: Head,
    version_id: str,
    conditions: Preconditions,
    grace: int,
    actor: Actor,
    attempt: Attempt,
) -> Steps[Deleted]:
    """Remove one version for good; the next older one becomes current if it was the newest."""
    rows = yield OF_KEY_BY_ID(in_bucket=head.bucket_id, of_key=ref.key, of_version=version_id)
    if not rows:
        return attempt.seen.get("deleted", NOTHING) if attempt.again else NOTHING
    target = version_of(rows[0], ref.tenant, ref.bucket)
    conditions.check_write(None if target.delete_marker else target)
    check_removable(str(ref), rows[0][VERSION_WIDTH], rows[0][VERSION_WIDTH + 1], head.clock)
    yield from check_unsnapped(head.bucket_id, head.snapped, ref.key, target.seq, target.created)
    calls = _gone(head, rows[0], grace)
    objects = 0
    if version_id == head.version_id:
        older = yield NEXT_OLDER(in_bucket=head.bucket_id, of_key=ref.key, below=target.seq)
        call, objects = _new_head(ref, head, older)
        calls += call
        newest = older[0][1] if older and not older[0][2] else ""
        calls += diverged(head, ref.key, newest, removed=True)
    size = 0 if target.delete_marker else target.size
    calls.append(
        counted(head.bucket_id, objects=objects, versions=0 if target.delete_marker else -1, bytes=-size)
    )
    calls.append(_told(ref, head.clock, actor, version_id, "delete-version", size=target.size))
    attempt.seen["deleted"] = Deleted(version_id, target.delete_marker)
    yield Batch(calls)
    if not target.delete_marker:
        yield from _uncharge(ref, head, target.size)
    return Deleted(version_id, target.delete_marker)


def _uncharge(ref: ObjectRef, head: Head, size: int) -> Steps[None]:
    """Give back to the quotas what one version took."""
    if head.metered:
        yield from quotas.charge(ref.tenant, head.bucket_id, bytes=-size, objects=-1)


def _gone(head: Head, row: Row, grace: int) -> list[Call]:
    return removed(
        head.bucket_id,
        row[0],
        seq=row[1],
        version_id=row[2],
        pieces=row[VERSION_WIDTH - 2],
        labelled=bool(row[7] or row[8]),
        delete_marker=bool(row[VERSION_WIDTH - 1]),
        delete_from=head.clock + grace,
        inline_from=head.clock + min(grace, INLINE_GRACE),
    )


def _new_head(ref: ObjectRef, head: Head, older: Sequence[Any]) -> tuple[list[Call], int]:
    """Return the calls that point the key at its next older version, and by how much the count of objects changes."""
    before = 1 if head.current else 0
    if older and not older[0][2]:
        seq, version_id, _ = older[0]
        return [pointed(head.bucket_id, ref.key, seq=seq, version_id=version_id)], 1 - before
    if not before:
        return [], 0
    return [Call(OBJECT_REMOVE, {"in_bucket": head.bucket_id, "of_key": ref.key})], -1


def _told(
    ref: ObjectRef, at: int, actor: Actor, version_id: str, action: str = "delete", *, size: int = 0
) -> Call:
    return audited(
        at, ref.tenant, action, actor, bucket=ref.bucket, key=ref.key, version_id=version_id, size=size
    )
