"""The transaction that tells what stores are behind: debts counted by what their versions have and should have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, case, func, literal_column, select

from holdfast.catalog.common import is_readable
from holdfast.catalog.owing import MOST
from holdfast.catalog.schema import debts, replicas, versions
from holdfast.catalog.statements import Row, Statement, constant
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.records import OwedGroup

_WHOLE, _BROKEN = "+", "-"
_some = (
    select(
        debts.c.version_id,
        debts.c.rule,
        debts.c.since,
        versions.c.size,
        func.coalesce(versions.c.tier, constant("")).label("tier"),
        case((versions.c.pieces > constant(0), versions.c.pieces), else_=constant(1)).label("pieces"),
    )
    .select_from(debts.join(versions, versions.c.id == debts.c.version_id))
    .limit(literal_column(str(MOST)))
    .subquery()
)
_sound = func.count(case((replicas.c.state == constant("live"), replicas.c.segment_id)).distinct())
_each = (
    select(
        *_some.c,
        (
            replicas.c.store + case((_sound >= _some.c.pieces, constant(_WHOLE)), else_=constant(_BROKEN))
        ).label("held"),
    )
    .select_from(
        _some.outerjoin(replicas, and_(replicas.c.version_id == _some.c.version_id, is_readable(replicas)))
    )
    .group_by(*_some.c, replicas.c.store)
    .subquery()
)
_version = (_each.c.version_id, _each.c.rule, _each.c.tier, _each.c.since, _each.c.size)


def _grouped(joined: Any) -> Any:
    """Return the statement; `joined` puts texts together."""
    held = joined(_each.c.held, literal_column("','"))
    whole = select(*_version, func.coalesce(held, constant("")).label("held")).group_by(*_version).subquery()
    alike = (whole.c.rule, whole.c.tier, whole.c.held)
    return select(*alike, func.count(), func.sum(whole.c.size), func.min(whole.c.since)).group_by(*alike)


GROUPS = Statement(_grouped(func.group_concat), postgres=_grouped(func.string_agg))


def groups() -> Transaction[Sequence[OwedGroup]]:
    """Versions that are not where they belong, those together that owe alike; as many as are counted of debts."""

    def steps(attempt: Attempt) -> Steps[Sequence[OwedGroup]]:
        return [_group(row) for row in (yield GROUPS())]

    return steps


def _group(row: Row) -> OwedGroup:
    rule, tier, held, count, size, since = row
    named = [name for name in held.split(",") if name]
    return OwedGroup(
        rule,
        tier,
        frozenset(name[:-1] for name in named if name.endswith(_WHOLE)),
        frozenset(name[:-1] for name in named if name.endswith(_BROKEN)),
        int(count),
        int(size),
        int(since),
    )
