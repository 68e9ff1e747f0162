"""Transactions of `reconcile`: new copies of a version adopted, and what is no longer wanted doomed.

A copy that is adopted is one more of the same bytes: readers lose nothing by it. Copies are doomed only in a transaction
that has seen a live copy of every segment in every wanted store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select, update

from holdfast.catalog.common import audited, in_bucket, is_readable
from holdfast.catalog.contract import Actor, Adopted
from holdfast.catalog.owing import SETTLE
from holdfast.catalog.schema import buckets, debts, replicas, versions
from holdfast.catalog.statements import (
    Row,
    Statement,
    among,
    catalog_now,
    constant,
    int_param,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.writing import COMMIT
from holdfast.core.names import is_sealed
from holdfast.core.types import ObjectRef

_READABLE = ("live", "suspect")

#: All that is asked of a version, at once: a row for each of its copies, or one without a copy.
HELD = Statement(
    select(
        catalog_now().label("now"),
        versions.c.pieces,
        versions.c.size,
        debts.c.version_id.label("owes"),
        replicas.c.id,
        replicas.c.segment_id,
        replicas.c.store,
        replicas.c.state,
        replicas.c.committed,
        replicas.c.blob,
    )
    .select_from(
        versions.join(buckets, buckets.c.id == versions.c.bucket_id)
        .outerjoin(debts, debts.c.version_id == versions.c.id)
        .outerjoin(replicas, replicas.c.version_id == versions.c.id)
    )
    .where(in_bucket(), versions.c.key == text_param("key"), versions.c.id == text_param("of_version"))
    .order_by(replicas.c.id)
)
_COPY = 4  #: the first column of a copy
DOOM = Statement(
    update(replicas)
    .where(
        replicas.c.version_id == text_param("of_version"),
        among(replicas.c.id, "ids"),
        is_readable(replicas),
    )
    .values(state=constant("doomed"), not_before=int_param("delete_from"))
)


class _Copy(NamedTuple):
    id: str
    segment_id: str
    store: str
    state: str
    committed: int | None
    blob: str


def adopt(
    ref: ObjectRef,
    version_id: str,
    made: Sequence[str],
    wanted: Sequence[str],
    *,
    sealed: Sequence[str] = (),
    grace: int,
    actor: Actor,
    now: int | None,
) -> Transaction[Adopted]:
    """Pending copies made live, if the version is still there; with `wanted`, what is in other stores doomed.

    In the stores `sealed` only encrypted copies count.
    """

    def steps(attempt: Attempt) -> Steps[Adopted]:
        place = {"tenant": ref.tenant, "bucket": ref.bucket}
        found = yield HELD(**place, key=ref.key, of_version=version_id, now=now)
        if not found:
            return Adopted(there=False)
        at, pieces, size, owes = found[0][:_COPY]
        copies = [_Copy._make(row[_COPY:]) for row in found if row[_COPY] is not None]
        if not _kept(copies, made):
            return Adopted(lost=True)
        flipped: Sequence[Row] = ()
        if made:
            flipped = yield COMMIT(of_version=version_id, ids=list(made), at=at)
        held = [copy for copy in copies if copy.state in _READABLE or copy.id in made]
        settled = bool(wanted) and _covered(held, made, wanted, sealed, max(pieces, 1))
        surplus = _surplus(held, made, wanted, sealed) if settled else []
        if surplus:
            yield DOOM(of_version=version_id, ids=[copy.id for copy in surplus], delete_from=at + grace)
        paid = bool((yield SETTLE(of_version=version_id))) if settled and owes else False
        if flipped or surplus or paid:
            detail = {"to": _stores(held, {copy.id for copy in held if copy.id in made})}
            if surplus:
                detail["from"] = _stores(held, {copy.id for copy in surplus})
            yield audited(
                at,
                ref.tenant,
                "reconcile",
                actor,
                bucket=ref.bucket,
                key=ref.key,
                version_id=version_id,
                size=size,
                detail={name: value for name, value in detail.items() if value},
            )
        return Adopted(settled=settled, doomed=len(surplus), paid=paid)

    return steps


def _kept(copies: Sequence[_Copy], made: Sequence[str]) -> bool:
    """Whether each of `made` is pending, or was made live by an attempt whose end we did not hear of."""
    known = {copy.id: copy for copy in copies}
    return all(
        name in known and (known[name].state != "doomed" or known[name].committed is not None)
        for name in made
    )


def _sound(copy: _Copy, made: Sequence[str], sealed: Sequence[str]) -> bool:
    if copy.store in sealed and not is_sealed(copy.blob):
        return False
    return copy.state == "live" or (copy.state == "pending" and copy.id in made)


def _covered(
    held: Sequence[_Copy], made: Sequence[str], wanted: Sequence[str], sealed: Sequence[str], segments: int
) -> bool:
    """Whether each wanted store has a sound copy of every segment."""
    found: dict[str, set[str]] = defaultdict(set)
    for copy in held:
        if _sound(copy, made, sealed):
            found[copy.store].add(copy.segment_id)
    return all(len(found[store]) == segments for store in wanted)


def _surplus(
    held: Sequence[_Copy], made: Sequence[str], wanted: Sequence[str], sealed: Sequence[str]
) -> list[_Copy]:
    """Return all but the oldest sound copy of each segment in each wanted store."""
    kept: set[tuple[str, str]] = set()
    surplus = []
    for copy in sorted(held):
        place = (copy.segment_id, copy.store)
        if copy.store in wanted and _sound(copy, made, sealed) and place not in kept:
            kept.add(place)
        elif copy.state != "doomed":
            surplus.append(copy)
    return surplus


def _stores(copies: Sequence[_Copy], ids: set[str]) -> str:
    return ",".join(sorted({copy.store for copy in copies if copy.id in ids}))
