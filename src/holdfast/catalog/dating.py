"""Transactions of retention: when versions are to be removed by themselves, and which of them are due.

A version is dated when it is committed, by the retention that its bucket has then. When the retention changes, the
bucket is marked (`buckets.dating`), versions are dated anew page by page, and while the mark stands none of them is due.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, case, literal_column, null, or_, select, update

from holdfast.catalog.common import BUCKET, DAY
from holdfast.catalog.contract import Due
from holdfast.catalog.schema import buckets, versions
from holdfast.catalog.settings import bucket_settings
from holdfast.catalog.snapped import IS_UNSNAPPED
from holdfast.catalog.statements import Statement, constant, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.types import ObjectRef

_IN_BUCKET = versions.c.bucket_id == int_param("in_bucket")

#: The last key of a page.
EDGE = Statement(
    select(versions.c.key)
    .where(_IN_BUCKET, versions.c.key > text_param("after_key"))
    .order_by(versions.c.key)
    .limit(constant(1))
    .offset(int_param("rows"))
)
LAST = Statement(
    select(versions.c.key)
    .where(_IN_BUCKET, versions.c.key > text_param("after_key"))
    .order_by(versions.c.key.desc())
    .limit(constant(1))
)
DATE = Statement(
    update(versions)
    .where(_IN_BUCKET, versions.c.key > text_param("after_key"), versions.c.key <= text_param("last_key"))
    .values(
        expires=case(
            (int_param("lifetime") < literal_column("0"), null()),
            else_=versions.c.created + int_param("lifetime"),
        )
    )
)
SETTLED = Statement(
    update(buckets)
    .where(buckets.c.id == int_param("in_bucket"), buckets.c.settings == text_param("as_text"))
    .values(dating=literal_column("false"))
)
MARKED = Statement(
    select(buckets.c.tenant, buckets.c.name)
    .where(buckets.c.dating.is_(True))
    .order_by(buckets.c.id)
    .limit(int_param("rows"))
)
DUE = Statement(
    select(buckets.c.tenant, buckets.c.name, versions.c.key, versions.c.id, versions.c.expires)
    .select_from(versions.join(buckets, buckets.c.id == versions.c.bucket_id))
    .where(
        versions.c.expires <= int_param("at"),
        or_(
            versions.c.expires > int_param("after_at"),
            and_(versions.c.expires == int_param("after_at"), versions.c.id > text_param("after_id")),
        ),
        buckets.c.dating.is_(False),
        versions.c.hold.is_(False),
        or_(versions.c.locked_until.is_(None), versions.c.locked_until <= int_param("at")),
        IS_UNSNAPPED,
    )
    .order_by(versions.c.expires, versions.c.id)
    .limit(int_param("rows"))
)


def page(tenant: str, name: str, after: str, limit: int) -> Transaction[str | None]:
    """The versions of `limit` keys dated by the bucket's retention; the last key, or None when there are no more."""

    def steps(attempt: Attempt) -> Steps[str | None]:
        found = yield BUCKET(tenant=tenant, bucket=name, now=0)
        if not found:
            return None
        bucket_id, days = found[0][0], bucket_settings(found[0][4]).retention_days
        edge = yield EDGE(in_bucket=bucket_id, after_key=after, rows=limit - 1)
        last = edge or (yield LAST(in_bucket=bucket_id, after_key=after))
        if not last:
            return None
        yield DATE(
            in_bucket=bucket_id,
            after_key=after,
            last_key=last[0][0],
            lifetime=-1 if days is None else days * DAY,
        )
        return str(last[0][0]) if edge else None

    return steps


def settled(tenant: str, name: str, text: str) -> Transaction[None]:
    """The mark taken away, unless the settings changed since they were `text`."""

    def steps(attempt: Attempt) -> Steps[None]:
        found = yield BUCKET(tenant=tenant, bucket=name, now=0)
        if found:
            yield SETTLED(in_bucket=found[0][0], as_text=text)

    return steps


def settings_now(tenant: str, name: str) -> Transaction[str | None]:
    """The settings of a bucket as they are kept; None when it is gone."""

    def steps(attempt: Attempt) -> Steps[str | None]:
        found = yield BUCKET(tenant=tenant, bucket=name, now=0)
        return found[0][4] if found else None

    return steps


def marked(limit: int) -> Transaction[Sequence[tuple[str, str]]]:
    """Buckets, as (tenant, name), whose versions are to be dated anew."""

    def steps(attempt: Attempt) -> Steps[Sequence[tuple[str, str]]]:
        return [(row[0], row[1]) for row in (yield MARKED(rows=limit))]

    return steps


def due(at: int, after: tuple[int, str], limit: int) -> Transaction[Sequence[Due]]:
    """Versions whose time was over at `at`, oldest date first, after a (date, id)."""

    def steps(attempt: Attempt) -> Steps[Sequence[Due]]:
        rows = yield DUE(at=at, after_at=after[0], after_id=after[1], rows=limit)
        return [Due(ObjectRef(row[0], row[1], row[2]), row[3], row[4]) for row in rows]

    return steps
