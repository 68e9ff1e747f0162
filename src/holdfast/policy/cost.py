"""What storing and moving costs: use × prices, with the reason of every amount. Pure, and in decimal numbers.

A price that is not known makes its line and every sum with it unknown (None), never 0. With `Billing.BILLED` an amount
is what the provider's bill would show: allowances, minima and rounding applied; with `Billing.LIST` it is use × price.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from typing import Final

from holdfast.core.errors import InvalidRequestError
from holdfast.policy.prices import Price, PriceBook, Tier

_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?)B?\s*", re.IGNORECASE | re.ASCII)
_ZERO: Final = Decimal(0)
_THOUSAND: Final = Decimal(1000)
_DAYS: Final = Decimal(30)  #: of a month
_ONCE: Final = frozenset({"writes", "reads", "egress", "retrieval"})


class Billing(StrEnum):
    """How a price is applied."""

    BILLED = "billed"  #: with allowances, tiers, minima and rounding
    LIST = "list"  #: use × the price of the first tier


@dataclass(frozen=True, slots=True)
class Use:
    """What is asked of one kind of store in a month. `egress`: bytes that leave it; `retrieved`: bytes read from it."""

    bytes: int = 0
    objects: int = 0
    writes: int = 0
    reads: int = 0
    egress: int = 0
    retrieved: int = 0

    def __add__(self, other: Use) -> Use:
        return Use(*(getattr(self, name) + getattr(other, name) for name in Use.__slots__))


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity` units of `what` by the row `key`: `amount` dollars; None: the price is not known."""

    key: str
    what: str  #: storage, writes, reads, egress, retrieval, fee, early removal
    quantity: Decimal
    unit: str
    amount: Decimal | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a price is from. `known` False: the book has no such row, or no amount in it."""

    key: str
    as_of: str = ""
    source: str = ""
    unsure: bool = False
    known: bool = True


@dataclass(frozen=True, slots=True)
class Estimate:
    """Amounts with what they rest on."""

    lines: tuple[Line, ...] = ()
    provenance: tuple[Provenance, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Decimal | None:
        """The sum of all lines; None when one of them is not known."""
        amounts = [line.amount for line in self.lines]
        return None if None in amounts else sum((amount or _ZERO for amount in amounts), _ZERO)

    @property
    def known(self) -> Decimal:
        """The sum of those lines whose price is known."""
        return sum((line.amount or _ZERO for line in self.lines), _ZERO)

    @property
    def unsure(self) -> bool:
        """Whether something that it rests on should be checked first."""
        return any(source.unsure for source in self.provenance)

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.lines + other.lines,
            tuple(dict.fromkeys((*self.provenance, *other.provenance))),
            tuple(dict.fromkeys((*self.notes, *other.notes))),
        )


def month_cost(
    book: PriceBook,
    key: str,
    bytes: int,
    writes: int = 0,
    reads: int = 0,
    egress: int = 0,
    *,
    objects: int = 0,
    retrieved: int = 0,
    billing: Billing = Billing.BILLED,
) -> Estimate:
    """Return what a month of this use costs at the price `key`; "" or a key that is not in the book: unknown."""
    use = Use(bytes, objects, writes, reads, egress, retrieved)
    row = book.find(key)
    if row is None:
        return _unknown(key, use)
    lines = (
        _storage(row, use, billing),
        _requests(row, "writes", writes, billing),
        _requests(row, "reads", reads, billing),
        _egress(row, use, billing),
        _per_gb(row, "retrieval", retrieved),
        Line(key, "fee", Decimal(1), "month", row.fee),
    )
    kept = tuple(line for line in lines if line.what == "storage" or (line.quantity and line.amount != 0))
    notes = [row.note] if row.note else []
    source = provenance(row)
    if any(line.amount is None for line in kept):
        source = replace(source, known=False)
        notes.append(
            f'the price book has no amount for {key}: write one under [prices."{key}"] in a file of your own'
            " (`price_book`), 0 when it costs you nothing"
        )
    return Estimate(kept, (source,), tuple(notes))


def priced_size(text: str) -> int:
    """Return the bytes of a size as price lists mean it: 1 GB is 10^9 bytes, 1 GiB is 2^30.

    Raises:
        InvalidRequestError: it is no size.
    """
    match = _SIZE.fullmatch(text) if len(text) <= 40 else None
    if match is None:
        raise InvalidRequestError(
            f"{text[:80]!r} is not a size; write for example 100GB (10^9 bytes) or 5GiB"
        )
    power = " KMGTP".index(match[2].upper() or " ")
    return int(Decimal(match[1]) * (1024 if match[3] else 1000) ** power)


def money(amount: Decimal | None) -> str | None:
    """Return dollars as a decimal number in text, to a millionth; None: not known."""
    return None if amount is None else plain(round(amount, 6))


def plain(number: Decimal) -> str:
    """Return a number without an exponent and without idle zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def monthly(
    book: PriceBook, uses: Mapping[str, Use], *, billing: Billing = Billing.BILLED
) -> dict[str, Estimate]:
    """Return the month's cost by price key. Allowances and tiers count once for each key."""
    return {
        key: month_cost(
            book,
            key,
            use.bytes,
            use.writes,
            use.reads,
            use.egress,
            objects=use.objects,
            retrieved=use.retrieved,
            billing=billing,
        )
        for key, use in uses.items()
    }


