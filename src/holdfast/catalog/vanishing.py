"""Transactions of what an upstream shows no more: missed in two listings, an object that was adopted is removed here.

Nothing is removed because of one listing, and nothing that was changed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import case, func, literal_column, select

from holdfast.catalog.adopting import STATE
from holdfast.catalog.common import no_bucket, read_head
from holdfast.catalog.contract import Actor
from holdfast.catalog.deleting import newest_removed
from holdfast.catalog.schema import divergences, misses, versions
from holdfast.catalog.statements import Many, Statement, int_param, one_of, text_param, upsert_into
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.upstreams import DIVERGED
from holdfast.core.adopted import Missed, Phase, Pinned
from holdfast.core.types import ObjectRef

_MOST: Final = 100_000  #: misses that are counted at most

_newer = versions.alias("newer")
_NEWEST = (
    select(func.max(_newer.c.seq))
    .where(_newer.c.bucket_id == versions.c.bucket_id, _newer.c.key == versions.c.key)
    .correlate(versions)
    .scalar_subquery()
)
_DIVERGES = (
    select(divergences.c.key)
    .where(divergences.c.bucket_id == versions.c.bucket_id, divergences.c.key == versions.c.key)
    .correlate(versions)
    .exists()
)
#: Objects as they were adopted, and not changed here since.
PINNED = Statement(
    select(versions.c.key, versions.c.id, versions.c.pin, versions.c.created, versions.c.size)
    .where(
        versions.c.bucket_id == int_param("in_bucket"),
        versions.c.key > text_param("above"),
        versions.c.key <= text_param("upto"),
        versions.c.pin.is_not(None),
        versions.c.delete_marker.is_(False),
        versions.c.seq == _NEWEST,
        ~_DIVERGES,
    )
    .order_by(versions.c.key)
    .limit(int_param("rows"))
)
MISS = upsert_into(
    misses,
    *("bucket_id", "key", "version_id", "pass"),
    unique=("bucket_id", "key"),
    change={
        "pass": case(
            (misses.c.version_id == text_param("same"), misses.c["pass"]), else_=int_param("this_pass")
        )
    },
)
_BETWEEN = (
    misses.c.bucket_id == int_param("in_bucket"),
    misses.c.key > text_param("above"),
    misses.c.key <= text_param("upto"),
)
MISSED = Statement(
    select(misses.c.key, misses.c.version_id, misses.c["pass"]).where(*_BETWEEN).order_by(misses.c.key)
)
SEEN = Statement(misses.delete().where(*_BETWEEN, ~one_of(misses.c.key, "missing")))
UNMISS = Statement(
    misses.delete().where(misses.c.bucket_id == int_param("in_bucket"), misses.c.key == text_param("of_key"))
)
_counted = (
    select(misses.c.key)
    .where(misses.c.bucket_id == int_param("in_bucket"))
    .limit(literal_column(str(_MOST)))
    .subquery()
)
MISSES = Statement(select(func.count()).select_from(_counted))


class Stretch(NamedTuple):
    """Keys of a bucket: those behind `above`, up to `upto`."""

    bucket_id: int
    above: str
    upto: str


def pinned(stretch: Stretch, limit: int) -> Transaction[Sequence[Pinned]]:
    """Objects of a stretch as they were adopted, by key."""

    def steps(attempt: Attempt) -> Steps[Sequence[Pinned]]:
        rows = yield PINNED(**_of(stretch), rows=limit)
        return [Pinned(*row) for row in rows]

    return steps


def miss(stretch: Stretch, found: Sequence[Pinned], number: int) -> Transaction[Sequence[Missed]]:
    """What a listing of a stretch did not show in pass `number`, remembered, and all the rest forgotten.

    Returned is what was missed in an earlier pass too.
    """

    def steps(attempt: Attempt) -> Steps[Sequence[Missed]]:
        yield SEEN(**_of(stretch), missing=[one.key for one in found])
        rows = [
            {
                "bucket_id": stretch.bucket_id,
                "key": one.key,
                "version_id": one.version_id,
                "pass": number,
                "same": one.version_id,
                "this_pass": number,
            }
            for one in found
        ]
        if rows:
            yield Many(MISS, rows)
        known = [Missed(*row) for row in (yield MISSED(**_of(stretch)))]
        return [one for one in known if one.number < number]

    return steps


def misses_of(bucket_id: int) -> Transaction[int]:
    """How many objects the last listings did not show."""

    def steps(attempt: Attempt) -> Steps[int]:
        return int((yield MISSES(in_bucket=bucket_id))[0][0])

    return steps


def vanish(
    ref: ObjectRef, version_id: str, *, marker_id: str, grace: int, actor: Actor, now: int | None
) -> Transaction[bool]:
    """An object that its upstream has no more, removed, if it is still as it was adopted; whether it was."""

    def steps(attempt: Attempt) -> Steps[bool]:
        state = yield STATE(tenant=ref.tenant, bucket=ref.bucket, now=now)
        if not state:
            raise no_bucket(ref.bucket)
        head = yield from read_head(ref, now)
        yield UNMISS(in_bucket=head.bucket_id, of_key=ref.key)
        if state[0][7] in (None, Phase.CUTOVER) or head.version_id != version_id or not head.pin:
            return False
        if (yield DIVERGED(in_bucket=head.bucket_id, keys=[ref.key])):
            return False
        # it was not changed here, so nothing is to be remembered of it
        gone = yield from newest_removed(ref, head._replace(upstream=""), marker_id, grace, actor, attempt)
        return gone.version_id is not None

    return steps


def _of(stretch: Stretch) -> dict[str, int | str]:
    return {"in_bucket": stretch.bucket_id, "above": stretch.above, "upto": stretch.upto}
