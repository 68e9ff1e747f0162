"""Transactions that start to meter a tenant, set its limits and read how much of them is taken.

Metering starts in small steps, so that no writer waits for more than its own bucket: first the tenant's row, from when
on new buckets are metered when they are made; then one bucket after the other, each counted while its lock is held
alone; a limit is set last. A start that was cut short is carried on by the next one, and limits nobody meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import func, literal_column, select, update

from holdfast.catalog.common import BUCKET, NOW, audited, no_bucket, read_head, sum_of
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import buckets, quotas, reservations, tenants, usage
from holdfast.catalog.settings import bucket_settings, settings_text, tenant_settings
from holdfast.catalog.statements import Call, Row, Statement, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.types import ObjectRef, Quota, QuotaUse

_OF_TENANT = quotas.c.tenant == text_param("of_tenant")
_AT = (_OF_TENANT, quotas.c.bucket_id == int_param("in_bucket"))
NO_QUOTA = Quota()

ROW_ADD = insert_into(quotas, *[column.name for column in quotas.columns], unless_there=True)
ROW_REMOVE = Statement(quotas.delete().where(*_AT))
ROWS = Statement(
    select(
        quotas.c.bucket_id,
        quotas.c.max_bytes,
        quotas.c.max_objects,
        quotas.c.bytes,
        quotas.c.objects,
        quotas.c.reserved_bytes,
        quotas.c.reserved_objects,
    ).where(_OF_TENANT, quotas.c.bucket_id.in_([literal_column("0"), int_param("in_bucket")]))
)
LIMIT = Statement(
    update(quotas)
    .where(*_AT)
    .values(max_bytes=int_param("most_bytes"), max_objects=int_param("most_objects"))
)
GROW = Statement(
    update(quotas)
    .where(_OF_TENANT, quotas.c.bucket_id == literal_column("0"))
    .values(
        bytes=quotas.c.bytes + int_param("more_bytes"), objects=quotas.c.objects + int_param("more_objects")
    )
)
METERED = Statement(
    update(buckets).where(buckets.c.id == int_param("in_bucket")).values(metered=literal_column("true"))
)
UNMETERED = Statement(
    select(buckets.c.name)
    .where(buckets.c.tenant == text_param("of_tenant"), buckets.c.metered.is_(False))
    .order_by(buckets.c.name)
)
TENANT = Statement(select(tenants.c.settings).where(tenants.c.name == text_param("of_tenant")))
TENANT_SETTINGS = Statement(
    update(tenants).where(tenants.c.name == text_param("of_tenant")).values(settings=text_param("as_text"))
)

_COUNTED = ("versions", "bytes", "upload_bytes")


USED = Statement(
    select(*[sum_of(name) for name in _COUNTED]).where(usage.c.bucket_id == int_param("in_bucket"))
)
RESERVED = Statement(
    select(
        func.coalesce(func.sum(reservations.c.bytes), literal_column("0")),
        func.coalesce(func.sum(reservations.c.objects), literal_column("0")),
    ).where(reservations.c.bucket_id == int_param("in_bucket"))
)


def row_of(tenant: str, bucket_id: int, quota: Quota = NO_QUOTA, *, size: int = 0, objects: int = 0) -> Call:
    """Return the call that adds a row of sums."""
    return ROW_ADD(
        tenant=tenant,
        bucket_id=bucket_id,
        max_bytes=quota.max_bytes,
        max_objects=quota.max_objects,
        bytes=size,
        objects=objects,
        reserved_bytes=0,
        reserved_objects=0,
    )


def limit(tenant: str, bucket_id: int, quota: Quota) -> Call:
    """Return the call that sets the limits of a row."""
    return LIMIT(
        of_tenant=tenant, in_bucket=bucket_id, most_bytes=quota.max_bytes, most_objects=quota.max_objects
    )


def is_metered(tenant: str) -> Steps[bool]:
    """Return whether the tenant has a row, so that new buckets need one too."""
    rows = yield ROWS(of_tenant=tenant, in_bucket=0)
    return bool(rows)


def start(tenant: str) -> Transaction[Sequence[str]]:
    """The tenant's row; returns its buckets that are not metered. Under the tenant's lock, alone."""

    def steps(attempt: Attempt) -> Steps[Sequence[str]]:
        if not (yield TENANT(of_tenant=tenant)):
            raise NotFoundError("there is no such tenant", name=tenant)
        yield row_of(tenant, 0)
        return [row[0] for row in (yield UNMETERED(of_tenant=tenant))]

    return steps


def meter(tenant: str, bucket: str) -> Transaction[None]:
    """A bucket counted, and its sums added to the tenant's. Under the bucket's lock, alone."""

    def steps(attempt: Attempt) -> Steps[None]:
        found = yield BUCKET(tenant=tenant, bucket=bucket, now=0)
        if not found or found[0][5]:
            return
        bucket_id = found[0][0]
        versions, size, upload_bytes = (int(number) for number in (yield USED(in_bucket=bucket_id))[0])
        yield row_of(tenant, bucket_id, size=size + upload_bytes, objects=versions)
        yield METERED(in_bucket=bucket_id)
        yield GROW(of_tenant=tenant, more_bytes=size + upload_bytes, more_objects=versions)

    return steps


def unmetered(tenant: str) -> Transaction[bool]:
    """Whether metering has to be started or finished."""

    def steps(attempt: Attempt) -> Steps[bool]:
        metered = yield from is_metered(tenant)
        return not metered or bool((yield UNMETERED(of_tenant=tenant)))

    return steps


def set_tenant_quota(tenant: str, quota: Quota, *, actor: Actor, now: int | None) -> Transaction[None]:
    """The limits of a tenant, in its settings and in its row. Under the tenant's lock, alone."""
    check(quota)

    def steps(attempt: Attempt) -> Steps[None]:
        found = yield TENANT(of_tenant=tenant)
        if not found:
            raise NotFoundError("there is no such tenant", name=tenant)
        settings = replace(tenant_settings(found[0][0]), quota=quota)
        yield TENANT_SETTINGS(of_tenant=tenant, as_text=settings_text(settings))
        at = (yield NOW(now=now))[0][0]
        yield audited(at, tenant, "set-quota", actor, detail=described(quota))
        yield limit(tenant, 0, quota)

    return steps