def move_cost(
    book: PriceBook,
    from_key: str,
    to_key: str,
    objects: int,
    bytes: int,
    *,
    writes: int | None = None,
    days: int | None = None,
) -> Estimate:
    """Return what it costs, once, to bring objects from one kind of store to another; no allowance is counted on.

    Args:
        writes: requests at the target when they are not one for each object (uploads in parts).
        days: how long the objects have lain at the source; None: not known, then a note says what more it may cost.
    """
    source, target = book.find(from_key), book.find(to_key)
    if source is None:
        leaving = _unknown(from_key, Use(reads=objects, egress=bytes))
    else:
        lines = [
            _requests(source, "reads", objects, Billing.LIST),
            _egress(source, Use(egress=bytes), Billing.BILLED, allowance=False),
            _per_gb(source, "retrieval", bytes),
        ]
        early, note = _early(source, bytes, days)
        leaving = Estimate(_worth((*lines, *early)), (provenance(source),), note)
    asked = objects if writes is None else writes
    if target is None:
        return leaving + _unknown(to_key, Use(writes=asked))
    arriving = Estimate(_worth([_requests(target, "writes", asked, Billing.LIST)]), (provenance(target),))
    return leaving + arriving


def once_cost(book: PriceBook, key: str, *, writes: int = 0, reads: int = 0, bytes: int = 0) -> Estimate:
    """Return what requests, and reading `bytes`, cost at the price `key`, once; no allowance is counted on."""
    made = month_cost(book, key, 0, writes, reads, bytes, retrieved=bytes, billing=Billing.LIST)
    return replace(made, lines=tuple(line for line in made.lines if line.what in _ONCE))


