"""Transactions of tenants, buckets and their counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, case, func, literal_column, select, update

from holdfast.catalog import metering, quotas, upstreams
from holdfast.catalog.common import BUCKET, audited, in_bucket, no_bucket, sum_of
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import buckets, objects, parts, tenants, uploads, usage, usage_deltas, versions
from holdfast.catalog.settings import bucket_settings, settings_text
from holdfast.catalog.snapped import refuse_snapped
from holdfast.catalog.statements import Row, Statement, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import AlreadyExistsError, ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.types import Bucket, BucketSettings, Usage

TENANT = Statement(select(tenants.c.created).where(tenants.c.name == text_param("tenant")))

BUCKET_ADD = insert_into(
    buckets,
    *("tenant", "name", "created", "versioning", "settings", "metered", "counting_since"),
    unless_there=True,
)
BUCKET_REMOVE = Statement(buckets.delete().where(buckets.c.id == int_param("in_bucket")))


def _flag(name: str) -> Any:
    return case(
        (int_param(name) == literal_column("1"), literal_column("true")), else_=literal_column("false")
    )


_COUNTING = func.coalesce(buckets.c.counting_since, int_param("counts_from"))
BUCKET_CHANGE = Statement(
    update(buckets)
    .where(in_bucket())
    .values(
        versioning=_flag("is_versioned"),
        settings=text_param("as_text"),
        dating=_flag("is_dating"),
        counting_since=case(
            (int_param("counts_from") > literal_column("0"), _COUNTING), else_=literal_column("NULL")
        ),
    )
)
DATING = Statement(select(buckets.c.dating).where(buckets.c.id == int_param("in_bucket")))
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

#: Says how settings change; given what they are, inside the transaction.
Change = Callable[[BucketSettings], BucketSettings]

_COUNTERS = ("objects", "versions", "bytes", "upload_bytes")


_COUNTED = (
    select(
        buckets.c.name,
        buckets.c.created,
        buckets.c.versioning,
        buckets.c.id,
        buckets.c.settings,
        buckets.c.metered,
        *[sum_of(name) for name in _COUNTERS],
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


def create_bucket(
    tenant: str, name: str, *, versioning: bool, settings: BucketSettings, created: int, actor: Actor
) -> Transaction[Bucket]:
    """A new bucket with its counters at zero."""

    def steps(attempt: Attempt) -> Steps[Bucket]:
        _check_lockable(versioning, settings)
        if not (yield TENANT(tenant=tenant)):
            raise NotFoundError("there is no such tenant", name=tenant)
        before = yield BUCKET(tenant=tenant, bucket=name, now=0)
        if before and attempt.again and before[0][2] == created:
            return bucket_of(before[0], tenant, name)
        if before:
            raise AlreadyExistsError("there is a bucket of that name", name=name)
        metered = yield from metering.is_metered(tenant)
        yield BUCKET_ADD(
            tenant=tenant,
            name=name,
            created=created,
            versioning=versioning,
            settings=settings_text(settings),
            metered=metered,
            counting_since=created if settings.counts_reads else None,
        )
        bucket_id = (yield BUCKET(tenant=tenant, bucket=name, now=0))[0][0]
        yield USAGE_ADD(bucket_id=bucket_id, objects=0, versions=0, bytes=0, upload_bytes=0)
        if metered:
            yield metering.row_of(tenant, bucket_id, settings.quota)
        yield audited(
            created, tenant, "create-bucket", actor, bucket=name, detail=_told(versioning, settings)
        )
        return Bucket(tenant, name, created, versioning, bucket_id, settings, metered)

    return steps


def bucket(tenant: str, name: str) -> Transaction[Bucket]:
    """One bucket."""

    def steps(attempt: Attempt) -> Steps[Bucket]:
        rows = yield BUCKET(tenant=tenant, bucket=name, now=0)
        if not rows:
            raise no_bucket(name)
        return bucket_of(rows[0], tenant, name)

    return steps


def bucket_of(row: Row, tenant: str, name: str) -> Bucket:
    """Return the bucket of a row of `BUCKET`."""
    bucket_id, versioning, created, _, settings, metered = row
    return Bucket(
        tenant, name, created, bool(versioning), bucket_id, bucket_settings(settings), bool(metered)
    )


def all_buckets(tenant: str) -> Transaction[Sequence[tuple[Bucket, Usage]]]:
    """The buckets of a tenant with their counters, by name."""

    def steps(attempt: Attempt) -> Steps[Sequence[tuple[Bucket, Usage]]]:
        rows = yield BUCKETS(tenant=tenant)
        return [(_counted(row, tenant), usage_of(row[6:])) for row in rows]

    return steps


def bucket_and_usage(tenant: str, name: str) -> Transaction[tuple[Bucket, Usage]]:
    """One bucket with its counters."""

    def steps(attempt: Attempt) -> Steps[tuple[Bucket, Usage]]:
        rows = yield COUNTED(tenant=tenant, bucket=name)
        if not rows:
            raise no_bucket(name)
        return _counted(rows[0], tenant), usage_of(rows[0][6:])

    return steps


def _counted(row: Row, tenant: str) -> Bucket:
    name, created, versioning, bucket_id, settings, metered = row[:6]
    return Bucket(
        tenant, name, created, bool(versioning), bucket_id, bucket_settings(settings), bool(metered)
    )


def update_bucket(
    tenant: str, name: str, *, versioning: bool | None, change: Change | None, actor: Actor, now: int | None
) -> Transaction[Bucket]:
    """A bucket changed; what is in it stays as it is. Under the bucket's lock, alone.

    With another retention, `dating` is set: versions keep their dates until `dating.page` has gone over them.
    """

    def steps(attempt: Attempt) -> Steps[Bucket]:
        rows = yield BUCKET(tenant=tenant, bucket=name, now=now)
        if not rows:
            raise no_bucket(name)
        held = bucket_of(rows[0], tenant, name)
        settings = held.settings if change is None else change(held.settings)
        made = replace(
            held, versioning=held.versioning if versioning is None else versioning, settings=settings
        )
        if made == held:
            return held
        _check_lockable(made.versioning, settings)
        if held.versioning and not made.versioning:
            yield from refuse_snapped(held.id, name, "they need its versions; delete them first")
        dating = yield DATING(in_bucket=held.id)
        anew = settings.retention_days != held.settings.retention_days
        yield BUCKET_CHANGE(
            tenant=tenant,
            bucket=name,
            is_versioned=int(made.versioning),
            as_text=settings_text(settings),
            is_dating=int(anew or bool(dating[0][0])),
            counts_from=rows[0][3] if settings.counts_reads else 0,
        )
        yield audited(
            rows[0][3], tenant, "update-bucket", actor, bucket=name, detail=_told(made.versioning, settings)
        )
        if settings.quota != held.settings.quota:
            yield metering.limit(tenant, held.id, settings.quota)
        return made

    return steps


def _check_lockable(versioning: bool, settings: BucketSettings) -> None:
    if settings.default_lock is not None and not versioning:
        raise InvalidRequestError(
            "a default lock needs a bucket that keeps versions; switch versioning on too"
        )


def _told(versioning: bool, settings: BucketSettings) -> dict[str, str]:
    """Return a bucket's settings as the audit shows them."""
    text = settings_text(settings)
    return ({"versioning": "true"} if versioning else {}) | ({"settings": text} if text else {})


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
        yield from refuse_snapped(bucket_id, name, "they are deleted by name, before it")
        has_versions, has_uploads = (yield OCCUPIED(in_bucket=bucket_id))[0]
        if has_versions or has_uploads:
            raise ConflictError((yield from _not_empty(tenant, name, has_versions, has_uploads)), name=name)
        yield USAGE_REMOVE(in_bucket=bucket_id)
        yield DELTAS_REMOVE(in_bucket=bucket_id)
        yield from upstreams.forget_bucket(bucket_id)
        yield BUCKET_REMOVE(in_bucket=bucket_id)
        yield audited(at, tenant, "delete-bucket", actor, bucket=name)
        yield from quotas.release_bucket(bucket_id)
        yield metering.ROW_REMOVE(of_tenant=tenant, in_bucket=bucket_id)

    return steps


def _not_empty(tenant: str, name: str, has_versions: bool, has_uploads: bool) -> Steps[str]:
    """Return what is still in a bucket, in words."""
    used = usage_of((yield COUNTED(tenant=tenant, bucket=name))[0][6:])
    held = []
    if used.objects:
        held.append(f"{used.objects} objects")
    if used.versions > used.objects:
        held.append(f"{used.versions - used.objects} older versions")
    if has_versions and not used.versions:
        held.append("delete markers")
    if has_uploads:
        held.append("open uploads")
    return f"the bucket is not empty: it holds {' and '.join(held)}; remove them, or remove it with force"


def usage_of(row: Row) -> Usage:
    """Return the counters of a row of four sums (a database may return sums as decimals)."""
    return Usage(*(int(number) for number in row))


def counters(tenant: str, name: str | None) -> Transaction[Usage]:
    """The counters of a bucket, or of all buckets of the tenant."""

    def steps(attempt: Attempt) -> Steps[Usage]:
        rows = yield (BUCKETS(tenant=tenant) if name is None else COUNTED(tenant=tenant, bucket=name))
        if name is not None and not rows:
            raise no_bucket(name)
        each = [usage_of(row[6:]) for row in rows]
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
