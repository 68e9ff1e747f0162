"""Transactions of a search: current objects in key order, found by their terms where the search names any.

A page costs what it looks at, and it looks at no more than it is allowed. With terms, the index of the rarest one is
walked; without any, the keys are. What the index cannot say is asked of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, func, select, tuple_

from holdfast.catalog.common import BUCKET, no_bucket
from holdfast.catalog.folding import BEYOND, successor
from holdfast.catalog.folding import after as after_text
from holdfast.catalog.rows import VERSION, VERSION_WIDTH, version_of
from holdfast.catalog.schema import objects, terms, versions
from holdfast.catalog.statements import Call, Row, Statement, constant, int_param, text_param
from holdfast.catalog.terms import metadata_term, tag_term
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.search import Search
from holdfast.core.types import Version

_STRETCH: Final = 1000
_LEAST: Final = 64
_PROBE: Final = 1000  #: a term with more entries than this counts as common

_HEAD = and_(
    versions.c.bucket_id == objects.c.bucket_id,
    versions.c.key == objects.c.key,
    versions.c.seq == objects.c.seq,
)
_PLACE = tuple_(text_param("after_key"), text_param("after_version"))

BY_KEY = Statement(
    select(*VERSION, objects.c.key, objects.c.version_id)
    .select_from(objects.join(versions, _HEAD))
    .where(
        objects.c.bucket_id == int_param("in_bucket"),
        objects.c.key >= text_param("lower"),
        objects.c.key < text_param("upper"),
    )
    .order_by(objects.c.key)
    .limit(int_param("rows"))
)


def _by_term() -> Any:
    """Entries of one term after a place; the version comes with those that are current."""
    page = (
        select(terms.c.key, terms.c.version_id)
        .where(
            terms.c.bucket_id == int_param("in_bucket"),
            terms.c.term == text_param("term"),
            tuple_(terms.c.key, terms.c.version_id) > _PLACE,
            terms.c.key < text_param("upper"),
        )
        .order_by(terms.c.key, terms.c.version_id)
        .limit(int_param("rows"))
        .subquery("page")
    )
    is_current = and_(
        objects.c.bucket_id == int_param("in_bucket"),
        objects.c.key == page.c.key,
        objects.c.version_id == page.c.version_id,
    )
    return (
        select(*VERSION, page.c.key, page.c.version_id)
        .select_from(page.outerjoin(objects, is_current).outerjoin(versions, _HEAD))
        .order_by(page.c.key, page.c.version_id)
    )


BY_TERM = Statement(_by_term())

HOW_MANY = Statement(
    select(func.count()).select_from(
        select(terms.c.key)
        .where(
            terms.c.bucket_id == int_param("in_bucket"),
            terms.c.term == text_param("term"),
            terms.c.key >= text_param("lower"),
            terms.c.key < text_param("upper"),
        )
        .limit(constant(_PROBE))
        .subquery("entries")
    )
)

#: A key and a version of it: where a search of a bucket goes on.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a search of one bucket found, where to go on (None: it is done), and how many rows it looked at."""

    items: Sequence[Version]
    place: Place | None
    examined: int


def search(
    tenant: str, bucket: str, wish: Search, *, after: Place, limit: int, budget: int
) -> Transaction[Stretch]:
    """Up to `limit` objects of the bucket after a place, looking at no more than about `budget` rows."""
    given = [tag_term(*pair) for pair in wish.tags.items()]
    given += [metadata_term(*pair) for pair in wish.metadata.items()]

    def steps(attempt: Attempt) -> Steps[Stretch]:
        found = yield BUCKET(tenant=tenant, bucket=bucket, now=0)
        if not found:
            raise no_bucket(bucket)
        where = {"in_bucket": found[0][0], "upper": successor(wish.prefix) if wish.prefix else BEYOND}
        term = (yield from _rarest(given, {**where, "lower": wish.prefix})) if given else None
        walk = _Walk(tenant, bucket, wish, max(after, (wish.prefix, "")), limit)
        while True:
            wanted = max(_LEAST, min(_STRETCH, limit + 1, budget - walk.examined))
            rows = yield _next(walk.place, term, {**where, "rows": wanted})
            if walk.take(rows) or (len(rows) == wanted and walk.examined >= budget):
                return walk.finish(walk.place)
            if len(rows) < wanted:
                return walk.finish(None)

    return steps


def _next(place: Place, term: str | None, where: dict[str, Any]) -> Call:
    """Return the call that reads the stretch after a place; ("key", "") is the place just before that key."""
    key, version_id = place
    if term is not None:
        return Call(BY_TERM, {**where, "term": term, "after_key": key, "after_version": version_id})
    return Call(BY_KEY, {**where, "lower": after_text(key) if version_id else key})


class _Walk:
    """What was found so far, and up to where."""

    def __init__(self, tenant: str, bucket: str, wish: Search, after: Place, limit: int) -> None:
        self._tenant, self._bucket, self._wish, self._limit = tenant, bucket, wish, limit
        self.place = after
        self.examined = 0
        self._items: list[Version] = []

    def take(self, rows: Sequence[Row]) -> bool:
        """Take a stretch; True when one more than the limit is known to be there."""
        for row in rows:
            if row[0] is not None:
                version = version_of(row, self._tenant, self._bucket)
                if self._wish.matches(version):
                    if len(self._items) >= self._limit:
                        return True
                    self._items.append(version)
            self.place = (row[VERSION_WIDTH], row[VERSION_WIDTH + 1])
            self.examined += 1
        return False

    def finish(self, place: Place | None) -> Stretch:
        """Return what was found."""
        return Stretch(self._items, place, self.examined)


def _rarest(given: Sequence[str], where: dict[str, Any]) -> Steps[str]:
    """Return the term with the fewest entries, as far as a short look can tell."""
    best, least = given[0], _PROBE + 1
    if len(given) == 1:
        return best
    for term in given:
        count = (yield HOW_MANY(**where | {"term": term}))[0][0]
        if count < least:
            best, least = term, count
    return best
