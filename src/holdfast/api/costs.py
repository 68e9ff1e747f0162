"""What storing costs, over HTTP. Amounts are US dollars a month, decimal numbers in text; null means not known."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.models import Name, decode, encode
from holdfast.core.errors import InvalidRequestError
from holdfast.engine.costs import By, CostReport
from holdfast.policy.comparing import TYPICAL, TYPICAL_KEY, Comparison, Portion
from holdfast.policy.cost import Billing, Provenance, Use, money, plain, priced_size
from holdfast.policy.prices import Price, Tier

Quantity = (
    int | Annotated[str, Meta(max_length=40, description="bytes, or text: `100GB` is 10^11, `1GiB` is 2^30")]
)
Count = Annotated[int, Meta(ge=0, le=2**60)]


# -- in ---------------------------------------------------------------------------------------------------------------
class PortionWish(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the use, and the price key of where it lies in the second way."""

    name: Name
    size: Quantity
    price: Name
    objects: Count = 0
    writes: Count = 0
    reads: Count = 0
    egress: Quantity = 0


class CompareWish(Struct, frozen=True, forbid_unknown_fields=True):
    """A comparison. Without `portions` a typical example; `from_catalog`, for operators, takes what is really stored."""

    single: Name = TYPICAL_KEY
    portions: Annotated[list[PortionWish], Meta(max_length=1000)] = []
    from_catalog: bool = False
    billing: Literal["list", "billed"] = "list"


# -- out --------------------------------------------------------------------------------------------------------------
class Source(Struct, frozen=True, kw_only=True):
    """Where a price is from. `unsure`: check it before relying on it; `known` false: the book has no such row or amount."""

    price: str
    as_of: str
    source: str
    unsure: bool
    known: bool


class CostEntry(Struct, frozen=True, kw_only=True):
    """One line. `logical_bytes` are those of the objects by the exact counters; with two copies `bytes` are twice that."""

    name: str
    bytes: int
    blobs: int
    logical_bytes: int | None
    amount: str | None
    prices: list[str]


class CostAnswer(Struct, frozen=True, kw_only=True):
    """What is stored costs so much a month. `total` null: something is not known; `known_total` leaves that out."""

    by: str
    lines: list[CostEntry]
    total: str | None
    known_total: str
    currency: str
    measured: str | None
    provenance: list[Source]
    notes: list[str]


class PortionCost(Struct, frozen=True, kw_only=True):
    """What one part costs at the single price, and at its own."""

    name: str
    bytes: int
    price: str
    single: str | None
    split: str | None


class CompareAnswer(Struct, frozen=True, kw_only=True):
    """The same use in two ways: all at the price `single`, against each part at its own."""

    single: str
    billing: str
    portions: list[PortionCost]
    single_total: str | None
    split_total: str | None
    saving: str | None
    saving_percent: str | None
    currency: str
    provenance: list[Source]
    notes: list[str]


class PriceTier(Struct, frozen=True, kw_only=True):
    """A price for what lies below `up_to_gb`; null: for all the rest."""

    up_to_gb: str | None
    price: str


class PriceRow(Struct, frozen=True, kw_only=True):
    """One row of the price book. A price that is null is not known. Requests are counted by the thousand."""

    key: str
    storage: list[PriceTier] | None
    write: str | None
    read: str | None
    egress: list[PriceTier] | None
    retrieval: str | None
    fee: str | None
    min_days: int
    min_size: int
    min_gb: str
    free_gb: str
    free_writes: int
    free_reads: int
    free_egress_gb: str
    free_egress_times: str
    unit_bytes: int
    as_of: str
    source: str
    unsure: bool
    note: str


class PriceList(Struct, frozen=True, kw_only=True):
    """All rows by key."""

    prices: list[PriceRow]
    currency: str


async def show_cost(exchange: Exchange) -> None:
    """Answer with the month's cost of what is stored."""
    by = exchange.query.get("by", By.STORE.value)
    if by not in list(By):
        raise InvalidRequestError(f"by is one of {', '.join(By)}")
    fresh = exchange.query.get("measure", "false")
    if fresh not in ("true", "false"):
        raise InvalidRequestError("measure is true or false")
    tenant = exchange.query.get("tenant") or None
    found = await exchange.session.admin.costs(By(by), tenant=tenant, fresh=fresh == "true")
    await exchange.answer_json(200, encode(cost_answer(found)))


