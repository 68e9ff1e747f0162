"""Transactions of lifecycle rules: which buckets have some, their versions page by page, and when those were read last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import exists, func, literal_column, or_, select

from holdfast.catalog.common import is_readable
from holdfast.catalog.contract import Aged, Grown
from holdfast.catalog.rows import VERSION, VERSION_WIDTH, version_of
from holdfast.catalog.schema import accesses, buckets, recalls, replicas, versions
from holdfast.catalog.settings import bucket_settings
from holdfast.catalog.statements import (
    Many,
    Row,
    Statement,
    constant,
    int_param,
    one_of,
    position,
    text_param,
    upsert_into,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.retention import Keeping, LockMode
from holdfast.core.types import Bucket

#: How the settings of a bucket with rules look (`settings_text`); those without have an empty list, or none.
_RULED: Final = '"lifecycle":[{'

RULED = Statement(
    select(
        buckets.c.tenant,
        buckets.c.name,
        buckets.c.created,
        buckets.c.versioning,
        buckets.c.id,
        buckets.c.settings,
        buckets.c.counting_since,
    )
    .where(
        buckets.c.id > int_param("after"),
        or_(text_param("in_tenant") == literal_column("''"), buckets.c.tenant == text_param("in_tenant")),
        or_(text_param("in_bucket") == literal_column("''"), buckets.c.name == text_param("in_bucket")),
        position(buckets.c.settings, constant(_RULED)) > literal_column("0"),
    )
    .order_by(buckets.c.id)
    .limit(int_param("rows"))
)
_READ = (accesses.c.day, accesses.c.count)
_KEPT = (versions.c.hold, versions.c.lock_mode, versions.c.locked_until)
_CALLED = exists().where(recalls.c.version_id == versions.c.id)
PAGE = Statement(
    select(*VERSION, *_KEPT, *_READ, _CALLED.label("recalled"))
    .select_from(versions.outerjoin(accesses, accesses.c.version_id == versions.c.id))
    .where(
        versions.c.bucket_id == int_param("in_bucket"),
        versions.c.key >= text_param("from_key"),
        or_(versions.c.key > text_param("from_key"), versions.c.seq < int_param("below")),
    )
    .order_by(versions.c.key, versions.c.seq.desc())
    .limit(int_param("rows"))
)
#: The stores that have a readable copy of a version, the one that was meant to be first before the others.
STORES = Statement(
    select(replicas.c.version_id, replicas.c.store)
    .where(one_of(replicas.c.version_id, "ids"), is_readable(replicas))
    .group_by(replicas.c.version_id, replicas.c.store)
    .order_by(replicas.c.version_id, func.min(replicas.c.copy_number), replicas.c.store)
)
TOUCH = upsert_into(
    accesses,
    *("version_id", "day", "count"),
    unique=("version_id",),
    change={
        "day": literal_column(
            "CASE WHEN accesses.day > excluded.day THEN accesses.day ELSE excluded.day END"
        ),
        "count": literal_column("accesses.count + excluded.count"),
    },
)
NEXT_READ = Statement(
    select(accesses.c.version_id)
    .where(accesses.c.version_id > text_param("after"))
    .order_by(accesses.c.version_id)
    .limit(int_param("rows"))
)
#: Those whose version is gone, or whose bucket counts no reads.
FORGET = Statement(
    accesses.delete().where(
        accesses.c.version_id > text_param("after"),
        accesses.c.version_id <= text_param("last"),
        ~select(versions.c.id)
        .select_from(versions.join(buckets, buckets.c.id == versions.c.bucket_id))
        .where(versions.c.id == accesses.c.version_id, buckets.c.counting_since.is_not(None))
        .correlate(accesses)
        .exists(),
    )
)


def ruled(
    tenant: str, bucket: str, after: int, limit: int
) -> Transaction[Sequence[tuple[Bucket, int | None]]]:
    """Buckets with rules by number, "" for those of all tenants or names; and since when their reads are counted."""

    def steps(attempt: Attempt) -> Steps[Sequence[tuple[Bucket, int | None]]]:
        rows = yield RULED(in_tenant=tenant, in_bucket=bucket, after=after, rows=limit)
        return [
            (Bucket(row[0], row[1], row[2], bool(row[3]), row[4], bucket_settings(row[5])), row[6])
            for row in rows
        ]

    return steps


def page(bucket: Bucket, from_key: str, below: int, limit: int) -> Transaction[Grown]:
    """Versions of a bucket by key, the newest of each first, from those of `from_key` below a number on."""

    def steps(attempt: Attempt) -> Steps[Grown]:
        rows = yield PAGE(in_bucket=bucket.id, from_key=from_key, below=below, rows=limit)
        stores: dict[str, list[str]] = {}
        for version_id, store in (yield STORES(ids=[row[2] for row in rows])):
            stores.setdefault(version_id, []).append(store)
        return Grown([_aged(row, bucket, stores) for row in rows], more=len(rows) == limit)

    return steps


def touch(reads: Mapping[str, tuple[int, int]]) -> Transaction[None]:
    """Reads of versions added: by id, the day of the last one and how many there were."""

    def steps(attempt: Attempt) -> Steps[None]:
        if attempt.again:  # better one count too few than twice the same
            return
        rows: list[Mapping[str, Any]] = [
            {"version_id": version_id, "day": day, "count": count}
            for version_id, (day, count) in sorted(reads.items())
        ]
        yield Many(TOUCH, rows)

    return steps


def forget(after: str, limit: int) -> Transaction[str]:
    """Counts that nobody asks for any more dropped, behind a version; where to go on, "" when there are no more."""

    def steps(attempt: Attempt) -> Steps[str]:
        rows = yield NEXT_READ(after=after, rows=limit)
        if not rows:
            return ""
        yield FORGET(after=after, last=rows[-1][0])
        return str(rows[-1][0]) if len(rows) == limit else ""

    return steps


def _aged(row: Row, bucket: Bucket, stores: Mapping[str, Sequence[str]]) -> Aged:
    version = version_of(row, bucket.tenant, bucket.name, current=False)
    hold, mode, until, day, count, recalled = row[VERSION_WIDTH:]
    keeping = Keeping(bool(hold), None if mode is None else LockMode(mode), until)
    return Aged(version, keeping, tuple(stores.get(version.id, ())), day, count or 0, bool(recalled))
