"""What the catalog knows of how objects are used, gathered for `policy.advice`: every version looked at once, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from holdfast.catalog.contract import Aged
from holdfast.catalog.ledger import DAY
from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import INLINE
from holdfast.core.types import Bucket
from holdfast.engine.context import Context
from holdfast.engine.costs import price_key
from holdfast.policy.advice import Advice, Groups, Place, advise, sizes_of
from holdfast.policy.worth import HORIZON_DAYS

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Advised:
    """The advice, and what it rests on: how many versions there are, and how many of them were asked for lately."""

    advice: tuple[Advice, ...]
    objects: int
    busy: int
    horizon: int
    notes: tuple[str, ...]


async def advice(
    context: Context, *, supposed: Mapping[str, str], tenant: str = "", horizon: int = HORIZON_DAYS
) -> Advised:
    """Return where objects that nobody asks for would be cheaper. `supposed` are stores that are not there, with their price keys.

    Raises:
        InvalidRequestError: the book has no such price, or the horizon is no time of 30 to 3,650 days.
    """
    if not 30 <= horizon <= 3650:
        raise InvalidRequestError("the horizon is a number of days from 30 to 3650")
    await context.stores.refresh()
    book = context.settings.prices
    places = {
        name: Place(name, price_key(context, name), store.region) for name, store in context.stores.items()
    }
    for name, key in supposed.items():
        if book.find(key) is None:
            raise InvalidRequestError(f"the price book has no row {key!r:.80}")
        if name in places:
            raise InvalidRequestError(f"there is a store {name!r:.80} already; suppose one of another name")
        places[name] = Place(name, key, supposed=True)
    groups = Groups(sizes_of(book, places.values()))
    today = await context.catalog.now() // DAY
    counting = {bucket.id: since async for bucket, since in _counting(context, tenant)}
    for owner in await context.catalog.tenants():
        if tenant not in ("", owner.name):
            continue
        for bucket, _ in await context.catalog.buckets(owner.name):
            await _look(context, groups, bucket, counting.get(bucket.id), today)
    notes = _notes(groups, places)
    return Advised(
        tuple(advise(groups, book, places, horizon=horizon)), groups.objects, groups.busy, horizon, notes
    )


async def _counting(context: Context, tenant: str) -> AsyncIterator[tuple[Bucket, int | None]]:
    """Yield buckets with lifecycle rules, and since when their reads are counted."""
    after = 0
    while found := await context.catalog.ruled_buckets(tenant, after=after, limit=100):
        for bucket, since in found:
            yield bucket, since
        after = found[-1][0].id


async def _look(context: Context, groups: Groups, bucket: Bucket, since: int | None, today: int) -> None:
    """Add the versions of a bucket."""
    name = f"{bucket.tenant}/{bucket.name}"
    if since is not None:
        groups.counted.add(name)
    key, below = "", 0
    while True:
        page = await context.catalog.aged(bucket, from_key=key, below=below, limit=_PAGE)
        for aged in page.versions:
            _add(groups, name, aged, since, today)
        if not page.more or not page.versions:
            return
        last = page.versions[-1].version
        key, below = last.ref.key, last.seq
        await asyncio.sleep(0)  # others have their turn too


def _add(groups: Groups, name: str, aged: Aged, since: int | None, today: int) -> None:
    version = aged.version
    if version.delete_marker:
        return
    days = [version.created // DAY]
    if since is not None:
        days += [since // DAY] if aged.day is None else [aged.day]
    for store in aged.stores:
        if store != INLINE:
            groups.add(name, store, max(0, today - max(days)), version.size, aged.reads)


def _notes(groups: Groups, places: Mapping[str, Place]) -> tuple[str, ...]:
    """Return what to know before the advice is followed."""
    notes = []
    named = {bucket for bucket, _, _, _ in groups.piles}
    if blind := len(named - groups.counted):
        notes.append(
            f"{blind} bucket(s) do not count reads, so there idle means since an object was written; a lifecycle rule"
            " with `idle_days` turns counting on"
        )
    if unknown := sorted(place.name for place in places.values() if not place.key):
        notes.append(f"no price is known of {', '.join(unknown)}: nothing is advised there")
    return tuple(notes)
