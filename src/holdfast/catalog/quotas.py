"""Steps that keep quotas: what is announced is reserved, what is kept is charged, both in the writer's transaction.

A tenant is *metered* once it or one of its buckets has a limit; then it has a row here (bucket 0), and each of its
buckets has one. Each row holds what is used (`usage.bytes` and `upload_bytes` together, and versions) and the sum of
its reservations, so that a check is one look at one row: used + reserved may not pass the limit.

Rules for callers:

- A change of what is *used* (`charge`) needs the shared lock of its bucket (`bucket_lock`), since starting to meter a
  bucket holds it alone while it counts. `reserve`, `release` and `draw` need no lock of their own.
- The rows are hot: call these last in a transaction, so that other writers wait only for its commit.
- Rows are locked in one order: reservations first, then the tenant's row, then the bucket's.
- For a bucket without rows, `charge` and `release` change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import literal_column, select, update

from holdfast.catalog.schema import buckets, quotas, reservations
from holdfast.catalog.statements import (
    Batch,
    Call,
    Row,
    Statement,
    insert_into,
    int_param,
    one_of,
    text_param,
)
from holdfast.catalog.transaction import Steps
from holdfast.core.errors import InternalError, QuotaExceededError

_CHANGING = ("bytes", "objects", "reserved_bytes", "reserved_objects")


class Sums(NamedTuple):
    """One row of `quotas` after a change of it."""

    bucket_id: int
    max_bytes: int | None
    max_objects: int | None
    bytes: int
    objects: int
    reserved_bytes: int
    reserved_objects: int


class Held(NamedTuple):
    """Reservations that were given up, added together."""

    tenant: str
    bucket_id: int
    bytes: int
    objects: int


def _change() -> Any:
    return update(quotas).values({name: quotas.c[name] + int_param(f"more_{name}") for name in _CHANGING})


_OF_BOTH = (
    quotas.c.tenant == text_param("of_tenant"),
    quotas.c.bucket_id.in_([literal_column("0"), int_param("in_bucket")]),
)
_ROW = tuple(quotas.c[name] for name in Sums._fields)
_locked = (
    select(quotas.c.tenant, quotas.c.bucket_id)
    .where(*_OF_BOTH)
    .order_by(quotas.c.bucket_id)
    .with_for_update()
    .cte("locked")
)
#: PostgreSQL locks rows as it meets them; everybody must meet the tenant's first.
CHANGE = Statement(
    _change().where(*_OF_BOTH).returning(*_ROW),
    postgres=_change()
    .where(quotas.c.tenant == _locked.c.tenant, quotas.c.bucket_id == _locked.c.bucket_id)
    .returning(*_ROW),
)

RESERVE = insert_into(reservations, "id", "tenant", "bucket_id", "bytes", "objects")
RELEASE = Statement(
    reservations.delete()
    .where(one_of(reservations.c.id, "ids"))
    .returning(reservations.c.tenant, reservations.c.bucket_id, reservations.c.bytes, reservations.c.objects)
)
RELEASE_BUCKET = Statement(
    reservations.delete()
    .where(reservations.c.bucket_id == int_param("in_bucket"))
    .returning(reservations.c.tenant, reservations.c.bucket_id, reservations.c.bytes, reservations.c.objects)
)
DRAW = Statement(
    update(reservations)
    .where(reservations.c.id == text_param("of_reservation"))
    .values(bytes=int_param("left"))
)
_RESERVATION = select(
    reservations.c.tenant, reservations.c.bucket_id, reservations.c.bytes, reservations.c.objects
).where(reservations.c.id == text_param("of_reservation"))
RESERVATION = Statement(_RESERVATION, postgres=_RESERVATION.with_for_update())
NAME = Statement(select(buckets.c.name).where(buckets.c.id == int_param("in_bucket")))


def reserve(id: str, tenant: str, bucket_id: int, *, bytes: int, objects: int) -> Steps[None]:
    """Announce `bytes` and `objects` for a metered bucket, under the id of a pending replica or an open upload.

    Raises:
        QuotaExceededError: they do not fit; the transaction must end with it.
    """
    rows = yield Batch(
        [
            _changed(tenant, bucket_id, reserved_bytes=bytes, reserved_objects=objects),
            Call(
                RESERVE,
                {"id": id, "tenant": tenant, "bucket_id": bucket_id, "bytes": bytes, "objects": objects},
            ),
        ]
    )
    if len(rows) != 2:
        raise InternalError("the bucket is not metered, so nothing can be reserved", name=tenant)
    yield from _check(rows, tenant, bytes=bytes, objects=objects)


def charge(
    tenant: str,
    bucket_id: int,
    *,
    bytes: int = 0,
    objects: int = 0,
    release: Sequence[str] = (),
    draw: str | None = None,
) -> Steps[None]:
    """Change what is used, negative for less; checked where used and reserved together grow.

    Args:
        release: reservations that this use takes the place of; ids without one are passed over.
        draw: a reservation that grown `bytes` are taken from, as far as it goes (see `draw`).

    Raises:
        QuotaExceededError: it does not fit; the transaction must end with it.
    """
    freed, units = 0, 0
    if release:
        for held in _sums((yield RELEASE(ids=list(release)))):
            if (held.tenant, held.bucket_id) == (tenant, bucket_id):
                freed, units = freed + held.bytes, units + held.objects
            else:
                yield _lowered(held)
    if draw is not None:
        freed += yield from _drawn(draw, bytes)
    if not (bytes or objects or freed or units):
        return
    rows = yield _changed(
        tenant, bucket_id, bytes=bytes, objects=objects, reserved_bytes=-freed, reserved_objects=-units
    )
    yield from _check(rows, tenant, bytes=bytes - freed, objects=objects - units)


def release(ids: Sequence[str]) -> Steps[None]:
    """Give reservations up; where there are none this is one statement."""
    yield from _lower(_sums((yield RELEASE(ids=list(ids)))))


def release_bucket(bucket_id: int) -> Steps[None]:
    """Give up all reservations in a bucket that is being removed."""
    yield from _lower(_sums((yield RELEASE_BUCKET(in_bucket=bucket_id))))


def draw(id: str, bytes: int) -> Steps[int]:
    """Lower a reservation by `bytes` as far as it goes, or raise it for negative ones; return by how much it fell.

    Returns 0 when there is no such reservation. To use what is drawn in the same step, see `charge`.
    """
    rows = yield RESERVATION(of_reservation=id)
    if not rows:
        return 0
    taken = yield from _drawn(id, bytes)
    if taken:
        yield _changed(rows[0][0], rows[0][1], reserved_bytes=-taken)
    return taken


def _drawn(id: str, bytes: int) -> Steps[int]:
    """Change the reservation alone, not the sums."""
    rows = yield RESERVATION(of_reservation=id)
    if not rows:
        return 0
    taken: int = min(bytes, rows[0][2])
    if taken:
        yield DRAW(of_reservation=id, left=rows[0][2] - taken)
    return taken


def _changed(
    tenant: str,
    bucket_id: int,
    *,
    bytes: int = 0,
    objects: int = 0,
    reserved_bytes: int = 0,
    reserved_objects: int = 0,
) -> Call:
    return Call(
        CHANGE,
        {
            "of_tenant": tenant,
            "in_bucket": bucket_id,
            "more_bytes": bytes,
            "more_objects": objects,
            "more_reserved_bytes": reserved_bytes,
            "more_reserved_objects": reserved_objects,
        },
    )


def _lowered(held: Held) -> Call:
    return _changed(held.tenant, held.bucket_id, reserved_bytes=-held.bytes, reserved_objects=-held.objects)


def _lower(each: Sequence[Held]) -> Steps[None]:
    for held in each:
        yield _lowered(held)


def _sums(rows: Sequence[Row]) -> list[Held]:
    """Return the rows of released reservations added up by bucket, in the order in which everyone locks."""
    sums: dict[tuple[str, int], tuple[int, int]] = {}
    for tenant, bucket_id, size, objects in rows:
        before = sums.get((tenant, bucket_id), (0, 0))
        sums[tenant, bucket_id] = (before[0] + size, before[1] + objects)
    return [Held(*where, *sums[where]) for where in sorted(sums)]


def _check(rows: Sequence[Row], tenant: str, *, bytes: int, objects: int) -> Steps[None]:
    """Raise when a limit is passed by something that grew."""
    for row in sorted(Sums._make(row) for row in rows):
        for asked, limit, used, reserved, unit in (
            (bytes, row.max_bytes, row.bytes, row.reserved_bytes, "bytes"),
            (objects, row.max_objects, row.objects, row.reserved_objects, "objects"),
        ):
            if limit is not None and asked > 0 and used + reserved > limit:
                whose = f"tenant {tenant}"
                if row.bucket_id:
                    named = yield NAME(in_bucket=row.bucket_id)
                    whose = f"bucket {named[0][0]}" if named else "the bucket"
                raise QuotaExceededError(
                    f"the quota of {whose} is {limit} {unit}: {used + reserved - asked} are used or reserved, "
                    f"{asked} more were asked for; remove something, wait for uploads to end, or raise the quota",
                    name=whose,
                )
