"""Pages of whole rows, to be read at one moment: what a backup keeps of the catalog.

Rows come out with the names of their columns, so what reads them need not know this schema. Places of bytes, counters
and whatever is made of other rows are left out; of stores also their secrets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Boolean, Column, FromClause, Table, and_, literal_column, or_, select

from holdfast.catalog import schema
from holdfast.catalog.common import NOW
from holdfast.catalog.schema import buckets, objects, segments, snapshots, versions
from holdfast.catalog.statements import Statement, int_param, one_of, text_param
from holdfast.catalog.transaction import Attempt, Steps, Still, Transaction

#: Columns that are not kept: numbers of rows, what was tested here, and secrets.
_LEFT_OUT: Final[Mapping[str, frozenset[str]]] = {
    "buckets": frozenset({"id", "metered", "dating", "counting_since", "snapped"}),
    "stores": frozenset({"sealed", "fingerprint", "tested", "tested_at", "trouble", "active"}),
    "schedules": frozenset({"next_at", "last_job"}),
    "snapshots": frozenset({"bucket_id"}),
}
#: Tables of which rows are kept as they are, and whether a row belongs to a tenant. Buckets come after tenants; rules
#: and snapshots, which stand in the way of what is put back, come last.
KEPT: Final[Mapping[str, bool]] = {
    "tenants": True,
    "buckets": True,
    "api_keys": True,
    "executions": True,
    "artifacts": True,
    "schedules": True,
    "rules": False,
    "stores": False,
    "snapshots": True,
}
#: Of tables that know their bucket by its number: what they are read from, and the names of the bucket.
_NAMED_BY: Final[Mapping[str, tuple[FromClause, Mapping[str, Column[Any]]]]] = {
    "snapshots": (
        snapshots.join(buckets, buckets.c.id == snapshots.c.bucket_id),
        {"tenant": buckets.c.tenant, "bucket": buckets.c.name},
    )
}


def table(name: str) -> Table:
    """Return the table of that name."""
    return schema.metadata.tables[name]


def columns(name: str) -> list[str]:
    """Return the columns of a table that are kept."""
    return list(_columns(name))


def _columns(name: str) -> dict[str, Column[Any]]:
    left_out = _LEFT_OUT.get(name, frozenset())
    _, named_by = _NAMED_BY.get(name, (None, {}))
    own = {column.name: column for column in table(name).columns if column.name not in left_out}
    return {**named_by, **own}


def key(name: str) -> list[str]:
    """Return the columns that rows of a table are paged by."""
    if name == "buckets":
        return ["tenant", "name"]
    own = [column.name for column in table(name).primary_key if column.name != "bucket_id"]
    return ["tenant", "bucket", *own] if name in _NAMED_BY else own


def _page(name: str) -> Statement:
    """Return the statement that reads rows of a table by key, those of one tenant or of all."""
    found, by = _columns(name), key(name)
    owner = {"tenants": "name"}.get(name, "tenant") if KEPT[name] else None
    # (a, b) > (x, y), spelled so that the first column finds the place
    later: Any = literal_column("false")
    for number, column in enumerate(by):
        same = [found[one] == text_param(f"after_{one}") for one in by[:number]]
        later = or_(later, and_(*same, found[column] > text_param(f"after_{column}")))
    terms = [found[by[0]] >= text_param(f"after_{by[0]}"), later]
    if owner is not None:
        terms.append(
            or_(text_param("in_tenant") == literal_column("''"), found[owner] == text_param("in_tenant"))
        )
    return Statement(
        select(*found.values())
        .select_from(_NAMED_BY[name][0] if name in _NAMED_BY else table(name))
        .where(*terms)
        .order_by(*[found[column] for column in by])
        .limit(int_param("rows"))
    )


_PAGES: Final = {name: _page(name) for name in KEPT}
#: Not: which other version blobs were written for, since what is put back has blobs of its own.
_VERSION = [column.name for column in versions.columns if column.name not in ("bucket_id", "cloned_from")]
VERSIONS = Statement(
    select(
        buckets.c.tenant,
        buckets.c.name,
        objects.c.version_id,
        *[versions.c[name] for name in _VERSION],
    )
    .select_from(
        versions.join(buckets, buckets.c.id == versions.c.bucket_id).outerjoin(
            objects,
            and_(
                objects.c.bucket_id == versions.c.bucket_id,
                objects.c.key == versions.c.key,
                objects.c.version_id == versions.c.id,
            ),
        )
    )
    .where(versions.c.id > text_param("after"))
    .order_by(versions.c.id)
    .limit(int_param("rows"))
)
_SEGMENT = [column.name for column in segments.columns]
SEGMENTS = Statement(
    select(*[segments.c[name] for name in _SEGMENT])
    .where(one_of(segments.c.version_id, "ids"))
    .order_by(segments.c.version_id, segments.c.position)
)

Rows = Sequence[dict[str, Any]]


def _named(name: str, names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    """Return a row by the names of its columns, the same whichever database it is from."""
    kinds = table(name).columns
    flags = {column.name for column in kinds if isinstance(column.type, Boolean)}
    return {
        column: bool(value) if column in flags and value is not None else value
        for column, value in zip(names, row, strict=True)
    }


def moment(now: int | None) -> Transaction[int]:
    """The catalog's clock at the moment that is read."""

    def steps(attempt: Attempt) -> Steps[int]:
        return int((yield NOW(now=now))[0][0])

    return steps


def rows(name: str, *, tenant: str, after: Mapping[str, Any] | None, limit: int) -> Transaction[Rows]:
    """A page of a table in the order of its key, behind the row `after`."""

    def steps(attempt: Attempt) -> Steps[Rows]:
        place = {f"after_{column}": (after or {}).get(column, "") for column in key(name)}
        params = place | ({"in_tenant": tenant} if KEPT[name] else {})
        found = yield _PAGES[name](**params, rows=limit)
        return [_named(name, columns(name), row) for row in found]

    return steps


def version_rows(*, after: str, limit: int) -> Transaction[Rows]:
    """A page of versions by id, each with the names of its bucket, whether it is current, and its segments."""

    def steps(attempt: Attempt) -> Steps[Rows]:
        page = []
        for tenant, bucket, current, *columns_ in (yield VERSIONS(after=after, rows=limit)):
            told = {"tenant": tenant, "bucket": bucket, "current": current is not None}
            page.append(told | _named("versions", _VERSION, columns_) | {"segments": []})
        pieced = {one["id"]: one["segments"] for one in page if one["pieces"]}
        for start in range(0, len(pieced), 100):
            some = list(pieced)[start : start + 100]
            for row in (yield SEGMENTS(ids=some)):
                segment = _named("segments", _SEGMENT, row)
                pieced[segment.pop("version_id")].append(segment)
        return page

    return steps


class Pages:
    """The catalog at one moment (`contract.Moment`)."""

    def __init__(self, read: Still, at: int) -> None:
        self._read = read
        self.at = at

    async def rows(
        self, name: str, *, tenant: str = "", after: Mapping[str, Any] | None = None, limit: int = 500
    ) -> Rows:
        """Return a page of a table; see the contract."""
        return await self._read(rows(name, tenant=tenant, after=after, limit=limit))

    async def versions(self, *, after: str = "", limit: int = 500) -> Rows:
        """Return a page of versions; see the contract."""
        return await self._read(version_rows(after=after, limit=limit))
