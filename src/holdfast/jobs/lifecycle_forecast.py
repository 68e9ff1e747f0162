"""What the job `lifecycle` would do now: removals, moves with their cost, and the moves that it refuses, with the sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from holdfast.core.types import Bucket
from holdfast.engine.context import Context
from holdfast.engine.costs import price_key
from holdfast.engine.lifecycle import REASONS, Judged, Place, ageing, stretch
from holdfast.jobs.kinds import Forecast, Work
from holdfast.policy.cost import Estimate, money, month_cost, move_cost, total
from holdfast.policy.lifecycle import Action, stale_uploads
from holdfast.policy.worth import near

_PAGE: Final = 1000


@dataclass(slots=True)
class _Sum:
    objects: int = 0
    bytes: int = 0
    money: Decimal = field(default_factory=Decimal)

    def add(self, one: Judged) -> None:
        self.objects += 1
        self.bytes += one.aged.version.size
        self.money += one.money or Decimal(0)


@dataclass(slots=True)
class _Found:
    removed: dict[str, _Sum] = field(default_factory=dict)  #: by rule
    moved: dict[tuple[str, str], _Sum] = field(default_factory=dict)  #: by store now and then
    refused: dict[tuple[str, str, str], _Sum] = field(default_factory=dict)  #: by reason, rule and place
    unknown: int = 0  #: moves of which nobody knows whether they pay
    uploads: int = 0

    def take(self, one: Judged) -> None:
        if one.wish is None:
            return
        if one.refused:
            self.refused.setdefault((one.refused, one.wish.rule, one.to), _Sum()).add(one)
        elif one.wish.action is Action.MOVE:
            source = one.aged.stores[0] if one.aged.stores else ""
            self.moved.setdefault((source, one.to), _Sum()).add(one)
            self.unknown += one.money is None
        else:
            self.removed.setdefault(one.wish.rule, _Sum()).add(one)


async def forecast(work: Work, tenant: str, bucket: str, horizon: int) -> Forecast:
    """Return what would be done to the buckets of a tenant, to one of them, or ("" and "") to all."""
    found, engine = _Found(), work.engine
    after = 0
    while page := await engine.catalog.ruled_buckets(tenant, bucket, after=after):
        for one, counting in page:
            async for judged in _judged(work, one, counting, horizon):
                found.take(judged)
            found.uploads += await _stale(work, one)
        after = page[-1][0].id
    return _told(engine.context, found, horizon)


async def _judged(work: Work, bucket: Bucket, counting: int | None, horizon: int) -> AsyncIterator[Judged]:
    engine, place, more = work.engine, Place(), True
    ages = await ageing(engine.context, bucket, counting, horizon=horizon)
    now = await engine.catalog.now()
    while more:
        grown = await engine.catalog.aged(bucket, from_key=place.key, below=place.seq, limit=_PAGE)
        judged, place, more = stretch(ages, grown, place, now)
        for one in judged:
            yield one


async def _stale(work: Work, bucket: Bucket) -> int:
    rules = bucket.settings.lifecycle
    if all(rule.abort_uploads_days is None for rule in rules):
        return 0
    catalog, count, key, upload_id, more = work.engine.catalog, 0, "", "", True
    now = await catalog.now()
    while more:
        page, more = await catalog.list_uploads(
            bucket.tenant, bucket.name, key_marker=key, id_marker=upload_id, limit=_PAGE
        )
        for upload in page:
            stale = stale_uploads(rules, upload.ref.key, upload.created)
            count += stale is not None and stale[1] <= now
            key, upload_id = upload.ref.key, upload.id
    return count


def _told(context: Context, found: _Found, horizon: int) -> Forecast:
    calls: dict[str, Counter[str]] = {}
    once, before, then = [], [], []
    for (source, target), some in found.moved.items():
        book, mine, theirs = context.settings.prices, price_key(context, source), price_key(context, target)
        calls.setdefault(source, Counter())["get"] += some.objects
        calls.setdefault(target, Counter())["put"] += some.objects
        cost = move_cost(book, mine, theirs, some.objects, some.bytes)
        once.append(_at_home(cost) if near(mine, theirs, _regions(context, source, target)) else cost)
        before.append(month_cost(book, mine, some.bytes, objects=some.objects))
        then.append(month_cost(book, theirs, some.bytes, objects=some.objects))
    every = [*found.removed.values(), *found.moved.values()]
    return Forecast(
        objects=sum(some.objects for some in every) + found.uploads,
        bytes=sum(some.bytes for some in found.moved.values()),
        calls={name: dict(count) for name, count in calls.items()},
        once=total(once),
        before=total(before),
        after=total(then),
        moves={pair: some.objects for pair, some in found.moved.items()},
        notes=tuple(_notes(found, horizon)),
    )


def _notes(found: _Found, horizon: int) -> list[str]:
    notes = [
        f"rule {rule} removes {some.objects} versions, {some.bytes} bytes"
        for rule, some in sorted(found.removed.items())
    ]
    if found.uploads:
        notes.append(f"{found.uploads} stale uploads are given up")
    for (source, target), some in sorted(found.moved.items()):
        gain = f"; saves {_dollars(some.money)} within {horizon} days" if some.money > 0 else ""
        notes.append(f"{some.objects} versions, {some.bytes} bytes go from {source} to {target}{gain}")
    for (reason, rule, place), some in sorted(found.refused.items()):
        loss = f", a loss of {_dollars(-some.money)} within {horizon} days" if some.money < 0 else ""
        where = f" to {place}" if place else ""
        notes.append(
            f"refused by rule {rule}{where}: {some.objects} versions, {some.bytes} bytes{loss}: {REASONS[reason]}"
        )
    if found.unknown:
        notes.append(
            f"of {found.unknown} versions nobody knows whether moving them pays, since a price is missing; they are moved"
        )
    return notes


def _dollars(amount: Decimal) -> str:
    return f"{money(amount)} dollars" if round(amount, 6) else "less than 0.000001 dollars"


def _at_home(cost: Estimate) -> Estimate:
    """Return the cost of a move inside one provider, which bills no egress for it."""
    return Estimate(tuple(line for line in cost.lines if line.what != "egress"), cost.provenance, cost.notes)


def _regions(context: Context, source: str, target: str) -> tuple[str, str]:
    here, there = context.stores.get(source), context.stores.get(target)
    return "" if here is None else here.region, "" if there is None else there.region
