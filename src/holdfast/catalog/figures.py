"""What operators watch: counters, quotas and backlogs of all tenants. Kept sums and bounded counts, never a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import func, literal_column, select

from holdfast.catalog.common import sum_of
from holdfast.catalog.contract import Backlog
from holdfast.catalog.schema import (
    audit,
    buckets,
    quotas,
    replicas,
    reservations,
    uploads,
    usage,
    usage_deltas,
    versions,
)
from holdfast.catalog.statements import Statement, catalog_now, constant
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.types import Quota, QuotaUse, Usage

#: Rows of a backlog that are counted at most; more are told as this many.
MOST: Final = 100_000
_COUNTERS: Final = ("objects", "versions", "bytes", "upload_bytes")


USAGES = Statement(
    select(buckets.c.tenant, buckets.c.name, *[sum_of(name) for name in _COUNTERS])
    .select_from(buckets.join(usage, usage.c.bucket_id == buckets.c.id))
    .order_by(buckets.c.tenant, buckets.c.name)
)
_QUOTAS = select(
    quotas.c.tenant,
    func.coalesce(buckets.c.name, constant("")),
    quotas.c.max_bytes,
    quotas.c.max_objects,
    quotas.c.bytes,
    quotas.c.objects,
    quotas.c.reserved_bytes,
    quotas.c.reserved_objects,
).select_from(quotas.outerjoin(buckets, buckets.c.id == quotas.c.bucket_id))
QUOTAS = Statement(_QUOTAS.order_by(quotas.c.tenant, quotas.c.bucket_id))


def _counted(column: Any, *where: Any) -> Any:
    """Return a count that stops at `MOST` rows."""
    rows = select(column).where(*where).limit(literal_column(str(MOST))).subquery()
    return select(func.count()).select_from(rows).scalar_subquery()


_DOOMED = (
    select(replicas.c.size)
    .where(replicas.c.state == constant("doomed"))
    .limit(literal_column(str(MOST)))
    .subquery()
)
_IS_DOOMED = replicas.c.state == constant("doomed")
BACKLOG = Statement(
    select(
        catalog_now().label("now"),
        select(func.count()).select_from(_DOOMED).scalar_subquery(),
        select(func.coalesce(func.sum(_DOOMED.c.size), literal_column("0"))).scalar_subquery(),
        select(func.min(replicas.c.not_before)).where(_IS_DOOMED).scalar_subquery(),
        _counted(replicas.c.id, replicas.c.state == constant("pending")),
        _counted(uploads.c.id, uploads.c.expires > literal_column("0")),
        _counted(versions.c.id, versions.c.expires.is_not(None), versions.c.expires <= catalog_now()),
        _counted(usage_deltas.c.id),
        _counted(audit.c.id),
        _counted(reservations.c.id),
    )
)


def usages() -> Transaction[Sequence[tuple[str, str, Usage]]]:
    """Tenant, bucket and counters of every bucket."""

    def steps(attempt: Attempt) -> Steps[Sequence[tuple[str, str, Usage]]]:
        rows = yield USAGES()
        return [(row[0], row[1], Usage(*(int(number) for number in row[2:]))) for row in rows]

    return steps


def quota_uses() -> Transaction[Sequence[tuple[str, str, QuotaUse]]]:
    """Tenant, bucket ("" for all of the tenant) and use of everything that is metered."""

    def steps(attempt: Attempt) -> Steps[Sequence[tuple[str, str, QuotaUse]]]:
        rows = yield QUOTAS()
        return [(row[0], row[1], _use(row)) for row in rows]

    return steps


def backlog(now: int | None) -> Transaction[Backlog]:
    """What waits to be done."""

    def steps(attempt: Attempt) -> Steps[Backlog]:
        row = (yield BACKLOG(now=now))[0]
        at, doomed, size, oldest, *others = row
        due = None if oldest is None else int(oldest)
        overdue = 0.0 if due is None else max(0, int(at) - due) / 1_000_000
        found = Backlog(int(doomed), int(size), overdue, *(int(number) for number in others))
        return replace(found, due=due)

    return steps


def _use(row: Sequence[Any]) -> QuotaUse:
    bound = [None if value is None else int(value) for value in row[2:4]]
    return QuotaUse(Quota(*bound), *(int(value) for value in row[4:]))
