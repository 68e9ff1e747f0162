"""Transactions of debts: versions that are not where their plan wants them.

A debt is written by the transaction that makes its version, and goes with the one that brings the version home. A
version that is removed leaves its debt behind: nobody is shown it, and whoever pays debts drops it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import and_, func, literal_column, or_, select, update

from holdfast.catalog.contract import Debts, NewVersion, Owed
from holdfast.catalog.schema import buckets, debts, versions
from holdfast.catalog.statements import (
    Call,
    Row,
    Statement,
    catalog_now,
    constant,
    insert_into,
    int_param,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.records import Debt
from holdfast.core.types import ObjectRef

OWE = insert_into(
    debts, "version_id", "bucket_id", "rule", "reason", "since", "tries", "not_before", "trouble"
)
#: The same, unless something is owed already; and that is then to be done now.
OWE_ONCE = insert_into(
    debts,
    *("version_id", "bucket_id", "rule", "reason", "since", "tries", "not_before", "trouble"),
    unless_there=True,
)
OF_VERSION = Statement(
    select(versions.c.bucket_id, catalog_now()).where(versions.c.id == text_param("of_version"))
)
HURRY_ONE = Statement(
    update(debts)
    .where(debts.c.version_id == text_param("of_version"), debts.c.not_before > int_param("at"))
    .values(not_before=int_param("at"))
)
SETTLE = Statement(
    debts.delete().where(debts.c.version_id == text_param("of_version")).returning(debts.c.version_id)
)

_DEBT = (
    debts.c.version_id,
    buckets.c.tenant,
    buckets.c.name,
    versions.c.key,
    debts.c.rule,
    debts.c.reason,
    debts.c.since,
    debts.c.tries,
    debts.c.not_before,
    debts.c.trouble,
)
_OF_VERSIONS = debts.join(versions, versions.c.id == debts.c.version_id).join(
    buckets, buckets.c.id == versions.c.bucket_id
)
PAGE = Statement(
    select(*_DEBT)
    .select_from(_OF_VERSIONS)
    .where(
        debts.c.version_id > text_param("after"),
        or_(text_param("in_tenant") == literal_column("''"), buckets.c.tenant == text_param("in_tenant")),
        or_(text_param("in_bucket") == literal_column("''"), buckets.c.name == text_param("in_bucket")),
    )
    .order_by(debts.c.version_id)
    .limit(int_param("rows"))
)
ONE = Statement(
    select(*_DEBT).select_from(_OF_VERSIONS).where(debts.c.version_id == text_param("of_version"))
)
_due = (
    select(debts.c.version_id)
    .where(
        debts.c.not_before <= catalog_now(),
        select(versions.c.id).where(versions.c.id == debts.c.version_id).correlate(debts).exists(),
    )
    .order_by(debts.c.not_before)
    .limit(int_param("rows"))
)
_size = (
    select(func.coalesce(func.max(versions.c.size), literal_column("0")))
    .where(versions.c.id == debts.c.version_id)
    .correlate(debts)
    .scalar_subquery()
)


def _taken(due: object) -> object:
    return (
        update(debts)
        .where(debts.c.version_id.in_(due), debts.c.not_before <= catalog_now())  # type: ignore[arg-type]
        .values(not_before=catalog_now() + int_param("lease") + _size)  # a microsecond for each byte: 1 MB/s
        .returning(debts.c.version_id)
    )


TAKE = Statement(_taken(_due), postgres=_taken(_due.with_for_update(skip_locked=True)))  # type: ignore[arg-type]
POSTPONE = Statement(
    update(debts)
    .where(debts.c.version_id == text_param("of_version"))
    .values(tries=debts.c.tries + constant(1), not_before=int_param("until"), trouble=text_param("why"))
)
HURRY = Statement(
    update(debts)
    .where(
        debts.c.not_before > int_param("at"),
        or_(text_param("why") == literal_column("''"), debts.c.trouble.contains(text_param("why"))),
    )
    .values(not_before=int_param("at"))
)
#: Rows that are counted at most; more are told as this many.
MOST: Final = 100_000
_counted = (
    select(debts.c.reason, debts.c.since)
    .select_from(debts.join(versions, versions.c.id == debts.c.version_id))
    .limit(literal_column(str(MOST)))
    .subquery()
)
COUNTS = Statement(
    select(_counted.c.reason, func.count(), func.min(_counted.c.since)).group_by(_counted.c.reason)
)
_orphans = (
    select(debts.c.version_id)
    .select_from(debts.outerjoin(versions, versions.c.id == debts.c.version_id))
    .where(versions.c.id.is_(None))
    .limit(int_param("rows"))
)
FORGET = Statement(
    debts.delete()
    .where(
        and_(
            debts.c.version_id.in_(_orphans),
            ~select(versions.c.id).where(versions.c.id == debts.c.version_id).correlate(debts).exists(),
        )
    )
    .returning(debts.c.version_id)
)


def debt_row(
    version_id: str, bucket_id: int, owed: Owed, at: int, *, later: int = 0, trouble: str = ""
) -> dict[str, Any]:
    """Return the row of what a version owes since `at`, to be paid `later` microseconds after that."""
    return {
        "version_id": version_id,
        "bucket_id": bucket_id,
        "rule": owed.rule,
        "reason": owed.reason,
        "since": at,
        "tries": 0,
        "not_before": at + later,
        "trouble": trouble,
    }


def owes(version: NewVersion, bucket_id: int, at: int) -> list[Call]:
    """Return the call that writes down what `version` owes; none when it is where it belongs."""
    if version.owed is None:
        return []
    return [Call(OWE, debt_row(version.id, bucket_id, version.owed, at))]


def told_of_debt(version: NewVersion) -> Mapping[str, str]:
    """Return what the audit says of a version that is not where it belongs."""
    return {} if version.owed is None else {"owed": version.owed.reason, "rule": version.owed.rule}


def page(tenant: str, bucket: str, after: str, limit: int) -> Transaction[Sequence[Debt]]:
    """Debts by the id of their version, "" for those of all tenants or buckets."""

    def steps(attempt: Attempt) -> Steps[Sequence[Debt]]:
        rows = yield PAGE(in_tenant=tenant, in_bucket=bucket, after=after, rows=limit)
        return [_debt(row) for row in rows]

    return steps


def owe(version_id: str, owed: Owed, later: int, trouble: str, now: int | None) -> Transaction[None]:
    """What a version that is there owes, unless it owes something already."""

    def steps(attempt: Attempt) -> Steps[None]:
        for bucket_id, at in (yield OF_VERSION(of_version=version_id, now=now)):
            yield OWE_ONCE(**debt_row(version_id, bucket_id, owed, at, later=later, trouble=trouble))

    return steps


def take(limit: int, lease: int, now: int | None) -> Transaction[Sequence[Debt]]:
    """Debts that are due, put off so that nobody else takes them too."""

    def steps(attempt: Attempt) -> Steps[Sequence[Debt]]:
        taken = yield TAKE(rows=limit, lease=lease, now=now)
        found: list[Debt] = []
        for row in taken:
            found += [_debt(known) for known in (yield ONE(of_version=row[0]))]
        return sorted(found, key=lambda debt: debt.version_id)

    return steps


def postpone(version_id: str, until: int, trouble: str) -> Transaction[None]:
    """A debt that could not be paid, to be tried again later."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield POSTPONE(of_version=version_id, until=until, why=trouble)

    return steps


def hurry(at: int, why: str = "") -> Transaction[None]:
    """All debts due at once, or those that were put off for a reason in which `why` stands."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield HURRY(at=at, why=why)

    return steps


def counts() -> Transaction[Mapping[str, Debts]]:
    """How many debts there are, by their reason; `MOST` are counted."""

    def steps(attempt: Attempt) -> Steps[Mapping[str, Debts]]:
        return {row[0]: Debts(int(row[1]), int(row[2])) for row in (yield COUNTS())}

    return steps


def forget(limit: int) -> Transaction[int]:
    """Debts of versions that are gone, dropped; how many."""

    def steps(attempt: Attempt) -> Steps[int]:
        return len((yield FORGET(rows=limit)))

    return steps


def _debt(row: Row) -> Debt:
    id_, tenant, bucket, key, rule, reason, since, tries, not_before, trouble = row
    return Debt(id_, ObjectRef(tenant, bucket, key), rule, reason, since, tries, not_before, trouble)
