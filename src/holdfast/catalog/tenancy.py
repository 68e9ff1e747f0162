"""Transactions of tenants, buckets and their counters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, case, func, literal_column, select, update

from holdfast.catalog.common import BUCKET, audited, in_bucket, no_bucket
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import buckets, objects, parts, tenants, uploads, usage, usage_deltas, versions
from holdfast.catalog.statements import Row, Statement, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.types import Bucket, Tenant, Usage

TENANT_ADD = insert_into(tenants, "name", "created", unless_there=True)
TENANT = Statement(select(tenants.c.created).where(tenants.c.name == text_param("tenant")))
TENANTS = Statement(select(tenants.c.name, tenants.c.created).order_by(tenants.c.name))

BUCKET_ADD = insert_into(buckets, "tenant", "name", "created", "versioning", unless_there=True)
BUCKET_REMOVE = Statement(buckets.delete().where(buckets.c.id == int_param("in_bucket")))
BUCKET_VERSIONING = Statement(
    update(buckets)
    .where(in_bucket())
    .values(
        versioning=case(
            (int_param("enabled") == literal_column("1"), literal_column("true")),
            else_=literal_column("false"),
        )
    )
)
USAGE_ADD = insert_into(usage, "bucket_id", "objects", "versions", "bytes", "upload_bytes")
USAGE_REMOVE = Statement(usage.delete().where(usage.c.bucket_id == int_param("in_bucket")))
DELTAS_REMOVE = Statement(usage_deltas.delete().where(usage_deltas.c.bucket_id == int_param("in_bucket")))

#: Whether anything is in the bucket: versions, delete markers, open uploads.
OCCUPIED = Statement(
    select(
        select(versions.c.seq).where(versions.c.bucket_id == int_param("in_bucket")).exists(),
        select(uploads.c.id).where(uploads.c.bucket_id == int_param("in_bucket")).exists(),
    )
)

_COUNTERS = ("objects", "versions", "bytes", "upload_bytes")


def _total(name: str) -> Any:
    deltas = (
        select(func.coalesce(func.sum(usage_deltas.c[name]), literal_column("0")))
        .where(usage_deltas.c.bucket_id == buckets.c.id)
        .correlate(buckets)
        .scalar_subquery()
    )
    return (usage.c[name] + deltas).label(name)


_COUNTED = (
    select(
        buckets.c.name,
        buckets.c.created,
        buckets.c.versioning,
        buckets.c.id,
        *[_total(name) for name in _COUNTERS],
    )
    .select_from(buckets.join(usage, usage.c.bucket_id == buckets.c.id))
    .where(buckets.c.tenant == text_param("tenant"))
    .order_by(buckets.c.name)
)
BUCKETS = Statement(_COUNTED)
COUNTED = Statement(_COUNTED.where(buckets.c.name == text_param("bucket")))

_OF_VERSIONS = and_(versions.c.bucket_id == int_param("in_bucket"), versions.c.delete_marker.is_(False))
RECOUNT = Statement(
    select(
        select(func.count())
        .select_from(objects)
        .where(objects.c.bucket_id == int_param("in_bucket"))
        .scalar_subquery(),
        select(func.count()).select_from(versions).where(_OF_VERSIONS).scalar_subquery(),
        select(func.coalesce(func.sum(versions.c.size), literal_column("0")))
        .where(_OF_VERSIONS)
        .scalar_subquery(),
        select(func.coalesce(func.sum(parts.c.size), literal_column("0")))
        .select_from(parts.join(uploads, uploads.c.id == parts.c.upload_id))
        .where(uploads.c.bucket_id == int_param("in_bucket"))
        .scalar_subquery(),
    )
)


def create_tenant(name: str, created: int) -> Transaction[Tenant]:
    """A new tenant."""

    def steps(attempt: Attempt) -> Steps[Tenant]:
        before = yield TENANT(tenant=name)
        if before and not (attempt.again and before[0][0] == created):
            raise AlreadyExistsError("there is a tenant of that name", name=name)
        yield TENANT_ADD(name=name, created=created)
        return Tenant(name, created)

    return steps


def all_tenants() -> Transaction[Sequence[Tenant]]:
    """Every tenant, by name."""

    def steps(attempt: Attempt) -> Steps[Sequence[Tenant]]:
        rows = yield TENANTS()
        return [Tenant(name, created) for name, created in rows]

    return steps


def create_bucket(
    tenant: str, name: str, *, versioning: bool, created: int, actor: Actor
) -> Transaction[Bucket]:
    """A new bucket with its counters at zero."""

    def steps(attempt: Attempt) -> Steps[Bucket]:
        if not (yield TENANT(tenant=tenant)):
            raise NotFoundError("there is no such tenant", name=tenant)
        before = yield BUCKET(tenant=tenant, bucket=name, now=0)
        if before and attempt.again and before[0][2] == created:
            return Bucket(tenant, name, created, bool(before[0][1]), before[0][0])
        if before:
            raise AlreadyExistsError("there is a bucket of that name", name=name)
        yield BUCKET_ADD(tenant=tenant, name=name, created=created, versioning=versioning)
        bucket_id = (yield BUCKET(tenant=tenant, bucket=name, now=0))[0][0]
        yield USAGE_ADD(bucket_id=bucket_id, objects=0, versions=0, bytes=0, upload_bytes=0)
        yield audited(created, tenant, "create-bucket", actor, bucket=name)
        return Bucket(tenant, name, created, versioning, bucket_id)

    return steps


def bucket(tenant: str, name: str) -> Transaction[Bucket]:
    """One bucket."""

    def steps(attempt: Attempt) -> Steps[Bucket]:
        rows = yield BUCKET(tenant=tenant, bucket=name, now=0)
        if not rows:
            raise no_bucket(name)
        bucket_id, versioning, created, _ = rows[0]
        return Bucket(tenant, name, created, bool(versioning), bucket_id)

    return steps


def all_buckets(tenant: str) -> Transaction[Sequence[tuple[Bucket, Usage]]]:
    """The buckets of a tenant with their counters, by name."""

    def steps(attempt: Attempt) -> Steps[Sequence[tuple[Bucket, Usage]]]:
        rows = yield BUCKETS(tenant=tenant)
        return [(Bucket(tenant, row[0], row[1], bool(row[2]), row[3]), usage_of(row[4:])) for row in rows]

    return steps


def set_versioning(tenant: str, name: str, *, enabled: bool) -> Transaction[None]:
    """Versioning on or off from now on; what is there stays as it is."""

    def steps(attempt: Attempt) -> Steps[None]:
        if not (yield BUCKET(tenant=tenant, bucket=name, now=0)):
            raise no_bucket(name)
        yield BUCKET_VERSIONING(tenant=tenant, bucket=name, enabled=int(enabled))

    return steps


def delete_bucket(tenant: str, name: str, *, actor: Actor, now: int | None) -> Transaction[None]:
    """An empty bucket removed. Its lock is held alone, so nobody adds to it meanwhile."""

    def steps(attempt: Attempt) -> Steps[None]:
        rows = yield BUCKET(tenant=tenant, bucket=name, now=now)
        if not rows and attempt.again and "found" in attempt.seen:
            return
        if not rows:
            raise no_bucket(name)
        attempt.seen["found"] = True
        bucket_id, at = rows[0][0], rows[0][3]
        has_versions, has_uploads = (yield OCCUPIED(in_bucket=bucket_id))[0]
        if has_versions or has_uploads:
            what = "objects, older versions or delete markers" if has_versions else "open uploads"
            raise ConflictError(f"the bucket is not empty: it holds {what}", name=name)
        yield USAGE_REMOVE(in_bucket=bucket_id)
        yield DELTAS_REMOVE(in_bucket=bucket_id)
        yield BUCKET_REMOVE(in_bucket=bucket_id)
        yield audited(at, tenant, "delete-bucket", actor, bucket=name)

    return steps


def usage_of(row: Row) -> Usage:
    """Return the counters of a row of four sums (a database may return sums as decimals)."""
    return Usage(*(int(number) for number in row))


def counters(tenant: str, name: str | None) -> Transaction[Usage]:
    """The counters of a bucket, or of all buckets of the tenant."""

    def steps(attempt: Attempt) -> Steps[Usage]:
        rows = yield (BUCKETS(tenant=tenant) if name is None else COUNTED(tenant=tenant, bucket=name))
        if name is not None and not rows:
            raise no_bucket(name)
        each = [usage_of(row[4:]) for row in rows]
        return Usage(
            sum(one.objects for one in each),
            sum(one.versions for one in each),
            sum(one.bytes for one in each),
            sum(one.upload_bytes for one in each),
        )

    return steps


def recount(tenant: str, name: str) -> Transaction[Usage]:
    """The counters as a scan finds them."""

    def steps(attempt: Attempt) -> Steps[Usage]:
        rows = yield BUCKET(tenant=tenant, bucket=name, now=0)
        if not rows:
            raise no_bucket(name)
        return usage_of((yield RECOUNT(in_bucket=rows[0][0]))[0])

    return steps
