"""Transactions that measure what each bucket holds in each store, in steps of bounded size, and keep the result.

Copies tell of their version and not of their bucket, so each step joins a stretch of them to the versions and uploads
that they belong to. What belongs to nobody any more, and only waits to be deleted, is counted for no bucket; what is
still being written is not counted, but parts that were acknowledged are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import func, literal_column, or_, select

from holdfast.catalog import ledger
from holdfast.catalog.schema import buckets, replicas, store_usage, uploads, versions
from holdfast.catalog.statements import Many, Statement, constant, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.records import StoreUse

STEP: Final = 5_000  #: copies that one step looks at, and those of the last version in full
_MARK: Final = ""  #: the store of the row that tells when was measured, also when there was nothing


class Held(NamedTuple):
    """What one stretch of copies adds to a bucket in a store. `bucket_id` 0: no bucket."""

    store: str
    bucket_id: int
    blobs: int
    bytes: int


_AFTER = replicas.c.version_id > text_param("after")
LAST_OF_STEP = Statement(
    select(replicas.c.version_id)
    .where(_AFTER)
    .order_by(replicas.c.version_id)
    .offset(int_param("rows"))
    .limit(literal_column("1"))
)
_BUCKET = func.coalesce(versions.c.bucket_id, uploads.c.bucket_id, literal_column("0"))
_COPIES = replicas.outerjoin(versions, versions.c.id == replicas.c.version_id).outerjoin(
    uploads, uploads.c.version_id == replicas.c.version_id
)
_HELD = (
    select(replicas.c.store, _BUCKET, func.count(), func.sum(replicas.c.size))
    .select_from(_COPIES)
    .where(_AFTER, or_(replicas.c.state != constant("pending"), replicas.c.upload_id.is_not(None)))
)
HELD = Statement(_HELD.where(replicas.c.version_id <= text_param("upto")).group_by(replicas.c.store, _BUCKET))
HELD_TO_THE_END = Statement(_HELD.group_by(replicas.c.store, _BUCKET))

FORGET = Statement(store_usage.delete())
KEEP = insert_into(store_usage, *[column.name for column in store_usage.columns])
KEPT = Statement(
    select(
        store_usage.c.store,
        func.coalesce(buckets.c.tenant, constant("")),
        func.coalesce(buckets.c.name, constant("")),
        store_usage.c.blobs,
        store_usage.c.bytes,
        store_usage.c.measured,
    )
    .select_from(store_usage.outerjoin(buckets, buckets.c.id == store_usage.c.bucket_id))
    .order_by(store_usage.c.store, buckets.c.tenant, buckets.c.name)
)


def step(after: str, rows: int) -> Transaction[tuple[Sequence[Held], str | None]]:
    """What the next stretch of copies holds, and where the one after it begins; None: that was the last."""

    def steps(attempt: Attempt) -> Steps[tuple[Sequence[Held], str | None]]:
        found = yield LAST_OF_STEP(after=after, rows=rows)
        upto = str(found[0][0]) if found else None
        if upto is None:
            held = yield HELD_TO_THE_END(after=after)
        else:
            held = yield HELD(after=after, upto=upto)
        return [Held(row[0], int(row[1]), int(row[2]), int(row[3])) for row in held], upto

    return steps


def keep(held: Sequence[Held], measured: int) -> Transaction[None]:
    """The result of a measurement in the place of the one before."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield FORGET()
        rows = [Held(_MARK, 0, 0, 0), *held]
        yield Many(KEEP, [{**row._asdict(), "measured": measured} for row in rows])
        yield from ledger.hold(_sums(held), measured)

    return steps


def _sums(held: Sequence[Held]) -> list[tuple[str, int, int]]:
    """Return store, blobs and bytes of all buckets together."""
    sums: dict[str, tuple[int, int]] = {}
    for row in held:
        blobs, size = sums.get(row.store, (0, 0))
        sums[row.store] = (blobs + row.blobs, size + row.bytes)
    return [(store, blobs, size) for store, (blobs, size) in sorted(sums.items())]


def kept() -> Transaction[tuple[int | None, Sequence[StoreUse]]]:
    """When was measured last, None for never, and what was found."""

    def steps(attempt: Attempt) -> Steps[tuple[int | None, Sequence[StoreUse]]]:
        rows = yield KEPT()
        uses = [StoreUse(row[0], row[1], row[2], *(int(number) for number in row[3:])) for row in rows]
        measured = max((use.measured for use in uses), default=None)
        return measured, [use for use in uses if use.store != _MARK]

    return steps
