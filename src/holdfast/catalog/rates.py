"""Shared rate limits: one upsert that moves a limit's arrival and says how much was granted.

The row's old arrival decides, inside the statement, so that any number of processes may ask at once. An answer that is
lost was granted and is not used: the limit then holds all the more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, bindparam, case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement

from holdfast.catalog.schema import rate_limits
from holdfast.catalog.statements import Statement, constant, int_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction


@dataclass(frozen=True, slots=True)
class RateAsk:
    """`most` units at the price of `most_cost` microseconds if they fit, else `least`, else none.

    `forced`: `least` even when they do not fit. `tolerance`: how far the arrival may be ahead of now, microseconds.
    """

    most: int
    most_cost: int
    least: int
    least_cost: int
    tolerance: int
    forced: bool = False


@dataclass(frozen=True, slots=True)
class RateGrant:
    """What was granted; the limit's arrival afterwards and the time, both on the catalog's clock."""

    units: int
    arrival: int
    now: int


class statement_now(ColumnElement[int]):
    """The catalog's clock, read once per statement: what decides and what is written must see the same time."""

    inherit_cache = True
    type = BigInteger()

    def __init__(self) -> None:
        self.param = bindparam("now", type_=BigInteger())


@compiles(statement_now, "sqlite")
def _now_sqlite(element: statement_now, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(element.param, **kw))


@compiles(statement_now, "postgresql")
def _now_postgres(element: statement_now, compiler: Any, **kw: Any) -> str:
    param = compiler.process(element.param, **kw)
    return f"coalesce({param}, (extract(epoch from statement_timestamp()) * 1000000)::bigint)"


def _chosen(base: ColumnElement[int], most: Any, least: Any) -> ColumnElement[Any]:
    edge = statement_now() + int_param("tolerance")
    return case(
        (base + int_param("most_cost") <= edge, most),
        (base + int_param("least_cost") <= edge, least),
        (int_param("forced") == constant(1), least),
        else_=constant(0),
    )


def _lease(insert: Any, larger: Any) -> Any:
    later = larger(rate_limits.c.arrival, statement_now())
    fresh = statement_now()
    values = {
        "key": bindparam("of_key"),
        "arrival": fresh + _chosen(fresh, int_param("most_cost"), int_param("least_cost")),
        "taken": _chosen(fresh, int_param("most"), int_param("least")),
    }
    change = {
        "arrival": later + _chosen(later, int_param("most_cost"), int_param("least_cost")),
        "taken": _chosen(later, int_param("most"), int_param("least")),
    }
    return (
        insert(rate_limits)
        .values(values)
        .on_conflict_do_update(index_elements=["key"], set_=change)
        .returning(rate_limits.c.taken, rate_limits.c.arrival, statement_now().label("now"))
    )


LEASE = Statement(_lease(sqlite.insert, func.max), postgres=_lease(postgresql.insert, func.greatest))

#: A limit whose arrival has passed says nothing any more.
FORGET = Statement(
    delete(rate_limits)
    .where(
        rate_limits.c.key.in_(
            select(rate_limits.c.key)
            .where(rate_limits.c.arrival < int_param("before"))
            .order_by(rate_limits.c.arrival)
            .limit(int_param("rows"))
            .scalar_subquery()
        ),
        rate_limits.c.arrival < int_param("before"),
    )
    .returning(rate_limits.c.key)
)


def lease(key: str, ask: RateAsk, now: int | None) -> Transaction[RateGrant]:
    """Units of the limit `key`, taken from all who share it."""

    def steps(attempt: Attempt) -> Steps[RateGrant]:
        rows = yield LEASE(
            of_key=key,
            most=ask.most,
            most_cost=ask.most_cost,
            least=ask.least,
            least_cost=ask.least_cost,
            tolerance=ask.tolerance,
            forced=int(ask.forced),
            now=now,
        )
        return RateGrant(*(int(number) for number in rows[0]))

    return steps


def forget(limit: int, before: int) -> Transaction[int]:
    """Rows removed that arrived before a time; how many."""

    def steps(attempt: Attempt) -> Steps[int]:
        removed: Sequence[Any] = yield FORGET(rows=limit, before=before)
        return len(removed)

    return steps