async def show_prices(exchange: Exchange) -> None:
    """Answer with the price book."""
    rows = exchange.session.admin.prices().rows.values()
    await exchange.answer_json(
        200, encode(PriceList(prices=[price_row(row) for row in rows], currency="USD"))
    )


async def compare_costs(exchange: Exchange) -> None:
    """Answer with what the same use costs in two ways."""
    wish = decode(CompareWish, await small_body(exchange, MAX_JSON) or b"{}")
    if wish.from_catalog and wish.portions:
        raise InvalidRequestError("give portions, or from_catalog, not both")
    portions = None if wish.from_catalog else [_portion(portion) for portion in wish.portions] or TYPICAL
    found = await exchange.session.admin.compare_costs(wish.single, portions, billing=Billing(wish.billing))
    await exchange.answer_json(200, encode(compare_answer(found)))


def cost_answer(report: CostReport) -> CostAnswer:
    """Return a report as it travels."""
    lines = [
        CostEntry(
            name=line.name,
            bytes=line.bytes,
            blobs=line.blobs,
            logical_bytes=line.logical,
            amount=money(line.amount),
            prices=list(line.keys),
        )
        for line in report.lines
    ]
    return CostAnswer(
        by=report.by.value,
        lines=lines,
        total=money(report.total),
        known_total=money(report.known) or "0",
        currency="USD",
        measured=None if report.measured is None else iso(report.measured),
        provenance=sources(report.provenance),
        notes=list(report.notes),
    )


def compare_answer(found: Comparison) -> CompareAnswer:
    """Return a comparison as it travels."""
    portions = [
        PortionCost(
            name=row.portion.name,
            bytes=row.portion.use.bytes,
            price=row.portion.key,
            single=money(row.single),
            split=money(row.split),
        )
        for row in found.portions
    ]
    both = found.single + found.split
    return CompareAnswer(
        single=found.key,
        billing=found.billing.value,
        portions=portions,
        single_total=money(found.single.total),
        split_total=money(found.split.total),
        saving=money(found.saving),
        saving_percent=None if found.percent is None else f"{found.percent:.1f}",
        currency="USD",
        provenance=sources(both.provenance),
        notes=list(both.notes),
    )


def price_row(row: Price) -> PriceRow:
    """Return a row of the price book as it travels."""
    return PriceRow(
        key=row.key,
        storage=_tiers(row.storage),
        write=_plain(row.write),
        read=_plain(row.read),
        egress=_tiers(row.egress),
        retrieval=_plain(row.retrieval),
        fee=_plain(row.fee),
        min_days=row.min_days,
        min_size=row.min_size,
        min_gb=plain(row.min_gb),
        free_gb=plain(row.free_gb),
        free_writes=row.free_writes,
        free_reads=row.free_reads,
        free_egress_gb=plain(row.free_egress_gb),
        free_egress_times=plain(row.free_egress_times),
        unit_bytes=row.unit,
        as_of=row.as_of,
        source=row.source,
        unsure=row.unsure,
        note=row.note,
    )


def _portion(wish: PortionWish) -> Portion:
    use = Use(_size(wish.size), wish.objects, wish.writes, wish.reads, _size(wish.egress))
    return Portion(wish.name, use, wish.price)


def _size(value: int | str) -> int:
    size = priced_size(value) if isinstance(value, str) else value
    if not 0 <= size < 1 << 70:
        raise InvalidRequestError("a size is a number of bytes from 0")
    return size


def sources(found: Iterable[Provenance]) -> list[Source]:
    """Return where prices are from, as it travels."""
    return [
        Source(price=one.key, as_of=one.as_of, source=one.source, unsure=one.unsure, known=one.known)
        for one in found
    ]


def _tiers(tiers: tuple[Tier, ...] | None) -> Any:
    if tiers is None:
        return None
    return [PriceTier(up_to_gb=_plain(tier.up_to), price=plain(tier.price)) for tier in tiers]


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
