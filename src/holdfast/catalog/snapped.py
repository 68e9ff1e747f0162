"""Versions that a snapshot shows stay as long as it does: asked by every transaction that removes one.

A snapshot is a bucket and a moment. It shows, of each key, the newest version that was made until then; that may be a
delete marker, which hides what is older. `buckets.snapped` is the moment of the newest snapshot, NULL where there is none.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import literal_column, or_, select

from holdfast.catalog.schema import buckets, snapshots, versions
from holdfast.catalog.statements import Statement, constant, int_param, text_param
from holdfast.catalog.transaction import Steps
from holdfast.core.errors import ConflictError

_newer = versions.alias("newer")


def _hidden(bucket: Any, key: Any, seq: Any) -> Any:
    """A version that was newer at the moment of the snapshot."""
    return (
        select(_newer.c.seq)
        .where(
            _newer.c.bucket_id == bucket,
            _newer.c.key == key,
            _newer.c.seq > seq,
            _newer.c.created <= snapshots.c.at,
        )
        .correlate(snapshots, versions)
        .exists()
    )


#: In a statement over `versions` and `buckets`: no snapshot shows the version.
IS_UNSNAPPED: Final = or_(
    buckets.c.snapped.is_(None),
    ~select(literal_column("1"))
    .select_from(snapshots)
    .where(
        snapshots.c.bucket_id == versions.c.bucket_id,
        snapshots.c.at >= versions.c.created,
        ~_hidden(versions.c.bucket_id, versions.c.key, versions.c.seq),
    )
    .correlate(versions)
    .exists(),
)
#: The oldest snapshot that shows a version.
SHOWN_BY = Statement(
    select(snapshots.c.name)
    .where(
        snapshots.c.bucket_id == int_param("in_bucket"),
        snapshots.c.at >= int_param("made"),
        ~_hidden(int_param("in_bucket"), text_param("of_key"), int_param("of_seq")),
    )
    .order_by(snapshots.c.at)
    .limit(constant(1))
)
FIRST = Statement(
    select(snapshots.c.name)
    .where(snapshots.c.bucket_id == int_param("in_bucket"))
    .order_by(snapshots.c.name)
    .limit(constant(1))
)
#: The first snapshot of a bucket.
OF_BUCKET = Statement(
    select(snapshots.c.name)
    .select_from(buckets.join(snapshots, snapshots.c.bucket_id == buckets.c.id))
    .where(buckets.c.tenant == text_param("tenant"), buckets.c.name == text_param("in_bucket"))
    .order_by(snapshots.c.name)
    .limit(constant(1))
)


def check_unsnapped(bucket_id: int, snapped: int | None, key: str, seq: int, created: int) -> Steps[None]:
    """Return when no snapshot shows a version.

    Raises:
        ConflictError: one does.
    """
    if snapped is None or created > snapped:
        return
    rows = yield SHOWN_BY(in_bucket=bucket_id, made=created, of_key=key, of_seq=seq)
    if rows:
        raise ConflictError(
            f"snapshot {rows[0][0]!r} shows this version; it stays until the snapshot is deleted", name=key
        )


def refuse_snapped(bucket_id: int, name: str, why: str) -> Steps[None]:
    """Return when a bucket has no snapshots.

    Raises:
        ConflictError: it has, and `why` that does not go together with what is asked for.
    """
    rows = yield FIRST(in_bucket=bucket_id)
    if rows:
        raise ConflictError(f"the bucket has snapshots, first {rows[0][0]!r}, and {why}", name=name)
