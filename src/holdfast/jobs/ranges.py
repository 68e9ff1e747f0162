"""Walks over versions in parts: all of them, those of a tenant or those of a bucket, cut into ranges of like size.

A place is (number of the bucket, key, sequence), spelled as text for cursors and for the ends of parts. A range begins
behind its start and ends before its end; "" stands for the very first and the very last. A kind that walks versions is

    async def split(self, work): return await split(work.engine, tenant=…, bucket=…)
    async def step(self, work, part):
        page = await page_of(work.engine, part, tenant=…, bucket=…)
        …                                        # for version in page.versions
        return Step(page.cursor, done=page.done, counts=…)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Protocol

from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.jobs import Part
from holdfast.core.records import HeldVersion
from holdfast.core.types import Bucket, Usage
from holdfast.engine.engine import Engine
from holdfast.jobs.kinds import Range

Place = tuple[int, str, int]
_Held = tuple[Bucket, Usage]
FIRST: Final[Place] = (-1, "", 0)
LAST: Final[Place] = (1 << 62, "", 0)
PAGE: Final = 200  #: versions in a step
PARTS: Final = 16
_LEAST: Final = 1000  #: versions that are worth a part of their own


class Stretched(Protocol):
    """Whatever has a start and an end: a range, or a part."""

    @property
    def start(self) -> str: ...
    @property
    def end(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Page:
    """Some versions of a range; `cursor` is where the next ones begin, and `done` tells that there are none."""

    versions: Sequence[HeldVersion]
    cursor: str
    done: bool


# -- places as text ---------------------------------------------------------------------------------------------------
def told(place: Place) -> str:
    """Return a place as text."""
    number, key, seq = place
    return f"{number}.{seq}.{key}"


def place_of(text: str, *, empty: Place = FIRST) -> Place:
    """Return the place that `told` made the text of; `empty` for "".

    Raises:
        InvalidRequestError: it is none.
    """
    if not text:
        return empty
    number, _, rest = text.partition(".")
    seq, dot, key = rest.partition(".")
    if not (dot and number.isascii() and number.isdigit() and seq.isascii() and seq.isdigit()):
        raise InvalidRequestError("this is no place to go on from; use the `after` of the last answer")
    return int(number), key, int(seq)


def range_of(bucket: Bucket) -> Range:
    """Return the range that is all of a bucket."""
    return Range(told((bucket.id, "", 0)), told((bucket.id + 1, "", 0)))


# -- cutting ----------------------------------------------------------------------------------------------------------
async def split(engine: Engine, *, tenant: str = "", bucket: str = "", parts: int = PARTS) -> Sequence[Range]:
    """Return about `parts` ranges with about as many versions each: at least one.

    Small buckets share a range, large ones are cut at keys that are looked up; each look passes over the keys of one
    part. What is written later than this falls into one of the ranges all the same, unless its bucket is new.

    Raises:
        NotFoundError: there is no such tenant or bucket.
    """
    held = await _buckets(engine, tenant, bucket)
    whole = sum(usage.versions for _, usage in held)
    size = max(_LEAST, -(-whole // max(parts, 1)))
    ranges: list[Range] = []
    group: list[_Held] = []
    grouped = 0
    for one in held:
        count = one[1].versions
        large = count > size * 3 // 2
        if large or grouped + count > size:
            ranges += _joined(group)
            group, grouped = [], 0
        if large:
            ranges += await _cut(engine, *one, size)
        else:
            group.append(one)
            grouped += count
    ranges += _joined(group)
    if not (tenant or bucket):
        ranges = _closed(ranges or [Range(items=0, bytes=0)])
    return ranges or [Range(told(LAST), told(LAST), 0, 0)]


def _closed(ranges: Sequence[Range]) -> list[Range]:
    """Return `ranges` without gaps and ends, so that no bucket is left out, whenever it is made."""
    starts = ["", *(one.start for one in ranges[1:]), ""]
    return [
        replace(one, start=start, end=end)
        for one, start, end in zip(ranges, starts[:-1], starts[1:], strict=True)
    ]


async def _buckets(engine: Engine, tenant: str, bucket: str) -> list[_Held]:
    catalog = engine.catalog
    if bucket:
        return [await catalog.bucket_and_usage(tenant, bucket)]
    names = [tenant] if tenant else [one.name for one in await catalog.tenants()]
    held = [one for name in names for one in await catalog.buckets(name)]
    return sorted(held, key=lambda one: one[0].id)


def _joined(group: Sequence[_Held]) -> list[Range]:
    if not group:
        return []
    items, size = sum(usage.versions for _, usage in group), sum(usage.bytes for _, usage in group)
    return [Range(range_of(group[0][0]).start, range_of(group[-1][0]).end, items, size)]


async def _cut(engine: Engine, bucket: Bucket, usage: Usage, size: int) -> list[Range]:
    """Cut a bucket at keys: as many of them in each part as hold about `size` versions."""
    keys = max(1, usage.objects * size // max(usage.versions, 1))
    places, key = [(bucket.id, "", 0)], ""
    while found := await engine.catalog.key_after(bucket.id, key, skip=keys - 1):
        key = found
        places.append((bucket.id, key, 0))
    places.append((bucket.id + 1, "", 0))
    pieces = len(places) - 1
    return [
        Range(
            told(one), told(other), _share(usage.versions, pieces, place), _share(usage.bytes, pieces, place)
        )
        for place, (one, other) in enumerate(pairwise(places))
    ]


def _share(whole: int, pieces: int, place: int) -> int:
    return whole * (place + 1) // pieces - whole * place // pieces


# -- walking ----------------------------------------------------------------------------------------------------------
async def page_of(
    engine: Engine, part: Part, *, tenant: str = "", bucket: str = "", limit: int = PAGE
) -> Page:
    """Return the next versions of a part: at most `limit`, perhaps none although there are more behind."""
    return await page_after(engine, part, part.cursor, tenant=tenant, bucket=bucket, limit=limit)


async def page_after(
    engine: Engine, stretch: Stretched, cursor: str, *, tenant: str = "", bucket: str = "", limit: int = PAGE
) -> Page:
    """Return the versions of a range behind `cursor` ("": from its start), those of others left out."""
    after = place_of(cursor or stretch.start)
    found = await engine.catalog.held_versions(
        after=after, until=place_of(stretch.end, empty=LAST), limit=limit
    )
    mine = [one for one in found.versions if _is_in(one, tenant, bucket)]
    if found.after is None:
        return Page(mine, told(after) if after != FIRST else "", True)
    place = found.after
    if tenant and found.versions and found.versions[-1].ref.tenant != tenant:
        place = await _next_of(engine, tenant, place)
    return Page(mine, told(place), False)


async def pages(
    engine: Engine, stretch: Stretched, *, tenant: str = "", bucket: str = "", limit: int = 1000
) -> AsyncIterator[Page]:
    """Yield all pages of a range: for a forecast, say. A job's step takes one page only."""
    cursor = ""
    while True:
        page = await page_after(engine, stretch, cursor, tenant=tenant, bucket=bucket, limit=limit)
        yield page
        if page.done:
            return
        cursor = page.cursor


def _is_in(version: HeldVersion, tenant: str, bucket: str) -> bool:
    ref = version.ref
    return (not tenant or ref.tenant == tenant) and (not bucket or ref.bucket == bucket)


async def _next_of(engine: Engine, tenant: str, place: Place) -> Place:
    """Return where the next bucket of `tenant` begins: those of others in between are not read through."""
    try:
        numbers = [one.id for one, _ in await engine.catalog.buckets(tenant)]
    except NotFoundError:
        return LAST
    behind = [number for number in numbers if number >= place[0]]
    if not behind:
        return LAST
    return place if behind and min(behind) == place[0] else (min(behind), "", 0)