def provenance(row: Price) -> Provenance:
    """Return where a row is from."""
    return Provenance(row.key, row.as_of, row.source, row.unsure)


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Return all of them as one."""
    return sum(estimates, Estimate())


def shares(amount: Decimal | None, weights: list[int]) -> list[Decimal | None]:
    """Return `amount` split by `weights`; the parts are exact to 10^-12 and together the amount again."""
    if amount is None:
        return [None] * len(weights)
    whole, given, seen = sum(weights), _ZERO, 0
    parts: list[Decimal | None] = []
    for number, weight in enumerate(weights):
        seen += weight
        upto = amount * seen / whole if whole else (amount if number + 1 == len(weights) else _ZERO)
        upto = amount if number + 1 == len(weights) else upto.quantize(Decimal("1e-12"))
        parts.append(upto - given)
        given = upto
    return parts


def _worth(lines: Iterable[Line]) -> tuple[Line, ...]:
    return tuple(line for line in lines if line.quantity and line.amount != 0)


def _unknown(key: str, use: Use) -> Estimate:
    name = key or "no price key"
    kinds = (
        ("storage", use.bytes, "bytes"),
        ("writes", use.writes, "requests"),
        ("reads", use.reads, "requests"),
        ("egress", use.egress, "bytes"),
        ("retrieval", use.retrieved, "bytes"),
    )
    lines = _worth(Line(key, what, Decimal(number), unit, None) for what, number, unit in kinds)
    lines = lines or (Line(key, "storage", _ZERO, "bytes", None),)
    note = f"the price is not known ({name}); give the store a price key, and the key a row in the price book"
    return Estimate(lines, (Provenance(key, known=False),), (note,))


def _storage(row: Price, use: Use, billing: Billing) -> Line:
    held = Decimal(use.bytes) / row.unit
    if billing is Billing.LIST:
        return Line(row.key, "storage", held, _gb(row), _listed(row.storage, held))
    least = Decimal(max(use.bytes, use.objects * row.min_size)) / row.unit
    billed = max(max(least - row.free_gb, _ZERO), row.min_gb)
    billed = _up(billed, row.round_gb)
    note = "" if billed == held else f"{_short(billed)} {_gb(row)} are billed"
    if row.storage is None:
        return Line(row.key, "storage", held, _gb(row), None)
    return Line(row.key, "storage", held, _gb(row), tiered(row.storage, billed), note)


def _egress(row: Price, use: Use, billing: Billing, *, allowance: bool = True) -> Line:
    out = Decimal(use.egress) / row.unit
    if billing is Billing.LIST or row.egress is None:
        return Line(row.key, "egress", out, _gb(row), _listed(row.egress, out))
    free = row.free_egress_gb + row.free_egress_times * Decimal(use.bytes) / row.unit if allowance else _ZERO
    billed = max(out - free, _ZERO)
    note = "" if billed == out else f"{_short(billed)} {_gb(row)} are billed"
    return Line(row.key, "egress", out, _gb(row), tiered(row.egress, billed), note)


def _requests(row: Price, what: str, number: int, billing: Billing) -> Line:
    writing = what == "writes"
    price = row.write if writing else row.read
    free, step = (row.free_writes, row.round_writes) if writing else (row.free_reads, row.round_reads)
    billed = Decimal(number)
    if billing is Billing.BILLED:
        billed = _up(max(billed - free, _ZERO), Decimal(step))
    note = "" if billed == number else f"{_short(billed)} are billed"
    amount = None if price is None else billed * price / _THOUSAND
    return Line(row.key, what, Decimal(number), "requests", amount, note)


def _per_gb(row: Price, what: str, size: int) -> Line:
    held = Decimal(size) / row.unit
    return Line(row.key, what, held, _gb(row), None if row.retrieval is None else held * row.retrieval)


def _early(row: Price, size: int, days: int | None) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """Return what is still paid for objects that go before their time, or the note that it may be."""
    left = row.min_days - (days or 0)
    if left <= 0 or row.storage is None:
        return (), ()
    held = Decimal(size) / row.unit
    amount = held * row.storage[0].price * left / _DAYS
    if days is not None:
        why = f"{left} of {row.min_days} days are left"
        return (Line(row.key, "early removal", held, _gb(row), amount, why),), ()
    return (), (
        f"{row.key} is paid for at least {row.min_days} days: for younger objects up to {_short(amount)} more",
    )


def tiered(tiers: tuple[Tier, ...], quantity: Decimal) -> Decimal:
    """Return the price of `quantity`, each stretch of it by its own tier."""
    cost, below = _ZERO, _ZERO
    for tier in tiers:
        top = quantity if tier.up_to is None else min(quantity, tier.up_to)
        cost += max(top - below, _ZERO) * tier.price
        below = max(below, top)
    return cost


def _listed(tiers: tuple[Tier, ...] | None, quantity: Decimal) -> Decimal | None:
    return None if tiers is None else quantity * tiers[0].price


def _up(quantity: Decimal, step: Decimal) -> Decimal:
    return (quantity / step).to_integral_value(ROUND_CEILING) * step if step else quantity


def _gb(row: Price) -> str:
    return "GiB" if row.gib else "GB"


def _short(amount: Decimal) -> str:
    return plain(round(amount, 4))
