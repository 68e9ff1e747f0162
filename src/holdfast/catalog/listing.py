"""Pages of a listing: exact S3 semantics in byte order, at the cost of a page.

Rows are read in stretches of key order and folded here. When folding throws away more than it keeps (big common
prefixes), one recursive statement hops from result to result instead, with one index seek for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Integer, Text, and_, bindparam, case, func, select
from sqlalchemy.sql.elements import ColumnElement

from holdfast.catalog.common import BUCKET, no_bucket
from holdfast.catalog.folding import Fold, after
from holdfast.catalog.rows import VERSION, VERSION_WIDTH, version_of
from holdfast.catalog.schema import objects, versions
from holdfast.catalog.statements import Row, Statement, constant, int_param, position, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.types import ListPage, Version

_PROBE = 128
_HOPS = 256


def _is_head_of(table: Any) -> ColumnElement[bool]:
    return and_(
        versions.c.bucket_id == table.c.bucket_id,
        versions.c.key == table.c.key,
        versions.c.seq == table.c.seq,
    )


#: Objects from `lower` on (inclusive) and before `upper`.
STRETCH = Statement(
    select(*VERSION)
    .select_from(objects.join(versions, _is_head_of(objects)))
    .where(
        objects.c.bucket_id == int_param("in_bucket"),
        objects.c.key >= text_param("lower"),
        objects.c.key < text_param("upper"),
    )
    .order_by(objects.c.key)
    .limit(int_param("rows"))
)


def _first_from(lower: ColumnElement[str], page: Any = None) -> ColumnElement[Any]:
    hop = objects.alias("hop")
    seek = (
        select(hop.c.key)
        .where(hop.c.bucket_id == int_param("in_bucket"), hop.c.key >= lower, hop.c.key < text_param("upper"))
        .order_by(hop.c.key)
        .limit(constant(1))
    )
    return (seek if page is None else seek.correlate(page)).scalar_subquery()


def _hops() -> Statement:
    """One row per result, in order: its first key, where the delimiter is in it (0: an object), and the object."""
    length: ColumnElement[int] = bindparam("prefix_length", type_=Integer())
    page = select(constant(1).label("n"), _first_from(text_param("lower")).label("key")).cte(
        "page", recursive=True
    )
    place = position(func.substr(page.c.key, length + constant(1), type_=Text()), text_param("delimiter"))
    prefix = func.substr(page.c.key, constant(1), length + place - constant(1), type_=Text())
    following = case(
        (place > constant(0), prefix.concat(text_param("after_delimiter"))),
        else_=page.c.key.concat(text_param("first_char")),
    )
    page = page.union_all(
        select((page.c.n + constant(1)).label("n"), _first_from(following, page).label("key")).where(
            page.c.key.is_not(None), page.c.n < int_param("rows")
        )
    )
    place = position(func.substr(page.c.key, length + constant(1), type_=Text()), text_param("delimiter"))
    return Statement(
        select(*VERSION, page.c.key, place.label("place"))
        .select_from(
            page.outerjoin(
                objects,
                and_(
                    objects.c.bucket_id == int_param("in_bucket"),
                    objects.c.key == page.c.key,
                    place == constant(0),
                ),
            ).outerjoin(versions, _is_head_of(objects))
        )
        .where(page.c.key.is_not(None))
        .order_by(page.c.n)
    )


HOPS = _hops()


class Page:
    """What was gathered so far; one entry more than the page tells that there is a next one."""

    def __init__(self, tenant: str, bucket: str, fold: Fold, limit: int) -> None:
        self._tenant, self._bucket, self._fold, self._limit = tenant, bucket, fold, limit
        self._entries: list[Version | str] = []
        self._prefixes = 0

    @property
    def wanted(self) -> int:
        """How many entries are missing."""
        return self._limit + 1 - len(self._entries)

    def take(self, rows: Sequence[Row]) -> tuple[str, int, int]:
        """Take a stretch; return where to go on, and how many rows gave an entry and how many fell into one."""
        prefix, entered, collapsed = None, len(self._entries), 0
        for row in rows:
            folded = self._fold.prefix_of(row[0])
            if folded is None:
                self._entries.append(version_of(row, self._tenant, self._bucket))
            elif folded != prefix:
                prefix = folded
                self._entries.append(folded)
                self._prefixes += 1
            else:
                collapsed += 1
            if self.wanted == 0:
                break
        last = rows[-1][0]
        folded = self._fold.prefix_of(last)
        return (
            (after(last) if folded is None else self._fold.past(folded)),
            len(self._entries) - entered,
            collapsed,
        )

    def hop(self, rows: Sequence[Row]) -> tuple[str, int]:
        """Take results; return where to go on and how many of them were prefixes."""
        prefixes = 0
        for row in rows:
            key, place = row[VERSION_WIDTH], row[VERSION_WIDTH + 1]
            if place:
                prefixes += 1
                self._entries.append(self._fold.cut(key, place))
            elif row[0] is not None:
                self._entries.append(version_of(row, self._tenant, self._bucket))
        last = rows[-1]
        folded = self._fold.prefix_of(last[VERSION_WIDTH])
        return (after(last[VERSION_WIDTH]) if folded is None else self._fold.past(folded)), prefixes

    def finish(self) -> ListPage:
        """Return the page."""
        truncated = len(self._entries) > self._limit
        entries = self._entries[: self._limit]
        last = entries[-1] if truncated else ""
        return ListPage(
            items=[entry for entry in entries if isinstance(entry, Version)],
            prefixes=[entry for entry in entries if isinstance(entry, str)],
            next_marker=last if isinstance(last, str) else last.ref.key,
            truncated=truncated,
        )


def list_objects(
    tenant: str, bucket: str, *, prefix: str, delimiter: str, marker: str, limit: int
) -> Transaction[ListPage]:
    """One page of current objects; see the contract."""

    def steps(attempt: Attempt) -> Steps[ListPage]:
        found = yield BUCKET(tenant=tenant, bucket=bucket, now=0)
        if not found:
            raise no_bucket(bucket)
        if limit <= 0:
            return ListPage(())
        fold = Fold(prefix, delimiter)
        page = Page(tenant, bucket, fold, limit)
        yield from _walk(found[0][0], fold, page, fold.start(marker))
        return page.finish()

    return steps


def _walk(bucket_id: int, fold: Fold, page: Page, lower: str) -> Steps[None]:
    """Fill the page from `lower` on, by stretches or by hops, whichever pays here."""
    hopping, stretch = False, page.wanted if not fold.delimiter else _PROBE
    while page.wanted > 0 and lower < fold.upper:
        if hopping:
            wanted = min(page.wanted, _HOPS)
            rows = yield HOPS(in_bucket=bucket_id, lower=lower, rows=wanted, **fold.hop_params)
            if not rows:
                return
            lower, prefixes = page.hop(rows)
            hopping = 2 * prefixes > len(rows)
        else:
            wanted = min(page.wanted, stretch) if not fold.delimiter else stretch
            rows = yield STRETCH(in_bucket=bucket_id, lower=lower, upper=fold.upper, rows=wanted)
            if not rows:
                return
            lower, entered, collapsed = page.take(rows)
            hopping = fold.can_hop and collapsed > entered
            stretch = _PROBE if hopping else page.wanted
        if len(rows) < wanted:
            return