def check(quota: Quota) -> None:
    """Raise `InvalidRequestError` for limits that are none."""
    for number in (quota.max_bytes, quota.max_objects):
        if number is not None and not 0 <= number < 1 << 62:
            raise InvalidRequestError(f"a quota is a number from 0, or none at all; not {number}")


def described(quota: Quota) -> dict[str, str]:
    """Return limits as the audit shows them."""
    shown = {"max_bytes": quota.max_bytes, "max_objects": quota.max_objects}
    return {name: "none" if number is None else str(number) for name, number in shown.items()}


def quota(tenant: str, bucket: str | None) -> Transaction[QuotaUse | None]:
    """How much of its limits a tenant or a bucket has taken; None when it is not metered."""

    def steps(attempt: Attempt) -> Steps[QuotaUse | None]:
        bucket_id = 0
        if bucket is not None:
            found = yield BUCKET(tenant=tenant, bucket=bucket, now=0)
            if not found:
                raise no_bucket(bucket)
            bucket_id = found[0][0]
        rows = yield ROWS(of_tenant=tenant, in_bucket=bucket_id)
        return next((use_of(row) for row in rows if row[0] == bucket_id), None)

    return steps


def room(ref: ObjectRef) -> Transaction[int | None]:
    """How large a new version of the key may be by the limits of its bucket and tenant; None: no limit."""

    def steps(attempt: Attempt) -> Steps[int | None]:
        head = yield from read_head(ref, 0)
        rows = yield ROWS(of_tenant=ref.tenant, in_bucket=head.bucket_id)
        left = [row[1] - row[3] - row[5] for row in rows if row[1] is not None]
        return max(min(left) + head.freed, 0) if left else None

    return steps


def ledger(tenant: str, bucket: str) -> Transaction[tuple[QuotaUse | None, QuotaUse]]:
    """The row of a bucket, and what it must be by the counters and the reservations: equal, or there is a defect."""

    def steps(attempt: Attempt) -> Steps[tuple[QuotaUse | None, QuotaUse]]:
        found = yield BUCKET(tenant=tenant, bucket=bucket, now=0)
        if not found:
            raise no_bucket(bucket)
        bucket_id = found[0][0]
        rows = yield ROWS(of_tenant=tenant, in_bucket=bucket_id)
        row = next((use_of(row) for row in rows if row[0] == bucket_id), None)
        versions, size, upload_bytes = (yield USED(in_bucket=bucket_id))[0]
        reserved = (yield RESERVED(in_bucket=bucket_id))[0]
        held = bucket_settings(found[0][4]).quota
        return row, QuotaUse(
            held, int(size + upload_bytes), int(versions), int(reserved[0]), int(reserved[1])
        )

    return steps


def use_of(row: Row) -> QuotaUse:
    """Return the row as a value."""
    return QuotaUse(Quota(row[1], row[2]), *row[3:])
