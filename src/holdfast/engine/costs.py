"""What the stored bytes cost a month: the measured use of the stores times the price book, by whatever is asked for.

The price of a key is worked out once for all that is kept at it, with its tiers and allowances, and is then shared out
by bytes; so the sums are the same however the report is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from holdfast.core.backend import Store
from holdfast.core.records import StoreUse
from holdfast.engine.context import Context
from holdfast.engine.measuring import measure
from holdfast.policy.comparing import Portion
from holdfast.policy.cost import Billing, Estimate, Provenance, Use, monthly, shares

CLASSES: Final = ("hot", "cold", "archive")
LEAVING: Final = "(being deleted)"  #: in the place of a bucket, for what no bucket holds any more


class By(StrEnum):
    """How a report is cut."""

    STORE = "store"
    TENANT = "tenant"
    BUCKET = "bucket"
    CLASS = "class"


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line: `name` of what `by` says (a bucket is `tenant/bucket`), what is stored there, and what it costs.

    `logical` are the bytes of the objects themselves by the exact counters, where the line is a tenant or a bucket:
    with two copies `bytes` are twice that. `amount` None: a price is not known.
    """

    name: str
    bytes: int
    blobs: int
    amount: Decimal | None
    keys: tuple[str, ...]
    logical: int | None = None


@dataclass(frozen=True, slots=True)
class CostReport:
    """Lines by name, and what they rest on. `measured`: microseconds; None: never, so there are no lines."""

    by: By
    lines: tuple[CostLine, ...]
    provenance: tuple[Provenance, ...]
    notes: tuple[str, ...]
    measured: int | None

    @property
    def total(self) -> Decimal | None:
        """The sum of all lines; None when one of them is not known."""
        amounts = [line.amount for line in self.lines]
        return None if None in amounts else sum((amount or Decimal(0) for amount in amounts), Decimal(0))

    @property
    def known(self) -> Decimal:
        """The sum of the lines that are known."""
        return sum((line.amount or Decimal(0) for line in self.lines), Decimal(0))


@dataclass(frozen=True, slots=True)
class _Priced:
    use: StoreUse
    key: str
    kind: str
    amount: Decimal | None


def price_key(context: Context, name: str) -> str:
    """Return under which key of the price book a store is priced; "": none."""
    store = context.stores.get(name)
    return context.settings.prices.key_of(name, "" if store is None else store.price)


async def report(context: Context, by: By, *, tenant: str | None = None, fresh: bool = False) -> CostReport:
    """Return the month's cost, of one tenant when it is named. `fresh` measures first; so does the very first report."""
    await context.stores.refresh()
    measured, uses = await context.catalog.store_uses()
    if fresh or measured is None:
        await measure(context)
        measured, uses = await context.catalog.store_uses()
    priced, whole = _price(context, uses)
    mine = [row for row in priced if tenant is None or row.use.tenant == tenant]
    counted = await _counted(context, by, tenant)
    keys = {row.key for row in mine}
    estimates = [estimate for key, estimate in whole.items() if key in keys]
    sources = (source for estimate in estimates for source in estimate.provenance)
    notes = (note for estimate in estimates for note in estimate.notes)
    return CostReport(
        by,
        tuple(_lines(by, mine, counted)),
        tuple(dict.fromkeys(sources)),
        tuple(dict.fromkeys(notes)),
        measured,
    )


async def portions(context: Context) -> list[Portion]:
    """Return what each bucket holds in each store, as it was measured last, for a comparison."""
    await context.stores.refresh()
    measured, uses = await context.catalog.store_uses()
    if measured is None:
        await measure(context)
        _, uses = await context.catalog.store_uses()
    return [
        Portion(
            f"{_bucket(use)} in {use.store}",
            Use(bytes=use.bytes, objects=use.blobs),
            price_key(context, use.store),
        )
        for use in uses
    ]


def _price(context: Context, uses: Sequence[StoreUse]) -> tuple[list[_Priced], dict[str, Estimate]]:
    """Return each use with its share of what its key costs, and the estimate of each key."""
    book = context.settings.prices
    by_key: dict[str, list[StoreUse]] = {}
    for use in uses:
        key = price_key(context, use.store)
        by_key.setdefault(key, []).append(use)
    sums = {
        key: Use(bytes=sum(use.bytes for use in held), objects=sum(use.blobs for use in held))
        for key, held in by_key.items()
    }
    whole = monthly(book, sums, billing=Billing.BILLED)
    priced = []
    for key, held in by_key.items():
        amounts = shares(whole[key].total, [use.bytes for use in held])
        for use, amount in zip(held, amounts, strict=True):
            priced.append(_Priced(use, key, _class(context.stores.get(use.store)), amount))
    return priced, whole


def _lines(by: By, priced: Iterable[_Priced], counted: dict[str, int]) -> Iterable[CostLine]:
    groups: dict[str, list[_Priced]] = {name: [] for name in counted}
    for row in priced:
        groups.setdefault(_name(by, row), []).append(row)
    for name, rows in sorted(groups.items()):
        amounts = [row.amount for row in rows]
        known = None if None in amounts else sum((amount or Decimal(0) for amount in amounts), Decimal(0))
        yield CostLine(
            name,
            sum(row.use.bytes for row in rows),
            sum(row.use.blobs for row in rows),
            known,
            tuple(sorted({row.key for row in rows})),
            counted.get(name) if by in (By.TENANT, By.BUCKET) else None,
        )


async def _counted(context: Context, by: By, tenant: str | None) -> dict[str, int]:
    """Return the bytes of versions and open uploads by the exact counters, for tenants or buckets."""
    found: dict[str, int] = {}
    if by not in (By.TENANT, By.BUCKET):
        return found
    for owner, bucket, usage in await context.catalog.usages():
        if tenant is None or owner == tenant:
            name = owner if by is By.TENANT else f"{owner}/{bucket}"
            found[name] = found.get(name, 0) + usage.bytes + usage.upload_bytes
    return found


def _name(by: By, row: _Priced) -> str:
    if by is By.STORE:
        return row.use.store
    if by is By.CLASS:
        return row.kind
    if by is By.TENANT:
        return row.use.tenant or LEAVING
    return _bucket(row.use)


def _bucket(use: StoreUse) -> str:
    return f"{use.tenant}/{use.bucket}" if use.bucket else LEAVING


def _class(store: Store | None) -> str:
    """Return the class of a store: which of the labels it carries."""
    labels = frozenset() if store is None else store.labels
    return next((name for name in CLASSES if name in labels), "unlabelled")
