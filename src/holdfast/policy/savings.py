"""What was saved so far: each day as it was paid for, against the same day with everything at one price. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from holdfast.core.ledger import Daily, Holding
from holdfast.policy.cost import Billing, Estimate, Line, Provenance, Use, month_cost, monthly
from holdfast.policy.prices import PriceBook
from holdfast.policy.usage import month_of, used

_MONTH: Final = 30
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Saved:
    """One month (`2026-11`): what its measured days cost, and would have cost at the one price; None: not known."""

    month: str
    days: int
    paid: Decimal | None
    single: Decimal | None

    @property
    def saving(self) -> Decimal | None:
        """The difference; negative: it was dearer."""
        return None if self.paid is None or self.single is None else self.single - self.paid


@dataclass(frozen=True, slots=True)
class Savings:
    """Months in order, with what their amounts rest on. `key` is the one price."""

    key: str
    months: tuple[Saved, ...]
    provenance: tuple[Provenance, ...]
    notes: tuple[str, ...]

    @property
    def total(self) -> Decimal | None:
        """All that was saved; None when a month is not known."""
        found = [month.saving for month in self.months]
        return None if None in found else sum((amount or _ZERO for amount in found), _ZERO)


def savings(
    book: PriceBook, key: str, keys: Mapping[str, str], entries: Sequence[Daily], held: Sequence[Holding]
) -> Savings:
    """Return what was saved against having everything at the price `key`. `keys` are the prices of the stores.

    A day of storage is a thirtieth of a month of what was held at its last measurement; a day without a measurement is
    left out, with its calls. Requests and egress are paid at list prices: allowances of a month cannot be cut into days.
    """
    there_by: dict[int, list[Holding]] = defaultdict(list)
    asked_by: dict[int, list[Daily]] = defaultdict(list)
    for row in held:
        there_by[row.day].append(row)
    for daily in entries:
        asked_by[daily.day].append(daily)
    found: dict[str, list[tuple[Estimate, Estimate]]] = {}
    for day in sorted(there_by):
        there, asked = there_by[day], asked_by[day]
        paid = _day(book, _uses(keys, there, asked))
        single = _day(book, _uses({}, there, asked, key))
        found.setdefault(month_of(day), []).append((paid, single))
    months = tuple(
        Saved(month, len(pairs), _sum(paid for paid, _ in pairs), _sum(single for _, single in pairs))
        for month, pairs in sorted(found.items())
    )
    both = [estimate for pairs in found.values() for pair in pairs for estimate in pair]
    sources = dict.fromkeys(source for estimate in both for source in estimate.provenance)
    notes = dict.fromkeys(note for estimate in both for note in estimate.notes)
    return Savings(key, months, tuple(sources), tuple(notes))


def _uses(
    keys: Mapping[str, str], held: Iterable[Holding], asked: Iterable[Daily], single: str = ""
) -> dict[str, Use]:
    """Return what was used of each price on a day; `single` stands for all of them."""
    uses: dict[str, Use] = {}
    for row in held:
        key = single or keys.get(row.store, "")
        uses[key] = uses.get(key, Use()) + Use(bytes=row.bytes, objects=row.blobs)
    for daily in asked:
        key = single or keys.get(daily.entry.store, "")
        uses[key] = uses.get(key, Use()) + used([daily.entry])
    return uses


def _day(book: PriceBook, uses: Mapping[str, Use]) -> Estimate:
    """Return what a day cost: storage as on the bill, by the day; calls and egress by the list."""
    stored = {key: Use(bytes=use.bytes, objects=use.objects) for key, use in uses.items()}
    found = Estimate()
    for estimate in monthly(book, stored, billing=Billing.BILLED).values():
        found += estimate
    found = Estimate(tuple(_part(line) for line in found.lines), found.provenance, found.notes)
    for key, use in uses.items():
        asked = month_cost(
            book,
            key,
            0,
            use.writes,
            use.reads,
            use.egress,
            retrieved=use.retrieved,
            billing=Billing.LIST,
        )
        lines = tuple(line for line in asked.lines if line.what not in ("storage", "fee"))
        found += Estimate(lines, asked.provenance, asked.notes)
    return found


def _part(line: Line) -> Line:
    return replace(line, amount=None if line.amount is None else line.amount / _MONTH)


def _sum(estimates: Iterable[Estimate]) -> Decimal | None:
    amounts = [estimate.total for estimate in estimates]
    return None if None in amounts else sum((amount or _ZERO for amount in amounts), _ZERO)
