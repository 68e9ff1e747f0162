"""Transactions of tiers: where versions say that they belong. Each owes what it changes, for `reconcile`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import case, func, null, select, update

from holdfast.catalog.common import NOW, audited
from holdfast.catalog.contract import Actor, Owed, TierChange
from holdfast.catalog.owing import debt_row
from holdfast.catalog.schema import debts, recalls, versions
from holdfast.catalog.statements import (
    Many,
    Statement,
    constant,
    int_param,
    one_of,
    text_param,
    upsert_into,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction

SET = Statement(
    update(versions)
    .where(
        one_of(versions.c.id, "ids"),
        func.coalesce(versions.c.tier, constant("")) != text_param("tier"),
    )
    .values(tier=case((text_param("tier") == constant(""), null()), else_=text_param("tier")))
    .returning(versions.c.id, versions.c.bucket_id)
)
THERE = Statement(select(versions.c.id).where(one_of(versions.c.id, "ids")))
OWE = upsert_into(
    debts,
    *("version_id", "bucket_id", "rule", "reason", "since", "tries", "not_before", "trouble"),
    unique=("version_id",),
    change={"since": debts.c.since},
)
RECALL = upsert_into(recalls, "version_id", "tier", "until", unique=("version_id",))
KEEP = Statement(recalls.delete().where(one_of(recalls.c.version_id, "ids")))
ENDED = Statement(
    select(recalls.c.version_id, recalls.c.tier)
    .where(recalls.c.until <= int_param("at"))
    .order_by(recalls.c.until)
    .limit(int_param("rows"))
)


def set_tiers(
    changes: Sequence[TierChange], *, reason: str, later: int, actor: Actor, now: int | None
) -> Transaction[Sequence[str]]:
    """Versions given other tiers, each owed to the stores that this means; the ids of those that were changed.

    Versions that are gone, or have that tier, are left alone.
    """

    def steps(attempt: Attempt) -> Steps[Sequence[str]]:
        at: int = (yield NOW(now=now))[0][0]
        known = {change.version_id: change for change in changes}
        changed: list[str] = []
        for tier in dict.fromkeys(change.tier for change in changes):
            ids = sorted(change.version_id for change in changes if change.tier == tier)
            moved = yield SET(ids=ids, tier=tier)
            changed += [row[0] for row in moved]
            if moved:
                yield Many(
                    OWE,
                    [
                        debt_row(row[0], row[1], Owed(known[row[0]].rule, reason), at, later=later)
                        for row in moved
                    ],
                )
        yield from _recalled(changes)
        for tenant, some in _by_tenant([known[version_id] for version_id in changed]).items():
            detail = {"tier": ", ".join(sorted({one.tier or "as ruled" for one in some})), "reason": reason}
            if len(some) > 1:
                detail["versions"] = str(len(some))
            one = some[0] if len(some) == 1 else None
            yield audited(
                at,
                tenant,
                "set-tier",
                actor,
                bucket=one.ref.bucket if one else "",
                key=one.ref.key if one else "",
                version_id=one.version_id if one else "",
                detail=detail,
            )
        return changed

    return steps


def _recalled(changes: Sequence[TierChange]) -> Steps[None]:
    """Write down which of them are to have another tier later, and forget it of the others."""
    for_good = [change.version_id for change in changes if change.until is None]
    if for_good:
        yield KEEP(ids=for_good)
    lent = {change.version_id: change for change in changes if change.until is not None}
    if lent:
        there = [row[0] for row in (yield THERE(ids=sorted(lent)))]
        if there:
            yield Many(
                RECALL,
                [
                    {"version_id": found, "tier": lent[found].back, "until": lent[found].until}
                    for found in there
                ],
            )


def end_recalls(limit: int, *, actor: Actor, now: int | None) -> Transaction[int]:
    """Versions whose time elsewhere is over given the tier that they had, and owed there; how many rows were due."""

    def steps(attempt: Attempt) -> Steps[int]:
        at: int = (yield NOW(now=now))[0][0]
        ended = yield ENDED(at=at, rows=limit)
        if not ended:
            return 0
        back: dict[str, list[str]] = {}
        for version_id, tier in ended:
            back.setdefault(tier, []).append(version_id)
        count = 0
        for tier, ids in back.items():
            moved = yield SET(ids=sorted(ids), tier=tier)
            count += len(moved)
            if moved:
                yield Many(OWE, [debt_row(row[0], row[1], Owed("", "tier"), at) for row in moved])
        yield KEEP(ids=sorted(row[0] for row in ended))
        if count:
            yield audited(at, "", "end-recalls", actor, detail={"versions": str(count)})
        return len(ended)

    return steps


def _by_tenant(changes: Iterable[TierChange]) -> dict[str, list[TierChange]]:
    found: dict[str, list[TierChange]] = {}
    for change in changes:
        found.setdefault(change.ref.tenant, []).append(change)
    return found
