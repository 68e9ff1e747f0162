"""Reads of one object: what a GET, a HEAD or a lookup by id needs, in one statement where the version is one piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, func, or_, select

from holdfast.catalog.common import BUCKET, in_bucket, is_readable, no_bucket, no_object
from holdfast.catalog.contents import DATA_OF
from holdfast.catalog.rows import (
    REPLICA,
    SEGMENT,
    VERSION,
    VERSION_WIDTH,
    digests_of,
    replica_of,
    segment_of,
    version_of,
)
from holdfast.catalog.schema import buckets, debts, objects, replicas, segments, versions
from holdfast.catalog.settings import bucket_settings
from holdfast.catalog.statements import Row, Statement, catalog_now, constant, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import NotFoundError, UnavailableError
from holdfast.core.types import BucketSettings, Located, ObjectRef, Replica, Segment, Version

_PIECES = VERSION_WIDTH - 2
_MARKER = VERSION_WIDTH - 1

_newer = versions.alias("newer")
_NEWEST = (
    select(func.max(_newer.c.seq))
    .where(_newer.c.bucket_id == versions.c.bucket_id, _newer.c.key == versions.c.key)
    .correlate(versions)
    .scalar_subquery()
)
_READABLE = is_readable(replicas)
#: The copies of a one-piece version come with it; those of the others are read beside their segments.
_OWN_REPLICAS = and_(
    replicas.c.version_id == versions.c.id, replicas.c.segment_id == versions.c.id, _READABLE
)
_OWED = (
    select(debts.c.reason)
    .where(debts.c.version_id == versions.c.id)
    .correlate(versions)
    .scalar_subquery()
    .label("owed")
)
_AT_OWED = VERSION_WIDTH + 2
_LOCATED: tuple[Any, ...] = (*VERSION, versions.c.chunk_size, versions.c.chunk_crcs, _OWED, *REPLICA)
_REPLICA = len(_LOCATED) - len(REPLICA)
_DATA = len(_LOCATED)

_CURRENT = (
    select(*_LOCATED, buckets.c.settings, objects.c.seq)
    .select_from(
        buckets.join(objects, and_(objects.c.bucket_id == buckets.c.id, objects.c.key == text_param("key")))
        .join(
            versions,
            and_(
                versions.c.bucket_id == objects.c.bucket_id,
                versions.c.key == objects.c.key,
                versions.c.seq == objects.c.seq,
            ),
        )
        .outerjoin(replicas, _OWN_REPLICAS)
    )
    .where(in_bucket())
)
_NAMED = (
    select(*_LOCATED, buckets.c.settings, _NEWEST.label("newest"))
    .select_from(
        buckets.join(versions, versions.c.bucket_id == buckets.c.id).outerjoin(replicas, _OWN_REPLICAS)
    )
    .where(in_bucket(), versions.c.key == text_param("key"), versions.c.id == text_param("of_version"))
)
CURRENT, NAMED = Statement(_CURRENT), Statement(_NAMED)
#: The same with the bytes, where they lie in the catalog.
CURRENT_WHOLE = Statement(_CURRENT.with_only_columns(*_LOCATED, DATA_OF, buckets.c.settings, objects.c.seq))
NAMED_WHOLE = Statement(
    _NAMED.with_only_columns(*_LOCATED, DATA_OF, buckets.c.settings, _NEWEST.label("newest"))
)

BY_ID_ALONE = Statement(
    select(*VERSION, buckets.c.name, _NEWEST.label("newest"))
    .select_from(versions.join(buckets, versions.c.bucket_id == buckets.c.id))
    .where(versions.c.id == text_param("of_version"), buckets.c.tenant == text_param("tenant"))
)

SEGMENTS = Statement(
    select(*SEGMENT).where(segments.c.version_id == text_param("of_version")).order_by(segments.c.position)
)
REPLICAS = Statement(select(*REPLICA).where(replicas.c.version_id == text_param("of_version"), _READABLE))

#: Copies of a segment: those to be read, and those that were given up, but whose bytes nobody has deleted yet.
COPIES = Statement(
    select(*REPLICA).where(
        replicas.c.version_id == text_param("of_version"),
        replicas.c.segment_id == text_param("of_segment"),
        or_(
            _READABLE,
            and_(
                replicas.c.state == constant("doomed"),
                replicas.c.committed.is_not(None),
                replicas.c.not_before > catalog_now(),
            ),
        ),
    )
)


def copies_of_segment(version_id: str, segment_id: str, now: int | None) -> Transaction[Sequence[Replica]]:
    """The copies of a segment that can be read, those among them that were given up and are not deleted yet."""

    def steps(attempt: Attempt) -> Steps[Sequence[Replica]]:
        rows = yield COPIES(of_version=version_id, of_segment=segment_id, now=now)
        return [replica_of(row) for row in rows]

    return steps


def resolve(ref: ObjectRef, version_id: str | None, *, whole: bool = False) -> Transaction[Located]:
    """The current (or named) version with all that is needed to read it; `whole` also its bytes, if they lie here."""
    params = {"tenant": ref.tenant, "bucket": ref.bucket, "key": ref.key, "of_version": version_id}
    if whole:
        statement = CURRENT_WHOLE if version_id is None else NAMED_WHOLE
    else:
        statement = CURRENT if version_id is None else NAMED

    def steps(attempt: Attempt) -> Steps[Located]:
        for _ in range(5):
            rows = yield statement(**params)
            if not rows:
                raise (yield from _why_not(ref))
            first = rows[0]
            if first[_MARKER]:
                raise NotFoundError("that version is a delete marker", name=str(ref))
            version = _version(first, ref)
            settings = bucket_settings(first[-2])
            if not first[_PIECES]:
                return _in_one_piece(version, first, rows, settings, whole=whole)
            located = yield from _in_pieces(version, first[_PIECES], settings)
            if located is not None:
                return located
        raise UnavailableError("the object keeps changing; try again", name=str(ref))

    return steps


def _version(row: Row, ref: ObjectRef) -> Version:
    """Return the version of a row of `CURRENT` or `NAMED`."""
    found = version_of(row, ref.tenant, ref.bucket, current=row[-1] == row[1])
    return replace(found, owed=row[_AT_OWED]) if row[_AT_OWED] else found


def _in_one_piece(
    version: Version, first: Row, rows: Sequence[Row], settings: BucketSettings, *, whole: bool
) -> Located:
    digests = digests_of(first[9], first[10], first[11])
    segment = Segment(version.id, version.size, digests, first[VERSION_WIDTH], first[VERSION_WIDTH + 1])
    copies = tuple(replica_of(row[_REPLICA:_DATA]) for row in rows if row[_REPLICA] is not None)
    data = next((row[_DATA] for row in rows if row[_DATA] is not None), None) if whole else None
    return Located(version, (segment,), copies, settings, data)


def _in_pieces(version: Version, pieces: int, settings: BucketSettings) -> Steps[Located | None]:
    """Return the version with its segments, or None when it was removed between two looks."""
    parts = yield SEGMENTS(of_version=version.id)
    if len(parts) != pieces:
        return None
    copies = yield REPLICAS(of_version=version.id)
    return Located(
        version,
        tuple(segment_of(row) for row in parts),
        tuple(replica_of(row) for row in copies),
        settings,
    )


def _why_not(ref: ObjectRef) -> Steps[NotFoundError]:
    found = yield BUCKET(tenant=ref.tenant, bucket=ref.bucket, now=0)
    return no_object(ref) if found else no_bucket(ref.bucket)


def version(ref: ObjectRef, version_id: str) -> Transaction[Version]:
    """That version of that key, delete markers included."""

    def steps(attempt: Attempt) -> Steps[Version]:
        rows = yield NAMED(tenant=ref.tenant, bucket=ref.bucket, key=ref.key, of_version=version_id)
        if not rows:
            raise (yield from _why_not(ref))
        return _version(rows[0], ref)

    return steps


def version_by_id(tenant: str, version_id: str) -> Transaction[Version]:
    """A version of the tenant by its id alone."""

    def steps(attempt: Attempt) -> Steps[Version]:
        rows = yield BY_ID_ALONE(of_version=version_id, tenant=tenant)
        if not rows:
            raise NotFoundError("there is no such version", name=version_id)
        bucket, newest = rows[0][VERSION_WIDTH], rows[0][VERSION_WIDTH + 1]
        return version_of(rows[0], tenant, bucket, current=newest == rows[0][1])

    return steps
